"""How a frozen matrix of an emulator's middle travels: pruned or factorised, then in few bits.

What the bytes decode to has the same bits on every IEEE machine. Pruning and quantisation are exact functions of the
matrix as well; the factors of a product come from LAPACK and agree between machines up to rounding.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deltaproof.errors import EncodingError
from deltaproof.protocol.terms.federation import Recipe
from deltaproof.tuning.codecs._wire import PayloadReader, pack_bits, read_bits
from deltaproof.tuning.codecs.values import BlockIntegers, Float16, Float32, Values
from deltaproof.tuning.numerics.linalg import matmul

__all__ = ["Matrix", "compress", "compressed_size", "decompress"]

Matrix = NDArray[np.float32]
"""float32, two dimensions: a weight of the middle."""
_BLOCK = 64
_NO_KEY = b""
"""None of these codecs draws anything."""


def compress(values: Matrix, recipe: Recipe) -> bytes:
    """Bytes of a finite tensor. Tensors of one axis (biases, norms) are neither pruned nor factorised."""
    codec = _codec(recipe, values.ndim)
    flat = values.reshape(-1)
    if values.ndim != 2:
        return codec.write(flat, _NO_KEY)
    if recipe.rank_share:
        left, right = _factors(values, _rank(values.shape, recipe))
        return codec.write(left.reshape(-1), _NO_KEY) + codec.write(right.reshape(-1), _NO_KEY)
    if recipe.prune:
        kept = _largest(flat, _kept(flat.size, recipe))
        return pack_bits(kept.astype(np.uint8), 1) + codec.write(flat[kept], _NO_KEY)
    return codec.write(flat, _NO_KEY)


def decompress(data: bytes, shape: tuple[int, ...], recipe: Recipe) -> Matrix:
    """The tensor in untrusted bytes. Raises EncodingError."""
    codec, count, reader = _codec(recipe, len(shape)), math.prod(shape), PayloadReader(data)
    if len(data) != compressed_size(shape, recipe):
        raise EncodingError(f"a tensor of shape {shape} takes {compressed_size(shape, recipe)} bytes, not {len(data)}")
    if len(shape) == 2 and recipe.rank_share:
        rank = _rank(shape, recipe)
        left = codec.read(reader, shape[0] * rank).reshape(shape[0], rank)
        right = codec.read(reader, rank * shape[1]).reshape(rank, shape[1])
        values = matmul(left.astype(np.float64), right.astype(np.float64)).astype(np.float32)
    elif len(shape) == 2 and recipe.prune:
        kept = read_bits(reader, count, 1) == 1
        if int(kept.sum()) != _kept(count, recipe):
            raise EncodingError(f"a pruned tensor keeps {int(kept.sum())} values instead of {_kept(count, recipe)}")
        values = np.zeros(count, np.float32)
        values[kept] = codec.read(reader, int(kept.sum()))
    else:
        values = codec.read(reader, count)
    reader.end()
    return values.reshape(shape)


def compressed_size(shape: tuple[int, ...], recipe: Recipe) -> int:
    """Bytes of a tensor of this shape, exactly."""
    codec, count = _codec(recipe, len(shape)), math.prod(shape)
    if len(shape) != 2:
        return codec.size(count)
    if recipe.rank_share:
        rank = _rank(shape, recipe)
        return codec.size(shape[0] * rank) + codec.size(rank * shape[1])
    if recipe.prune:
        return -(-count // 8) + codec.size(_kept(count, recipe))
    return codec.size(count)


def _codec(recipe: Recipe, axes: int) -> Values:
    if axes != 2:
        return Float32() if recipe.bits == 0 and recipe.distill_steps else Float16()
    match recipe.bits:
        case 0:
            return Float32()
        case 16:
            return Float16()
        case bits:
            return BlockIntegers(_BLOCK, bits)


def _rank(shape: tuple[int, ...], recipe: Recipe) -> int:
    return max(1, round(recipe.rank_share * min(shape)))


def _kept(count: int, recipe: Recipe) -> int:
    return count - int(recipe.prune * count)


def _largest(flat: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Where the `count` largest magnitudes are; ties go to the lower index."""
    order = np.argsort(-np.abs(flat), kind="stable")
    kept = np.zeros(flat.size, np.bool_)
    kept[order[:count]] = True
    return kept


def _factors(values: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """The best product of this rank (Eckart and Young 1936), singular values shared between both factors."""
    left, sizes, right = np.linalg.svd(values.astype(np.float64), full_matrices=False)
    half = np.sqrt(sizes[:rank])
    sign = np.where(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])] < 0, -1.0, 1.0)[:rank]
    return (
        np.ascontiguousarray(left[:, :rank] * sign * half).astype(np.float32),
        np.ascontiguousarray(right[:rank] * sign[:, None] * half[:, None]).astype(np.float32),
    )
