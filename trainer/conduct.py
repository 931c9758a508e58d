"""How a trainer produces what it commits.

The only conduct here is honest. The demo brings another one, so that anyone can watch a network refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.tuning.training.recording import Progress, TrainedRound, open_steps, train_round
from deltaproof.tuning.training.step import RoundContext
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Conduct", "Honest", "RoundWork"]


@dataclass(frozen=True)
class RoundWork:
    """Everything that a trainer's round needs. `folder` keeps the transcript."""

    bench: Workbench
    context: RoundContext
    start: Vector
    shard: Shard
    folder: Path


class Conduct(Protocol):
    """Produces a round's transcript in a folder, and openings from it."""

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound: ...

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]: ...


class Honest:
    """Every step is trained."""

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound:
        """See `Conduct`."""
        return train_round(work.bench, work.context, work.start, work.shard, work.folder, progress=progress)

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]:
        """See `Conduct`."""
        return open_steps(work.bench, work.context, work.shard, work.folder, steps)
