"""Typed documents: frozen pydantic models with one canonical encoding and one digest.

    class Report(Document, kind="report", max_bytes=65536):
        rows: int

`to_document()` are the bytes that the store keeps, `digest()` is their SHA-256, `from_document()` parses bytes that
came from somebody else.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deltaproof.errors import EncodingError
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire.encoding import canonical_json, decode_document, document_digest, encode_document

__all__ = ["Document", "Record"]


class Record(BaseModel):
    """A part of a document: frozen, strict types, unknown keys refused, no NaN or infinity.

    The text below a field is its description.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Document(Record):
    """A record that is stored and named by its digest."""

    KIND: ClassVar[str]
    MAX_BYTES: ClassVar[int]
    MOST_VALUES: ClassVar[int | None]
    """Of one whose size alone would let it hold more than memory does."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)

    def __init_subclass__(cls, *, kind: str, max_bytes: int, most_values: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.KIND, cls.MAX_BYTES, cls.MOST_VALUES = kind, max_bytes, most_values

    def to_json_value(self) -> dict[str, object]:
        """The document as JSON values, every default written out."""
        return self.model_dump(mode="json")

    def to_document(self) -> bytes:
        """The bytes that the store keeps."""
        return encode_document(self.KIND, self.to_json_value())

    def digest(self) -> Digest32:
        """`sha256(to_document())`."""
        return document_digest(self.KIND, self.to_json_value())

    @classmethod
    def explained(cls, error: ValidationError) -> str:
        """What is wrong with values that do not fit, for a person."""
        return str(error)

    @classmethod
    def from_document(cls, data: bytes) -> Self:
        """Parse and check an untrusted document. Raises EncodingError."""
        value = decode_document(cls.KIND, data, max_bytes=cls.MAX_BYTES, most_values=cls.MOST_VALUES)
        try:
            # Validation of JSON rather than of Python objects: strict types, and lists are what tuples look like.
            document = cls.model_validate_json(canonical_json(value))
        except ValidationError as error:
            raise EncodingError(f"not a {cls.KIND!r} document: {cls.explained(error)}") from error
        if document.to_document() != data:
            raise EncodingError(f"{cls.KIND!r} document is not in its one canonical form")
        return document
