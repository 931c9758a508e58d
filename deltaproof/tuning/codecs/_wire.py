"""Bits and bytes of encoded deltas: a bounded reader, packed small integers, ascending indices (Elias 1974, Fano 1971).

Legend: k indices below n; b low bits of each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deltaproof.errors import EncodingError

__all__ = ["PayloadReader", "index_bytes", "pack_bits", "pack_indices", "read_bits", "read_indices"]


class PayloadReader:
    """Takes bytes from the front; every length is known before it is taken."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises EncodingError if they are not there."""
        end = self._position + count
        if end > len(self._data):
            raise EncodingError(f"an encoded delta of {len(self._data)} bytes ends before byte {end}")
        part, self._position = self._data[self._position : end], end
        return part

    def floats(self, count: int) -> NDArray[np.float32]:
        """float32 values, finite. Raises EncodingError."""
        values = np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise EncodingError("an encoded delta holds a number that is not finite")
        return values

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def end(self) -> None:
        """Raises EncodingError if bytes are left."""
        if self._position != len(self._data):
            raise EncodingError(f"an encoded delta has {len(self._data) - self._position} bytes too many")


def pack_bits(values: NDArray[np.integer], bits: int) -> bytes:
    """Unsigned integers below 2^bits, least significant bit first, zeros up to a whole byte."""
    if bits == 8:
        return values.astype(np.uint8).tobytes()
    if bits == 4:
        small = np.append(values.astype(np.uint8), np.zeros(len(values) % 2, np.uint8))
        return np.asarray(small[0::2] | (small[1::2] << 4)).tobytes()
    digits = (values.astype(np.uint64)[:, None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(digits.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def read_bits(reader: PayloadReader, count: int, bits: int) -> NDArray[np.int64]:
    """`count` integers of `pack_bits`. Raises EncodingError if the filling is not zero."""
    data = np.frombuffer(reader.take(-(-count * bits // 8)), np.uint8)
    if bits == 8:
        return data.astype(np.int64)
    if bits == 4:
        values = np.stack([data & 15, data >> 4], axis=1).reshape(-1)
        if values[count:].any():
            raise EncodingError("an encoded delta is filled up with something else than zeros")
        return values[:count].astype(np.int64)
    flat = np.unpackbits(data, bitorder="little")
    if flat[count * bits :].any():
        raise EncodingError("an encoded delta is filled up with something else than zeros")
    digits = flat[: count * bits].reshape(count, bits).astype(np.int64)
    return np.asarray(digits @ (np.int64(1) << np.arange(bits, dtype=np.int64)))


def pack_indices(indices: NDArray[np.int64], size: int) -> bytes:
    """Strictly ascending indices below `size`: about 2 + log2(size / k) bits each."""
    low = _low_bits(len(indices), size)
    marks = np.zeros(len(indices) + (size >> low) + 1, np.int64)
    marks[(indices >> low) + np.arange(len(indices))] = 1
    return pack_bits(indices & ((1 << low) - 1), low) + pack_bits(marks, 1)


def read_indices(reader: PayloadReader, count: int, size: int) -> NDArray[np.int64]:
    """`count` indices of `pack_indices`. Raises EncodingError unless they ascend strictly and stay below `size`."""
    low = _low_bits(count, size)
    rest = read_bits(reader, count, low)
    marks = np.flatnonzero(read_bits(reader, count + (size >> low) + 1, 1))
    if len(marks) != count:
        raise EncodingError(f"an encoded delta marks {len(marks)} places for {count} values")
    indices = ((marks - np.arange(count)) << low) | rest
    if count and (int(indices[-1]) >= size or (np.diff(indices) <= 0).any()):
        raise EncodingError("the places in an encoded delta do not ascend within the adapter")
    return indices.astype(np.int64)


def index_bytes(count: int, size: int) -> int:
    """Length of `pack_indices`."""
    low = _low_bits(count, size)
    return -(-count * low // 8) + -(-(count + (size >> low) + 1) // 8)


def _low_bits(count: int, size: int) -> int:
    return max(0, (size // max(1, count)).bit_length() - 1)
