"""Replays in this process, in several, or on a Ray cluster, which changes nothing in their verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.replay import Judge, ReplayContext, StepVerdict
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.numerics.workers import Workers

__all__ = ["ReplayJob", "ReplayPool"]


@dataclass(frozen=True)
class ReplayJob:
    """One opening to judge; see `Judge.judge_step`."""

    context: ReplayContext
    step: int
    opening: StepOpening = field(repr=False)
    thorough: bool = True


class ReplayPool:
    """Where the replays of one spec run. Each worker loads the spec's model once, and keeps it."""

    def __init__(self, spec: TaskSpec, machine: Machine) -> None:
        self._inline = machine.backend == "inline"
        # A worker on a cluster must find the model where the spec says.
        self._workers: Workers[ReplayJob, StepVerdict] = Workers(machine, _Replayer, spec.to_document(), machine.device)

    def judged(self, judge: Judge, jobs: Iterable[ReplayJob]) -> Iterator[tuple[ReplayJob, StepVerdict]]:
        """Each job with its verdict, in order; `judge` is this process's own. Raises WorkersLost."""
        if self._inline:
            for job in jobs:
                yield job, _judged(judge, job)
        else:
            yield from self._workers.map(jobs)

    def close(self) -> None:
        """End the workers."""
        self._workers.close()


class _Replayer:
    """What a worker holds."""

    def __init__(self, spec: bytes, device: str) -> None:
        self._judge = Judge.from_spec(TaskSpec.from_document(spec), device)

    def __call__(self, job: ReplayJob) -> StepVerdict:
        return _judged(self._judge, job)


def _judged(judge: Judge, job: ReplayJob) -> StepVerdict:
    return judge.judge_step(job.opening, job.step, job.context, job.thorough)
