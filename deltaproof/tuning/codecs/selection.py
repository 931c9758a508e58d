"""Which part of a delta travels: all values, the large ones, a seeded subset, or low-rank factors.

Legend: P values of an adapter, k of them that travel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deltaproof.errors import EncodingError
from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.rules import LOW_RANK_EXACT, LOW_RANK_OVERSAMPLING, LOW_RANK_STEPS
from deltaproof.tuning.codecs._wire import PayloadReader, index_bytes, pack_indices, read_indices
from deltaproof.tuning.numerics.linalg import Array, frobenius, matmul, orthonormalise, singular_values, tree_sum
from deltaproof.tuning.numerics.products import LowRankPair
from deltaproof.tuning.numerics.randomness import normal

__all__ = ["Dense", "LowRank", "Mask", "Selection", "Subset", "Threshold", "TopK"]

Mask = NDArray[np.bool_]
"""The values that a trainer tunes, shape (P,)."""


@dataclass(frozen=True)
class Selection(ABC):
    """Splits a delta, shape (P,), into bytes that say where, and values."""

    layout: Layout

    @abstractmethod
    def split(self, delta: Vector, key: bytes) -> tuple[object, Vector]:
        """Where, and the values that travel."""

    @abstractmethod
    def join(self, where: object, values: Vector) -> Vector:
        """The delta that `values` stand for."""

    @abstractmethod
    def read(self, reader: PayloadReader, key: bytes) -> object:
        """Where. Raises EncodingError."""

    @abstractmethod
    def runs(self, where: object) -> tuple[int, ...]:
        """How many values follow: in runs that share no block, for values of different kinds share no scale."""

    @abstractmethod
    def write(self, where: object) -> bytes:
        """The bytes that `read` took `where` from."""

    @abstractmethod
    def limits(self) -> tuple[int, int, int]:
        """Most bytes that say where, most values, and most runs."""

    def mask(self, key: bytes) -> Mask | None:
        """Values that this trainer tunes, shape (P,); None for all."""
        return None


class Dense(Selection):
    """Every value."""

    def split(self, delta: Vector, key: bytes) -> tuple[object, Vector]:
        return None, delta

    def join(self, where: object, values: Vector) -> Vector:
        return values

    def read(self, reader: PayloadReader, key: bytes) -> object:
        return None

    def runs(self, where: object) -> tuple[int, ...]:
        return (self.layout.size,)

    def write(self, where: object) -> bytes:
        return b""

    def limits(self) -> tuple[int, int, int]:
        return 0, self.layout.size, 1


class _SparseSelection(Selection):
    def chosen(self, delta: Vector) -> NDArray[np.int64]:
        raise NotImplementedError

    def most(self) -> int:
        raise NotImplementedError

    def least(self) -> int:
        """Fewest values that a delta has."""
        return 0

    def split(self, delta: Vector, key: bytes) -> tuple[object, Vector]:
        indices = self.chosen(delta)
        return indices, delta[indices]

    def read(self, reader: PayloadReader, key: bytes) -> object:
        count = reader.number()
        if not self.least() <= count <= self.most():
            raise EncodingError(f"an encoded delta has {count} values; {self.least()} to {self.most()} belong there")
        return read_indices(reader, count, self.layout.size)

    def runs(self, where: object) -> tuple[int, ...]:
        return (len(np.asarray(where)),)

    def write(self, where: object) -> bytes:
        indices = np.asarray(where, np.int64)
        return len(indices).to_bytes(4, "little") + pack_indices(indices, self.layout.size)

    def join(self, where: object, values: Vector) -> Vector:
        delta = np.zeros(self.layout.size, np.float32)
        delta[np.asarray(where)] = values
        return delta

    def limits(self) -> tuple[int, int, int]:
        return 4 + max(index_bytes(count, self.layout.size) for count in (1, self.most())), self.most(), 1


@dataclass(frozen=True)
class TopK(_SparseSelection):
    """The `fraction` of values of largest magnitude; of equal ones those that come first (Aji and Heafield 2017)."""

    fraction: float

    def most(self) -> int:
        return max(1, round(self.fraction * self.layout.size))

    def least(self) -> int:
        return self.most()

    def chosen(self, delta: Vector) -> NDArray[np.int64]:
        return np.sort(np.argsort(-np.abs(delta), kind="stable")[: self.most()]).astype(np.int64)


@dataclass(frozen=True)
class Threshold(_SparseSelection):
    """Values of at least `threshold` times the delta's root mean square (Strom 2015, relative)."""

    threshold: float

    def most(self) -> int:
        # Chebyshev: at most 1 / threshold^2 of the values can be that large; one more for rounding.
        return min(self.layout.size, int(self.layout.size / max(self.threshold, 1.0) ** 2) + 1)

    def chosen(self, delta: Vector) -> NDArray[np.int64]:
        squares = delta.astype(np.float64) ** 2
        limit = self.threshold**2 * (float(tree_sum(squares, 0)) / len(delta))
        return np.flatnonzero((squares >= limit) & (squares > 0))[: self.most()].astype(np.int64)


