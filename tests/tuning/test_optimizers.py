"""The optimisers against their specification, torch.optim, shared vectors and IEEE arithmetic."""

from __future__ import annotations

import json
import math
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.protocol.terms.spec import OptimizerSection
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.training.optimizers import (
    CONSTANT_NAMES,
    clip_scale,
    constants_of,
    constants_root,
    constants_table,
    correctly_rounded_sqrt,
    exact_square_sum,
    optimizer_id,
    slots_of,
    update,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "optimizer.json").read_text("utf-8"))
P = 4099
STEPS = 40


def from_bits(text: str) -> float:
    return float(struct.unpack(">f", bytes.fromhex(text[2:]))[0])


def to_bits(value: float) -> str:
    return "0x" + struct.pack(">f", value).hex()


def reference(section: OptimizerSection, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
    if section.name == "adamw":
        return torch.optim.AdamW(
            [parameter], section.learning_rate, (section.beta1, section.beta2), section.eps, section.weight_decay
        )
    if section.name == "adam":
        return torch.optim.Adam(
            [parameter], section.learning_rate, (section.beta1, section.beta2), section.eps, section.weight_decay
        )
    momentum = section.momentum if section.name == "momentum" else 0.0
    return torch.optim.SGD([parameter], section.learning_rate, momentum, weight_decay=section.weight_decay)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_update_agrees_with_torch_optim_within_rounding(name: str, decay: float) -> None:
    section = OptimizerSection(name=name, learning_rate=0.01, weight_decay=decay)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(P, generator=generator)
    gradients = [torch.randn(P, generator=generator) for _ in range(STEPS)]
    parameter = torch.nn.Parameter(start.double())
    optimizer = reference(section, parameter)
    table = constants_table(section, STEPS)
    state = {slot: start.clone() if slot == "theta" else torch.zeros(P) for slot in slots_of(section)}
    for step, gradient in enumerate(gradients):
        parameter.grad = gradient.double()
        optimizer.step()
        state = update(optimizer_id(section), constants_of(table, step), state, gradient, 1.0)
    error = (state["theta"].double() - parameter.detach()).abs().max()
    assert float(error) < 2e-5, "float32 rounding of forty steps, against float64"
    moved = (parameter.detach() - start.double()).abs().mean()
    assert float(moved) > 100 * float(error)


@pytest.mark.parametrize("case", VECTORS["steps"], ids=lambda case: case["name"])
def test_vectors(case: dict[str, object]) -> None:
    constants = dict(zip(CONSTANT_NAMES, (from_bits(text) for text in case["constants"]), strict=False))
    slots = ("theta", "m", "v")[: case["optimizer"] + 1]
    for length in (1, 33):  # the scalar and the vectorised path of torch's kernels
        state = {slot: torch.full((length,), from_bits(case[slot])) for slot in slots}
        gradient = torch.full((length,), from_bits(case["gradient"]))
        found = update(case["optimizer"], constants, state, gradient, from_bits(case["clipScale"]))
        for slot in slots:
            assert {to_bits(float(value)) for value in found[slot]} == {case["next"][slot]}


@pytest.mark.parametrize("table", VECTORS["tables"], ids=["adamw", "momentum"])
def test_constants_vectors(table: dict[str, object]) -> None:
    rows = np.array([[from_bits(text) for text in row] for row in table["rows"]], dtype=np.float32)
    root = bytes.fromhex(table["root"][2:])
    assert constants_root(rows) == root
    proof = [bytes.fromhex(text[2:]) for text in table["proof"]]
    leaf = merkle.leaf(rows[table["index"]].astype("<f4").tobytes())
    assert merkle.verify(root, leaf, table["index"], len(rows), proof)


@given(st.lists(st.integers(0, 0x7F7FFFFF), min_size=1, max_size=200))
@settings(max_examples=200)
def test_square_root_is_correctly_rounded(words: list[int]) -> None:
    values = np.array(words, dtype=np.uint32).view(np.float32)
    roots = correctly_rounded_sqrt(torch.from_numpy(values)).numpy()
    for value, root in zip(values.tolist(), roots, strict=True):
        low = Fraction(float(np.nextafter(root, np.float32(-1)))) if root > 0 else None
        high = Fraction(float(np.nextafter(root, np.float32(np.inf))))
        exact, middle = Fraction(value), Fraction(float(root))
        assert exact <= ((middle + high) / 2) ** 2
        assert low is None or exact >= ((middle + low) / 2) ** 2


def test_torchs_own_square_root_would_not_do() -> None:
    """Why there is `correctly_rounded_sqrt`: should torch's ever become exact, it can go."""
    values = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, 100_000).astype(np.float32))
    wrong = int((torch.sqrt(values) != correctly_rounded_sqrt(values)).sum())
    assert np.array_equal(correctly_rounded_sqrt(values).numpy(), np.sqrt(values.numpy()))
    if wrong == 0:
        pytest.skip("this build of torch takes the root correctly")


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1, max_size=300))
@settings(max_examples=200)
def test_square_sum_is_what_fsum_gives(values: list[float]) -> None:
    vector = np.array(values, dtype=np.float32)
    assert exact_square_sum(vector) == math.fsum(value * value for value in vector.astype(np.float64).tolist())


def test_clip_scale_bounds_the_norm() -> None:
    gradient = np.array([3.0, 4.0], dtype=np.float32)
    assert clip_scale(gradient, 0.0) == 1.0
    assert clip_scale(gradient, 10.0) == 1.0
    assert clip_scale(gradient, 1.0) == float(np.float32(1.0 / (5.0 + 1e-6)))
    assert clip_scale(np.zeros(2, np.float32), 1.0) == 1.0


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_schedule_warms_up_and_decays(schedule: str) -> None:
    section = OptimizerSection(name="sgd", learning_rate=1.0, schedule=schedule, warmup_steps=4)
    rates = constants_table(section, 12)[:, 0]
    assert rates[:4].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert (np.diff(rates[4:]) <= 0).all()
    assert (rates > 0).all()
    assert (rates[-1] < 0.2) == (schedule != "constant")
