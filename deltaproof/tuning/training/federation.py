"""Whose model a task is computed on: each trainer's emulator for its training, the full model for values."""

from __future__ import annotations

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address
from deltaproof.tuning.errors import MethodError, ModelError
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["as_held_by", "check_plug_in", "each_emulator", "plugged", "scoring_bench"]


def as_held_by(spec: TaskSpec, trainer: Address) -> TaskSpec:
    """The spec with the model that this trainer holds. Raises ModelError if the task gives it none."""
    if spec.federation is None:
        return spec
    emulator = spec.federation.emulator_of(trainer)
    if emulator is None:
        raise ModelError(f"this task assigns its emulators to trainers, and none to {trainer}")
    return _with_model(spec, emulator.source, emulator.weights_digest)


def plugged(spec: TaskSpec) -> TaskSpec:
    """The spec with the model that values are measured on: the full one."""
    if spec.federation is None:
        return spec
    return _with_model(spec, spec.federation.source, spec.federation.weights_digest)


def scoring_bench(spec: TaskSpec, device: str = "cpu") -> Workbench:
    """What values are measured on, in float32. Raises ModelError if the full model is not here."""
    try:
        return Workbench.from_spec(plugged(spec), device, precision="float32")
    except ModelError as error:
        if spec.federation is None:
            raise
        raise ModelError(
            f"values of this task are measured on the full model {spec.federation.source}, which only those who may "
            f"hold it can do: {error}. Replays need no more than the emulator: `deltaproof audit` does them."
        ) from error


def each_emulator(spec: TaskSpec) -> list[TaskSpec]:
    """The spec with the model of each of its emulators, in order."""
    emulators = () if spec.federation is None else spec.federation.emulators
    return [_with_model(spec, emulator.source, emulator.weights_digest) for emulator in emulators]


def check_plug_in(emulator: Workbench, full: Workbench) -> None:
    """Raises MethodError unless what is tuned on the emulator is the same in the full model."""
    if emulator.method.calibrated:
        raise MethodError(
            f"{emulator.spec.method.name} chooses what it tunes by the model's own weights; no emulator has them"
        )
    if emulator.layout != full.layout:
        ours, theirs = set(emulator.layout.names), set(full.layout.names)
        example = min(ours ^ theirs, default="tensors of other shapes")
        raise MethodError(f"{emulator.spec.method.name} tunes other tensors in the full model, such as {example}")
    if emulator.start.tobytes() != full.start.tobytes():
        raise MethodError(f"{emulator.spec.method.name} starts from other values in the full model")


def _with_model(spec: TaskSpec, source: str, digest: bytes) -> TaskSpec:
    # Not validated again: a spec whose model is not its first emulator exists in memory only.
    return spec.model_copy(update={"model": spec.model.model_copy(update={"source": source, "weights_digest": digest})})
