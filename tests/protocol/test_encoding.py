"""Canonical JSON, documents, and what the parser refuses."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol import rules
from deltaproof.protocol.commit.validation import ValidationSet
from deltaproof.protocol.types import AmountField, DigestField, TokenAmount, digest32
from deltaproof.protocol.wire import encoding
from deltaproof.protocol.wire.documents import Document, Record
from deltaproof.protocol.wire.encoding import (
    canonical_json,
    decode_document,
    document_digest,
    encode_document,
    parse_json,
)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
values = values.filter(lambda value: "\\ud" not in json.dumps(value))  # lone surrogates are not UTF-8


@given(values)
def test_canonical_json_round_trips_and_is_unique(value: Any) -> None:
    data = canonical_json(value)
    parsed = parse_json(data, max_bytes=len(data))
    assert parsed == value
    assert canonical_json(parsed) == data


@given(st.dictionaries(st.text(alphabet="abé\U0001f600", max_size=3), st.integers(), min_size=2))
def test_canonical_json_ignores_the_order_of_keys(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(list(value.items())))) == canonical_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1: 2}, {"a": [{"b": {3}}]}, "\ud800"])
def test_canonical_json_refuses_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(EncodingError):
        canonical_json(value)


def test_canonical_json_names_the_place() -> None:
    with pytest.raises(EncodingError, match=r"a\.b\[1\]"):
        canonical_json({"a": {"b": [1, float("inf")]}})


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":1.50}',
        b'{"a":"\\u00e9"}',
        b'{"a":"\\ud800"}',
        b'\xef\xbb\xbf{"a":1}',
        b"\xff",
        b"",
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b"9" * 5_000,
        b"-0",
    ],
)
def test_parse_json_refuses_other_forms(data: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_json(data, max_bytes=1_000_000)


def test_parse_json_refuses_too_many_bytes_before_parsing() -> None:
    with pytest.raises(EncodingError, match="exceeds the limit of 4"):
        parse_json(b'"abcd"', max_bytes=4)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_parse_json_raises_nothing_else(data: bytes) -> None:
    try:
        value = parse_json(data, max_bytes=200, canonical=False)
    except EncodingError:
        return
    canonical_json(value)


class Report(Document, kind="report", max_bytes=1000):
    rows: int
    owner: DigestField
    parts: tuple[AmountField, ...] = ()


class Inner(Record):
    value: float


def test_document_digest_is_the_hash_of_the_stored_bytes() -> None:
    report = Report(rows=3, owner=digest32("ab" * 32), parts=(TokenAmount(2**100),))
    data = report.to_document()
    assert data.startswith(b"deltaproof/report/v1\x00{")
    assert report.digest() == hashlib.sha256(data).digest() == document_digest("report", report.to_json_value())
    assert Report.from_document(data) == report
    assert b'"1267650600228229401496703205376"' in data


@pytest.mark.parametrize(
    "value",
    [
        {"rows": 3},
        {"rows": "3", "owner": "ab" * 32, "parts": []},
        {"rows": 3, "owner": "0x" + "ab" * 32, "parts": [], "more": 1},
        {"rows": 3, "owner": "0x" + "AB" * 32, "parts": []},
        {"rows": 3, "owner": "0x" + "ab" * 32},
        {"rows": 3, "owner": "0x" + "ab" * 32, "parts": [7]},
        {"rows": True, "owner": "0x" + "ab" * 32, "parts": []},
        [],
        None,
    ],
)
def test_document_accepts_one_form_only(value: Any) -> None:
    with pytest.raises(EncodingError):
        Report.from_document(encode_document("report", value))


def test_document_of_another_kind_is_refused() -> None:
    with pytest.raises(EncodingError, match="not a 'report' document"):
        decode_document("report", encode_document("task", {}), max_bytes=100)


def test_record_refuses_not_a_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        Inner(value=float("nan"))


@pytest.mark.parametrize("branch", [b"[0]", b'{"a":0}', b"[]"])
def test_json_of_nothing_but_lists_or_objects_is_refused_before_it_is_parsed(
    branch: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a document of all bytes that it may have, each of which takes parsers two hundred of memory."""
    data = b"[" + b",".join([branch] * 2 * rules.FREE_JSON_BRANCHES) + b"]"
    with pytest.raises(EncodingError, match="lists and objects"):
        parse_json(data, max_bytes=len(data))
    few = 2**14  # who counts every allocation is slow
    monkeypatch.setattr(encoding, "FREE_JSON_BRANCHES", few)
    data = b"[" + b",".join([branch] * 2 * few) + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(EncodingError, match="lists and objects"):
            parse_json(data, max_bytes=len(data))
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()


def test_brackets_in_text_are_no_lists() -> None:
    text = "[{" * rules.FREE_JSON_BRANCHES
    assert parse_json(canonical_json([text]), max_bytes=2**22) == [text]


def test_densest_game_of_honest_verifiers_is_parsed() -> None:
    """Coalitions of one player that are worth nothing, as many as there may be."""
    table = [{"members": [number % 7], "value_nanos": 0} for number in range(rules.MAX_COALITIONS)]
    data = canonical_json(table)
    assert parse_json(data, max_bytes=len(data)) == table


def test_validation_set_of_more_values_than_rows_is_refused_before_it_is_parsed() -> None:
    most = rules.MAX_VALIDATION_ROWS
    data = b'deltaproof/validation/v1\x00{"rows":[' + b",".join([b"0"] * (most + 1)) + b"]}"
    with pytest.raises(EncodingError, match=r"more than \d+ values"):
        ValidationSet.from_document(data)


def test_document_of_a_million_wrong_values_is_told_by_the_first() -> None:
    """Attack: rows that are no text, each of which has its line in the error that a role writes into its log."""
    data = b'deltaproof/validation/v1\x00{"rows":[' + b",".join([b"0"] * 20_000) + b"]}"
    with pytest.raises(EncodingError, match="not a 'validation' document") as raised:
        ValidationSet.from_document(data)
    assert len(str(raised.value)) < 1_000


def test_object_of_more_keys_than_any_record_has_is_refused() -> None:
    keys = {f"key {number}": 0 for number in range(rules.MAX_JSON_KEYS)}
    assert parse_json(canonical_json(keys), max_bytes=2**20) == keys
    with pytest.raises(EncodingError, match=f"object of {rules.MAX_JSON_KEYS + 1} keys"):
        parse_json(canonical_json({**keys, "one": 0}), max_bytes=2**20)
