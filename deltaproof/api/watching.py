"""Anybody's eye on the tasks of a contract, for as long as they go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltaproof.agent.lookout import Lookout
from deltaproof.agent.patience import HOPELESS, insist
from deltaproof.agent.watching import Observed
from deltaproof.agent.witness import Witness
from deltaproof.api.connecting import open_gateway, parse_depth, read_only_gateway, stores
from deltaproof.api.living import count_calls, observing
from deltaproof.chain import Gateway
from deltaproof.chain.contracts.money import Amount
from deltaproof.chain.participation import require_task
from deltaproof.disputing.watching import Watch, Watcher
from deltaproof.errors import DeploymentError, UsageError
from deltaproof.protocol.types import TaskId, TokenAmount
from deltaproof.reporting import Reporter, counted
from deltaproof.store.readers import Keyring

__all__ = ["FAULTS", "WatchSettings", "watch_tasks"]

FAULTS = {"settlement-fault", "hidden-leaves", "equivocation", "work-fault", "odd-terms"}
"""Events that say that something is wrong."""


@dataclass(frozen=True)
class WatchSettings:
    """What a watch is told. `key` empty: it only tells. `task` None: every task, also those that come."""

    rpc: str
    contract: str
    store: str
    task: int | None
    key: str
    once: bool
    home: Path | None
    witness: str
    confirmations: str
    poll: float
    max_gas_gwei: float | None
    health_port: int | None
    reading_key: Path | None = None
    """What opens what is sealed; see `ReadingKey.load`."""
    spend: Amount | None = None
    """Most bonds that may be risked for the hidden leaves of one settlement; None: nothing."""


def watch_tasks(settings: WatchSettings, report: Reporter) -> None:
    """Watch until the one task has ended; all tasks, or `once`: see the settings. Raises what no waiting mends."""
    if settings.health_port is not None and settings.home is None:
        raise UsageError("--health-port needs a --home for log and status")
    parse_depth(settings.confirmations)
    observed = None
    if settings.home is not None:
        observed = observing(report, "watch", settings.home, settings.health_port)
    heard = _Listener(observed or report)
    with _gateway(settings, heard) as gateway:
        if observed is not None:
            count_calls(gateway, observed)
        _watch(settings, gateway, heard, observed)


class _Listener:
    """A reporter that counts the faults and failures that it passes on."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.faults = self.failures = 0

    def __call__(self, event: str, message: str, **fields: object) -> None:
        self.faults += event in FAULTS
        self.failures += event == "delayed"
        self._report(event, message, **fields)

    def looked(self, tasks: int) -> None:
        """The end of a single look."""
        found = "nothing wrong was found" if not self.faults else f"faults: {self.faults}, as told above"
        failed = "; what could not be looked at is told above" if self.failures else ""
        self._report("looked", f"looked at {counted(tasks, 'task')}: {found}{failed}", tasks=tasks, faults=self.faults)


@contextmanager
def _gateway(settings: WatchSettings, report: Reporter) -> Iterator[Gateway]:
    """The deployment, with the key if there is one; an outage is waited out by who looks more than once."""
    rpc, contract, wait = settings.rpc, settings.contract, None if settings.once else report
    if settings.key:
        with open_gateway(rpc, contract, settings.key, max_gas_gwei=settings.max_gas_gwei, wait=wait) as gateway:
            yield gateway
    elif wait is None:
        yield read_only_gateway(rpc, contract)
    else:
        hopeless = (*HOPELESS, DeploymentError)
        yield insist(lambda: read_only_gateway(rpc, contract), "reaching the chain", "watch", wait, hopeless)


def _watch(settings: WatchSettings, gateway: Gateway, report: _Listener, observed: Observed | None) -> None:
    depth, poll = parse_depth(settings.confirmations), settings.poll
    store_of, keyring = stores(settings.store, gateway), Keyring.load(settings.reading_key)
    lookout = Lookout(gateway.connection, depth)
    if settings.witness:
        lookout.witness = Witness(settings.witness, gateway.connection, report)

    spend = TokenAmount(0)
    if settings.spend is not None:
        most = settings.spend
        spend = insist(
            lambda: most.within(gateway.money(gateway.registry.token())), "reading the stake token", "watch", report,
            HOPELESS,
        )  # fmt: skip

    def made(number: TaskId) -> Watcher:
        if number == settings.task:
            require_task(gateway, number)
        prove = gateway.sender is not None
        store = store_of(number).reading_with(keyring)
        watcher = Watcher(gateway, store, number, report, prove=prove, spend=spend, poll_seconds=poll, depth=depth)
        if observed is not None:
            watcher.looked = observed.looked
        return watcher

    def over(number: TaskId) -> None:
        if observed is not None:
            observed.left(number)

    task = None if settings.task is None else TaskId(settings.task)
    if not settings.once:
        whose = "every task, also those that come" if task is None else f"task {task}"
        does = "tells and proves" if gateway.sender is not None else "tells"
        report("watching", f"watching {whose}: {does} what is wrong, and is silent as long as nothing is")
    with Watch(gateway, lookout, made, task, poll_seconds=poll, over=over) as watch:
        while True:
            lag = 0.0 if settings.once else None
            insist(watch.meet, "looking for tasks", "watch", report, HOPELESS, lag_seconds=lag)
            ended = watch.look()
            if settings.once:
                report.looked(watch.seen)
            if ended or settings.once:
                return
            if observed is not None:
                observed.saw_chain()
            time.sleep(poll)