@dataclass(frozen=True)
class Subset(Selection):
    """Federated dropout (Caldas et al. 2018): a seeded `fraction` of the ranks of low-rank pairs, and of the rows of
    other matrices, is tuned and travels; vectors and heads always do. Nothing has to say where: the key does."""

    pairs: tuple[LowRankPair, ...]
    fraction: float

    def mask(self, key: bytes) -> Mask:
        kept = np.ones(self.layout.size, np.bool_)
        shapes = dict(zip(self.layout.names, self.layout.shapes, strict=True))
        paired = set()
        for pair in self.pairs:
            a, b = shapes.get(pair.a, ()), shapes.get(pair.b, ())
            if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
                continue  # factors that are not trained as matrices: rows of each, below
            ranks = self._drawn(key, pair.a, a[0])
            kept[self.layout.slices[pair.a]] = np.repeat(ranks, a[1])
            kept[self.layout.slices[pair.b]] = np.tile(ranks, b[0])
            paired |= {pair.a, pair.b}
        for name, shape in shapes.items():
            whole = len(shape) < 2 or any(part in name.split(".") for part in ("classifier", "score"))
            if name not in paired and not whole:
                kept[self.layout.slices[name]] = np.repeat(self._drawn(key, name, shape[0]), int(np.prod(shape[1:])))
        return kept

    def _drawn(self, key: bytes, name: str, size: int) -> NDArray[np.bool_]:
        stream = HashStream(b"deltaproof/federated dropout/v1\x00" + key + name.encode())
        order = list(range(size))
        for i in range(size - 1, 0, -1):
            j = stream.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return np.isin(np.arange(size), order[: max(1, round(self.fraction * size))])

    def split(self, delta: Vector, key: bytes) -> tuple[object, Vector]:
        mask = self.mask(key)
        return mask, delta[mask]

    def read(self, reader: PayloadReader, key: bytes) -> object:
        return self.mask(key)

    def runs(self, where: object) -> tuple[int, ...]:
        return (int(np.asarray(where).sum()),)

    def write(self, where: object) -> bytes:
        return b""

    def join(self, where: object, values: Vector) -> Vector:
        delta = np.zeros(self.layout.size, np.float32)
        delta[np.asarray(where)] = values
        return delta

    def limits(self) -> tuple[int, int, int]:
        return 0, self.layout.size, 1


