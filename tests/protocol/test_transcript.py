"""Records and the file form of openings: exact bytes, and nothing hostile gets through."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.evidence.transcript import (
    RECORD_BYTES,
    OpeningLimits,
    StepOpening,
    StepRecord,
    parse_opening,
    serialize_opening,
    transcript_root,
)
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "state_opening.json").read_text("utf-8"))
SIZE = 300
LIMITS = OpeningLimits(values=SIZE, slots=("theta", "m"), steps=5, batch_rows=2, shard_rows=7)


def opening() -> StepOpening:
    generator = np.random.default_rng(0)
    shard = Shard(tuple(canonical_row({"text": f'row "{i}" ü', "label": 1}) for i in range(7)), Digest32(bytes(32)))
    records = [StepRecord(t, bytes([t]) * 32, b"g" * 32, b"r" * 32, 1.0, 0.25) for t in range(6)]
    digests = [record.digest for record in records]
    draw = lambda: generator.standard_normal(SIZE).astype(np.float32)  # noqa: E731
    return StepOpening(
        before=records[2],
        after=records[3],
        before_proof=merkle.proof(digests, 2),
        after_proof=merkle.proof(digests, 3),
        state={"theta": draw(), "m": draw()},
        gradient=draw(),
        rows=(shard.open(4), shard.open(1)),
    )


DATA = serialize_opening(opening())


def rebuilt(header: dict[str, object] | bytes, body: bytes | None = None) -> bytes:
    """A file with another header, padded as it should be."""
    length = int.from_bytes(DATA[:8], "little")
    body = DATA[8 + length :] if body is None else body
    encoded = (
        header if isinstance(header, bytes) else json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    )
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + body


def header() -> dict[str, dict[str, object]]:
    length = int.from_bytes(DATA[:8], "little")
    return json.loads(DATA[8 : 8 + length])


# Records


def test_record_is_112_bytes_in_the_specified_order() -> None:
    record = StepRecord(7, b"s" * 32, b"g" * 32, b"r" * 32, 0.5, 0.693)
    encoded = (
        (7).to_bytes(4, "big") + b"s" * 32 + b"g" * 32 + b"r" * 32 + struct.pack(">f", 0.5) + struct.pack(">d", 0.693)
    )
    assert record.encode() == encoded
    assert len(encoded) == RECORD_BYTES == 112
    assert StepRecord.decode(encoded) == record


@pytest.mark.parametrize("change", [{"clip_scale": 0.1}, {"clip_scale": float("nan")}, {"loss": float("inf")}])
def test_record_refuses_numbers_it_cannot_hold(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"finite|float32"):
        replace(StepRecord(0, bytes(32), clip_scale=1.0), **change).encode()


@pytest.mark.parametrize("data", [b"", bytes(111), bytes(113), bytes(100) + struct.pack(">fd", float("nan"), 0.0)])
def test_record_bytes_that_do_not_decode(data: bytes) -> None:
    with pytest.raises(EncodingError):
        StepRecord.decode(data)


@given(st.integers(0, 8 * RECORD_BYTES - 1))
def test_flipped_bit_in_a_record_changes_its_digest(bit: int) -> None:
    record = StepRecord(3, b"s" * 32, b"g" * 32, b"r" * 32, 0.5, 0.25)
    changed = bytearray(record.encode())
    changed[bit // 8] ^= 1 << bit % 8
    assert merkle.record_leaf(bytes(changed)) != record.digest


def test_vectors() -> None:
    transcript = VECTORS["transcript"]
    root, count = bytes.fromhex(transcript["transcriptRoot"][2:]), len(transcript["records"])
    digests = []
    for t, case in enumerate(transcript["records"]):
        record = StepRecord.decode(bytes.fromhex(case["encoded"][2:]))
        assert record.digest.hex() == case["digest"][2:]
        proof = [bytes.fromhex(text[2:]) for text in case["proof"]]
        assert merkle.verify(root, record.digest, t, count, proof)
        digests.append(record.digest)
    assert transcript_root(digests) == root


# Openings


def test_opening_round_trip() -> None:
    parsed = parse_opening(DATA, LIMITS)
    assert serialize_opening(parsed) == DATA
    assert parsed.rows == opening().rows
    assert np.array_equal(parsed.gradient, opening().gradient)
    assert parsed.gradient.flags.aligned
    assert parsed.gradient.flags.writeable


def test_the_safetensors_library_reads_an_opening() -> None:
    assert sorted(name for name, _ in safetensors.deserialize(DATA)) == ["grad", "m", "theta"]


def test_honest_openings_stay_below_the_limit_known_before_the_read() -> None:
    worst = canonical_row({"text": '"\\' * 15_000 + "\x01" * 900})
    shard = Shard((worst,) * 7, Digest32(bytes(32)))
    data = serialize_opening(replace(opening(), rows=(shard.open(0), shard.open(6))))
    assert len(data) <= LIMITS.max_bytes
    assert parse_opening(data, LIMITS).rows[0].row == worst


@given(st.integers(0, 8 * len(DATA) - 1))
@settings(max_examples=400)
def test_flipped_bit_is_refused_or_changes_the_content(bit: int) -> None:
    """No two files mean the same: a flip is refused here, or shows as other content, which hashes then refuse."""
    changed = bytearray(DATA)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        parsed = parse_opening(bytes(changed), LIMITS)
    except EncodingError:
        return
    assert serialize_opening(parsed) == bytes(changed) != DATA


def test_truncated_or_extended_files_are_refused() -> None:
    for data in (b"", DATA[:7], DATA[:100], DATA[:-1], DATA + b"\x00", bytes(8), b"\xff" * 64):
        with pytest.raises(EncodingError):
            parse_opening(data, LIMITS)


def test_oversized_file_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(EncodingError, match="exceeds"):
        parse_opening(bytes(LIMITS.max_bytes + 1), LIMITS)


def test_header_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(EncodingError, match="header"):
        parse_opening((2**62).to_bytes(8, "little") + DATA[8:], LIMITS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_is_refused(value: float) -> None:
    broken = opening()
    broken.gradient[17] = value
    with pytest.raises(EncodingError, match="grad is not finite at value 17"):
        parse_opening(serialize_opening(broken), LIMITS)


def test_wrong_shapes_dtypes_and_tensors_are_refused() -> None:
    cases = []
    for name, change in (
        ("theta", {"shape": [SIZE - 1]}),
        ("theta", {"shape": [SIZE, 1]}),
        ("theta", {"shape": [2**40, 2**40]}),
        ("theta", {"shape": [-SIZE]}),
        ("theta", {"dtype": "F64"}),
        ("theta", {"dtype": "I32"}),
        ("theta", {"data_offsets": [0, 4 * SIZE]}),
        ("theta", {"data_offsets": [8 * SIZE, 4 * SIZE]}),
        ("theta", {"extra": 1}),
    ):
        changed = header()
        changed[name] = {**changed[name], **change}
        cases.append(rebuilt(changed))
    missing = header()
    del missing["m"]
    cases.append(rebuilt(missing))
    renamed = header()
    renamed["v"] = renamed.pop("theta")
    cases.append(rebuilt(renamed))
    extra = replace(opening(), state={**opening().state, "zz": np.zeros(4, np.float32)})
    cases.append(serialize_opening(extra))
    for data in cases:
        with pytest.raises(EncodingError):
            parse_opening(data, LIMITS)


def test_hostile_headers_are_refused() -> None:
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    many = {f"t{i:05}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(5000)}
    for data in (
        rebuilt(deep),
        rebuilt(b'{"theta":1,"theta":2}'),
        rebuilt(b"\xff\xfe"),
        rebuilt(many, b""),
        rebuilt({"__metadata__": {"opening": 5}}, b""),
        rebuilt({"__metadata__": {"opening": "{}", "more": "x"}}, b""),
        rebuilt(b"[" * 100_000),
        b"\x80\x04\x95" + DATA,  # a pickle's first bytes
        b"PK\x03\x04" + DATA,
    ):
        with pytest.raises(EncodingError):
            parse_opening(data, LIMITS)


@pytest.mark.parametrize(
    "change",
    [
        {"before": "00"},
        {"before": "0x" + "zz" * 112},
        {"before": "0x" + "00" * 100 + "7fc00000" + "00" * 8},
        {"rows": []},
        {"rows": [{"index": 2**32, "row": "x", "salt": "0x" + "00" * 32, "proof": []}] * 2},
        {"rows": [{"index": -1, "row": "x", "salt": "0x" + "00" * 32, "proof": []}] * 2},
        {"rows": [{"index": True, "row": "x", "salt": "0x" + "00" * 32, "proof": []}] * 2},
        {"error_root": "0x00"},
        {"after_proof": ["0x" + "AA" * 32]},
        {"unknown": 1},
    ],
)
def test_bad_metadata_is_refused(change: dict[str, object]) -> None:
    changed = header()
    fields = {**json.loads(changed["__metadata__"]["opening"]), **change}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    changed["__metadata__"] = {"opening": text}
    encoded = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(EncodingError):
        parse_opening(rebuilt(encoded), LIMITS)


def test_row_larger_than_the_task_allows_is_malformed() -> None:
    largest = max(len(row.row) for row in opening().rows)
    assert parse_opening(DATA, replace(LIMITS, row_bytes=largest))
    with pytest.raises(EncodingError, match="bytes that the task allows"):
        parse_opening(DATA, replace(LIMITS, row_bytes=largest - 1))
