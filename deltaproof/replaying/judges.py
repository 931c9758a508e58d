"""The judge of each trainer: in a task with emulators, one for each emulator that somebody holds."""

from __future__ import annotations

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.training.federation import as_held_by, each_emulator
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Judges"]


class Judges:
    """Judges by trainer: one for each emulator, loaded when it is first needed."""

    def __init__(self, spec: TaskSpec, device: str = "cpu") -> None:
        self.spec, self.device = spec, device
        self._loaded: dict[bytes, Judge] = {}

    def of(self, trainer: Address) -> Judge:
        """Raises ModelError, MethodError or NarrowingError, like `Judge.from_spec`."""
        return self._judge(as_held_by(self.spec, trainer))

    def emulators(self) -> dict[str, Workbench]:
        """The task's emulators in float64, by name in the spec's order; none without a federation."""
        sections = () if self.spec.federation is None else self.spec.federation.emulators
        specs = each_emulator(self.spec)
        return {section.name: self._judge(spec).reference for section, spec in zip(sections, specs, strict=True)}

    def _judge(self, spec: TaskSpec) -> Judge:
        key = bytes(spec.model.weights_digest)
        if key not in self._loaded:
            self._loaded[key] = Judge.from_spec(spec, self.device)
        return self._loaded[key]
