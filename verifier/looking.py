"""Looking again for what was missing: a store that lags makes nobody's work withheld."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from deltaproof.protocol.outcome.attestation import CheckRecord
from deltaproof.protocol.outcome.reads import DELTA
from deltaproof.protocol.outcome.reports import COMMITTEE, taken_over
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, Digest32
from deltaproof.replaying.judging import Judgement, Submission
from deltaproof.tuning.training.step import DrawnRound
from verifier.hindsight import Receipts

__all__ = ["UNHEARD", "Basis", "EarlyLook", "SecondLook", "Word"]


@dataclass(frozen=True)
class Word:
    """What a committee says of a trainer whom it replayed, and what each member who says so had read."""

    record: CheckRecord
    receipts: tuple[Receipts, ...]

    def is_about(self, read: Mapping[int, Digest32]) -> bool:
        """Whether all of them had read just these bytes, named by their SHA-256 by step."""
        return all(receipts.hold(read) for receipts in self.receipts)


UNHEARD = Word(CheckRecord(step=DELTA, check=COMMITTEE, passed=True, measured=0.0, message="not heard yet"), ())
"""Stands for a word that may come, while what it would be about is read. Nobody attests it."""


@dataclass(frozen=True)
class Basis:
    """All that a judgement depends on besides the store, whose artifacts are named by their content."""

    round: DrawnRound
    submission: Submission
    steps: tuple[int, ...]
    """That are replayed, or with a `word` read."""
    word: Word | None = None

    def judges_as(self, other: Basis) -> bool:
        """Whether both lead to the same judgement, as long as every reader can read."""
        readers = other.submission.readers
        return replace(self, submission=replace(self.submission, readers=readers)) == other


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

    def __init__(self, readable: Callable[[Basis], bool]) -> None:
        """`readable`: whether everybody can read a submission who has to be able to. Raises StoreUnavailable."""
        self._readable = readable
        self._judged: dict[Address, tuple[Basis, Judgement]] = {}

    def judged(self, wanted: Sequence[Basis], judge: Callable[[Basis], Judgement]) -> list[Judgement]:
        """One judgement for each basis, in order. Raises what `judge` raises; the next call goes on."""
        rounds = {basis.round for basis in wanted}
        self._judged = {trainer: known for trainer, known in self._judged.items() if known[0].round in rounds}
        for basis in wanted:
            known = self._judged.get(basis.submission.trainer)
            if known is None or not self._stands(*known, basis):
                judgement = judge(basis)
            elif known[0].word is None or basis.word is None:
                judgement = known[1]
            else:
                judgement = _with_word(known[1], basis.word)
            own = not taken_over(judgement.finding)
            self._judged[basis.submission.trainer] = replace(basis, word=None) if own else basis, judgement
        return [self._judged[basis.submission.trainer][1] for basis in wanted]

    def _stands(self, known: Basis, judgement: Judgement, basis: Basis) -> bool:
        """Whether a judgement holds for another basis, too.

        Attack: rotate a reading key late in the phase, so that all verifiers replay the whole round once more. A new
        key costs no replay, only a look at who can read. What was replayed here stands whatever a committee says, and
        what was read for its word is not read again when that comes.
        """
        if judgement.finding.verdict is Verdict.WITHHELD:
            return False
        if known.word is None:
            known = replace(known, word=basis.word)
        elif basis.word != known.word:
            if basis.word is None or judgement.theta is None or not basis.word.is_about(judgement.read):
                return False
            known = replace(known, word=basis.word)
        return known == basis or (known.judges_as(basis) and self._readable(basis))

    def replayed(self, trainer: Address, transcript_root: Digest32) -> bool | None:
        """Whether a transcript was replayed here and accepted; None if it was not judged yet."""
        basis, judgement = self._judged.get(trainer, (None, None))
        if basis is None or judgement is None or basis.submission.transcript_root != transcript_root:
            return None
        return basis.word is None and judgement.finding.verdict is Verdict.ACCEPTED

    @staticmethod
    def missing(judgements: Sequence[Judgement]) -> bool:
        """Whether something was not there to be judged."""
        return any(judgement.finding.verdict is Verdict.WITHHELD for judgement in judgements)


def _with_word(judgement: Judgement, word: Word) -> Judgement:
    """What was read of accepted work, with the word that has come since."""
    if judgement.theta is None:
        return judgement
    return replace(judgement, finding=judgement.finding.model_copy(update={"checks": (word.record,)}))