@dataclass(frozen=True)
class LowRank(Selection):
    """Each matrix as U V^T with as many of the largest singular triplets, over all matrices, as `values` numbers hold
    (Wang et al. 2018, ATOMO; Vogels et al. 2019, PowerSGD). Vectors, and matrices that factors do not shorten, travel
    whole.

    The factors of each matrix, and what travels whole, have blocks of their own.

    With `keep_norm` the triplets of a matrix are as large together as all of its change: what they leave out would else
    make every step shorter, and early rounds learn by the length of their steps.
    """

    values: int
    rank: int
    keep_norm: bool = False

    @cached_property
    def _matrices(self) -> tuple[tuple[str, int, int], ...]:
        """Name, rows and columns of what is factored."""
        found = []
        for name, shape in zip(self.layout.names, self.layout.shapes, strict=True):
            rows, columns = (shape[0], int(np.prod(shape[1:]))) if len(shape) > 1 else (0, 0)
            if min(rows, columns) > 1:
                found.append((name, rows, columns))
        return tuple(found)

    @cached_property
    def _rest(self) -> NDArray[np.bool_]:
        rest = np.ones(self.layout.size, np.bool_)
        for name, _, _ in self._matrices:
            rest[self.layout.slices[name]] = False
        return rest

    def split(self, delta: Vector, key: bytes) -> tuple[object, Vector]:
        factors = [_leading(self._matrix(delta, *m), self.rank) for m in self._matrices]
        ranks = self._ranks([sizes for _, sizes, _ in factors])
        parts = [delta[self._rest]]
        for m, (left, sizes, right), rank in zip(self._matrices, factors, ranks, strict=True):
            root = np.sqrt(sizes[:rank] * (self._gain(delta, m, sizes[:rank]) if self.keep_norm else 1.0))
            # Values of both factors are alike in size, so that few levels serve both.
            tilt = float(np.sqrt(np.sqrt(len(left) / len(right))))
            parts += [(left[:, :rank] * (root * tilt)).astype(np.float32).reshape(-1)]
            parts += [(right[:, :rank] * (root / tilt)).astype(np.float32).reshape(-1)]
        return tuple(ranks), np.concatenate(parts)

    def read(self, reader: PayloadReader, key: bytes) -> object:
        ranks = tuple(reader.take(len(self._matrices)))
        if any(rank > min(self.rank, m[1], m[2]) for rank, m in zip(ranks, self._matrices, strict=True)):
            raise EncodingError("an encoded delta has a rank out of range")
        count = self._count(ranks)
        if count > self.limits()[1]:
            raise EncodingError(f"an encoded delta has factors of {count} numbers; {self.limits()[1]} are the most")
        return ranks

    def runs(self, where: object) -> tuple[int, ...]:
        ranks: Sequence[int] = where  # type: ignore[assignment]  # made by `read` or `split`
        numbers = (rank * (rows + columns) for rank, (_, rows, columns) in zip(ranks, self._matrices, strict=True))
        return tuple(run for run in (int(self._rest.sum()), *numbers) if run) or (0,)

    def write(self, where: object) -> bytes:
        return bytes(where)  # type: ignore[call-overload,no-any-return]  # made by `read` or `split`

    def join(self, where: object, values: Vector) -> Vector:
        ranks: Sequence[int] = where  # type: ignore[assignment]  # made by `read`
        delta, position = np.zeros(self.layout.size, np.float32), int(self._rest.sum())
        delta[self._rest] = values[:position]
        for (name, rows, columns), rank in zip(self._matrices, ranks, strict=True):
            left = values[position : position + rows * rank].reshape(rows, rank).astype(np.float64)
            position += rows * rank
            right = values[position : position + columns * rank].reshape(columns, rank).astype(np.float64)
            position += columns * rank
            delta[self.layout.slices[name]] = matmul(left, right.T).astype(np.float32).reshape(-1)
        return delta

    def limits(self) -> tuple[int, int, int]:
        most = self._count([min(self.rank, m[1], m[2]) for m in self._matrices])
        return len(self._matrices), min(most, max(self.values, int(self._rest.sum()))), 1 + len(self._matrices)

    def _gain(self, delta: Vector, m: tuple[str, int, int], sizes: Array) -> float:
        """Norm of a matrix over that of the triplets that travel; 1 where nothing does."""
        sent = float(np.sqrt(tree_sum(sizes * sizes, 0))) if len(sizes) else 0.0
        return float(frobenius(self._matrix(delta, *m))) / sent if sent > 0 else 1.0

    def _matrix(self, delta: Vector, name: str, rows: int, columns: int) -> Array:
        return delta[self.layout.slices[name]].reshape(rows, columns).astype(np.float64)

    def _ranks(self, sizes: list[Array]) -> list[int]:
        """Take triplets from the largest down, ties to the earlier matrix, while the numbers suffice."""
        left = self.values - int(self._rest.sum())
        order = sorted((-float(s), m, k) for m, each in enumerate(sizes) for k, s in enumerate(each) if s > 0)
        ranks = [0] * len(sizes)
        for _, m, k in order:
            cost = self._matrices[m][1] + self._matrices[m][2]
            if ranks[m] == k and cost <= left:
                ranks[m], left = k + 1, left - cost
        return ranks

    def _count(self, ranks: Sequence[int]) -> int:
        return sum(self.runs(ranks))


def _leading(matrix: Array, limit: int) -> tuple[Array, Array, Array]:
    """Up to `limit` largest singular triplets: left [O, k], sizes [k], right [I, k]."""
    if matrix.shape[0] < matrix.shape[1]:
        left, sizes, right = _leading(np.ascontiguousarray(matrix.T), limit)
        return right, sizes, left
    columns = matrix.shape[1]
    if columns <= LOW_RANK_EXACT:
        u, s, v = singular_values(matrix[None])
        return u[0][:, :limit], s[0][:limit], v[0][:, :limit]
    width = min(columns, limit + LOW_RANK_OVERSAMPLING)
    basis = normal(b"low rank codec", 0, columns * width, 0.0, 1.0).astype(np.float64).reshape(1, columns, width)
    stack, flipped = matrix[None], matrix.T[None]
    image = matmul(stack, basis)
    for _ in range(LOW_RANK_STEPS):
        image = orthonormalise(matmul(stack, matmul(flipped, orthonormalise(image)[0])))[0]
    right, sizes, inner = singular_values(matmul(flipped, image))
    return matmul(image, inner)[0][:, :limit], sizes[0][:limit], right[0][:, :limit]
