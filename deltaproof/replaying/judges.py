"""The judge of each trainer: in a task with emulators, one for each emulator that somebody holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address
from deltaproof.replaying.pool import ReplayJob, ReplayPool
from deltaproof.replaying.replay import Judge, StepVerdict
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.training.federation import as_held_by, each_emulator
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Judges"]


class Judges:
    """Judges by trainer: one for each emulator, loaded when it is first needed, with workers if `machine` has some."""

    def __init__(self, spec: TaskSpec, machine: Machine = HERE) -> None:
        self.spec, self.machine = spec, machine
        self._loaded: dict[bytes, Judge] = {}
        self._pools: dict[bytes, ReplayPool] = {}

    def of(self, trainer: Address) -> Judge:
        """Raises ModelError, MethodError or NarrowingError, like `Judge.from_spec`."""
        return self._judge(as_held_by(self.spec, trainer))

    def judged(self, judge: Judge, jobs: Iterable[ReplayJob]) -> Iterator[tuple[ReplayJob, StepVerdict]]:
        """Each job with this judge's verdict, in order, by workers if there are any. Raises WorkersLost."""
        key = bytes(judge.spec.model.weights_digest)
        if key not in self._pools:
            for other in self._pools.values():
                other.close()  # workers of one model at a time
            self._pools[key] = ReplayPool(judge.spec, self.machine)
        return self._pools[key].judged(judge, jobs)

    def close(self) -> None:
        """End the workers."""
        for pool in self._pools.values():
            pool.close()

    def emulators(self) -> dict[str, Workbench]:
        """The task's emulators in float64, by name in the spec's order; none without a federation."""
        sections = () if self.spec.federation is None else self.spec.federation.emulators
        specs = each_emulator(self.spec)
        return {section.name: self._judge(spec).reference for section, spec in zip(sections, specs, strict=True)}

    def _judge(self, spec: TaskSpec) -> Judge:
        key = bytes(spec.model.weights_digest)
        if key not in self._loaded:
            self._loaded[key] = Judge.from_spec(spec, self.machine.device)
        return self._loaded[key]
