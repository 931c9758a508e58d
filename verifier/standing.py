"""A verifier's place in a task's quorum: taken when its stake has waited, and again after an absence or a slash.

Attack: give a verifier more work than fits into its phase, and charge it round after round while it fills its stake up
from its owner's wallet; the charge doubles each time, and a part of it is the sponsor's friend's. So nothing leaves the
wallet without consent, and who was too slow once does not come back by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.participation import attempt, lock_stake
from deltaproof.errors import TaskRefused
from deltaproof.protocol.draws.committees import drawn_share
from deltaproof.protocol.outcome.reads import judging_seconds
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import RoundIndex, TaskId, TokenAmount, address
from deltaproof.replaying.doctor import longest_rows, speed_of
from deltaproof.reporting import Once, Reporter, counted, span
from verifier.examining import Examiner
from verifier.seat import take_seat

__all__ = ["SeatDesk", "check_pace"]

ROWS = 8
"""On which an evaluation is timed."""


class SeatDesk:
    """One verifier in one task."""

    def __init__(
        self, gateway: Gateway, task_id: TaskId, least: TokenAmount, report: Reporter, *, top_up: bool
    ) -> None:
        """`least`: the task's smallest stake. `top_up`: consent to fill it up from the wallet, and to come back also
        after a round that was too much work."""
        self._gateway, self._task_id, self._least, self._top_up = gateway, task_id, least, top_up
        self._report, self._once = report, Once(report)
        self._too_slow: set[RoundIndex] = set()

    def was_too_slow(self, round_: RoundIndex) -> None:
        """Remember, and tell once, that judging a round took longer than its phase."""
        self._too_slow.add(round_)
        self._once("late", f"round {round_}: judging took longer than the phase", round=round_)

    def keep(self, closed: Collection[RoundIndex]) -> None:
        """Take a seat that is due; come back after a round, one of the `closed`, in which this verifier was stopped.

        Raises what `lock_stake` raises.
        """
        verifier = self._gateway.verifiers.enrolment(self._task_id, self._gateway.account)
        if verifier.active_at and not verifier.active_from:
            if verifier.active_at <= self._gateway.connection.block()["timestamp"]:
                take_seat(self._gateway, self._task_id, self._once)
        elif verifier.active_at and verifier.active_until in closed:
            missing = TokenAmount(max(self._least - verifier.stake, 0))
            if self._top_up or not self._stays_out(verifier.active_until, missing):
                lock_stake(self._gateway, Role.VERIFIER, missing)
                if attempt(self._gateway.verifiers.rejoin, self._task_id, missing) is not None:
                    self._report("rejoined", "came back into the quorum after being stopped")

    def _stays_out(self, stopped_in: RoundIndex, missing: TokenAmount) -> bool:
        """Whether coming back needs its owner's consent. Tells once why, and what to do."""
        money = self._gateway.money(self._gateway.registry.token())
        free = self._gateway.registry.stake_of(self._gateway.account, Role.VERIFIER).free
        if stopped_in in self._too_slow:
            self._once("stopped", f"round {stopped_in} was more work than this machine does in its phase; it stays out "
                       "of the quorum. More --workers or a GPU and a restart bring it back, --top-up does as it is; "
                       "`deltaproof stake leave` leaves the task")  # fmt: skip
            return True
        if missing > free:
            lacking = TokenAmount(missing - free)
            self._once("stopped", f"the stake lacks {money.text(lacking)} of the minimum after round {stopped_in}, "
                       "and nothing is taken from the wallet: --top-up does, or deltaproof stake deposit "
                       f"{money.exact(lacking)} --role verifier")  # fmt: skip
            return True
        return False


def check_pace(
    gateway: Gateway,
    task_id: TaskId,
    examiner: Examiner,
    report: Reporter,
    *,
    top_up: bool,
    stake: int = 0,
) -> None:
    """Time a replay and an evaluation, and say whether a round's work fits into the phase for it.

    `stake`: what is to weigh in the quorum; whose is large is drawn for more committees than others. Raises
    TaskRefused if it does not, unless `top_up` says to risk it.
    """
    spec, workers = examiner.spec, examiner.judges.machine.workers
    judge = examiner.judges.one()
    speed = speed_of(judge, examiner.scoring_bench, spec, longest_rows(judge.reference.spec, ROWS))
    round_ = RoundIndex(gateway.tasks.phase(task_id).round + 1)
    enrolled = gateway.trainers.enrolments(task_id).values()
    trainers = max(sum(e.active_from <= round_ <= e.active_until for e in enrolled), spec.verification.min_trainers)
    # A late opening leaves no more of the phase.
    share = _drawn_share(gateway, task_id, spec, stake)
    seconds, limit = speed.verifying(spec, trainers, workers, share), judging_seconds(spec)
    work = (
        f"checking the work of {counted(trainers, 'trainer')} takes about {span(int(seconds) + 1)} here, with "
        f"{counted(workers, 'worker')}"
    )
    report("pace", f"{work}; its phase leaves {span(limit)} for it", seconds=int(seconds) + 1, phase_seconds=limit)
    if seconds > limit and not top_up:
        raise TaskRefused(
            f"{work}, and its phase leaves {span(limit)} for it: each round would be missed and charged. More "
            "--workers or a GPU (--device) would help, `deltaproof doctor` measures more; --top-up joins all the same"
        )


def _drawn_share(gateway: Gateway, task_id: TaskId, spec: TaskSpec, stake: int) -> Fraction:
    """Of how many committees somebody with this stake is a member, beside those who verify the task now, and as many
    with the least stake as lack of the fewest that a round has.

    Attack: none is needed. Who brings ten times the stake of the others replays nearly everybody, is late, and has
    everybody else replay what it did not report.
    """
    terms, account = spec.verification, gateway.account
    stakes = {verifier: int(one.stake) for verifier, one in gateway.verifiers.enrolments(task_id).items() if one.stake}
    stakes[account] = stake
    for number in range(terms.min_verifiers - len(stakes)):
        stakes[address(number.to_bytes(20, "big"))] = int(terms.min_verifier_stake)
    if not stake or not 0 < terms.committee < len(stakes):
        return Fraction(0)
    return drawn_share(stakes, account, terms.committee)
