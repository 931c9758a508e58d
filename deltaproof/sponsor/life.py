"""A sponsor's working life: create and fund a task, open rounds, show validation sets in time, take back the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from deltaproof.agent.loop import Agent, Duty, Moment
from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import TaskParams
from deltaproof.chain.admissions import AdmissionDesk
from deltaproof.chain.announced import announcement
from deltaproof.chain.contracts.pools import PAGE
from deltaproof.chain.participation import KnownTask, attempt, let_take, move_on, read_task, require_balance
from deltaproof.chain.rpc.blocks import Depth
from deltaproof.chain.rpc.connection import View
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.chain.seats import SeatWatch
from deltaproof.errors import ArtifactMissing, EncodingError, UsageError
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.commit.validation import ValidationSet
from deltaproof.protocol.terms.costs import round_cost
from deltaproof.protocol.terms.spec import RewardsSection
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.reporting import Once, Reporter, counted
from deltaproof.sponsor.drafts import PreparedTask
from deltaproof.sponsor.keeping import entered, keep_task, kept_validation, publish_task
from deltaproof.sponsor.penalties import penalties_paid
from deltaproof.store import ArtifactStore
from deltaproof.store.readers import Reader

__all__ = ["Sponsor", "check_funds", "cost_of_a_round", "create_task"]

PENALTY_SECONDS = 6.0
"""How long a new round waits for the penalties of the last one, if nobody applies them: nobody is to take part with a
stake that it lost."""
OPENING_GRACE_SECONDS = 20.0
"""How long a new round waits for more participants than it needs."""


def create_task(
    gateway: Gateway, prepared: PreparedTask, params: TaskParams, fund: TokenAmount, home: Path, stores: str = ""
) -> tuple[TaskId, Receipt]:
    """Keep everything at home, create and fund the task. `publish_task` comes next.

    Gateways among the `stores` are announced on chain, so that nobody has to be told where the artifacts are.

    Raises InsufficientFunds if the caller has less than `fund` of the reward token.
    """
    check_funds(gateway, params.token, fund, gateway.account)
    keep_task(home, prepared)
    if fund:
        let_take(gateway, params.token, gateway.vault.address, fund)
    return gateway.terms.create_task(params, prepared.spec.validation.commitments, fund, announcement(stores))


def check_funds(gateway: Gateway, token: Address, fund: TokenAmount, account: Address) -> None:
    """Raises InsufficientFunds if the account has less than `fund` of the reward token."""
    require_balance(gateway, token, account, fund, f"is to pay {gateway.money(token).exact(fund)}")


def cost_of_a_round(tables: Mapping[str, object]) -> int | None:
    """What a round of a draft sets aside, smallest units: the budget and the verifiers' fee on top; None where the
    draft does not say it well, which is told elsewhere."""
    rewards = tables.get("rewards")
    try:
        parsed = RewardsSection.model_validate_json(canonical_json(rewards))
    except (ValidationError, EncodingError):
        return None
    return round_cost(parsed)


class Sponsor(Agent):
    """The sponsor of one task."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        home: Path,
        report: Reporter,
        *,
        trainers: int | None = None,
        verifiers: int | None = None,
        poll_seconds: float = IDLE_POLL_SECONDS,
        depth: Depth | None = None,
    ) -> None:
        """Rounds open once `trainers` and `verifiers` take part; by default as many as the task needs. A later round
        goes on after a grace with half of them, and never with fewer than the task needs."""
        super().__init__(gateway, task_id, report, poll_seconds=poll_seconds, depth=depth)
        self.store, self.home = store, home
        terms = self._published_task(task_id)
        if terms.view.sponsor != gateway.account:
            raise UsageError(f"task {task_id} belongs to {terms.view.sponsor}, not to {gateway.account}")
        self.spec, self.shortest_phase = terms.spec, terms.view.params.phases.shortest
        needs = self.spec.verification
        self.trainers = needs.min_trainers if trainers is None else trainers
        self.verifiers = needs.min_verifiers if verifiers is None else verifiers
        self.seats = SeatWatch(gateway, task_id)
        self.store = entered(store, self.spec, home)
        # Its own key, too, so that every command reads with `--reading-key` and this home.
        own = Reader("the sponsor", (ReadingKey.of_home(HomeSecret.of(home), 0).public,))
        self.admissions = AdmissionDesk(gateway, self.store, task_id, self.spec, report, others=[own])
        self._once = Once(report)
        self._idle_since: float | None = None
        self._closed = False

    def _published_task(self, task_id: TaskId) -> KnownTask:
        """The task; published anew from the home if nothing is in the store."""
        try:
            return read_task(self.gateway, self.store, task_id)
        except ArtifactMissing:
            params = self.gateway.terms.params(task_id)
            publish_task(self.home, params.spec_hash, params.training.parameters, self.store)
            self.report("published", f"task {task_id}: spec and starting adapter published", task=task_id)
            return read_task(self.gateway, self.store, task_id)

    def join(self) -> None:
        """A sponsor takes part since it created the task."""

    def views(self) -> list[View]:
        """What every block is asked: see `Agent.views`; between rounds also who takes part."""
        asked = super().views()
        if self._known is None or self._known.view.phase == Phase.IDLE:
            for pool, what in ((self.gateway.trainers, "trainer"), (self.gateway.verifiers, "verifier")):
                asked.append(pool.view(f"{what}Count", self.task_id))
                asked.append(pool.view(f"{what}sOf", self.task_id, 0, PAGE))
        elif last := self._known.view.round:
            asked.append(self.gateway.tasks.view("roundOf", self.task_id, last))
        return asked

    def duties(self) -> Sequence[Duty]:
        """What a sponsor minds."""

        def at_stake(moment: Moment) -> str:
            return "the scores of this round: it would pay in equal parts" if moment.view.phase == Phase.OPENING else ""

        return [
            Duty("admissions", lambda moment: self.admissions.mind()),
            Duty("round", self.play, at_stake),
            Duty("advance", self.advance),
            Duty("closing", self.close),
        ]

    def play(self, moment: Moment) -> None:
        """What the phase asks for."""
        if moment.view.phase != Phase.IDLE:
            self._idle_since = None
        if moment.ended:
            return
        match moment.view.phase:
            case Phase.IDLE:
                self.open_round(RoundIndex(moment.view.round + 1))
            case Phase.OPENING:
                self.reveal(moment.view.round)

    def advance(self, moment: Moment) -> None:
        """Move the task on when a phase is over."""
        move_on(self.gateway, self.task_id, moment.view, overdue=moment.overdue, now=moment.now)

    def close(self, moment: Moment) -> None:
        """When the task has ended: show the test set, take back the rest."""
        if moment.ended and not self._closed:
            self.finish()
            self._closed = True

    def finished(self, moment: Moment) -> bool:
        """Whether the task has ended and the rest is back."""
        return self._closed

    def open_round(self, round_: RoundIndex) -> None:
        """Open the next round when everybody expected is there."""
        self._idle_since = self._idle_since or time.monotonic()
        waited = time.monotonic() - self._idle_since
        trainers, verifiers = self._active_trainers(round_), self._active_verifiers(round_)
        needs = self.spec.verification
        ready = trainers >= self.trainers and verifiers >= self.verifiers and self._settled(round_, waited)
        late = round_ > 1 and waited > OPENING_GRACE_SECONDS
        few = max(needs.min_trainers, -(-self.trainers // 2)), max(needs.min_verifiers, -(-self.verifiers // 2))
        enough = late and trainers >= few[0] and verifiers >= few[1]
        if (ready or enough) and self._well_judged(round_) and self._kept(round_ - 1, "not opened") is not None:
            if attempt(self.gateway.tasks.open_round, self.task_id) is not None:
                self.report("round", f"round {round_} opened", round=round_)
        elif not (ready or enough):
            here = (
                f"{trainers} of {counted(self.trainers, 'trainer')}, {verifiers} of "
                f"{counted(self.verifiers, 'verifier')}"
            )
            least = f"{few[0]} and {few[1]} are enough after {OPENING_GRACE_SECONDS:.0f} s"
            line = f"round {round_} waits for participants: {here}{f'; {least}' if round_ > 1 else ''}"
            self._once("waiting", line, round=round_, trainers=trainers, verifiers=verifiers)

    def reveal(self, round_: RoundIndex) -> None:
        """Show the round's validation set, now that nobody can choose any more whether to reveal."""
        if self.gateway.tasks.round(self.task_id, round_).validation_revealed:
            return
        kept = self._kept(round_ - 1, "not scored")
        if kept is None:
            return
        rows, salt = kept
        # The store first: a set that only the chain knows pays trainers less than one that nobody has shown.
        self.store.put_validation(rows, salt)
        if attempt(self.gateway.tasks.reveal_validation, self.task_id, rows.digest(), salt) is not None:
            self.report("validation", f"round {round_}: validation set shown", round=round_)

    def finish(self) -> None:
        """Show the final test set and withdraw what was not earned."""
        rounds = self.spec.rewards.rounds
        last = self.gateway.tasks.phase(self.task_id).round == rounds
        if last and (kept := self._kept(rounds, "not tested")) is not None:
            rows, salt = kept
            self.store.put_validation(rows, salt)
            attempt(self.gateway.tasks.reveal_held_out, self.task_id, rows.digest(), salt)
            self.report("held-out", "test set shown")
        balance = self.gateway.vault.account(self.task_id).balance
        if balance:
            self.gateway.vault.withdraw(self.task_id)
            text = self.gateway.money(self.gateway.vault.account(self.task_id).token).text(balance)
            self.report("withdrawn", f"took back {text} that was not earned", amount=str(balance))

    def _kept(self, index: int, lost: str) -> tuple[ValidationSet, Digest32] | None:
        """A hidden set by its place in the spec; None, and told once, if the home has lost it: that costs what it is
        for, and nothing else. A round without its set would be paid for in equal parts."""
        try:
            return kept_validation(self.home, self.spec, index)
        except UsageError as error:
            which = f"round {index + 1}" if index < self.spec.rewards.rounds else "the last adapter"
            self._once("lost", f"{which} is {lost}: {error}")
            return None

    def _well_judged(self, round_: RoundIndex) -> bool:
        """Whether who would judge the round weighs at least half of what verifiers have enrolled. Tells why not."""
        now = self.gateway.connection.read_block.timestamp
        seats = self.seats.too_few(round_, now, now)
        if seats is not None:
            text = seats.text(self.gateway.money(self.gateway.registry.token()))
            self._once("waiting", f"round {round_} waits for verifiers: {text}", round=round_)
        return seats is None

    def _settled(self, round_: RoundIndex, waited: float) -> bool:
        """Whether nothing of the round before has to be waited for."""
        if round_ == 1 or waited > PENALTY_SECONDS:
            return True
        return penalties_paid(self.gateway, self.store, self.task_id, RoundIndex(round_ - 1))

    def _active_trainers(self, round_: RoundIndex) -> int:
        enrolments = self.gateway.trainers.enrolments(self.task_id).values()
        return sum(e.active_from <= round_ <= e.active_until for e in enrolments)

    def _active_verifiers(self, round_: RoundIndex) -> int:
        return sum(e.in_quorum(round_) for e in self.gateway.verifiers.enrolments(self.task_id).values())
