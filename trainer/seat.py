"""A trainer's seat in its task: what has to be so before it stakes, works or fills its stake up; when it has left."""

from __future__ import annotations

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import FOREVER, TaskParams, TrainerEnrolment
from deltaproof.chain.contracts.money import Money
from deltaproof.chain.participation import attempt, lock_stake
from deltaproof.chain.room import make_room
from deltaproof.chain.seats import SeatWatch
from deltaproof.errors import ChainError
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount
from deltaproof.reporting import Once, Reporter, counted

__all__ = ["TrainerSeat"]


class TrainerSeat:
    """One account's seat among the trainers of one task, as the chain has it at each look."""

    def __init__(
        self,
        gateway: Gateway,
        task_id: TaskId,
        account: Address,
        params: TaskParams,
        stake_money: Money,
        report: Reporter,
        *,
        any_quorum: bool,
    ) -> None:
        """With `any_quorum` it works also where verifiers of less than half of the enrolled stake judge."""
        self._gateway, self._task_id, self._account = gateway, task_id, account
        self._params, self._stake_money, self._report = params, stake_money, report
        self._any_quorum, self._once = any_quorum, Once(report)
        self._watch = SeatWatch(gateway, task_id)
        self._judged: dict[RoundIndex, bool] = {}
        """Whether enough stake judges a round, by round."""

    @property
    def enrolment(self) -> TrainerEnrolment:
        """On chain; its index is 0 before the account has enrolled."""
        return self._gateway.trainers.enrolment(self._task_id, self._account)

    def require_judges(self) -> None:
        """Raises ChainError while a round that opened now would be judged by too little of the enrolled stake."""
        now, round_ = self._gateway.connection.read_block.timestamp, self._gateway.tasks.phase(self._task_id).round
        seats = None if self._any_quorum else self._watch.too_few(RoundIndex(round_ + 1), now, now)
        if seats is not None:
            raise ChainError(
                f"if a round of task {self._task_id} opened now, {seats.text(self._stake_money)}; nothing is staked "
                "before that has changed, or with --any-quorum"
            )

    def require_room(self) -> None:
        """Raises ChainError while as many trainers work in the task as it takes."""
        most = self._params.quorum.max_trainers
        if not make_room(self._gateway, self._task_id, most):
            raise ChainError(
                f"task {self._task_id} is full: {counted(most, 'trainer takes', 'trainers take')} part, and all "
                f"work. The seat of the first "
                "that misses two rounds, or its first, is taken"
            )

    def is_well_judged(self, round_: RoundIndex) -> bool:
        """Whether the round's verifiers weigh enough, looked at once. Tells what to do if they do not."""
        if round_ not in self._judged:
            now = self._gateway.connection.read_block.timestamp
            deadline = self._gateway.tasks.phase(self._task_id).deadline
            opened_at = deadline - self._params.phases.commit
            seats = None if self._any_quorum else self._watch.too_few(round_, now, opened_at)
            self._judged[round_] = seats is None
            if seats is not None:
                text = seats.text(self._stake_money)
                message = f"round {round_}: not taken part in: {text}. The next round is looked at anew; --any-quorum "
                self._once("skipped", message + "works for whoever judges", round=round_)
        return self._judged[round_]

    def may_act(self, round_: RoundIndex) -> bool:
        """Whether this trainer takes part in a round."""
        enrolment = self.enrolment
        return enrolment.active_from <= round_ <= enrolment.active_until

    def may_commit(self) -> bool:
        """Whether the running round still takes this trainer's work. Attack: free its seat while it trains: one that is
        taken at once counts from the next round on."""
        now = self._gateway.tasks.phase(self._task_id)
        waits = now.phase in (Phase.DRAW, Phase.COMMIT) and self.may_act(now.round)
        return waits and not self._gateway.trainers.has_committed(self._task_id, now.round, self._account)

    def has_stopped(self) -> bool:
        """Whether it takes no part in later rounds: too little stake, or it gave its seat up or lost it."""
        enrolment = self.enrolment
        return enrolment.stake < self._params.stakes.trainer_stake or enrolment.active_until != FOREVER

    def has_left(self) -> bool:
        """Whether it gave its seat up by itself: nobody else can take it from one that worked in the round before."""
        mine = self.enrolment
        if mine.stake < self._params.stakes.trainer_stake or mine.active_until == FOREVER:
            return False
        last = RoundIndex(max(mine.active_from, mine.active_until - 1))
        return last > mine.active_until or self._gateway.trainers.has_committed(self._task_id, last, self._account)

    def take_again(self) -> None:
        """Fill a stake up that a penalty has reduced, and take a seat again that was lost; not one that was left."""
        if self.has_stopped() and not self.has_left() and not self.may_commit():
            self.require_room()
            missing = TokenAmount(self._params.stakes.trainer_stake - self.enrolment.stake)
            lock_stake(self._gateway, Role.TRAINER, missing)
            if attempt(self._gateway.trainers.top_up, self._task_id) is not None:
                self._report("topped-up", "takes part again")
