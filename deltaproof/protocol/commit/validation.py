"""Hidden validation sets: rows that a sponsor fixes by commitment and shows when commitments of trainers are in."""

from __future__ import annotations

from typing import Annotated

from pydantic import FailFast, Field

from deltaproof.errors import EncodingError
from deltaproof.protocol.commit.commitments import validation_commitment
from deltaproof.protocol.rules import MAX_VALIDATION_BYTES, MAX_VALIDATION_ROWS
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire.documents import Document

__all__ = ["ValidationSet", "open_validation", "seal_validation"]

SALT_BYTES = 32


class ValidationSet(Document, kind="validation", max_bytes=MAX_VALIDATION_BYTES, most_values=2 + MAX_VALIDATION_ROWS):
    """Rows in canonical form (`deltaproof.protocol.evidence.rows.canonical_row`), as text."""

    rows: Annotated[tuple[str, ...], Field(min_length=1), FailFast()]

    def scored(self, count: int) -> list[bytes]:
        """The rows that a round is scored on: the first `count`, as many as the task says a set has."""
        return [row.encode() for row in self.rows[:count]]


def seal_validation(rows: ValidationSet, salt: Digest32) -> tuple[Digest32, bytes]:
    """The commitment that goes into the task, and the artifact that opens it: salt, then the document."""
    return validation_commitment(rows.digest(), salt), salt + rows.to_document()


def open_validation(data: bytes) -> tuple[ValidationSet, Digest32, Digest32]:
    """Rows, salt and commitment of an untrusted artifact. Raises EncodingError."""
    if len(data) < SALT_BYTES:
        raise EncodingError("validation artifact is shorter than its salt")
    salt = Digest32(data[:SALT_BYTES])
    rows = ValidationSet.from_document(data[SALT_BYTES:])
    return rows, salt, validation_commitment(rows.digest(), salt)
