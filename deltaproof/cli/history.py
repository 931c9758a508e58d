"""`deltaproof index`, `history`, `export`, `explain`, `serve`: what happened, from the events of the chain."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from deltaproof.api.connecting import parse_address, read_only_gateway, require_store, store_to_read, store_url
from deltaproof.cli.common import (
    ContractOption,
    JsonOption,
    RpcOption,
    StoreOption,
    console,
    shortened,
    show_result,
    told_on_stderr,
)
from deltaproof.errors import ChainError, UsageError
from deltaproof.extras import need
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deltaproof.auditor.facts.stores import AnnouncedStores
    from deltaproof.auditor.index.follower import Synced
    from deltaproof.chain import Gateway
    from deltaproof.cli.documents.audits import ExportedRound

__all__ = [
    "IndexOption",
    "MaybeTask",
    "RoundsOption",
    "explain",
    "export",
    "history",
    "index",
    "round_numbers",
    "serve",
]

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
        help="Artifact store of all tasks; verdicts, scores and pay are shown if it has the leaves of the settlements. "
        "Default: for each task the gateways that its sponsor announced on chain.",
        metavar="URL",
    ),
]
RoundsOption = Annotated[
    str | None, typer.Option("--rounds", help="Rounds, such as 3, 1-5 or 1,4,7-9. By default all.", metavar="LIST")
]
MaybeTask = Annotated[
    int | None, typer.Option("--task", envvar="DELTAPROOF_TASK", help="Number of the task. By default all.", min=1)
]


MOST_CONNECTIONS = 1_024
"""To the pages at once."""
WIDE = 110
"""Columns of a terminal that shows addresses whole."""


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
    from deltaproof.auditor.index.schema import IndexUnusable, open_database
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
    begun = False
    while True:
        started = time.monotonic()
        try:
            synced = follower.sync()
        except (ChainError, IndexUnusable) as error:
            if not (follow and begun):
                raise
            told_on_stderr("delayed", f"{error}; again in {poll_seconds:g} s")
            if metrics is not None:
                metrics.failures.inc()
            time.sleep(poll_seconds)
            continue
        begun = True
        counts = Index(engine).counts()
        if metrics is not None:
            metrics.observe(synced, counts)
        seconds = time.monotonic() - started
        if as_json or synced.events or synced.rolled_back_to is not None or not follow:
            _show_synced(synced, counts, seconds, as_json=as_json)
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

    Scores are nano-nats of held-out loss improvement with their standard errors. Files and `--json` hold amounts in
    smallest units.
    """
    from deltaproof.auditor.facts.stores import AnnouncedStores
    from deltaproof.auditor.history import Historian
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import open_index
    from deltaproof.pages.tables import write_csv, write_parquet
    from deltaproof.store import open_store

    endpoint = Rpc(rpc)
    found, _ = open_index(endpoint, parse_address(contract, "--contract"), database)
    if store:
        require_store(store)
    announced = AnnouncedStores(found, endpoint)
    who = parse_address(account, "--account") if account else None
    historian = Historian(found, open_store(store) if store else announced)
    result = historian.history([task] if task is not None else None, round_numbers(rounds), who)
    if not store:
        _tell_unknown(result["tasks"], announced)
    for path, write in ((csv_file, write_csv), (parquet, write_parquet)):
        if path:
            write(result, path)
            typer.echo(f"wrote {path}", err=True)
    if as_json:
        typer.echo(json.dumps(result))
    elif not csv_file and not parquet:
        _print_history(result, read_only_gateway(rpc, contract))


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
    place = store_url(store, read_only_gateway(rpc, contract), task)
    count = export_round(found, open_backend(place), endpoint, task, round_, path)
    result: ExportedRound = {
        "task": task,
        "round": round_,
        "file": str(path),
        "artifacts": count,
        "bytes": path.stat().st_size,
    }
    text = (
        f"{path}: {counted(count, 'artifact')}, {path.stat().st_size} bytes\ncheck it: deltaproof audit --bundle {path}"
    )
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
    from deltaproof.auditor.facts.loading import load_task
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import open_index

    found, _ = open_index(Rpc(rpc), parse_address(contract, "--contract"), database)
    whom, gateway = parse_address(trainer, "TRAINER"), read_only_gateway(rpc, contract)
    paid = gateway.money(load_task(found, task).params.token)
    staked = gateway.money(gateway.registry.token())
    artifacts = store_to_read(store, gateway, task)
    told = explained(found, artifacts, task, round_, whom, paid=paid, staked=staked)
    show_result(told.numbers, as_json=as_json, text="\n".join(f"- {line}" for line in told.lines))


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
    from deltaproof.auditor.facts.stores import AnnouncedStores
    from deltaproof.auditor.index.reader import Index
    from deltaproof.auditor.index.rpc import Rpc
    from deltaproof.auditor.session import opened_follower
    from deltaproof.gateway.serving import HEAD_BYTES, GentleServer, require_port
    from deltaproof.gateway.traffic import ConnectionLimits, guarded, room_for
    from deltaproof.pages.data import PageData
    from deltaproof.pages.serve import LiveIndex, create_app
    from deltaproof.store import open_store

    require_port(host, port)
    if store:
        require_store(store)
    endpoint = Rpc(rpc)
    follower, engine = opened_follower(endpoint, parse_address(contract, "--contract"), database)
    follower.sync()
    found = Index(engine)
    data = PageData(found, open_store(store) if store else AnnouncedStores(found, endpoint), endpoint)
    console.print(f"http://{host}:{port}")
    app = create_app(data, LiveIndex(follower, found, poll_seconds))
    # Open pages hold a stream of events that never ends by itself.
    # Behind a proxy all of them come from one address.
    limits = ConnectionLimits(total=MOST_CONNECTIONS, per_address=MOST_CONNECTIONS)
    room_for(limits.total)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2, http=guarded(limits), ws="none",
        h11_max_incomplete_event_size=HEAD_BYTES,
    )  # fmt: skip
    GentleServer(config).run()


