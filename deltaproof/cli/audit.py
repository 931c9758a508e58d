"""`deltaproof audit`, `report`: every link from spec to pay, recomputed; no key needed but for what is sealed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaproof.api.connecting import parse_address, read_only_gateway, require_store, store_url
from deltaproof.cli.common import (
    BackendOption,
    CheckpointingOption,
    ContractOption,
    DeviceOption,
    JsonOption,
    MachineOption,
    RayOption,
    ReadingKeyOption,
    RpcOption,
    StoreOption,
    console,
    show_result,
)
from deltaproof.cli.exit_codes import ExitCode
from deltaproof.cli.history import IndexOption, MaybeTask, RoundsOption, round_numbers
from deltaproof.cli.passwords import unlocked
from deltaproof.cli.terminal import Terminal
from deltaproof.errors import UsageError
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deltaproof.auditor.audit.check import Check
    from deltaproof.auditor.auditing import AuditSource
    from deltaproof.cli.documents.audits import WrittenReport

__all__ = ["audit", "report"]

progress_console = Terminal(stderr=True, highlight=False)


def audit(
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", envvar="DELTAPROOF_RPC", help="JSON-RPC URL of the chain. Not with --bundle.", metavar="URL"
        ),
    ] = None,
    contract: Annotated[
        str | None,
        typer.Option(
            "--contract",
            envvar="DELTAPROOF_CONTRACT",
            help="Address of the TaskManager contract; the others are read from it. Not with --bundle.",
            metavar="ADDRESS",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            envvar="DELTAPROOF_STORE",
            help="Artifact store of all tasks, as for every command. Default: for each task the gateways that its "
            "sponsor announced on chain.",
            metavar="URL",
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Audit this exported round, offline, instead of a chain and a store.")
    ] = None,
    task: MaybeTask = None,
    rounds: RoundsOption = None,
    replay: Annotated[
        int, typer.Option(help="Steps of each round to train again, drawn among the published openings.", min=0)
    ] = 1,
    rescore: Annotated[bool, typer.Option("--rescore", help="Evaluate every coalition again.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also train every step again that a verifier did, and rescore.")
    ] = False,
    without_model: Annotated[
        bool,
        typer.Option(
            "--without-model",
            help="Check everything but what needs the task's model, which is then neither fetched nor loaded.",
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            help="Processes that audit rounds at the same time; with --backend, workers that replay within a round.",
            min=1,
        ),
    ] = 1,
    device: DeviceOption = None,
    backend: BackendOption = None,
    ray_address: RayOption = None,
    checkpointing: CheckpointingOption = False,
    machine: MachineOption = None,
    draw: Annotated[
        str | None, typer.Option(help="Seed of the drawn steps (64 hex digits), to repeat an audit.", metavar="HEX")
    ] = None,
    witness: Annotated[
        str | None, typer.Option(help="Second RPC endpoint that must know the same blocks.", metavar="URL")
    ] = None,
    database: IndexOption = "sqlite://",
    report: Annotated[
        Path | None, typer.Option(help="Write the report; a stopped audit with the same --draw goes on.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write everything as one HTML page, as `deltaproof report` does.")
    ] = None,
    reading_key: ReadingKeyOption = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="Sign the report with this private key (any account).", metavar="KEY", callback=unlocked
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every link from spec to pay and compare. Exit code 1 if anything differs.

    Each check passes, fails, or cannot be made (and why). A failure names transaction, artifact and both values.
    """
    from deltaproof.auditor.audit.case import AuditOptions
    from deltaproof.auditor.audit.check import Status
    from deltaproof.auditor.audit.journal import AuditJournal
    from deltaproof.auditor.audit.parallel import Origin, ProcessPool
    from deltaproof.auditor.audit.run import Pool, one_process
    from deltaproof.auditor.auditing import run_audit
    from deltaproof.chain import load_signer
    from deltaproof.protocol.types import digest32
    from deltaproof.tuning.numerics.machine import machine_of

    within = machine_of(
        machine, device=device, workers=workers if backend else None, backend=backend, ray_address=ray_address,
        checkpointing=checkpointing,
    )  # fmt: skip
    # A machine file may say where workers are, too; then they replay within a round.
    rounds_at_once = workers if within.backend == "inline" else 1
    if rounds_at_once > 1 and database == "sqlite://":
        raise UsageError("--workers needs an --index that other processes can open")
    if without_model and (rescore or full):
        raise UsageError("--rescore and --full compute on the task's model; leave --without-model out")
    if html is not None and bundle is not None:
        raise UsageError("--html shows a chain's tasks, and a bundle holds one round; leave one of the two out")
    if bundle is None:
        store = _place(rpc, contract, store, task)
    source = _source(rpc, contract, store, bundle, database, witness, reading_key)
    pool: Pool = one_process
    if rounds_at_once > 1 and bundle is None:
        pool = ProcessPool(Origin(database, store, rpc, reading_key), rounds_at_once, within)
    journal = AuditJournal(report.with_name(report.name + ".partial"), pool, 4 * workers) if report else None
    options = AuditOptions(
        replays=replay,
        official_replays=full,
        rescore=rescore or full,
        models=not without_model,
    )
    if draw is not None:
        options = replace(options, draw_seed=digest32(draw))
    signer = load_signer(key) if key else None
    started = time.monotonic()
    tasks = [task] if task is not None else None
    with progress_console.status("auditing") as status:
        done = run_audit(source, options, tasks, round_numbers(rounds), status.update, journal or pool, within)
    seconds = time.monotonic() - started
    document = done.signed(signer)
    if report:
        report.write_text(json.dumps(document, indent=1) + "\n")
    if journal:
        journal.finish()
    if html:
        _write_page(html, source, done.checks)
    failures = [check for check in done.checks if check.status is Status.FAIL]
    unchecked = [check for check in done.checks if check.status is Status.NOT_CHECKABLE]
    _show(document, failures, unchecked, seconds, as_json=as_json)
    if failures:
        raise typer.Exit(ExitCode.FAILED)


