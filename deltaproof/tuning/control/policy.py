"""Frozen policies: from an observation to an action, the same one on every machine.

A learned policy is a perceptron with ReLU layers and one categorical head for each branch of the action (Tavakoli et
al. 2018, "Action branching architectures"; FedPEAT's single-agent action-branching PPO, arXiv 2310.17491). Its weights
are float32 in a canonical safetensors file; `decide` computes in float64 with sums in a fixed order and no function but
sums, products and maxima, and takes each branch's largest logit, the lowest level of equal ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deltaproof.errors import EncodingError
from deltaproof.protocol.terms.control import Action, Observation
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.protocol.wire.tensorfile import Header, read_header, write_vectors
from deltaproof.tuning.control.observing import features
from deltaproof.tuning.numerics.linalg import tree_sum
from deltaproof.tuning.numerics.randomness import words

__all__ = ["MAX_POLICY_BYTES", "FixedPolicy", "LearnedPolicy", "Policy", "RandomPolicy", "load_policy"]

MAX_POLICY_BYTES = 2**20
"""Largest frozen policy that is read."""
_MAX_HEADER = 8192
_MAX_WIDTH, _MAX_LAYERS, _MAX_BRANCHES, _MAX_LEVELS = 1024, 6, 128, 256
_FORMAT = "deltaproof-policy-v1"

Matrix = NDArray[np.float32]


class Policy(Protocol):
    """Chooses an action; equal observations give equal actions."""

    def decide(self, observation: Observation) -> Action: ...


@dataclass(frozen=True)
class FixedPolicy:
    """Always the same."""

    action: Action

    def decide(self, observation: Observation) -> Action:
        """See `Policy`: the same action, whatever is seen."""
        return self.action


@dataclass(frozen=True)
class RandomPolicy:
    """Each branch alike likely at every level, drawn from the seed and the step."""

    seed: bytes
    sizes: tuple[int, ...]

    def decide(self, observation: Observation) -> Action:
        """See `Policy`: drawn from the seed and the step, whatever is seen."""
        draws = words(self.seed, observation.step, len(self.sizes))
        return tuple(int(draw) % size for draw, size in zip(draws, self.sizes, strict=True))


@dataclass(frozen=True)
class LearnedPolicy:
    """Layers of weights [out, in] and biases [out], the last one the heads side by side; levels per branch.

    Raises ValueError for layers that do not follow from one another, or values that are not finite.
    """

    layers: tuple[tuple[Matrix, Matrix], ...] = field(repr=False)
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= _MAX_LAYERS:
            raise ValueError(f"a policy has 1 to {_MAX_LAYERS} layers, not {len(self.layers)}")
        if not 1 <= len(self.sizes) <= _MAX_BRANCHES or not all(1 <= size <= _MAX_LEVELS for size in self.sizes):
            raise ValueError(f"a policy has 1 to {_MAX_BRANCHES} branches of 1 to {_MAX_LEVELS} levels")
        width = self.inputs
        for weights, biases in self.layers:
            if weights.dtype != np.float32 or biases.dtype != np.float32:
                raise ValueError("weights of a policy are float32")
            if weights.ndim != 2 or weights.shape[1] != width or biases.shape != weights.shape[:1]:
                raise ValueError(f"a layer of shape {weights.shape} does not follow one of width {width}")
            if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
                raise ValueError("weights of a policy are finite")
            width = weights.shape[0]
        if width != sum(self.sizes):
            raise ValueError(f"the last layer of a policy has {width} outputs for {sum(self.sizes)} levels")

    @property
    def inputs(self) -> int:
        """Features that it reads."""
        return int(self.layers[0][0].shape[-1])

    def decide(self, observation: Observation) -> Action:
        """Raises ValueError for an observation of other length."""
        return self.decide_on(features(observation))

    def decide_on(self, values: NDArray[np.float64]) -> Action:
        """The same from features, shape (inputs,)."""
        logits = self.logits(values)
        starts = np.cumsum((0, *self.sizes))
        return tuple(int(np.argmax(logits[s : s + n])) for s, n in zip(starts, self.sizes, strict=False))

    def logits(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (sum of sizes,)."""
        if values.shape != (self.inputs,):
            raise ValueError(f"this policy reads {self.inputs} features, not {values.shape}")
        for number, (weights, biases) in enumerate(self.layers):
            values = tree_sum(weights.astype(np.float64) * values, 1) + biases.astype(np.float64)
            if number + 1 < len(self.layers):
                values = np.maximum(values, 0.0)
        return values

    def to_bytes(self) -> bytes:
        """A canonical safetensors file; equal policies give equal bytes."""
        vectors = {}
        for number, (weights, biases) in enumerate(self.layers):
            vectors[f"layer{number}.bias"], vectors[f"layer{number}.weight"] = biases, weights.reshape(-1)
        widths = (self.inputs, *(len(biases) for _, biases in self.layers))
        metadata = {"format": _FORMAT, "widths": _listed(widths), "branches": _listed(self.sizes)}
        return write_vectors(vectors, metadata)

    def digest(self) -> Digest32:
        """Names the file in the store."""
        return sha256(self.to_bytes())


def load_policy(data: bytes) -> LearnedPolicy:
    """A policy from untrusted bytes. Raises EncodingError for anything but the canonical file of one."""
    if len(data) > MAX_POLICY_BYTES:
        raise EncodingError(f"a policy of {len(data)} bytes exceeds the limit of {MAX_POLICY_BYTES}")
    header = read_header(data, _MAX_HEADER)
    if set(header.metadata) != {"format", "widths", "branches"} or header.metadata["format"] != _FORMAT:
        raise EncodingError("not the file of a policy")
    widths = _numbers(header.metadata["widths"], 2, _MAX_LAYERS + 1, _MAX_WIDTH * 32)
    sizes = _numbers(header.metadata["branches"], 1, _MAX_BRANCHES, _MAX_LEVELS)
    if max(widths[:-1]) > _MAX_WIDTH:
        raise EncodingError(f"a policy's layers are at most {_MAX_WIDTH} wide")
    names = {f"layer{number}.{part}" for number in range(len(widths) - 1) for part in ("bias", "weight")}
    if set(header.tensors) != names:
        raise EncodingError("the file of a policy holds a weight and a bias for each layer and nothing else")
    layers = tuple(_layer(header, number, widths) for number in range(len(widths) - 1))
    try:
        return LearnedPolicy(layers, sizes)
    except ValueError as error:
        raise EncodingError(str(error)) from error


def _layer(header: Header, number: int, widths: Sequence[int]) -> tuple[Matrix, Matrix]:
    before, after = widths[number], widths[number + 1]
    weights = header.float32_vector(f"layer{number}.weight", before * after)
    return weights.reshape(after, before), header.float32_vector(f"layer{number}.bias", after)


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _numbers(text: str, least: int, most: int, limit: int) -> tuple[int, ...]:
    parts = text.split(",")
    plain = all(part.isascii() and part.isdigit() and len(part) <= 6 and str(int(part)) == part for part in parts)
    if not plain or not least <= len(parts) <= most:
        raise EncodingError("the file of a policy lists its widths or branches in another way")
    numbers = tuple(int(part) for part in parts)
    if not all(1 <= number <= limit for number in numbers):
        raise EncodingError(f"the file of a policy lists a width or branch beyond 1 to {limit}")
    return numbers
