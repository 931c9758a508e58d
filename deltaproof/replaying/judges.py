"""The judge of each trainer: in a task with emulators, one for each emulator that somebody holds.

Replays run in this process, in several, or on a Ray cluster, which changes nothing in their verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deltaproof.errors import DeltaproofError, is_accelerator_failure, is_out_of_memory
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, address
from deltaproof.replaying.replay import Foresight, Judge, ReplayContext, StepVerdict
from deltaproof.tuning.errors import ModelError
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.numerics.workers import Workers
from deltaproof.tuning.training.federation import as_held_by, each_emulator
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Judges", "ReplayJob"]


@dataclass(frozen=True)
class ReplayJob:
    """One opening to judge; see `Judge.judge_step`."""

    context: ReplayContext
    step: int
    opening: StepOpening = field(repr=False)
    thorough: bool = True
    foresight: Foresight | None = field(default=None, repr=False)
    """Only where judge and reader are one process."""


class Judges:
    """Judges by trainer: one for each emulator, loaded when it is first needed, here and in each worker."""

    def __init__(self, spec: TaskSpec, machine: Machine = HERE) -> None:
        """Workers, if `machine` has some, must find the models where the spec says."""
        self.spec, self.machine = spec, machine
        self._loaded: dict[bytes, Judge] = {}
        self._workers: Workers[ReplayJob, StepVerdict] = Workers(
            machine, _Replayer, spec.to_document(), Machine(machine.device, checkpointing=machine.checkpointing)
        )

    def of(self, trainer: Address) -> Judge:
        """Raises ModelError, MethodError or NarrowingError, like `Judge.from_spec`."""
        return self._judge(as_held_by(self.spec, trainer))

    def one(self) -> Judge:
        """One of them, loaded here: of a task with emulators that of the first. Raises what `of` raises."""
        return self._judge(self.spec if self.spec.federation is None else next(iter(each_emulator(self.spec))))

    def judged(self, jobs: Iterable[ReplayJob]) -> Iterator[tuple[ReplayJob, StepVerdict]]:
        """Each job with its verdict, in order. Raises what `of` raises, and WorkersLost."""
        if self.machine.backend != "inline":
            return self._workers.map(jobs)
        return ((job, self.judge(job)) for job in jobs)

    def foresight(self, context: ReplayContext) -> Foresight | None:
        """What the judge of a trainer will know of its next openings; None where workers judge, far from the reader."""
        if self.machine.backend != "inline":
            return None
        return Foresight(self.of(address(context.round.trainer)), context)

    def judge(self, job: ReplayJob) -> StepVerdict:
        """The verdict, in this process."""
        judge = self.of(address(job.context.round.trainer))
        return judge.judge_step(job.opening, job.step, job.context, job.thorough, job.foresight)

    def close(self) -> None:
        """End the workers."""
        self._workers.close()

    def emulators(self) -> dict[str, Workbench]:
        """The task's emulators in float64, by name in the spec's order; none without a federation."""
        sections = () if self.spec.federation is None else self.spec.federation.emulators
        specs = each_emulator(self.spec)
        return {section.name: self._judge(spec).reference for section, spec in zip(sections, specs, strict=True)}

    def _judge(self, spec: TaskSpec) -> Judge:
        key = bytes(spec.model.weights_digest)
        if key not in self._loaded:
            try:
                judge = Judge.from_spec(spec, self.machine.device_here, checkpointing=self.machine.checkpointing)
            except (DeltaproofError, OSError, MemoryError):
                raise
            except Exception as error:
                if is_out_of_memory(error) or is_accelerator_failure(error):
                    raise
                # Whatever it is, no trainer did it: it must not become a verdict.
                raise ModelError(f"the judge does not load: {type(error).__name__}: {error}") from error
            self._loaded[key] = judge
        return self._loaded[key]


class _Replayer:
    """What a worker holds."""

    def __init__(self, spec: bytes, machine: Machine) -> None:
        self._judges = Judges(TaskSpec.from_document(spec), machine)

    def __call__(self, job: ReplayJob) -> StepVerdict:
        return self._judges.judge(job)
