"""`deltaproof index`, `history`, `audit`, `export`, `explain`: read-only commands that need no key."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from deltaproof.cli.common import ContractOption, JsonOption, RpcOption, StoreOption, console, show_result
from deltaproof.cli.connect import parse_address
from deltaproof.errors import UsageError
from deltaproof.extras import need

if TYPE_CHECKING:
    from deltaproof.auditor.auditing import AuditSource

__all__ = ["audit", "explain", "export", "history", "index", "report", "serve"]

IndexOption = Annotated[
    str,
    typer.Option(
        "--index",
        envvar="DELTAPROOF_INDEX",
        help="Database of the index: an SQLite file or an SQLAlchemy URL such as postgresql+psycopg://user@host/name. "
        "By default the index is built in memory for this command.",
        metavar="DB",
    ),
]
OptionalStore = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="DELTAPROOF_STORE",
        help="Artifact store; verdicts, scores and pay are shown if it has the leaves of the settlements.",
        metavar="URL",
    ),
]
RoundsOption = Annotated[
    str | None, typer.Option("--rounds", help="Rounds, such as 3, 1-5 or 1,4,7-9. By default all.", metavar="LIST")
]
MaybeTask = Annotated[
    int | None, typer.Option("--task", envvar="DELTAPROOF_TASK", help="Number of the task. By default all.", min=1)
]
SEED_BYTES = 32

progress_console = Console(stderr=True, highlight=False)


def index(
    rpc: RpcOption,
    contract: ContractOption,
    database: IndexOption = "deltaproof-index.sqlite",
    follow: Annotated[bool, typer.Option("--follow", help="Go on as new blocks come, until Ctrl-C.")] = False,
    from_block: Annotated[
        int | None, typer.Option(help="First block; by default the one the contracts were deployed in.", min=0)
    ] = None,
    range_blocks: Annotated[int, typer.Option(help="Most blocks to ask for at once.", min=1)] = 5_000,
    confirmations: Annotated[int, typer.Option(help="Stay so many blocks below the head.", min=0)] = 0,
    poll_seconds: Annotated[float, typer.Option(help="With --follow: how often to look.", min=0.1)] = 2.0,
    metrics_port: Annotated[
        int | None, typer.Option(help="With --follow: serve Prometheus metrics on this port.", min=1, max=65535)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read the contracts' events into a database; again at any time, from where it stopped.

    A chain that was reorganised is noticed and rolled back to the fork. Building the index anew gives the same rows.
    """
    from deltaproof.auditor.index.follower import Follower
    from deltaproof.auditor.index.reader import Index
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.index.schema import open_database
    from deltaproof.pages.metrics import IndexMetrics

    engine = open_database(database)
    follower = Follower(
        engine,
        Rpc(rpc),
        parse_address(contract, "--contract"),
        first_block=from_block,
        range_blocks=range_blocks,
        confirmations=confirmations,
    )
    metrics = IndexMetrics.served_on(metrics_port) if follow and metrics_port else None
    while True:
        started = time.monotonic()
        synced = follower.sync()
        counts = Index(engine).counts()
        if metrics is not None:
            metrics.observe(synced, counts)
        line = {
            "event": "indexed",
            "block": synced.head,
            "blockHash": synced.head_hash,
            "new": synced.events,
            "rolledBackTo": synced.rolled_back_to,
            "seconds": round(time.monotonic() - started, 3),
            **counts,
        }
        if as_json:
            typer.echo(json.dumps(line))
        elif synced.events or synced.rolled_back_to is not None or not follow:
            rolled = f", rolled back to {synced.rolled_back_to}" if synced.rolled_back_to is not None else ""
            console.print(f"block {synced.head}: {synced.events} new events, {counts['events']} in all{rolled}")
        if not follow:
            return
        time.sleep(poll_seconds)


