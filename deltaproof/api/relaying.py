"""A relay for some tasks of a contract, for as long as one of them goes on."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from deltaproof.agent.lookout import Lookout
from deltaproof.agent.patience import HOPELESS, insist
from deltaproof.agent.witness import Witness
from deltaproof.api.connecting import open_gateway, parse_depth, stores
from deltaproof.api.living import count_calls, observing
from deltaproof.chain import Gateway
from deltaproof.chain.participation import require_task
from deltaproof.errors import UsageError
from deltaproof.gateway.traffic import ConnectionLimits
from deltaproof.protocol.types import TaskId
from deltaproof.relaying.life import Relayer
from deltaproof.relaying.server import RelayOptions, RelayServer
from deltaproof.reporting import Reporter, about_task

__all__ = ["RelaySettings", "relay_tasks"]

PER_ADDRESS = 32
"""Most connections of one address."""


@dataclass(frozen=True)
class RelaySettings:
    """What a relay is told."""

    rpc: str
    contract: str
    store: str
    key: str
    home: Path
    tasks: tuple[int, ...]
    host: str
    port: int
    gather_seconds: float
    claims: bool
    requests_per_second: float
    connections: int
    proxies: str
    witness: str
    confirmations: str
    poll: float
    max_gas_gwei: float | None
    health_port: int | None
    version: str


def relay_tasks(settings: RelaySettings, report: Reporter) -> None:
    """Serve until every task has ended, or the process is asked to end. Raises what no waiting mends."""
    tasks = [TaskId(number) for number in dict.fromkeys(settings.tasks)]
    if not tasks or min(tasks) < 1:
        raise UsageError("say which tasks to serve: --task N, each from 1 on")
    observed = observing(report, "relay", settings.home, settings.health_port)
    gas = settings.max_gas_gwei
    with open_gateway(settings.rpc, settings.contract, settings.key, max_gas_gwei=gas, wait=observed) as gateway:
        count_calls(gateway, observed)
        relayers = insist(
            lambda: _relayers(settings, gateway, tasks, observed), "starting", gateway.account, observed, HOPELESS
        )
        for relayer in relayers:
            relayer.looked = observed.looked
        limits = ConnectionLimits(settings.connections, min(PER_ADDRESS, settings.connections))
        options = RelayOptions(
            version=settings.version, claims=settings.claims, requests_per_second=settings.requests_per_second,
            connections=limits, proxies=settings.proxies,
        )  # fmt: skip
        _serve(relayers, RelayServer(gateway, relayers, options, settings.host, settings.port), settings.host, observed)


def _relayers(settings: RelaySettings, gateway: Gateway, tasks: list[TaskId], report: Reporter) -> list[Relayer]:
    depth, store_of = parse_depth(settings.confirmations), stores(settings.store, gateway)
    lookout = Lookout(gateway.connection, depth)
    if settings.witness:
        lookout.witness = Witness(settings.witness, gateway.connection, report)
    relayers = []
    for task in tasks:
        require_task(gateway, task)
        relayer = Relayer(
            gateway, store_of(task), task, settings.home, about_task(report, task), claims=settings.claims,
            gather_seconds=settings.gather_seconds, poll_seconds=settings.poll, depth=depth,
        )  # fmt: skip
        relayer.lookout = lookout
        relayers.append(relayer)
    return relayers


def _serve(relayers: list[Relayer], server: RelayServer, host: str, report: Reporter) -> None:
    """One thread for each task; the server, on this one, ends with the last of them. Raises what ended one early."""
    errors: list[BaseException] = []
    living = len(relayers)
    over = threading.Lock()

    def live(relayer: Relayer) -> None:
        nonlocal living
        try:
            relayer.live()
        except BaseException as error:
            errors.append(error)
            report("dropped", f"task {relayer.task_id}: {error}", task=relayer.task_id)
        with over:
            living -= 1
            if not living:
                server.stop()

    threads = [threading.Thread(target=live, args=(relayer,), daemon=True) for relayer in relayers]
    for thread in threads:
        thread.start()

    def ready(port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        served = ", ".join(str(relayer.task_id) for relayer in relayers)
        report("ready", f"relay of task {served} at http://{shown}:{port}", url=f"http://{shown}:{port}")

    server.serve(ready)
    for relayer in relayers:
        relayer.end()
    for thread in threads:
        thread.join(5.0)
    if errors:
        raise errors[0]