def report(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    html: Annotated[Path, typer.Option("--html", help="File to write.")] = Path("deltaproof-report.html"),
    task: MaybeTask = None,
    replay: Annotated[int, typer.Option(help="Steps of each round to train again.", min=0)] = 1,
    reading_key: ReadingKeyOption = None,
    database: IndexOption = "sqlite://",
    as_json: JsonOption = False,
) -> None:
    """Audit, and write everything as one HTML page that needs no server and asks nobody."""
    from deltaproof.auditor.audit.case import AuditOptions
    from deltaproof.auditor.audit.check import Status
    from deltaproof.auditor.auditing import run_audit

    source = _source(rpc, contract, _place(rpc, contract, store, task), None, database, None, reading_key)
    options = AuditOptions(replays=replay)
    with progress_console.status("auditing") as status:
        done = run_audit(source, options, [task] if task is not None else None, None, status.update)
    _write_page(html, source, done.checks)
    result: WrittenReport = {
        "file": str(html),
        "bytes": html.stat().st_size,
        "checks": len(done.checks),
        "passed": done.passed,
    }
    failed = sum(check.status is Status.FAIL for check in done.checks)
    verdict = f"{failed} FAILED: `deltaproof audit` names them, and the page shows them" if failed else "nothing failed"
    text = f"{html}: {counted(len(done.checks), 'check')}, {verdict}"
    show_result(result, as_json=as_json, text=text)
    if not done.passed:
        raise typer.Exit(ExitCode.FAILED)


def _write_page(html: Path, source: AuditSource, checks: Sequence[Check]) -> None:
    """All pages with an audit's checks, in one file."""
    from deltaproof.pages.data import PageData, by_round
    from deltaproof.pages.render import render

    data = PageData(source.index, source.store, source.rpc, by_round(checks))
    html.write_text(render(data.everything()), encoding="utf-8")


def _show(
    document: Mapping[str, Any],
    failures: Sequence[Check],
    unchecked: Sequence[Check],
    seconds: float,
    *,
    as_json: bool,
) -> None:
    """The signed report as JSON, or what a person has to look at and the counts."""
    from deltaproof.auditor.audit.report import unseen

    if as_json:
        extra = {
            "failures": [check.to_json() for check in failures],
            "unchecked": [check.to_json() for check in unchecked],
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps({**document, **extra}))
        return
    for check in unchecked:
        if not check.is_sealed:
            console.print(f"not checkable: {check}", style="yellow", markup=False)
    for check in failures:
        console.print(f"FAIL: {check}", style="bold red", markup=False)
    for blind in document["blindTo"]:
        console.print(f"this audit does not see: {blind}", style="dim", markup=False)
    if hidden := unseen(unchecked):
        for one in hidden:
            console.print(f"this audit does not see: {one}", style="yellow", markup=False)
        console.print(
            "who was let in sees all of it with --reading-key; --json and --report tell every check", style="dim"
        )
    counts = f"{counted(document['passed'], 'check')} passed, {len(failures)} failed, {len(unchecked)} not checkable"
    console.print(f"{counts}, in {seconds:.1f} s", style="bold red" if failures else "bold green")


def _place(rpc: str | None, contract: str | None, store: str | None, task: int | None) -> str | None:
    """What `--store` says, or what the sponsor of the one task announced on chain; None for that of each task."""
    if store or rpc is None or contract is None or task is None:
        return store or None
    return store_url("", read_only_gateway(rpc, contract), task)


def _source(
    rpc: str | None,
    contract: str | None,
    store: str | None,
    bundle: Path | None,
    database: str,
    witness: str | None,
    reading_key: Path | None,
) -> AuditSource:
    from deltaproof.auditor.auditing import AuditSource
    from deltaproof.auditor.bundle import Bundle
    from deltaproof.auditor.facts.stores import AnnouncedStores
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import open_index
    from deltaproof.store import open_store
    from deltaproof.store.readers import Keyring

    second = Rpc(witness) if witness else None
    keyring = Keyring.load(reading_key)
    if bundle is not None:
        opened = Bundle(bundle)
        return replace(AuditSource.of_bundle(opened, second), store=opened.store.reading_with(keyring))
    if rpc is None or contract is None:
        raise UsageError("an audit needs --rpc and --contract, or --bundle")
    if store:
        require_store(store)
    endpoint = Rpc(rpc)
    found, _ = open_index(endpoint, parse_address(contract, "--contract"), database)
    read = open_store(store).reading_with(keyring) if store else AnnouncedStores(found, endpoint, keyring)
    return AuditSource(found, read, endpoint, second)
