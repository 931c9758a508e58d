"""Step records, the transcript tree over them, and the opening of one step.

docs/protocol.md, section 2. An opening is what a trainer publishes for a sampled step: records t and t+1 with their
proofs, the state before the step, the gradient, and the batch's rows with salts and proofs. It travels as a safetensors
file and is untrusted: `parse_opening` checks size, names, dtypes, shapes and finiteness against limits that the task
determines before it builds a vector.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import OpenedRow
from deltaproof.protocol.evidence.state import StateRoots, Vector, check_vector, component_root
from deltaproof.protocol.rules import (
    MAX_ROW_BYTES,
    OPENING_BYTES,
    OPENING_ESCAPE,
    OPENING_PROOF_BYTES,
    OPENING_ROW_BYTES,
)
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, digest32, hex_of
from deltaproof.protocol.wire import merkle
from deltaproof.protocol.wire.encoding import canonical_json, parse_json
from deltaproof.protocol.wire.tensorfile import read_header, write_vectors

__all__ = [
    "GRADIENT",
    "RECORD_BYTES",
    "OpeningLimits",
    "StepOpening",
    "StepRecord",
    "parse_opening",
    "serialize_opening",
    "transcript_root",
]

_RECORD = struct.Struct(">I32s32s32sfd")
RECORD_BYTES = _RECORD.size
"""Length of an encoded step record."""
_METADATA_KEY = "opening"
GRADIENT = "grad"
"""Name of the gradient's tensor in an opening; it stands first."""


@dataclass(frozen=True)
class StepRecord:
    """Record t: the state before step t and what step t used. Record N holds the final state and zeros.

    `clip_scale` is a float32 value, `loss` the mean loss of the batch in nats.
    """

    step: int
    state_root: bytes
    grad_root: bytes = ZERO_DIGEST
    rows_root: bytes = ZERO_DIGEST
    clip_scale: float = 0.0
    loss: float = 0.0

    def encode(self) -> bytes:
        """The 112 bytes of the record. Raises ValueError if a field does not fit."""
        if not (math.isfinite(self.clip_scale) and math.isfinite(self.loss)):
            raise ValueError(f"record {self.step}: clip scale {self.clip_scale} and loss {self.loss} must be finite")
        if float(np.float32(self.clip_scale)) != self.clip_scale:
            raise ValueError(f"record {self.step}: clip scale {self.clip_scale!r} is no float32 value")
        return _RECORD.pack(self.step, self.state_root, self.grad_root, self.rows_root, self.clip_scale, self.loss)

    @classmethod
    def decode(cls, data: bytes) -> StepRecord:
        """Raises EncodingError for another length or a number that is not finite."""
        if len(data) != RECORD_BYTES:
            raise EncodingError(f"a record has {RECORD_BYTES} bytes, not {len(data)}")
        record = cls(*_RECORD.unpack(data))
        if not (math.isfinite(record.clip_scale) and math.isfinite(record.loss)):
            raise EncodingError(f"record {record.step}: clip scale and loss must be finite")
        return record

    @property
    def digest(self) -> Digest32:
        """Leaf of the transcript tree."""
        return merkle.record_leaf(self.encode())


@dataclass(frozen=True)
class StepOpening:
    """Everything needed to replay step `before.step`."""

    before: StepRecord
    after: StepRecord
    before_proof: tuple[bytes, ...] = field(repr=False)
    after_proof: tuple[bytes, ...] = field(repr=False)
    state: Mapping[str, Vector] = field(repr=False)
    """Components of the state before the step, by slot name, shape (P,)."""
    gradient: Vector = field(repr=False)
    """Shape (P,)."""
    rows: tuple[OpenedRow, ...] = field(repr=False)
    error_root: bytes = ZERO_DIGEST
    """Component root of the error-feedback memory, which stays the same within a round."""

    @cached_property
    def roots(self) -> StateRoots:
        """Component roots of the state that is shown; hashed once."""
        return StateRoots(**{slot: component_root(values) for slot, values in self.state.items()}, e=self.error_root)

    def with_gradient(self, gradient: Vector) -> StepOpening:
        """The same with another gradient; roots of the state are not hashed again."""
        changed = replace(self, gradient=gradient)
        changed.__dict__["roots"] = self.roots
        return changed

    @cached_property
    def gradient_root(self) -> Digest32:
        """Component root of the gradient that is shown; hashed once."""
        return component_root(self.gradient)


