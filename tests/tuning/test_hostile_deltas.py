"""Encoded deltas that no encoder writes: cut, lengthened, miscounted, twice in one place, out of range, not finite."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.delta import DELTA_HEADER_BYTES, pack_delta
from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.terms.spec import CodecSection
from deltaproof.protocol.types import ZERO_DIGEST
from deltaproof.tuning.codecs import DeltaCodec, create_codec
from deltaproof.tuning.codecs._wire import PayloadReader, index_bytes, pack_indices, read_indices
from tests.tuning.test_codecs import CODECS, KEY, LAYOUT, case, vectors

SMALL = Layout.of({"w": (8, 8)})
"""64 values."""
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))


def small(name: str, **options: Any) -> tuple[DeltaCodec, Vector, bytes]:
    """A codec without feedback on a few values, a start, and an honest payload."""
    section = CodecSection(name=name, options={"error_feedback": False, **options}, byte_limit=1 << 16)
    codec, start = create_codec(section, SMALL), np.ones(SMALL.size, np.float32)
    theta = (start + np.random.default_rng(3).normal(size=SMALL.size)).astype(np.float32)
    return codec, start, codec.encode(start, theta, None, KEY).data[DELTA_HEADER_BYTES:]


def refused(codec: DeltaCodec, start: Vector, payload: bytes, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        codec.decode(pack_delta(ZERO_DIGEST, payload), start, KEY)


@pytest.mark.parametrize("name", CODECS)
def test_beginnings_and_continuations_are_refused(name: str) -> None:
    codec, (start, theta) = case(name), vectors()
    data = codec.encode(start, theta, None, KEY).data
    cuts = {*range(0, len(data), -(-len(data) // 24)), *range(min(48, len(data))), len(data) - 1}
    for bad in (*(data[:cut] for cut in sorted(cuts)), data + b"\0", data + data[40:47], data + data):
        with pytest.raises(EncodingError):
            codec.decode(bad, start, KEY)


@pytest.mark.parametrize("name", CODECS)
def test_flipped_bits_give_an_error_or_another_finite_delta(name: str) -> None:
    codec, (start, theta) = case(name), vectors()
    data = codec.encode(start, theta, None, KEY).data
    draw = np.random.default_rng(0)
    for place in draw.integers(8 * len(data), size=24).tolist():
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        try:
            reached, root = codec.decode(bytes(altered), start, KEY)
        except EncodingError:
            continue
        assert np.isfinite(reached).all()
        assert root == bytes(altered[8:40])
        assert bytes(altered) != codec.encode(start, theta, None, KEY).data, "who encodes again sees the difference"


def test_a_count_above_the_task_is_refused_before_anything_is_read() -> None:
    codec, start, payload = small("top_k", fraction=0.1)
    for count in (codec.selection.limits()[1] + 1, 2**31, 2**32 - 1):
        refused(codec, start, struct.pack("<I", count) + payload[4:], "belong there")


def test_two_values_in_one_place_are_refused() -> None:
    codec, start, payload = small("top_k", fraction=3 / 64)
    for places in ([5, 5, 9], [9, 5, 20], [5, 9, 64]):
        refused(codec, start, payload[:4] + _forged_indices(places, SMALL.size) + payload[-12:], "do not ascend|marks")
    honest = payload[:4] + pack_indices(np.array([5, 9, 63]), SMALL.size) + payload[-12:]
    reached, _ = codec.decode(pack_delta(ZERO_DIGEST, honest), start, KEY)
    assert np.flatnonzero(reached != start).tolist() == [5, 9, 63]


def _forged_indices(places: list[int], size: int) -> bytes:
    """Bytes of the right length that say these places, whether or not they ascend."""
    low = max(0, (size // len(places)).bit_length() - 1)
    rest, marks = 0, 0
    for number, place in enumerate(places):
        rest |= (place & ((1 << low) - 1)) << (number * low)
        marks |= 1 << ((place >> low) + number)
    return rest.to_bytes(-(-len(places) * low // 8), "little") + marks.to_bytes(
        -(-(len(places) + (size >> low) + 1) // 8), "little"
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 300), st.data())
def test_places_have_one_encoding(size: int, data: st.DataObject) -> None:
    """Whatever bytes decode are the bytes that the encoder gives for what they decode to."""
    count = data.draw(st.integers(0, size))
    length = index_bytes(count, size)
    raw = data.draw(st.binary(min_size=length, max_size=length))
    try:
        places = read_indices(PayloadReader(raw), count, size)
    except EncodingError:
        return
    assert pack_indices(places, size) == raw
    assert len(set(places.tolist())) == count
    assert not count or 0 <= places[0] <= places[-1] < size


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("name", ["int8", "int4", "sign", "two_bit", "dorefa"])
def test_a_scale_that_is_no_number_is_refused(name: str, bad: float) -> None:
    codec, start, payload = small(name, block=16)
    refused(codec, start, struct.pack("<f", bad) + payload[4:], "not finite")


@pytest.mark.parametrize("name", ["int8", "int4", "sign", "two_bit", "dorefa"])
def test_a_scale_below_zero_or_beyond_float32_is_refused(name: str) -> None:
    codec, start, payload = small(name, block=16)
    refused(codec, start, struct.pack("<f", -1.0) + payload[4:], "negative scale")
    if name in ("int8", "dorefa"):
        full = np.full(SMALL.size, np.finfo(np.float32).max, np.float32)
        refused(codec, full, np.full(4, 3e38, "<f4").tobytes() + payload[16:], "finite|otherwise")


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize(("name", "form"), [("float16", "<e"), ("top_k", "<f"), ("low_rank", "<f")])
def test_a_value_that_is_no_number_is_refused(name: str, form: str, bad: float) -> None:
    options: dict[str, Any] = {"top_k": {"fraction": 0.1}, "low_rank": {"numbers": 32}}.get(name, {})
    codec, start, payload = small(name, **options)
    last = struct.pack(form, bad)
    refused(codec, start, payload[: -len(last)] + last, "not finite")


def test_filling_and_integers_out_of_range_are_refused() -> None:
    codec, start, payload = small("int4", block=64)
    refused(codec, start, payload[:-1] + b"\xff", "out of range")
    few = create_codec(CodecSection(name="sign", options={}, byte_limit=1 << 16), Layout.of({"w": (3,)}))
    data = few.encode(np.zeros(3, np.float32), np.ones(3, np.float32), None, KEY).data
    with pytest.raises(EncodingError, match="zeros"):
        few.decode(data[:-1] + bytes([data[-1] | 0x80]), np.zeros(3, np.float32), KEY)


def test_ranks_out_of_range_are_refused_before_factors_are_read() -> None:
    codec, start, payload = small("low_rank", numbers=16, rank=2)
    assert payload[0] == 1
    for rank in (3, 255):
        refused(codec, start, bytes([rank]) + payload[1:], "rank out of range")
    refused(codec, start, bytes([2]) + payload[1:], "are the most")
    refused(codec, start, bytes([0]) + payload[1:], "too many")
    refused(codec, start, bytes([1]), "ends before")


def test_a_memory_without_feedback_is_refused() -> None:
    codec, start, payload = small("sign")
    with pytest.raises(EncodingError, match="names a memory"):
        codec.decode(pack_delta(bytes([7]) * 32, payload), start, KEY)


def test_the_longest_honest_delta_stays_within_the_bound() -> None:
    for name in CODECS:
        codec, (start, theta) = case(name), vectors(spread=3.0)
        data = codec.encode(start, theta, None, KEY).data
        assert len(data) <= codec.max_bytes <= 40 + 8 + 9 * LAYOUT.size
        with pytest.raises(EncodingError, match="limit"):
            codec.decode(data + bytes(codec.max_bytes), start, KEY)
