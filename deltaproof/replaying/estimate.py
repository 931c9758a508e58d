"""What a task's model weighs, and roughly how long its rounds take here, without loading or downloading the model.

Arithmetic only: a forward and a backward pass through frozen weights, at the speed of this machine's matrix products.
`deltaproof doctor` measures the real thing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from safetensors import SafetensorError, safe_open

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address
from deltaproof.tuning.base_models.loading import is_here, resolve_source
from deltaproof.tuning.errors import HubError, ModelError
from deltaproof.tuning.hub import HubPlace, list_files
from deltaproof.tuning.numerics.precision import dtype_of
from deltaproof.tuning.training.speed import Speed

__all__ = ["ModelSize", "model_size", "rough_speed", "weights_bytes"]

SIDE = 512
"""Of the square matrices whose product is timed."""
TIMED_SECONDS = 0.1
EFFICIENCY = 0.5
"""Share of a matrix product's speed that a whole model keeps, with its norms, losses and small layers."""
BYTES_OF_A_PARAMETER = 2
"""Of a hub's model that is not here: most are kept in 16 bits."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Bytes of the weights as they are stored, and parameters; a guess from the bytes if the model is not here."""

    stored_bytes: int
    parameters: int
    is_here: bool


def model_size(source: str) -> ModelSize | None:
    """None if the model is neither here nor on a hub that answers."""
    try:
        return _size(source)
    except (HubError, ModelError, SafetensorError, OSError):
        return None


def weights_bytes(spec: TaskSpec, trainer: Address | None = None) -> int:
    """Bytes of the weights that a trainer holds as they are stored, or a verifier (None); 0 of what is no model here
    and none of a hub. Raises HubError where the hub does not say, ModelError for a folder that is no model."""
    if (federation := spec.federation) is None:
        size = _size(spec.model.source)
        return size.stored_bytes if size else 0
    own = federation.emulators if trainer is None else (federation.emulator_of(trainer),)
    full = _size(federation.source) if trainer is None else None
    return sum(emulator.file_bytes for emulator in own if emulator is not None) + (full.stored_bytes if full else 0)


def _size(source: str) -> ModelSize | None:
    if is_here(source):
        return _of_folder(source)
    kind, _, where = source.partition(":")
    if kind != "hub":
        return None
    files = list_files(HubPlace.parse(where))
    stored = sum(file.size for file in files if file.path.endswith(".safetensors") and "/" not in file.path)
    return ModelSize(stored, stored // BYTES_OF_A_PARAMETER, is_here=False) if stored else None


def _of_folder(source: str) -> ModelSize | None:
    stored = parameters = 0
    for path in sorted(resolve_source(source).glob("*.safetensors")):
        stored += path.stat().st_size
        with safe_open(path, framework="np") as file:
            parameters += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return ModelSize(stored, parameters, is_here=True) if stored else None


def rough_speed(spec: TaskSpec, size: ModelSize) -> Speed:
    """Seconds of a step, a replay and an evaluation here, of rows as long as the task allows."""
    exact = spec.training.numeric == "exact"
    row = 2 * size.parameters * max(spec.model.max_tokens, 1)  # a forward pass: one product and one sum a parameter
    step = 2 * row * spec.training.batch_size / _operations_a_second("float64" if exact else "float32")
    evaluation = row * spec.validation.rows / _operations_a_second("float32")
    return Speed(step, step, evaluation)


@cache
def _operations_a_second(precision: str) -> float:
    matrix = torch.ones((SIDE, SIDE), dtype=dtype_of(precision))  # type: ignore[arg-type]
    matrix @ matrix
    began, products = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < TIMED_SECONDS:
        matrix @ matrix
        products += 1
    return EFFICIENCY * products * 2 * SIDE**3 / passed
