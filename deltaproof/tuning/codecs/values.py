"""How the values of an encoded delta are written: full, half or block-wise small integers, one or two bits.

Everything is one IEEE operation per rounding with sums in a fixed order, so encoding gives the same bytes on every
machine. Random rounding draws from the round's key, which a verifier has as well.

Writing what was read gives the same bytes again, for everything that `write` gives: so a reader tells an encoding that
no encoder writes by writing it again. That is why scales of integers are short enough for exact products, blocks that
float32 can hardly hold are zero, and random rounding stops short of half a level.

| name | bits a value | source |
|---|---|---|
| float32, float16, bfloat16 | 32, 16, 16 | |
| int8, int4 | 8, 4 and a scale a block | Dettmers et al. 2022 |
| dorefa | `bits` and a scale a block; 1: sign times mean | Zhou et al. 2016 |
| sign | 1 and a scale a block | Bernstein et al. 2018; Tang et al. 2021 |
| two_bit | 2 and two levels a block | Sarfi et al. 2025 (SparseLoCo) |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import LARGEST_HALF, NOISE_DRAW, NOISE_REACH, SCALE_FLOOR
from deltaproof.tuning.codecs._wire import PayloadReader, pack_bits, read_bits
from deltaproof.tuning.numerics.linalg import Array, tree_sum
from deltaproof.tuning.numerics.randomness import uniform

__all__ = ["BFloat16", "BlockIntegers", "Dorefa", "Float16", "Float32", "Sign", "TwoBit", "Values"]


class Values(ABC):
    """Writes n float32 values, and reads them back as what they became."""

    lossless = False

    @abstractmethod
    def size(self, count: int) -> int:
        """Bytes of `count` values, exactly."""

    @abstractmethod
    def write(self, values: Vector, key: bytes) -> bytes: ...

    @abstractmethod
    def read(self, reader: PayloadReader, count: int) -> Vector:
        """Raises EncodingError for lengths, scales and numbers that no `write` gives; who writes the values again and
        compares finds everything else that none gives."""


class Float32(Values):
    """As they are."""

    lossless = True

    def size(self, count: int) -> int:
        return 4 * count

    def write(self, values: Vector, key: bytes) -> bytes:
        return values.astype("<f4").tobytes()

    def read(self, reader: PayloadReader, count: int) -> Vector:
        return reader.floats(count)


class Float16(Values):
    """IEEE half precision, nearest even; beyond its range the largest half."""

    def size(self, count: int) -> int:
        return 2 * count

    def write(self, values: Vector, key: bytes) -> bytes:
        return np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype("<f2").tobytes()

    def read(self, reader: PayloadReader, count: int) -> Vector:
        return _finite(np.frombuffer(reader.take(2 * count), "<f2").astype(np.float32))


class BFloat16(Values):
    """The upper half of a float32, nearest even."""

    def size(self, count: int) -> int:
        return 2 * count

    def write(self, values: Vector, key: bytes) -> bytes:
        bits = values.astype("<f4").view(np.uint32).astype(np.uint64)
        upper = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        overflowed = (upper & 0x7F80) == 0x7F80
        return np.where(overflowed, upper - 1, upper).astype("<u2").tobytes()

    def read(self, reader: PayloadReader, count: int) -> Vector:
        upper = np.frombuffer(reader.take(2 * count), "<u2").astype(np.uint32)
        return _finite((upper << 16).view(np.float32))


@dataclass(frozen=True)
class _Blocks(Values):
    """Values in blocks of `block`, each with `levels` float32 numbers of its own, and codes of `bits` bits."""

    block: int
    bits: int
    levels = 1

    def size(self, count: int) -> int:
        return 4 * self.levels * -(-count // self.block) + -(-count * self.bits // 8)

    def write(self, values: Vector, key: bytes) -> bytes:
        blocks, inside = _blocks(values, self.block)
        levels, codes = self.quantise(blocks, inside, key)
        return levels.astype("<f4").tobytes() + pack_bits(codes.reshape(-1)[: len(values)], self.bits)

    def read(self, reader: PayloadReader, count: int) -> Vector:
        rows = -(-count // self.block)
        levels = reader.floats(self.levels * rows).reshape(rows, self.levels)
        if (levels < 0).any():
            raise EncodingError("an encoded delta has a negative scale")
        codes = np.zeros(rows * self.block, np.int64)
        codes[:count] = read_bits(reader, count, self.bits)
        return _finite(self.restore(levels, codes.reshape(rows, self.block)).astype(np.float32).reshape(-1)[:count])

    @abstractmethod
    def quantise(
        self, blocks: Array, inside: NDArray[np.bool_], key: bytes
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Levels [rows, levels] and codes [rows, block] of float64 blocks; `inside` is False where they are filled."""

    @abstractmethod
    def restore(self, levels: NDArray[np.float32], codes: NDArray[np.int64]) -> Array: ...


