"""How long a round's work takes on a machine, from the seconds of one step, one replay and one evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.protocol.terms.estimators import evaluations_spent
from deltaproof.protocol.terms.spec import TaskSpec

__all__ = ["Speed"]


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step, of a replay, and of one coalition on a whole validation set."""

    step: float
    replay: float
    evaluation: float

    def training(self, spec: TaskSpec) -> float:
        """Seconds of a trainer's round."""
        return spec.training.steps * self.step

    def verifying(self, spec: TaskSpec, trainers: int, workers: int = 1) -> float:
        """Seconds of a verifier's round with so many trainers, the work shared evenly by its workers."""
        replayed = min(spec.training.steps, spec.verification.samples + 2)
        scoring = spec.scoring
        coalitions = evaluations_spent(scoring.method, scoring.index, scoring.budget, trainers)
        return (trainers * replayed * self.replay + coalitions * self.evaluation) / workers
