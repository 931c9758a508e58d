"""Rows: canonical bytes, salted digests, openings, shard files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import (
    OpenedRow,
    Shard,
    canonical_row,
    parse_row,
    read_shard,
    row_salt,
    write_shard,
)
from deltaproof.protocol.rules import MAX_ROW_BYTES
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "state_opening.json").read_text("utf-8"))
SECRET = Digest32(bytes(range(32)))


def shard(count: int = 11) -> Shard:
    return Shard(tuple(canonical_row({"text": f"row {i}", "label": i % 2}) for i in range(count)), SECRET)


@given(st.integers(1, 30), st.data())
@settings(max_examples=40)
def test_opened_row_verifies_in_its_place_only(count: int, data: st.DataObject) -> None:
    made, index = shard(count), data.draw(st.integers(0, count - 1))
    opened = made.open(index)
    assert opened.verify(made.root, count)
    other = OpenedRow((index + 1) % count, opened.row, opened.salt, opened.siblings)
    assert count == 1 or not other.verify(made.root, count)
    for field in ("row", "salt"):
        changed = bytearray(getattr(opened, field))
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        fields = {"row": opened.row, "salt": opened.salt, field: bytes(changed)}
        assert not OpenedRow(index, fields["row"], fields["salt"], opened.siblings).verify(made.root, count)


def test_equal_rows_have_different_digests_and_secrets_hide_them() -> None:
    row = canonical_row({"text": "same"})
    first, second = Shard((row, row), SECRET).digests
    assert first != second
    assert first != Shard((row,), Digest32(bytes(32))).digests[0]
    assert row_salt(SECRET, 0) != row_salt(SECRET, 1)


def test_file_round_trip_and_canonical_form(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "été", "label": 1}\n\n{"label":0,"text":"b"}\n', "utf-8")
    rows = read_shard(path)
    assert rows == ('{"label":1,"text":"été"}'.encode(), b'{"label":0,"text":"b"}')
    write_shard(path, rows)
    assert read_shard(path) == rows


@pytest.mark.parametrize(
    "line",
    [
        '{"text": NaN}',
        '{"a":1,"a":2}',
        "[1]",
        "{",
        '{"text":"' + "x" * MAX_ROW_BYTES + '"}',
        '{"x":' * 100 + "1" + "}" * 100,
    ],
)
def test_bad_line_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text":"fine"}\n' + line + "\n", "utf-8")
    with pytest.raises(EncodingError, match="row 1"):
        read_shard(path)


def test_row_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(EncodingError, match="canonical"):
        parse_row(b'{"b":1, "a":2}')


def test_vector() -> None:
    row = VECTORS["row"]
    assert merkle.row_leaf(bytes.fromhex(row["salt"][2:]), row["row"].encode()).hex() == row["digest"][2:]