class BlockIntegers(_Blocks):
    """Symmetric integers, scaled by the block's largest magnitude."""

    @property
    def _top(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def quantise(
        self, blocks: Array, inside: NDArray[np.bool_], key: bytes
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scale = _short(np.abs(blocks).max(axis=1, keepdims=True) / self._top)
        ratio = np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0)
        return scale, (np.clip(np.rint(ratio), -self._top, self._top) + self._top).astype(np.int64)

    def restore(self, levels: NDArray[np.float32], codes: NDArray[np.int64]) -> Array:
        if (codes > 2 * self._top).any():
            raise EncodingError("an encoded delta holds an integer out of range")
        return (codes - self._top).astype(np.float64) * levels.astype(np.float64)


@dataclass(frozen=True)
class Sign(_Blocks):
    """The sign times the block's mean magnitude; with `keep_norm` times its root mean square, so that a block is as
    long as it was."""

    keep_norm: bool = False

    def quantise(
        self, blocks: Array, inside: NDArray[np.bool_], key: bytes
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return _signs(blocks, inside, self.keep_norm)

    def restore(self, levels: NDArray[np.float32], codes: NDArray[np.int64]) -> Array:
        return np.where(codes == 1, 1.0, -1.0) * levels.astype(np.float64)


@dataclass(frozen=True)
class TwoBit(_Blocks):
    """The sign times one of two levels: the mean of the magnitudes below, and above, the block's mean magnitude.

    With `keep_norm` the levels are root mean squares of the same magnitudes, so that a block is as long as it was.
    """

    levels = 2
    keep_norm: bool = False

    def quantise(
        self, blocks: Array, inside: NDArray[np.bool_], key: bytes
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        sizes = np.abs(blocks)
        large = (sizes > _mean(sizes, inside)) & inside
        level = _quadratic_mean if self.keep_norm else _mean
        levels = _floored(np.concatenate([level(sizes, inside & ~large), level(sizes, large)], axis=1))
        # Magnitudes that are one in float32 have one level, the lower.
        one = levels[:, :1] >= levels[:, 1:]
        levels[:, 1:][one], large = 0.0, large & ~one
        size = np.where(large, levels[:, 1:], levels[:, :1])
        return levels, ((blocks >= 0) | (size == 0)).astype(np.int64) + 2 * large.astype(np.int64)

    def restore(self, levels: NDArray[np.float32], codes: NDArray[np.int64]) -> Array:
        size = np.where(codes >= 2, levels[:, 1:], levels[:, :1]).astype(np.float64)
        return np.where(codes % 2 == 1, size, -size)


class Dorefa(_Blocks):
    """k-bit levels between the block's extremes, rounded at random (by the key); of one bit as `Sign`."""

    def quantise(
        self, blocks: Array, inside: NDArray[np.bool_], key: bytes
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        top = 2**self.bits - 1
        if top == 1:
            return _signs(blocks, inside, keep_norm=False)
        scale = _floored(np.abs(blocks).max(axis=1, keepdims=True))
        noise = uniform(key, NOISE_DRAW, blocks.size, -NOISE_REACH, NOISE_REACH).astype(np.float64)
        noise = noise.reshape(blocks.shape)
        unit = np.divide(blocks, 2.0 * scale, out=np.zeros_like(blocks), where=scale > 0) + 0.5
        return scale, np.clip(np.rint(unit * top + noise), 0, top).astype(np.int64)

    def restore(self, levels: NDArray[np.float32], codes: NDArray[np.int64]) -> Array:
        top = 2**self.bits - 1
        scale = levels.astype(np.float64)
        return np.where(codes == 1, scale, -scale) if top == 1 else 2.0 * scale * (codes / top - 0.5)


def _blocks(values: Vector, block: int) -> tuple[Array, NDArray[np.bool_]]:
    rows = -(-len(values) // block)
    filled, inside = np.zeros(rows * block), np.zeros(rows * block, np.bool_)
    filled[: len(values)], inside[: len(values)] = values, True
    return filled.reshape(rows, block), inside.reshape(rows, block)


def _mean(values: Array, where: NDArray[np.bool_]) -> Array:
    """Mean over each row's chosen values, [rows, 1]; zero of none."""
    counts = where.sum(axis=1, keepdims=True)
    return np.asarray(tree_sum(np.where(where, values, 0.0), 1)[:, None] / np.maximum(counts, 1))


def _quadratic_mean(values: Array, where: NDArray[np.bool_]) -> Array:
    """Root mean square over each row's chosen values, [rows, 1]; zero of none."""
    return np.sqrt(_mean(values * values, where))


def _signs(blocks: Array, inside: NDArray[np.bool_], keep_norm: bool) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Mean magnitude of each block, and 1 where a value is not negative; of a block without size everywhere."""
    level = _floored((_quadratic_mean if keep_norm else _mean)(np.abs(blocks), inside))
    return level, ((blocks >= 0) | (level == 0)).astype(np.int64)


def _floored(scales: Array) -> NDArray[np.float32]:
    """As float32; zero where products with a level could leave the normal numbers."""
    found = scales.astype(np.float32)
    return np.where(found < SCALE_FLOOR, np.float32(0.0), found)


def _short(scales: Array) -> NDArray[np.float32]:
    """Cut to 16 significant bits: then a product with an integer of 8 bits is exact in float32."""
    return (_floored(scales).view(np.uint32) & np.uint32(0xFFFFFF00)).view(np.float32)


def _finite(values: Vector) -> Vector:
    if not np.isfinite(values).all():
        raise EncodingError("an encoded delta holds a number that is not finite")
    return values
