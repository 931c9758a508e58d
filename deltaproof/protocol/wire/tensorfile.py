"""Safetensors bytes in one canonical form, and the reader that accepts no other.

The library reads these files too, but it admits many encodings of the same content and shows metadata only for files
on disk. Here equal content has equal bytes: the header is canonical JSON padded with spaces to a multiple of eight, and
tensors lie in the order of their names. The reader checks the header, within a byte limit, before it looks at a tensor.
Format: 8-byte little-endian header length, JSON header, raw little-endian data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deltaproof.errors import EncodingError
from deltaproof.protocol.rules import MAX_TENSORS
from deltaproof.protocol.wire.encoding import canonical_json, parse_json

__all__ = ["Header", "TensorEntry", "read_header", "read_vector", "write_vectors"]


class TensorEntry(BaseModel):
    """One tensor's header entry."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    dtype: str = Field(max_length=16)
    shape: tuple[int, ...] = Field(max_length=8)
    data_offsets: tuple[int, int]


@dataclass(frozen=True)
class Header:
    """Checked header and the data it speaks of. Tensors cover the data exactly, without gaps or overlaps."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    data: memoryview = field(repr=False)

    def float32_vector(self, name: str, size: int) -> NDArray[np.float32]:
        """Tensor `name` without a copy. Raises EncodingError unless it is float32 of shape (size,)."""
        entry = self.tensors[name]
        if entry.dtype != "F32" or entry.shape != (size,):
            raise EncodingError(f"{name} must be F32 of shape [{size}], not {entry.dtype} of shape {list(entry.shape)}")
        begin, end = entry.data_offsets
        if end - begin != 4 * size:
            raise EncodingError(f"{name} has {end - begin} bytes for {size} float32 values")
        return read_vector(self.data[begin:end])


def write_vectors(vectors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]) -> bytes:
    """Float32 vectors and metadata as the bytes of a safetensors file."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    blobs, position = [], 0
    for name in sorted(vectors):
        blob = np.ascontiguousarray(vectors[name], dtype="<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(vectors[name].shape),
            "data_offsets": [position, position + len(blob)],
        }
        blobs.append(blob)
        position += len(blob)
    encoded = _padded(canonical_json(header))
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *blobs])


def read_vector(data: bytes | memoryview) -> NDArray[np.float32]:
    """The float32 values in bytes. Raises EncodingError unless their number is whole."""
    if len(data) % 4:
        raise EncodingError(f"{len(data)} bytes are no float32 values")
    return np.frombuffer(data, dtype="<f4").astype(np.float32)  # a copy: aligned, writable, and the file can be dropped


def read_header(data: bytes, max_header_bytes: int) -> Header:
    """Parse and check the header. Raises EncodingError."""
    if len(data) < 8:
        raise EncodingError("not a safetensors file: shorter than its length field")
    length = int.from_bytes(data[:8], "little")
    if length > max_header_bytes or 8 + length > len(data):
        raise EncodingError(f"safetensors header of {length} bytes exceeds the limit or the file")
    encoded = data[8 : 8 + length]
    fields = parse_json(encoded.rstrip(b" "), max_bytes=max_header_bytes)
    if encoded != _padded(encoded.rstrip(b" ")):
        raise EncodingError("safetensors header is not padded with spaces to a multiple of eight")
    if not isinstance(fields, dict) or len(fields) > MAX_TENSORS:
        raise EncodingError(f"a safetensors header is an object of at most {MAX_TENSORS} entries")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise EncodingError("safetensors metadata must map text to text")
    try:
        tensors = {name: TensorEntry.model_validate(_tuples(entry)) for name, entry in fields.items()}
    except ValidationError as error:
        raise EncodingError(f"safetensors header: {error.errors(include_input=False)[0]['msg']}") from error
    body = memoryview(data)[8 + length :]
    _check_cover(tensors, len(body))
    return Header(tensors, metadata, body)


def _padded(header: bytes) -> bytes:
    return header + b" " * (-len(header) % 8)


def _tuples(entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _check_cover(tensors: Mapping[str, TensorEntry], size: int) -> None:
    position = 0
    for name, entry in sorted(tensors.items()):
        begin, end = entry.data_offsets
        if begin != position or end < begin or any(length < 0 for length in entry.shape):
            raise EncodingError(f"safetensors header: offsets of {name!r} are not the next ones in the order of names")
        if math.prod(entry.shape) > size:
            raise EncodingError(f"safetensors header: shape of {name!r} does not fit the file")
        position = end
    if position != size:
        raise EncodingError(f"safetensors header speaks of {position} bytes of data, the file has {size}")