def _show_synced(synced: Synced, counts: Mapping[str, int], seconds: float, *, as_json: bool) -> None:
    rolled_back = synced.rolled_back_to
    if as_json:
        line = {
            "event": "indexed",
            "block": synced.head,
            "blockHash": synced.head_hash,
            "new": synced.events,
            "rolledBackTo": rolled_back,
            "seconds": round(seconds, 3),
            **counts,
        }
        typer.echo(json.dumps(line))
    else:
        rolled = f", rolled back to {rolled_back}" if rolled_back is not None else ""
        console.print(f"block {synced.head}: {counted(synced.events, 'new event')}, {counts['events']} in all{rolled}")


def _tell_unknown(tasks: Sequence[Mapping[str, Any]], stores: AnnouncedStores) -> None:
    """Of which tasks verdicts are not known although their rounds were settled, and why; those alike in one line."""
    why: dict[str, list[str]] = {}
    for task in tasks:
        settled = [entry for entry in task["history"] if entry["settlementTransaction"]]
        unknown = any(line["verdict"] is None for entry in settled for line in entry["trainers"])
        if unknown and (trouble := stores.trouble(task["task"])):
            why.setdefault(trouble, []).append(str(task["task"]))
    for trouble, numbers in why.items():
        of = f"task{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
        told_on_stderr("history", f"{of}: verdicts, scores and pay are not known: {trouble}")


def _print_history(result: dict[str, object], gateway: Gateway) -> None:
    tasks = result["tasks"]
    if not isinstance(tasks, list) or not tasks:
        console.print("no task on this contract yet")
        return
    staked = gateway.money(gateway.registry.token())
    for task in tasks:
        paid = gateway.money(task["token"])
        title = f"task {task['task']}" + (f": {task['name']}" if task["name"] else "")
        if not task["history"]:
            console.print(f"{title}: nothing to show", markup=False)
            continue
        table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("round", justify="right")
        for column in ("trainer", "verdict"):
            table.add_column(column, no_wrap=True)
        # A sponsor's words, and a token's for itself, are no markup.
        for column in ("score, mnat", paid.symbol, "claimed", f"slashed {staked.symbol}"):
            table.add_column(Text(column), justify="right", no_wrap=True)
        for entry in task["history"]:
            slashed = {slash["account"]: slash["amount"] for slash in entry["slashes"]}
            for line in entry["trainers"]:
                table.add_row(
                    str(entry["round"]),
                    line["trainer"] if console.width >= WIDE else shortened(line["trainer"]),
                    line["verdict"] or "?",
                    _score(line),
                    "?" if line["payout"] is None else paid.number(line["payout"]),
                    _claimed(line),
                    staked.number(lost) if (lost := slashed.get(line["trainer"], 0)) else "",
                )
            table.add_section()
        console.print(table)
        for entry in task["history"]:
            for score in entry["emulators"]:
                console.print(
                    f"round {entry['round']}: the next adapter: accuracy {entry['endAccuracy']:.3f} in the full model "
                    f"(loss {entry['endLoss']:.4f}), {score['accuracy']:.3f} on emulator {score['emulator']} "
                    f"(loss {score['loss']:.4f})",
                    markup=False,
                )


def _score(line: Mapping[str, Any]) -> str:
    """Milli-nats with the standard error, for example `+148.2 ± 15.5`."""
    score, error = line["scoreNanos"], line["stderrNanos"]
    return "?" if score is None else f"{score / 1e6:+.1f} ± {error / 1e6:.1f}"


def _claimed(line: Mapping[str, Any]) -> str:
    if not line["payout"]:
        return "" if not line["claimed"] else "base"
    return "yes" if line["claimed"] >= line["payout"] else "no"


def round_numbers(text: str | None) -> list[int] | None:
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
