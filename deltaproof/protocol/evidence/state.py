"""Training states as committed: layout, component roots, state root, and openings of single values.

A *component* (adapter values, first moment, second moment, error memory, gradient) is one float32 vector of P values in
the layout's order, padded with zeros to whole chunks of 256 values. Its root is the ordered tree over its chunks, so a
contract can check any one value with a short proof (docs/protocol.md, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from deltaproof.errors import EncodingError
from deltaproof.protocol.rules import CHUNK_BYTES, CHUNK_VALUES, MAX_VALUES
from deltaproof.protocol.types import ZERO_DIGEST, Digest32
from deltaproof.protocol.wire import merkle

__all__ = [
    "COMPONENTS",
    "Layout",
    "StateRoots",
    "ValueOpening",
    "Vector",
    "check_vector",
    "chunk_count",
    "component_leaves",
    "component_root",
    "open_value",
]

Vector = NDArray[np.float32]
"""float32, mostly of shape (P,): trainable values, moments or gradients laid end to end."""

COMPONENTS = ("theta", "m", "v", "e")
"""Slots of a state, in the order of the state tree."""


@dataclass(frozen=True)
class Layout:
    """Where each trainable tensor lies in a component: tensors sorted by name, flattened, laid end to end.

    Raises ValueError for unsorted or repeated names, negative sizes, no values or more than `MAX_VALUES`.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes):
            raise ValueError(f"{len(self.names)} names for {len(self.shapes)} shapes")
        if list(self.names) != sorted(set(self.names)):
            raise ValueError("tensor names must be sorted and unique")
        if any(size < 0 for shape in self.shapes for size in shape):
            raise ValueError("a tensor's sizes must not be negative")
        if not 1 <= self.size <= MAX_VALUES:
            raise ValueError(f"a layout holds 1 to {MAX_VALUES} values, not {self.size}")

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]]) -> Layout:
        """The layout of tensors with these shapes, sorted by name."""
        names = tuple(sorted(shapes))
        return cls(names, tuple(tuple(shapes[name]) for name in names))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Values of each tensor."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @cached_property
    def size(self) -> int:
        """P, the number of trainable values."""
        return sum(self.sizes)

    @property
    def chunks(self) -> int:
        """Leaves of the tree over a component."""
        return chunk_count(self.size)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each tensor's values lie in a component."""
        result, start = {}, 0
        for name, size in zip(self.names, self.sizes, strict=True):
            result[name] = slice(start, start + size)
            start += size
        return result


@dataclass(frozen=True)
class StateRoots:
    """Component roots of a state; an unused slot is 32 zero bytes."""

    theta: bytes
    m: bytes = ZERO_DIGEST
    v: bytes = ZERO_DIGEST
    e: bytes = ZERO_DIGEST

    def root(self) -> Digest32:
        """The state root."""
        return merkle.node(merkle.node(self.theta, self.m), merkle.node(self.v, self.e))

    def siblings(self, component: str) -> tuple[bytes, bytes]:
        """The two siblings between a component's root and the state root, from the component up."""
        left, right = (self.theta, self.m), (self.v, self.e)
        return {
            "theta": (self.m, merkle.node(*right)),
            "m": (self.theta, merkle.node(*right)),
            "v": (self.e, merkle.node(*left)),
            "e": (self.v, merkle.node(*left)),
        }[component]


@dataclass(frozen=True)
class ValueOpening:
    """One chunk of a committed vector with its proof: shows `value` at `index` of the vector.

    `siblings` leads from the chunk to the component's root; for a component of a state two more lead to the state root,
    and `component` names the slot. For a gradient, which is no part of a state, `component` is None.
    """

    index: int
    chunk: bytes = field(repr=False)
    siblings: tuple[bytes, ...] = field(repr=False)
    component: str | None

    @property
    def value(self) -> np.float32:
        """The opened value itself."""
        return np.float32(np.frombuffer(self.chunk, dtype="<f4")[self.index % CHUNK_VALUES])

    def verify(self, root: bytes, size: int) -> bool:
        """Whether this chunk belongs to the vector of `size` values under `root` (state root or component root)."""
        if not 0 <= self.index < size or len(self.chunk) != CHUNK_BYTES:
            return False
        inside = merkle.depth(chunk_count(size))
        above = 0 if self.component is None else 2
        if len(self.siblings) != inside + above or any(len(s) != merkle.DIGEST_BYTES for s in self.siblings):
            return False
        position = self.index // CHUNK_VALUES
        component_root_ = merkle.path_root(merkle.leaf(self.chunk), position, self.siblings[:inside])
        slot = 0 if self.component is None else COMPONENTS.index(self.component)
        return merkle.path_root(component_root_, slot, self.siblings[inside:]) == root


def chunk_count(size: int) -> int:
    """C, the number of chunks of a component with `size` values."""
    return -(-size // CHUNK_VALUES)


def check_vector(values: NDArray[np.generic], size: int, what: str) -> Vector:
    """`values` as a committed vector. Raises EncodingError unless it is float32 of shape (size,), finite throughout."""
    if values.dtype != np.float32 or values.shape != (size,):
        raise EncodingError(f"{what} must be float32 of shape ({size},), not {values.dtype} of shape {values.shape}")
    finite = np.isfinite(values)
    if not finite.all():
        raise EncodingError(f"{what} is not finite at value {int(np.argmin(finite))}")
    return values  # type: ignore[return-value]  # the dtype was checked


def component_leaves(values: Vector) -> list[bytes]:
    """Leaf digests of a component, shape (P,). Raises ValueError for another dtype or shape."""
    if values.dtype != np.float32 or values.ndim != 1:
        raise ValueError(f"a component is a float32 vector, not {values.dtype} of shape {values.shape}")
    data = memoryview(np.ascontiguousarray(values, dtype="<f4").data).cast("B")
    whole = len(data) - len(data) % CHUNK_BYTES
    prefixed = sha256(b"\x00")  # hashing from a copied state saves joining prefix and chunk
    leaves = []
    for start in range(0, whole, CHUNK_BYTES):
        digest = prefixed.copy()
        digest.update(data[start : start + CHUNK_BYTES])
        leaves.append(digest.digest())
    if whole < len(data):
        leaves.append(merkle.leaf(bytes(data[whole:]).ljust(CHUNK_BYTES, b"\x00")))
    return leaves


def component_root(values: Vector) -> Digest32:
    """Root of one component, shape (P,)."""
    return merkle.root(component_leaves(values))


def open_value(
    values: Vector, index: int, component: str | None = None, roots: StateRoots | None = None
) -> ValueOpening:
    """Opening of `values[index]` under the component's root or, with `component` and `roots`, the state root."""
    if not 0 <= index < values.size:
        raise ValueError(f"no value {index} among {values.size}")
    if (component is None) != (roots is None):
        raise ValueError("opening a value of a state needs both the component's name and the state's roots")
    position = index // CHUNK_VALUES
    chunk = np.asarray(values[position * CHUNK_VALUES : (position + 1) * CHUNK_VALUES], dtype="<f4").tobytes()
    siblings = merkle.proof(component_leaves(values), position)
    if component is not None and roots is not None:
        siblings += roots.siblings(component)
    return ValueOpening(index, chunk.ljust(CHUNK_BYTES, b"\x00"), siblings, component)
