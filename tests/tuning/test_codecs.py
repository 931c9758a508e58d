"""Every codec: what it sends, how exact it is, canonical bytes, hostile bytes, error feedback."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.delta import DELTA_HEADER_BYTES, pack_delta
from deltaproof.protocol.evidence.state import Layout, Vector, component_root
from deltaproof.protocol.terms.spec import CodecSection
from deltaproof.protocol.types import ZERO_DIGEST
from deltaproof.tuning.codecs import DeltaCodec, codec_names, create_codec
from deltaproof.tuning.errors import CodecError
from deltaproof.tuning.numerics.products import LowRankPair

LAYOUT = Layout.of({"a": (4, 30), "b": (30, 4), "classifier.weight": (2, 30), "norm": (17,), "x": (40, 50)})
PAIRS = (LowRankPair("m", "a", "b", 1.0),)
KEY = bytes(range(32))
CODECS: dict[str, dict[str, Any]] = {
    "float16": {},
    "bfloat16": {},
    "int8": {},
    "int4": {"block": 32},
    "dorefa": {"bits": 2, "block": 128},
    "sign": {"block": 256},
    "two_bit": {},
    "top_k": {"fraction": 0.05, "error_feedback": True},
    "top_k|two_bit": {"fraction": 0.05, "error_feedback": True},
    "top_k|int8": {"fraction": 0.2},
    "threshold|float16": {"threshold": 2.0, "error_feedback": True},
    "low_rank": {"numbers": 600, "rank": 6, "error_feedback": True},
    "low_rank|int8": {"numbers": 600},
    "low_rank|two_bit": {"numbers": 600, "block": 100},
    "low_rank|sign": {"numbers": 600, "rank": 4},
    "dropout": {"fraction": 0.5},
    "dropout|int4": {"fraction": 0.25},
    "dorefa-1": {"bits": 1, "block": 64},
}


def make(name: str, limit: int = 1 << 20, **options: Any) -> DeltaCodec:
    section = CodecSection(name=name, options=options, byte_limit=limit)
    return create_codec(section, LAYOUT, PAIRS)


def case(name: str) -> DeltaCodec:
    return make(name.removesuffix("-1"), **CODECS[name])


def vectors(seed: int = 0, spread: float = 0.01) -> tuple[Vector, Vector]:
    rng = np.random.default_rng(seed)
    start = rng.normal(size=LAYOUT.size).astype(np.float32)
    return start, (start + spread * rng.standard_t(3, size=LAYOUT.size)).astype(np.float32)


@pytest.mark.parametrize("name", CODECS)
def test_decoding_gives_what_encoding_promised(name: str) -> None:
    codec, (start, theta) = case(name), vectors()
    sent = codec.encode(start, theta, None, KEY)
    reached, root = codec.decode(sent.data, start, KEY)
    assert np.array_equal(reached, sent.theta)
    assert root == (component_root(sent.memory) if sent.memory is not None else ZERO_DIGEST)
    assert len(sent.data) <= codec.max_bytes
    assert codec.encode(start, theta, None, KEY).data == sent.data
    if sent.memory is not None:
        exact = theta.astype(np.float64) - start
        assert np.allclose(sent.memory + (reached.astype(np.float64) - start), exact, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "error"),
    [("float16", 1e-3), ("bfloat16", 1e-2), ("int8", 0.02), ("int4", 0.2), ("two_bit", 0.65), ("sign", 0.9),
     ("dorefa", 2.5), ("dorefa-1", 0.9), ("top_k|int8", 0.8)],
)  # fmt: skip
def test_loss_is_what_the_bits_allow(name: str, error: float) -> None:
    codec, (start, theta) = case(name), vectors()
    delta, sent = theta - start, codec.encode(start, theta, None, KEY).theta - start
    assert np.linalg.norm(delta - sent) <= error * np.linalg.norm(delta)


def test_sizes_are_what_the_table_says() -> None:
    start, theta = vectors()
    size, head = LAYOUT.size, 40
    assert len(case("float16").encode(start, theta, None, KEY).data) == head + 2 * size
    assert len(case("int4").encode(start, theta, None, KEY).data) == head + 4 * -(-size // 32) + -(-size // 2)
    count = round(0.05 * size)
    sent = len(case("top_k|two_bit").encode(start, theta, None, KEY).data)
    assert sent < head + 4 + count * (2 + 7) / 8 + 12
    assert len(case("low_rank").encode(start, theta, None, KEY).data) <= head + 4 + 4 * 600


def test_top_k_takes_the_largest_and_breaks_ties_by_place() -> None:
    codec = make("top_k", fraction=4 / LAYOUT.size)
    start = np.zeros(LAYOUT.size, np.float32)
    theta = start.copy()
    theta[[9, 100, 7, 500, 30]] = [-1, 1, 1, 5, -1]
    reached = codec.encode(start, theta, None, KEY).theta
    assert np.flatnonzero(reached).tolist() == [7, 9, 30, 500]
    assert np.array_equal(reached[[7, 9, 30, 500]], theta[[7, 9, 30, 500]])


def test_low_rank_is_exact_for_low_rank_changes() -> None:
    codec = make("low_rank", numbers=LAYOUT.size, rank=3)
    rng = np.random.default_rng(1)
    start = np.zeros(LAYOUT.size, np.float32)
    theta = start.copy()
    theta[LAYOUT.slices["x"]] = (rng.normal(size=(40, 3)) @ rng.normal(size=(3, 50))).reshape(-1)
    assert np.allclose(codec.encode(start, theta, None, KEY).theta, theta, atol=1e-5)


@pytest.mark.parametrize("values", ["two_bit", "sign"])
def test_low_rank_sends_a_change_as_long_as_it_was(values: str) -> None:
    """What triplets and levels leave out would else make every step shorter."""
    start, theta = vectors()
    meant = np.linalg.norm(theta - start)
    kept, cut = (
        np.linalg.norm(
            make(f"low_rank|{values}", numbers=900, keep_norm=keep).encode(start, theta, None, KEY).theta - start
        )
        for keep in (True, False)
    )
    assert cut < 0.75 * meant
    assert 0.85 * meant < kept < 1.15 * meant


@pytest.mark.parametrize("values", ["two_bit", "sign"])
def test_levels_that_keep_the_norm_keep_it_block_by_block(values: str) -> None:
    codec, (start, theta) = make(values, keep_norm=True, block=LAYOUT.size), vectors()
    sent = codec.encode(np.zeros_like(start), theta - start, None, KEY).theta
    assert np.linalg.norm(sent) == pytest.approx(np.linalg.norm(theta - start), rel=1e-5)


def test_dropout_tunes_ranks_as_a_whole_and_differs_by_trainer() -> None:
    codec = case("dropout")
    mask = codec.mask(KEY)
    assert mask is not None
    ranks = mask[LAYOUT.slices["a"]].reshape(4, 30)
    assert (ranks.all(axis=1) | ~ranks.any(axis=1)).all()
    assert np.array_equal(ranks[:, 0], mask[LAYOUT.slices["b"]].reshape(30, 4)[0])
    assert ranks[:, 0].sum() == 2
    assert mask[LAYOUT.slices["norm"]].all()
    assert mask[LAYOUT.slices["classifier.weight"]].all()
    assert not np.array_equal(mask, codec.mask(bytes(32)))
    start, theta = vectors()
    reached = codec.encode(start, theta, None, KEY).theta
    assert np.array_equal(reached[~mask], start[~mask])


@pytest.mark.parametrize("name", ["top_k|two_bit", "sign", "low_rank", "threshold|float16"])
def test_error_feedback_brings_the_lost_part_later(name: str) -> None:
    """A constant change each round: with feedback the sum of what was sent follows the sum of what was meant."""
    options = dict(CODECS[name])
    start, theta = vectors(spread=0.01)
    wanted = theta - start
    missing = {}
    for feedback in (True, False):
        codec = make(name, **{**options, "error_feedback": feedback})
        total, memory = np.zeros_like(start), None
        for number in range(24):
            sent = codec.encode(start, theta, memory, bytes([number]) * 32)
            total, memory = total + (sent.theta - start), sent.memory
        missing[feedback] = np.linalg.norm(24 * wanted - total) / np.linalg.norm(24 * wanted)
    assert missing[True] < 0.85 * missing[False]


def rewritten(codec: DeltaCodec, payload: bytes) -> bytes:
    """What the codec writes for what it reads from a payload."""
    where, values = codec._read(payload, KEY)
    return codec.selection.write(where) + codec._written(where, values, KEY)


MAGNITUDES = (1e-45, 1e-40, 1e-38, 1e-31, 1e-30, 1e-8, 1e-3, 1.0, 1e4, 1e30, 1e37)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CODECS)), st.integers(0, 2**31), st.lists(st.sampled_from(MAGNITUDES), min_size=1))
def test_what_was_read_is_written_as_it_was(name: str, seed: int, sizes: list[float]) -> None:
    """Every honest delta: values of all magnitudes, alone and mixed, zeros of both signs, and equal ones."""
    codec, rng = case(name), np.random.default_rng(seed)
    theta = rng.normal(size=LAYOUT.size) * rng.choice(np.array(sizes), LAYOUT.size)
    theta[rng.random(LAYOUT.size) < 0.2] = rng.choice([0.0, -0.0, sizes[0], -sizes[0]])
    start = np.zeros(LAYOUT.size, np.float32)
    try:
        sent = codec.encode(start, theta.astype(np.float32), None, KEY)
    except CodecError:  # levels of factors of unlike values: their product may leave float32
        assert name.startswith("low_rank|")
        assert max(sizes) > 1e4
        return
    assert rewritten(codec, sent.data[DELTA_HEADER_BYTES:]) == sent.data[DELTA_HEADER_BYTES:]
    assert np.array_equal(codec.decode(sent.data, start, KEY)[0], sent.theta)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CODECS)), st.integers(0, 2**31), st.binary(min_size=1, max_size=12))
def test_what_no_encoder_writes_is_refused(name: str, place: int, junk: bytes) -> None:
    codec, (start, theta) = case(name), vectors()
    payload = bytearray(codec.encode(start, theta, None, KEY).data[DELTA_HEADER_BYTES:])
    place %= len(payload)
    payload[place : place + len(junk)] = junk
    root = bytes([1] * 32) if codec.feedback else ZERO_DIGEST
    try:
        codec.decode(pack_delta(root, bytes(payload)), start, KEY)
    except EncodingError:
        return
    assert rewritten(codec, bytes(payload)) == bytes(payload)


@pytest.mark.parametrize(
    ("name", "payload", "first"),
    [
        ("int8", struct.pack("<f", 1.0 + 2.0**-23), 4),  # a scale longer than the encoder's
        ("int8", struct.pack("<f", 2.0**-101), 4),  # one below the floor
        ("two_bit", struct.pack("<ff", 2.0, 1.0), 8),  # the lower level above the upper
        ("sign", struct.pack("<f", 0.0), 4),  # signs of nothing
        ("dorefa", struct.pack("<f", 9.0), 4),  # a scale that no value has
    ],
)
def test_levels_that_no_values_have_are_refused(name: str, payload: bytes, first: int) -> None:
    codec, start = make(name, block=1 << 13), np.zeros(LAYOUT.size, np.float32)
    theta = np.random.default_rng(0).normal(size=LAYOUT.size).astype(np.float32)
    honest = codec.encode(start, 0.1 * theta, None, KEY).data[DELTA_HEADER_BYTES:]
    forged = payload + (b"\x5a" * (len(honest) - first - 1) + b"\x02" if name == "dorefa" else honest[first:])
    with pytest.raises(EncodingError, match="otherwise"):
        codec.decode(pack_delta(ZERO_DIGEST, forged), start, KEY)


@pytest.mark.parametrize("values", ["sign", "two_bit", "dorefa", "int8", "float16"])
def test_federated_dropout_goes_with_every_way_to_write_values(values: str) -> None:
    codec, (start, theta) = make(f"dropout|{values}"), vectors()
    sent = codec.encode(start, theta, None, KEY)
    assert sent.memory is None
    assert np.array_equal(codec.decode(sent.data, start, KEY)[0], sent.theta)


def test_a_memory_counts_among_what_is_published() -> None:
    plain, fed = make("sign"), make("sign", error_feedback=True)
    assert plain.published_bytes == plain.max_bytes
    assert fed.published_bytes == fed.max_bytes + 4 * LAYOUT.size


@pytest.mark.parametrize("name", CODECS)
def test_zero_and_extreme_changes(name: str) -> None:
    codec, (start, _) = case(name), vectors()
    assert np.array_equal(codec.encode(start, start, None, KEY).theta, start)
    with pytest.raises(CodecError, match="finite"):
        codec.encode(np.full_like(start, -3e38), np.full_like(start, 3e38), None, KEY)


@pytest.mark.parametrize("name", CODECS)
def test_altered_lengths_are_refused(name: str) -> None:
    codec, (start, theta) = case(name), vectors()
    data = codec.encode(start, theta, None, KEY).data
    for bad in (data[:-1], data + b"\0", data[:39], b"", b"x" + data[1:], data[:40]):
        with pytest.raises(EncodingError):
            codec.decode(bad, start, KEY)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(CODECS)), st.binary(max_size=400), st.integers(0, 2**31))
def test_any_bytes_give_a_finite_adapter_or_an_error(name: str, junk: bytes, place: int) -> None:
    codec, (start, theta) = case(name), vectors()
    honest = bytearray(codec.encode(start, theta, None, KEY).data)
    place %= len(honest)
    honest[place : place + len(junk)] = junk
    for data in (bytes(honest), honest[:40] + junk):
        try:
            reached, _ = codec.decode(bytes(data), start, KEY)
        except EncodingError:
            continue
        assert reached.shape == start.shape
        assert np.isfinite(reached).all()


def test_hostile_counts_and_places_are_refused() -> None:
    codec, (start, theta) = case("top_k"), vectors()
    data = bytearray(codec.encode(start, theta, None, KEY).data)
    data[40:44] = (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(EncodingError, match="belong there"):
        codec.decode(bytes(data), start, KEY)
    nan = case("float16").encode(start, theta, None, KEY).data[:-2] + b"\x00\x7e"
    with pytest.raises(EncodingError, match="not finite"):
        case("float16").decode(nan, start, KEY)


def test_codec_whose_delta_may_exceed_the_task_s_limit_is_refused() -> None:
    """When the task is made, not when somebody has trained and cannot reveal."""
    longest = make("int8").max_bytes
    assert make("int8", limit=longest).max_bytes == longest
    with pytest.raises(CodecError, match="byte_limit"):
        make("int8", limit=longest - 1)
    with pytest.raises(CodecError, match="byte_limit"):
        make("float32", limit=4 * LAYOUT.size - 1)


def test_reader_keeps_the_limit() -> None:
    codec, (start, theta) = make("int8"), vectors()
    data = codec.encode(start, theta, None, KEY).data
    with pytest.raises(EncodingError, match="limit"):
        codec.decode(data + b"x", start, KEY)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("zip", {}, "does not belong"),
        ("int8|top_k", {}, "does not belong"),
        ("top_k|top_k", {}, "does not belong"),
        ("top_k", {"fraction": 0.0}, "above 0"),
        ("top_k", {"fraction": True}, "above 0"),
        ("int8", {"block": 0}, "whole number"),
        ("int8", {"bits": 3}, "no option 'bits'"),
        ("dropout", {"error_feedback": True}, "other values in the next round"),
        ("float32", {"error_feedback": True}, "loses nothing"),
        ("low_rank", {"error_feedback": True, "keep_norm": True}, "would add to it"),
        ("int8", {"keep_norm": True}, "no option 'keep_norm'"),
    ],
)
def test_nonsense_is_said(name: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        make(name, **options)


def test_every_part_is_tested() -> None:
    tested = {part for name in CODECS for part in name.removesuffix("-1").split("|")} | {"float32"}
    assert tested == set(codec_names())
