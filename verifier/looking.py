"""Looking again for what was missing: a store that lags makes nobody's work withheld."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32
from deltaproof.replaying.judging import Judgement, Submission

__all__ = ["SecondLook"]


class SecondLook:
    """What was judged of a case stays judged; what was missing is judged anew each time."""

    def __init__(self) -> None:
        self._case = ZERO_DIGEST
        self._judged: dict[Address, Judgement] = {}

    def judged(
        self, case: Digest32, submissions: Sequence[Submission], judge: Callable[[Submission], Judgement]
    ) -> list[Judgement]:
        """One judgement for each submission of a case, in order. Raises what `judge` raises; the next call goes on."""
        if case != self._case:
            self._case, self._judged = case, {}
        for submission in submissions:
            known = self._judged.get(submission.trainer)
            if known is None or known.finding.verdict is Verdict.WITHHELD:
                self._judged[submission.trainer] = judge(submission)
        return [self._judged[submission.trainer] for submission in submissions]

    @staticmethod
    def missing(judgements: Sequence[Judgement]) -> bool:
        """Whether something was not there to be judged."""
        return any(judgement.finding.verdict is Verdict.WITHHELD for judgement in judgements)
