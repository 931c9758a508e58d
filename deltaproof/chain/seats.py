"""Whether a round's verifiers weigh enough: at least half of all stake that verifiers have enrolled in the task.

Attack: be seated alone, while the others' stake still waits for its first day or was put out for a missed round, and
open a round that one then settles alone. So trainers do not work in such a round, and sponsors do not open it.

Attack on that rule: lock a large stake that never takes a seat, so that trainers stay away. It is counted only while it
waits, as long as its wait lasts, and all waiting stake together for no longer than two waits at a stretch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deltaproof.chain.abi.structs import FOREVER, VerifierEnrolment
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.contracts.money import Money
from deltaproof.protocol.types import RoundIndex, TaskId, TokenAmount

__all__ = ["SeatWatch", "Seats", "weigh"]

GRACE_SECONDS = 3_600
"""How long after its wait stake may take its seat and still counts as waiting."""


@dataclass(frozen=True)
class Seats:
    """Stake of verifiers in a task, smallest units."""

    seated: TokenAmount
    """Weight of the round's verifiers."""
    outside: TokenAmount
    """What waits for a seat, or lost it for the last round that it missed."""

    @property
    def too_few(self) -> bool:
        """Whether those who are seated are less than half."""
        return self.seated < self.outside

    def text(self, money: Money) -> str:
        """For people."""
        whole = TokenAmount(self.seated + self.outside)
        return (
            f"its verifiers weigh {money.text(self.seated)} of {money.text(whole)} that are enrolled, less than half: "
            "they could settle it as they like while the others' stake waits for its seat"
        )


def weigh(verifiers: Iterable[VerifierEnrolment], round_: RoundIndex, wait: int, now: int, opened_at: int) -> Seats:
    """The stake in and beside the quorum of a round that was opened, or is to be, at `opened_at`; times by the chain.

    `wait`: seconds that stake waits for its seat. What enrolled after the opening says nothing about who was seated.
    """
    seated = outside = 0
    for verifier in verifiers:
        came_late = verifier.active_at > opened_at + wait
        if verifier.in_quorum(round_):
            seated += verifier.weight
        elif _missed_the_last(verifier, round_) or (_waits(verifier, wait, now) and not came_late):
            outside += verifier.stake
    return Seats(TokenAmount(seated), TokenAmount(outside))


def _missed_the_last(verifier: VerifierEnrolment, round_: RoundIndex) -> bool:
    """Whether it was charged in the round before, and lost its seat for that."""
    if not verifier.takes_part:
        return False
    until = verifier.active_until if verifier.active_from else verifier.prior_until
    return until + 1 == round_ and (verifier.misses > 0 or verifier.stake < verifier.weight)


def _waits(verifier: VerifierEnrolment, wait: int, now: int) -> bool:
    """Whether it waits for a seat, or has just taken one of a later round."""
    if verifier.active_from:
        return verifier.active_until == FOREVER
    return verifier.takes_part and now <= verifier.active_at + min(wait, GRACE_SECONDS)


class SeatWatch:
    """Looks at the seats of one task, and remembers since when they are too few."""

    def __init__(self, gateway: Gateway, task_id: TaskId) -> None:
        self._gateway, self._task_id = gateway, task_id
        self._since: int | None = None

    def too_few(self, round_: RoundIndex, now: int, opened_at: int) -> Seats | None:
        """The seats of a round if they are too few to judge it, and waiting may mend that: see `weigh`."""
        wait = self._gateway.terms.params(self._task_id).phases.activation
        enrolled = self._gateway.verifiers.enrolments(self._task_id).values()
        seats = weigh(enrolled, round_, wait, now, opened_at)
        if not seats.too_few:
            self._since = None
            return None
        self._since = now if self._since is None else self._since
        return seats if now <= self._since + 2 * wait else None
