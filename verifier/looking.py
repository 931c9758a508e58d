"""Looking again for what was missing: a store that lags makes nobody's work withheld."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, Digest32
from deltaproof.replaying.judging import Judgement, Submission
from deltaproof.tuning.training.step import DrawnRound

__all__ = ["Basis", "EarlyLook", "SecondLook"]


@dataclass(frozen=True)
class Basis:
    """All that a judgement depends on besides the store, whose artifacts are named by their content."""

    round: DrawnRound
    submission: Submission
    steps: tuple[int, ...]
    """That are replayed."""
    shown: tuple[int, ...]
    """That anybody replays."""


@dataclass(frozen=True)
class EarlyLook:
    """At what is opened while others still open; `opened` is how many had when it began."""

    seed: Digest32
    """The challenge's."""
    opened: int
    work: Callable[[], bool]

    @property
    def key(self) -> tuple[str, Digest32, int]:
        """As `Heavy` tells work apart."""
        return ("early", self.seed, self.opened)


class SecondLook:
    """What was judged stays judged while its basis is the same; what was missing is judged anew each time."""

    def __init__(self) -> None:
        self._judged: dict[Address, tuple[Basis, Judgement]] = {}

    def judged(self, wanted: Sequence[Basis], judge: Callable[[Basis], Judgement]) -> list[Judgement]:
        """One judgement for each basis, in order. Raises what `judge` raises; the next call goes on."""
        rounds = {basis.round for basis in wanted}
        self._judged = {trainer: known for trainer, known in self._judged.items() if known[0].round in rounds}
        for basis in wanted:
            known = self._judged.get(basis.submission.trainer)
            if known is None or known[0] != basis or known[1].finding.verdict is Verdict.WITHHELD:
                self._judged[basis.submission.trainer] = basis, judge(basis)
        return [self._judged[basis.submission.trainer][1] for basis in wanted]

    @staticmethod
    def missing(judgements: Sequence[Judgement]) -> bool:
        """Whether something was not there to be judged."""
        return any(judgement.finding.verdict is Verdict.WITHHELD for judgement in judgements)
