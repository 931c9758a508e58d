"""Layouts, component and state roots, and openings of single values."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.state import (
    COMPONENTS,
    Layout,
    StateRoots,
    ValueOpening,
    check_vector,
    component_root,
    open_value,
)
from deltaproof.protocol.wire import merkle

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "state_opening.json").read_text("utf-8"))
SIZE = 700


def vector(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def roots() -> tuple[dict[str, np.ndarray], StateRoots]:
    vectors = {name: vector(i) for i, name in enumerate(COMPONENTS)}
    return vectors, StateRoots(**{name: component_root(values) for name, values in vectors.items()})


def test_layout_sorts_and_places_tensors() -> None:
    layout = Layout.of({"b": (2, 3), "a": (4,), "c": ()})
    assert layout.names == ("a", "b", "c")
    assert layout.size == 11
    assert layout.slices == {"a": slice(0, 4), "b": slice(4, 10), "c": slice(10, 11)}


@pytest.mark.parametrize(
    ("names", "shapes"),
    [
        (("b", "a"), ((1,), (1,))),
        (("a", "a"), ((1,), (1,))),
        (("a",), ((-1,),)),
        (("a",), ()),
        ((), ()),
        (("a",), ((2**31,),)),
    ],
)
def test_layout_refuses(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"names|sizes|layout"):
        Layout(names, shapes)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1024])
def test_component_root_is_the_tree_over_padded_chunks(size: int) -> None:
    values = vector(3, size)
    padded = values.tobytes().ljust(-(-size // 256) * 1024, b"\x00")
    chunks = [padded[i : i + 1024] for i in range(0, len(padded), 1024)]
    assert component_root(values) == merkle.root([merkle.leaf(chunk) for chunk in chunks])


@given(st.integers(0, SIZE - 1), st.sampled_from(COMPONENTS))
@settings(max_examples=60)
def test_any_value_of_a_state_opens(index: int, component: str) -> None:
    vectors, state = roots()
    opening = open_value(vectors[component], index, component, state)
    assert opening.value == vectors[component][index]
    assert opening.verify(state.root(), SIZE)
    for other in set(COMPONENTS) - {component}:
        moved = ValueOpening(index, opening.chunk, opening.siblings, other)
        assert not moved.verify(state.root(), SIZE), "a value of one component is none of another"


@given(st.integers(0, SIZE - 1), st.integers(0, 8 * 1024 - 1))
@settings(max_examples=100)
def test_flipped_bit_in_an_opened_chunk_is_refused(index: int, bit: int) -> None:
    vectors, state = roots()
    opening = open_value(vectors["m"], index, "m", state)
    chunk = bytearray(opening.chunk)
    chunk[bit // 8] ^= 1 << bit % 8
    assert not ValueOpening(index, bytes(chunk), opening.siblings, "m").verify(state.root(), SIZE)


def test_gradient_opening_is_no_state_opening() -> None:
    values = vector(9)
    opening = open_value(values, 300)
    assert opening.verify(component_root(values), SIZE)
    assert not ValueOpening(300, opening.chunk, opening.siblings, "theta").verify(component_root(values), SIZE)
    assert not opening.verify(component_root(values), 3 * SIZE), "another size has another depth"


def test_index_beyond_the_values_is_refused_though_padding_has_a_chunk() -> None:
    values = vector(9)
    last = open_value(values, SIZE - 1)
    assert not ValueOpening(SIZE, last.chunk, last.siblings, None).verify(component_root(values), SIZE)
    with pytest.raises(ValueError, match="no value"):
        open_value(values, SIZE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_vector_refuses_what_is_not_finite(bad: float) -> None:
    values = vector(1)
    values[123] = bad
    with pytest.raises(EncodingError, match="123"):
        check_vector(values, SIZE, "theta")


def test_check_vector_refuses_shape_and_dtype() -> None:
    with pytest.raises(EncodingError, match="shape"):
        check_vector(vector(1)[:-1], SIZE, "theta")
    with pytest.raises(EncodingError, match="float64"):
        check_vector(vector(1).astype(np.float64), SIZE, "theta")


def test_vectors() -> None:
    values = VECTORS["values"]
    for root, openings in ((values["stateRoot"], values["state"]), (values["gradRoot"], values["gradient"])):
        for case in openings:
            siblings = tuple(bytes.fromhex(text[2:]) for text in case["siblings"])
            opening = ValueOpening(case["index"], bytes.fromhex(case["chunk"][2:]), siblings, case.get("component"))
            assert opening.verify(bytes.fromhex(root[2:]), values["size"])
            assert struct.pack(">f", opening.value).hex() == case["value"][2:]


def test_hashing_is_cheap_beside_a_training_step() -> None:
    """Three components and a gradient of MiniLM's LoRA (74,498 values) against 2 % of a 0.55 s step."""
    values = vector(1, 74_498)
    component_root(values)
    durations = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(4):
            component_root(values)
        durations.append(time.perf_counter() - started)
    assert min(durations) < 0.02 * 0.55
