"""How long a round's work takes on a machine, from the seconds of one step, one replay and one evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from deltaproof.protocol.draws.samples import replayed_steps
from deltaproof.protocol.rules import COMMITTEE_ROOM
from deltaproof.protocol.terms.estimators import evaluations_spent
from deltaproof.protocol.terms.spec import TaskSpec

__all__ = ["Speed", "evaluations_of", "replayed_trainers", "replays_of"]


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step, of a replay, and of one coalition on a whole validation set."""

    step: float
    replay: float
    evaluation: float

    def training(self, spec: TaskSpec) -> float:
        """Seconds of a trainer's round."""
        return spec.training.steps * self.step

    def verifying(self, spec: TaskSpec, trainers: int, workers: int = 1, share: Fraction = Fraction(0)) -> float:
        """Seconds of a verifier's round with so many trainers, the work shared evenly by its workers.

        `share`: see `replayed_trainers`.
        """
        replays, evaluations = replays_of(spec, trainers, share), evaluations_of(spec, trainers)
        return (replays * self.replay + evaluations * self.evaluation) / workers

    def times(self, factor: float) -> Speed:
        """Of a machine that is so many times faster."""
        return Speed(self.step / factor, self.replay / factor, self.evaluation / factor)


def replays_of(spec: TaskSpec, trainers: int, share: Fraction = Fraction(0)) -> int:
    """Steps that a verifier replays in a round: of each trainer the drawn ones, the first and the last."""
    return replayed_trainers(spec, trainers, share) * replayed_steps(spec.training.steps, spec.verification.samples)


def replayed_trainers(spec: TaskSpec, trainers: int, share: Fraction = Fraction(0)) -> int:
    """How many of a round's trainers a verifier should have time for.

    With committees it is drawn for a share, in a quorum of the fewest verifiers with equal stakes, looks at one more,
    and has room for once more as many, whose committee lies or says nothing. Whose stake has it drawn more often says
    by `share` of how many committees it is.
    """
    terms = spec.verification
    if not 0 < terms.committee < terms.min_verifiers:
        return trainers
    own = max(share, Fraction(terms.committee, terms.min_verifiers))
    return min(trainers, 1 + ceil(COMMITTEE_ROOM * trainers * own))


def evaluations_of(spec: TaskSpec, trainers: int) -> int:
    """Evaluations of the validation set that a verifier makes in a round, at most."""
    scoring = spec.scoring
    return evaluations_spent(scoring.method, scoring.index, scoring.budget, trainers)