@dataclass(frozen=True)
class OpeningLimits:
    """What a task's openings may hold: P values, the used slots, N steps, rows of a batch and of the shard,
    bytes of a row."""

    values: int
    slots: tuple[str, ...]
    steps: int
    batch_rows: int
    shard_rows: int
    row_bytes: int = MAX_ROW_BYTES
    sealed: bool = False
    """Whether they are sealed for their readers (`protocol.commit.sealing`)."""

    @property
    def max_bytes(self) -> int:
        """Largest size of an opening's file, known before it is read."""
        return 8 + self.max_header_bytes + self.tensor_bytes

    @property
    def max_header_bytes(self) -> int:
        """Most bytes that the header of an opening may have."""
        # Rows travel as JSON text inside the JSON header: escaping at most sextuples them, twice.
        escaped_row = OPENING_ESCAPE * self.row_bytes
        proofs = 2 * merkle.depth(self.steps + 1) + self.batch_rows * (1 + merkle.depth(self.shard_rows))
        return OPENING_BYTES + OPENING_PROOF_BYTES * proofs + self.batch_rows * (escaped_row + OPENING_ROW_BYTES)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of the tensors of an opening, exactly."""
        return 4 * self.values * (len(self.slots) + 1)


_Hex = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
_RecordHex = Annotated[str, StringConstraints(pattern=rf"^0x[0-9a-f]{{{2 * RECORD_BYTES}}}$")]


class _RowFields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    index: int = Field(ge=0, lt=2**32)
    row: str
    salt: _Hex
    proof: tuple[_Hex, ...]


class _OpeningFields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    before: _RecordHex
    after: _RecordHex
    before_proof: tuple[_Hex, ...]
    after_proof: tuple[_Hex, ...]
    error_root: _Hex
    rows: tuple[_RowFields, ...]


def transcript_root(record_digests: Sequence[bytes]) -> Digest32:
    """Root over the digests of records 0..N."""
    return merkle.root(record_digests)


def serialize_opening(opening: StepOpening) -> bytes:
    """The opening as the bytes of a safetensors file."""
    fields = {
        "before": hex_of(opening.before.encode()),
        "after": hex_of(opening.after.encode()),
        "before_proof": [hex_of(digest) for digest in opening.before_proof],
        "after_proof": [hex_of(digest) for digest in opening.after_proof],
        "error_root": hex_of(opening.error_root),
        "rows": [
            {
                "index": row.index,
                "row": row.row.decode("utf-8"),
                "salt": hex_of(row.salt),
                "proof": [hex_of(digest) for digest in row.siblings],
            }
            for row in opening.rows
        ],
    }
    tensors = {**opening.state, GRADIENT: opening.gradient}
    return write_vectors(tensors, {_METADATA_KEY: canonical_json(fields).decode("utf-8")})


def parse_opening(data: bytes, limits: OpeningLimits) -> StepOpening:
    """The opening in an untrusted file. Raises EncodingError for anything that does not fit `limits`."""
    if len(data) > limits.max_bytes:
        raise EncodingError(f"opening of {len(data)} bytes exceeds the limit of {limits.max_bytes}")
    header = read_header(data, max_header_bytes=limits.max_header_bytes)
    vectors = {}
    for name in sorted((*limits.slots, GRADIENT)):
        if name not in header.tensors:
            raise EncodingError(f"opening lacks the tensor {name!r}")
        values = header.float32_vector(name, limits.values)
        vectors[name] = check_vector(values, limits.values, name)
    if extra := sorted(set(header.tensors) - set(vectors)):
        raise EncodingError(f"opening holds tensors that do not belong there: {', '.join(map(repr, extra[:5]))}")
    if set(header.metadata) != {_METADATA_KEY}:
        raise EncodingError(f"opening's metadata must be exactly {_METADATA_KEY!r}")
    fields = _parse_fields(header.metadata[_METADATA_KEY], limits)
    gradient = vectors.pop(GRADIENT)
    return StepOpening(
        before=StepRecord.decode(bytes.fromhex(fields.before[2:])),
        after=StepRecord.decode(bytes.fromhex(fields.after[2:])),
        before_proof=_digests(fields.before_proof),
        after_proof=_digests(fields.after_proof),
        state=vectors,
        gradient=gradient,
        rows=tuple(OpenedRow(r.index, r.row.encode("utf-8"), digest32(r.salt), _digests(r.proof)) for r in fields.rows),
        error_root=digest32(fields.error_root),
    )


def _digests(values: Sequence[str]) -> tuple[Digest32, ...]:
    return tuple(digest32(value) for value in values)


def _parse_fields(text: str, limits: OpeningLimits) -> _OpeningFields:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EncodingError(f"opening's metadata is not UTF-8: {error}") from error
    parse_json(data, max_bytes=limits.max_header_bytes)
    try:
        fields = _OpeningFields.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EncodingError(f"opening's metadata, {where}: {first['msg']}") from error
    if len(fields.rows) != limits.batch_rows:
        raise EncodingError(f"opening shows {len(fields.rows)} rows; a batch has {limits.batch_rows}")
    for row in fields.rows:
        if len(row.row.encode("utf-8")) > limits.row_bytes:
            raise EncodingError(f"row {row.index} has more than the {limits.row_bytes} bytes that the task allows")
    return fields