def history(
    rpc: RpcOption,
    contract: ContractOption,
    store: OptionalStore = None,
    task: MaybeTask = None,
    rounds: RoundsOption = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Only what concerns this participant.", metavar="ADDRESS")
    ] = None,
    database: IndexOption = "sqlite://",
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write one row per trainer and round.")] = None,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="The same as a Parquet file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Who contributed what, what it was worth, and what was paid.

    Scores are nano-nats of held-out loss improvement with their standard errors, amounts are in smallest units.
    """
    from deltaproof.auditor.history import Historian
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import open_index
    from deltaproof.pages.tables import write_csv, write_parquet
    from deltaproof.store import open_store

    found, _ = open_index(Rpc(rpc), parse_address(contract, "--contract"), database)
    historian = Historian(found, open_store(store) if store else None)
    who = parse_address(account, "--account") if account else None
    result = historian.history([task] if task is not None else None, _numbers(rounds), who)
    if csv_file:
        write_csv(result, csv_file)
    if parquet:
        write_parquet(result, parquet)
    if as_json:
        typer.echo(json.dumps(result))
    elif not csv_file and not parquet:
        _print_history(result)


def audit(
    rpc: Annotated[
        str | None, typer.Option("--rpc", envvar="DELTAPROOF_RPC", help="JSON-RPC URL of the chain.", metavar="URL")
    ] = None,
    contract: Annotated[
        str | None,
        typer.Option("--contract", envvar="DELTAPROOF_CONTRACT", help="Address of the TaskManager.", metavar="ADDRESS"),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", envvar="DELTAPROOF_STORE", help="Artifact store.", metavar="URL")
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
    workers: Annotated[int, typer.Option(help="Processes that audit rounds at the same time.", min=1)] = 1,
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
    key: Annotated[
        str | None, typer.Option("--key", help="Sign the report with this private key (any account).", metavar="KEY")
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
    from deltaproof.chain import load_account
    from deltaproof.protocol.types import digest32

    if workers > 1 and database == "sqlite://":
        raise UsageError("--workers needs an --index that other processes can open")
    source = _source(rpc, contract, store, bundle, database, witness)
    pool: Pool = ProcessPool(Origin(database, store, rpc), workers) if workers > 1 and bundle is None else one_process
    journal = AuditJournal(report.with_name(report.name + ".partial"), pool, 4 * workers) if report else None
    options = AuditOptions(
        replays=replay,
        official_replays=full,
        rescore=rescore or full,
        draw_seed=digest32(draw or secrets.token_hex(SEED_BYTES)),
    )
    signer = load_account(key) if key else None
    started = time.monotonic()
    tasks = [task] if task is not None else None
    with progress_console.status("auditing") as status:
        done = run_audit(source, options, tasks, _numbers(rounds), status.update, journal or pool)
    seconds = time.monotonic() - started
    document = done.signed(signer)
    if report:
        report.write_text(json.dumps(document, indent=1) + "\n")
    if journal:
        journal.finish()
    failures = [check for check in done.checks if check.status is Status.FAIL]
    unchecked = [check for check in done.checks if check.status is Status.NOT_CHECKABLE]
    if as_json:
        extra = {
            "failures": [check.to_json() for check in failures],
            "unchecked": [check.to_json() for check in unchecked],
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps({**document, **extra}))
    else:
        for check in unchecked:
            console.print(f"not checkable: {check}", style="yellow", markup=False)
        for check in failures:
            console.print(f"FAIL: {check}", style="bold red", markup=False)
        passed = document["passed"]
        summary = f"{passed} checks passed, {len(failures)} failed, {len(unchecked)} not checkable, in {seconds:.1f} s"
        console.print(summary, style="bold red" if failures else "bold green")
    if failures:
        raise typer.Exit(1)


def _print_history(result: dict[str, object]) -> None:
    tasks = result["tasks"]
    if not isinstance(tasks, list) or not tasks:
        console.print("no task on this contract yet")
        return
    for task in tasks:
        title = f"task {task['task']}" + (f": {task['name']}" if task["name"] else "")
        table = Table(title=title, title_justify="left")
        for column in ("round", "trainer", "verdict", "score [mnat]", "± se", "payout", "claimed", "slashed"):
            table.add_column(column, justify="left" if column in ("trainer", "verdict") else "right")
        for entry in task["history"]:
            slashed = {slash["account"]: slash["amount"] for slash in entry["slashes"]}
            for line in entry["trainers"]:
                table.add_row(
                    str(entry["round"]),
                    line["trainer"],
                    line["verdict"] or "?",
                    _milli(line["scoreNanos"]),
                    _milli(line["stderrNanos"]),
                    "?" if line["payout"] is None else str(line["payout"]),
                    str(line["claimed"]),
                    str(slashed.get(line["trainer"], 0)),
                )
            table.add_section()
        console.print(table)
        for entry in task["history"]:
            for score in entry["emulators"]:
                console.print(
                    f"round {entry['round']}: the next adapter: accuracy {entry['endAccuracy']:.3f} in the full model "
                    f"(loss {entry['endLoss']:.4f}), {score['accuracy']:.3f} on emulator {score['emulator']} "
                    f"(loss {score['loss']:.4f})"
                )


def _milli(nanos: int | None) -> str:
    return "?" if nanos is None else f"{nanos / 1e6:.3f}"


def _numbers(text: str | None) -> list[int] | None:
    """`1,4,7-9` as numbers. Raises UsageError."""
    if text is None:
        return None
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UsageError(f"--rounds: {part!r} is no round and no range such as 2-5")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def export(
    task: Annotated[int, typer.Argument(help="Number of the task.", min=1)],
    round_: Annotated[int, typer.Argument(metavar="ROUND", help="Round of the task.", min=1)],
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    out: Annotated[Path | None, typer.Option(help="File to write; by default task-T-round-R.zip.")] = None,
    database: IndexOption = "sqlite://",
    as_json: JsonOption = False,
) -> None:
    """Write one round as one file: chain facts with proofs and all artifacts. `deltaproof audit --bundle` checks it."""
    from deltaproof.auditor.bundle import export_round
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import open_index
    from deltaproof.store.backend import open_backend

    endpoint = Rpc(rpc)
    found, _ = open_index(endpoint, parse_address(contract, "--contract"), database)
    path = out or Path(f"task-{task}-round-{round_}.zip")
    count = export_round(found, open_backend(store), endpoint, task, round_, path)
    result = {"task": task, "round": round_, "file": str(path), "artifacts": count, "bytes": path.stat().st_size}
    text = f"{path}: {count} artifacts, {path.stat().st_size} bytes\ncheck it: deltaproof audit --bundle {path}"
    show_result(result, as_json=as_json, text=text)


def explain(
    task: Annotated[int, typer.Argument(help="Number of the task.", min=1)],
    round_: Annotated[int, typer.Argument(metavar="ROUND", help="Round of the task.", min=1)],
    trainer: Annotated[str, typer.Argument(help="Address of the trainer.")],
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    database: IndexOption = "sqlite://",
    as_json: JsonOption = False,
) -> None:
    """Why a trainer got what it got in a round, number by number."""
    from deltaproof.auditor.explain import explain as explained
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import open_index
    from deltaproof.store import open_store

    found, _ = open_index(Rpc(rpc), parse_address(contract, "--contract"), database)
    told = explained(found, open_store(store), task, round_, parse_address(trainer, "TRAINER"))
    show_result(told.numbers, as_json=as_json, text="\n".join(f"- {line}" for line in told.lines))


def report(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    html: Annotated[Path, typer.Option("--html", help="File to write.")] = Path("deltaproof-report.html"),
    task: MaybeTask = None,
    replay: Annotated[int, typer.Option(help="Steps of each round to train again.", min=0)] = 1,
    database: IndexOption = "sqlite://",
    as_json: JsonOption = False,
) -> None:
    """Audit, and write everything as one HTML page that needs no server and asks nobody."""
    from deltaproof.auditor.audit.case import AuditOptions
    from deltaproof.auditor.auditing import run_audit
    from deltaproof.pages.data import PageData, by_round
    from deltaproof.pages.render import render

    source = _source(rpc, contract, store, None, database, None)
    options = AuditOptions(replays=replay)
    with progress_console.status("auditing") as status:
        done = run_audit(source, options, [task] if task is not None else None, None, status.update)
    data = PageData(source.index, source.store, source.rpc, by_round(done.checks))
    html.write_text(render(data.everything()), encoding="utf-8")
    result = {"file": str(html), "bytes": html.stat().st_size, "checks": len(done.checks), "passed": done.passed}
    verdict = "nothing failed" if done.passed else "something FAILED"
    text = f"{html}: {len(done.checks)} checks, {verdict}"
    show_result(result, as_json=as_json, text=text)
    if not done.passed:
        raise typer.Exit(1)


def serve(
    rpc: RpcOption,
    contract: ContractOption,
    store: OptionalStore = None,
    database: IndexOption = "deltaproof-index.sqlite",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8600,
    poll_seconds: Annotated[float, typer.Option(help="How often to look for new blocks.", min=0.1)] = 2.0,
) -> None:
    """Serve the pages live: tasks, rounds with every check, participants, disputes. `/health` and `/metrics`, too."""
    uvicorn = need("uvicorn", "fastapi", "prometheus_client")
    from deltaproof.auditor.index.reader import Index
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import opened_follower
    from deltaproof.pages.data import PageData
    from deltaproof.pages.serve import LiveIndex, create_app
    from deltaproof.store import open_store

    endpoint = Rpc(rpc)
    follower, engine = opened_follower(endpoint, parse_address(contract, "--contract"), database)
    follower.sync()
    found = Index(engine)
    data = PageData(found, open_store(store) if store else None, endpoint)
    console.print(f"http://{host}:{port}")
    app = create_app(data, LiveIndex(follower, found, poll_seconds))
    # Open pages hold a stream of events that never ends by itself.
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)


def _source(
    rpc: str | None, contract: str | None, store: str | None, bundle: Path | None, database: str, witness: str | None
) -> AuditSource:
    from deltaproof.auditor.auditing import AuditSource
    from deltaproof.auditor.bundle import Bundle
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import open_index
    from deltaproof.store import open_store

    second = Rpc(witness) if witness else None
    if bundle is not None:
        return AuditSource.of_bundle(Bundle(bundle), second)
    if rpc is None or contract is None or store is None:
        raise UsageError("an audit needs --rpc, --contract and --store, or --bundle")
    endpoint = Rpc(rpc)
    found, _ = open_index(endpoint, parse_address(contract, "--contract"), database)
    return AuditSource(found, open_store(store), endpoint, second)
