"""Working lives: a sponsor, a trainer or a verifier with its key, ready to begin; the commands `... run` are these."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Self

from deltaproof.agent.loop import Agent
from deltaproof.agent.policy import load_policy
from deltaproof.api.connecting import parse_depth, task_store
from deltaproof.api.living import Between, Settings, live_by_choice
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.contracts.money import Amount
from deltaproof.chain.free_share import FREE_SHARE, free_share_of
from deltaproof.disputing.jury import votes_between_tasks
from deltaproof.errors import UsageError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.rows import distinct_rows
from deltaproof.protocol.types import TaskId, TokenAmount
from deltaproof.reporting import Reporter
from deltaproof.sponsor.life import Sponsor
from deltaproof.tuning.numerics.machine import HERE, Machine
from trainer.conduct import Honest
from trainer.life import Trainer
from verifier.life import Verifier

__all__ = ["WorkingLife", "quiet", "sponsor_life", "trainer_life", "verifier_life"]

Stake = Callable[[Gateway], TokenAmount | None]


def quiet(event: str, message: str, **fields: object) -> None:
    """A reporter that tells nobody."""


class WorkingLife:
    """A role that is ready to begin. `run` it here, or `start` it beside other work."""

    def __init__(
        self,
        settings: Settings,
        store: str,
        role: Role,
        make: Callable[[Gateway, TaskId, Reporter], Agent],
        stake: Stake = lambda gateway: None,
        between: Between = lambda gateway, report: lambda now: None,
    ) -> None:
        self.settings = settings
        self._store, self._role, self._make, self._stake, self._between = store, role, make, stake, between
        self._agents: list[Agent] = []
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def run(self, report: Reporter = quiet) -> None:
        """Live until nothing is left to do, and wait out every outage. `report` hears of each event, as `--json`
        prints it.

        Raises UsageError where settings make no sense, and what no waiting mends: SpecError, SigningKeyError,
        TaskRefused, InsufficientFunds.
        """
        live_by_choice(
            self.settings, report, self._made, role=self._role, store=self._store, stake=self._stake,
            between=self._between,
        )  # fmt: skip

    def start(self, report: Reporter = quiet) -> Self:
        """The same in a thread of this process, which does not keep the process alive.

        Several lives in one process share its processor and its threads of torch; each computes the same bits as
        alone.
        """
        if self._thread is not None:
            raise UsageError("this life has begun already")
        self._thread = threading.Thread(target=self._guarded, args=(report,), daemon=True)
        self._thread.start()
        return self

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for a started life to end; whether it has. Raises what ended it before its time."""
        if self._thread is None:
            raise UsageError("this life has not begun: call start() first")
        self._thread.join(timeout_seconds)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Let it end after what it does now. What it owes stays owed: another life from the same home goes on."""
        self._stopping = True
        for agent in self._agents:
            agent.end()

    def _made(self, gateway: Gateway, task: TaskId, report: Reporter) -> Agent:
        agent = self._make(gateway, task, report)
        self._agents.append(agent)
        if self._stopping:
            agent.end()
        return agent

    def _guarded(self, report: Reporter) -> None:
        try:
            self.run(report)
        except BaseException as error:
            self._error = error


def sponsor_life(
    settings: Settings, store: str, *, trainers: int | None = None, verifiers: int | None = None
) -> WorkingLife:
    """Opens a round once so many trainers and verifiers take part, by default as many as the task needs; shows each
    hidden set in time; takes the rest back."""
    depth = parse_depth(settings.confirmations)
    return WorkingLife(
        settings,
        store,
        Role.CHALLENGER,  # unused: a sponsor stakes nothing, and has one task
        lambda gateway, number, report: Sponsor(
            gateway, task_store(store, gateway, number, report), number, settings.home, report,
            trainers=trainers, verifiers=verifiers, poll_seconds=settings.poll, depth=depth,
        ),
    )  # fmt: skip


def trainer_life(
    settings: Settings,
    store: str,
    rows: Sequence[bytes],
    *,
    device: str = "cpu",
    top_up: bool = False,
    checkpointing: bool = False,
    relay: str = "",
    any_quorum: bool = False,
) -> WorkingLife:
    """Trains every round on these rows (canonical, see `deltaproof.protocol.evidence.rows`). `relay`: URL of who
    brings commitments and reveals for free. `any_quorum`: also where verifiers of little stake judge."""
    depth, shard = parse_depth(settings.confirmations), distinct_rows(rows)
    return WorkingLife(
        settings,
        store,
        Role.TRAINER,
        lambda gateway, number, report: Trainer(
            gateway, task_store(store, gateway, number, report), number, shard, settings.home, Honest(), report,
            top_up=top_up, checkpointing=checkpointing, device=device, relay=relay, any_quorum=any_quorum,
            poll_seconds=settings.poll, depth=depth,
        ),
    )  # fmt: skip


def verifier_life(
    settings: Settings,
    store: str,
    *,
    stake: Amount | None = None,
    free_share: float | None = None,
    top_up: bool = False,
    machine: Machine = HERE,
) -> WorkingLife:
    """Verifies every round. `stake`: locked in each task; by default the minimum. `free_share`: of its stake, what it
    keeps free of tasks, where no policy says it. `top_up`: fill a stake up from the wallet that a penalty reduced.

    Raises UsageError if a policy says it, too.
    """
    depth, share = parse_depth(settings.confirmations), _kept_free(settings, free_share)

    def locked(gateway: Gateway) -> TokenAmount | None:
        if stake is None:
            return None
        return stake.positive(gateway.money(gateway.registry.token()))

    return WorkingLife(
        settings,
        store,
        Role.VERIFIER,
        lambda gateway, number, report: Verifier(
            gateway, task_store(store, gateway, number, report), number, settings.home, report,
            stake=locked(gateway), free_share=share, top_up=top_up,
            poll_seconds=settings.poll, depth=depth, machine=machine,
        ),
        locked,
        lambda gateway, report: votes_between_tasks(gateway, HomeSecret.of(settings.home), report),
    )  # fmt: skip


def _kept_free(settings: Settings, asked: float | None) -> Fraction:
    if settings.policy is None or settings.task is not None:
        return FREE_SHARE if asked is None else free_share_of(asked)
    if asked is not None:
        raise UsageError("--free-share is said by the policy here: [stake] free_share")
    return load_policy(settings.policy).kept_free(Role.VERIFIER)
