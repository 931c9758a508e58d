"""Which of several cases in dispute a juror judges first: its own task's, then the one with the least to replay for the
stake that signed (Smith 1956: weighted completion times are least in this order).

Attack: bring cases about tasks of one's own beside the one that counts. Work that is given up begins again with the
trainer in hand, so a juror that does a little for each case in turn has no opinion on any; and one that takes them as
they come is busy with a long one until all votes are due. So one case is judged at a time, and a decoy delays a case
only by less than that takes itself.
"""

from __future__ import annotations

from fractions import Fraction

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Case
from deltaproof.protocol.draws.samples import replayed_steps
from deltaproof.protocol.types import Digest32, TaskId

__all__ = ["Docket"]

Place = tuple[bool, int, Fraction, Digest32]
"""Sorts who goes first to the front."""


class Docket:
    """The order of the cases that wait for an opinion of one verifier, and the one whose work is in hand."""

    def __init__(self, gateway: Gateway, task_id: TaskId) -> None:
        """`task_id` is the verifier's own."""
        self._gateway, self._own = gateway, task_id
        self._replays: dict[Digest32, int] = {}
        self._in_hand: tuple[Place, Digest32] | None = None
        self._asked: set[Digest32] = set()
        self._asked_before: set[Digest32] = set()

    def look(self) -> None:
        """All cases are gone through once more: what nobody asks about any more keeps none waiting."""
        self._asked, self._asked_before = set(), self._asked

    def asked(self, case: Case) -> None:
        """An opinion on this case is waited for."""
        self._asked.add(case.settlement)

    def begun(self, case: Case, failures: int) -> None:
        """The work of this case is in hand now."""
        self._in_hand = self._place(case, failures), case.settlement

    def in_hand(self) -> Digest32 | None:
        """The settlement whose work was begun last, as long as an opinion on it is waited for."""
        if self._in_hand is None or self._in_hand[1] not in self._asked | self._asked_before:
            return None
        return self._in_hand[1]

    def waits(self, case: Case, failures: int) -> bool:
        """Whether a case leaves the work in hand alone. One that goes before it takes over, and is not taken from: the
        order is the same for all."""
        return self._in_hand is not None and self._in_hand[0] <= self._place(case, failures)

    def _place(self, case: Case, failures: int) -> Place:
        """`failures`: how often judging it failed. Attack: a short case that fails at its end, again and again."""
        by_stake = Fraction(self._replays_of(case), max(case.quorum_weight, 1))
        return (case.task_id != self._own, failures, by_stake, case.settlement)

    def _replays_of(self, case: Case) -> int:
        """How many steps have to be replayed, by what the chain says. Raises ChainError."""
        if case.settlement not in self._replays:
            revealed = self._gateway.trainers.progress(case.task_id).revealed
            terms = self._gateway.terms.params(case.task_id).training
            self._replays[case.settlement] = revealed * replayed_steps(terms.steps, terms.samples)
        return self._replays[case.settlement]
