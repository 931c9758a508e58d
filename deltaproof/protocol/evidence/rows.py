"""Data rows: their canonical bytes, salted digests, the data root, and files that hold a shard.

A shard is committed row by row, so that only the rows of sampled steps are ever shown. Each row's salt derives from the
owner's secret, so that a digest tells nothing about a row that others could guess (docs/protocol.md, section 1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from deltaproof.errors import EncodingError, UsageError
from deltaproof.protocol.rules import MAX_ROW_BYTES, MAX_ROWS
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle
from deltaproof.protocol.wire.encoding import canonical_json, parse_json

__all__ = [
    "PUBLIC_SALTS",
    "OpenedRow",
    "Shard",
    "canonical_row",
    "distinct_rows",
    "parse_row",
    "read_shard",
    "row_salt",
    "write_shard",
]

PUBLIC_SALTS = Digest32(bytes(32))
"""The secret of a shard that a task names (`data.roots`), so that whoever has its rows finds its root."""
_SALT_DOMAIN = b"deltaproof/row-salt/v1\x00"


@dataclass(frozen=True)
class OpenedRow:
    """One row shown to a verifier: its index in the shard, canonical bytes, salt and siblings up to the data root."""

    index: int
    row: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    siblings: tuple[bytes, ...] = field(repr=False)

    @property
    def digest(self) -> Digest32:
        """Digest of the salted row, a leaf of the data root."""
        return merkle.row_leaf(self.salt, self.row)

    def verify(self, data_root: bytes, rows: int) -> bool:
        """Whether this is row `index` of the shard of `rows` rows under `data_root`."""
        return merkle.verify(data_root, self.digest, self.index, rows, self.siblings)


@dataclass(frozen=True)
class Shard:
    """A trainer's rows (canonical bytes) and the secret that salts them, `PUBLIC_SALTS` if they are for everybody."""

    rows: tuple[bytes, ...] = field(repr=False)
    secret: Digest32 = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.rows) <= MAX_ROWS:
            raise EncodingError(f"a shard has 1 to {MAX_ROWS} rows, not {len(self.rows)}")

    @cached_property
    def digests(self) -> tuple[Digest32, ...]:
        """Digests of all salted rows, in order."""
        return tuple(merkle.row_leaf(row_salt(self.secret, i), row) for i, row in enumerate(self.rows))

    @cached_property
    def root(self) -> Digest32:
        """The data root."""
        return Digest32(self._levels[-1][0])

    def open(self, index: int) -> OpenedRow:
        """A row with its salt and its proof."""
        siblings = merkle.proof_from_levels(self._levels, index)
        return OpenedRow(index, self.rows[index], row_salt(self.secret, index), siblings)

    @cached_property
    def _levels(self) -> list[list[bytes]]:
        return merkle.levels(self.digests)


def row_salt(secret: bytes, index: int) -> Digest32:
    """Salt of row `index`: `sha256("deltaproof/row-salt/v1" ‖ 0x00 ‖ secret 32 ‖ index u32)`."""
    return Digest32(hashlib.sha256(_SALT_DOMAIN + secret + index.to_bytes(4, "big")).digest())


def canonical_row(value: Mapping[str, object]) -> bytes:
    """Canonical JSON of a row. Raises EncodingError if it is no JSON or larger than `MAX_ROW_BYTES`."""
    data = canonical_json(dict(value))
    if len(data) > MAX_ROW_BYTES:
        raise EncodingError(f"a row of {len(data)} bytes exceeds the limit of {MAX_ROW_BYTES}")
    return data


def distinct_rows(rows: Iterable[bytes]) -> tuple[bytes, ...]:
    """Canonical rows in order, each once: what a trainer may enrol. A repeated row makes a shard look larger."""
    return tuple(dict.fromkeys(rows))


def parse_row(data: bytes) -> dict[str, object]:
    """The fields of an untrusted canonical row. Raises EncodingError."""
    value = parse_json(data, max_bytes=MAX_ROW_BYTES)
    if not isinstance(value, dict):
        raise EncodingError("a row is a JSON object")
    return value


def read_shard(path: Path) -> tuple[bytes, ...]:
    """Rows of a JSONL file, canonical. Raises EncodingError naming the row, UsageError for an unreadable file."""
    try:
        with path.open("rb") as file:
            return _rows_of(file, path)
    except OSError as error:
        raise UsageError(f"cannot read the rows in {path}: {error.strerror or error}") from error


def _rows_of(file: BinaryIO, path: Path) -> tuple[bytes, ...]:
    rows: list[bytes] = []
    while line := file.readline(2 * MAX_ROW_BYTES):
        if not line.strip():
            continue
        try:
            value = parse_json(line, max_bytes=2 * MAX_ROW_BYTES - 1, canonical=False)
            if not isinstance(value, dict):
                raise EncodingError("a row is a JSON object")
            rows.append(canonical_row(value))
        except EncodingError as error:
            remedy = "" if rows else "; `deltaproof data convert` makes rows of other files"
            raise EncodingError(f"{path}, row {len(rows)}: {error}{remedy}") from error
        if len(rows) > MAX_ROWS:
            raise EncodingError(f"{path} has more than {MAX_ROWS} rows")
    return tuple(rows)


def write_shard(path: Path, rows: Iterable[bytes]) -> None:
    """Write canonical rows as JSONL."""
    with path.open("wb") as file:
        for row in rows:
            file.write(row + b"\n")
