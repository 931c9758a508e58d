"""Canonical JSON, document digests, and the parser for JSON that came from somebody else.

Canonical form: UTF-8, keys sorted by code point, no white space, no NaN or infinity, floats in Python's shortest
round-trip decimal form. A document is `"deltaproof/<kind>/v1" ‖ 0x00 ‖ canonical JSON`; its digest is the SHA-256 of
these bytes, and these bytes are also what the store keeps, so one digest names, finds and checks a document.
"""

from __future__ import annotations

import hashlib
import json
import math
import re

from deltaproof.errors import EncodingError
from deltaproof.protocol.rules import FREE_JSON_BRANCHES, JSON_BRANCH_BYTES, MAX_JSON_DEPTH, MAX_JSON_KEYS
from deltaproof.protocol.types import Digest32

__all__ = [
    "canonical_json",
    "decode_document",
    "document_digest",
    "encode_document",
    "parse_json",
    "sha256",
]


STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)  # also an unterminated one: linear on any input
PIECE = re.compile(rb'(?:[^"]{1,256}+|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)){1,4096}+', re.DOTALL)
"""So much of JSON as leaves few strings; none is cut."""
BRACKET = re.compile(rb"[\[\]{}]")
ALWAYS_FINE = frozenset((str, int, bool, type(None)))
"""Types of values that JSON holds whatever they are; most values are such, so none costs a call."""
Where = tuple[()] | tuple["Where", str | int]
"""Keys and positions from the outermost value inwards, the last one first; put into words only where one is refused."""


def sha256(data: bytes) -> Digest32:
    """SHA-256 of the bytes."""
    return Digest32(hashlib.sha256(data).digest())


def canonical_json(value: object) -> bytes:
    """The one byte form of a JSON value. Raises EncodingError for anything that JSON cannot hold exactly."""
    _check_encodable(value)
    return _dumped(value)


def _dumped(value: object) -> bytes:
    """The canonical form of a value that was checked."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (ValueError, UnicodeEncodeError) as error:
        raise EncodingError(f"not encodable as canonical JSON: {error}") from error


def parse_json(data: bytes, *, max_bytes: int, canonical: bool = True, most_values: int | None = None) -> object:
    """Parse untrusted JSON: no duplicate keys, no NaN or infinity, bounded in depth, in lists and objects, and by
    `max_bytes` and `most_values`.

    With `canonical` the bytes must be the canonical form of what they hold. Raises EncodingError.
    """
    if len(data) > max_bytes:
        raise EncodingError(f"JSON of {len(data)} bytes exceeds the limit of {max_bytes}")
    _check_shape(data, most_values)
    try:
        value: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except ValueError as error:
        raise EncodingError(f"not valid JSON: {error}") from error
    _check_encodable(value)
    if canonical and _dumped(value) != data:
        raise EncodingError("JSON is not in canonical form")
    return value


def encode_document(kind: str, value: object) -> bytes:
    """Header and canonical JSON of a document of the given kind."""
    return _header(kind) + canonical_json(value)


def decode_document(kind: str, data: bytes, *, max_bytes: int, most_values: int | None = None) -> object:
    """The JSON value of an untrusted document. Raises EncodingError, also if it is of another kind."""
    header = _header(kind)
    if not data.startswith(header):
        raise EncodingError(f"not a {kind!r} document")
    return parse_json(data[len(header) :], max_bytes=max_bytes, most_values=most_values)


def document_digest(kind: str, value: object) -> Digest32:
    """`sha256("deltaproof/<kind>/v1" ‖ 0x00 ‖ canonical JSON)`."""
    return sha256(encode_document(kind, value))


def _header(kind: str) -> bytes:
    return f"deltaproof/{kind}/v1".encode("ascii") + b"\x00"


def _check_shape(data: bytes, most_values: int | None) -> None:
    """Before the parser, which recurses and makes an object of each value: whoever raised the interpreter's limit must
    not pay with its stack, and nobody with its memory.

    Attack: publish a document of the size that it may have, of nothing but `[0],[0],[0]`: parsers take two hundred
    bytes for one of it.
    """
    most_branches = FREE_JSON_BRANCHES + len(data) // JSON_BRANCH_BYTES
    branches = commas = depth = 0
    for piece in PIECE.finditer(data):
        bare = STRING.sub(b"", piece[0])
        branches += bare.count(b"[") + bare.count(b"{")
        commas += bare.count(b",")
        if branches > most_branches:
            raise EncodingError(f"JSON of {len(data)} bytes has more than {most_branches} lists and objects")
        if most_values is not None and branches + commas >= most_values:
            raise EncodingError(f"JSON of more than {most_values} values")
        for found in BRACKET.finditer(bare):
            depth += 1 if found[0] in b"[{" else -1
            if depth > MAX_JSON_DEPTH:
                raise EncodingError(f"JSON nested deeper than {MAX_JSON_DEPTH} levels")


def _check_encodable(value: object, depth: int = 0, where: Where = ()) -> None:
    if depth > MAX_JSON_DEPTH:
        raise EncodingError(f"JSON nested deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise EncodingError(f"JSON keys are text, got {key!r}")
            if type(item) not in ALWAYS_FINE or depth == MAX_JSON_DEPTH:
                _check_encodable(item, depth + 1, (where, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if type(item) not in ALWAYS_FINE or depth == MAX_JSON_DEPTH:
                _check_encodable(item, depth + 1, (where, index))
    elif isinstance(value, float) and not math.isfinite(value):
        raise EncodingError(f"{_named(where)}: JSON holds no {value}")
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise EncodingError(f"{_named(where)}: JSON holds no {type(value).__name__}")


def _named(where: Where) -> str:
    """The place of a value, as `rows[3].text`."""
    parts = []
    while where:
        where, part = where
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return "".join(reversed(parts)).removeprefix(".") or "value"


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(pairs) > MAX_JSON_KEYS:  # whoever looks for unknown ones remembers each
        raise EncodingError(f"JSON object of {len(pairs)} keys, where {MAX_JSON_KEYS} are the most")
    value = dict(pairs)
    if len(value) != len(pairs):
        raise EncodingError("JSON object with a duplicate key")
    return value


def _refuse_constant(text: str) -> float:
    raise EncodingError(f"JSON holds no {text}")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise EncodingError(f"number out of range: {text}")
    return value
