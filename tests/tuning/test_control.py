"""Adaptive control: traces, policies as files, and decisions that anybody can compute again."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from deltaproof.errors import EncodingError
from deltaproof.protocol.terms.control import ControlSection, DeviceState, KnobTable, Observation
from deltaproof.protocol.types import Digest32, address
from deltaproof.tuning.control.checks import check_decision, decision_of
from deltaproof.tuning.control.devices import CLASSES, device_states, pow2
from deltaproof.tuning.control.knobs import fixed_actions
from deltaproof.tuning.control.observing import features, log2
from deltaproof.tuning.control.policy import LearnedPolicy, RandomPolicy, load_policy

KNOBS = KnobTable(steps=(1, 4), ranks=(2, 4), codecs=("float32", "int8"))
CLASS_NAMES = ("phone", "workstation")
SEED = Digest32(sha256(b"trace").digest())
SIZES = KNOBS.sizes(2, 3)
PEOPLE = tuple(address(bytes([n]) * 20) for n in (1, 2))


def some_policy(seed: int = 0, width: int = 8) -> LearnedPolicy:
    draw = np.random.Generator(np.random.PCG64(seed))
    widths = (11, width, sum(SIZES))
    layers = tuple(
        (draw.normal(size=(b, a)).astype(np.float32), draw.normal(size=b).astype(np.float32))
        for a, b in pairwise(widths)
    )
    return LearnedPolicy(layers, SIZES)


def observation(step: int = 3, **changes: object) -> Observation:
    seen = {"step": step, "horizon": 6, "gained_nanos": 12345, "last_nanos": -7}
    return Observation(**{**seen, "devices": device_states(SEED, CLASS_NAMES, step), **changes})  # type: ignore[arg-type]


def decided(policy: LearnedPolicy, **changes: object) -> ControlSection:
    """A task's control as an honest sponsor writes it, with some fields changed afterwards."""
    honest = {
        "policy_digest": policy.digest(),
        "trace_seed": SEED,
        "devices": PEOPLE,
        "classes": CLASS_NAMES,
        "knobs": KNOBS,
        "previous_task": 4,
        "observation": observation(),
        "action": policy.decide(observation()),
    }
    return ControlSection(**{**honest, **changes})  # type: ignore[arg-type]


def test_traces_depend_on_seed_device_and_step_alone() -> None:
    first = [device_states(SEED, CLASS_NAMES, step) for step in range(5)]
    assert first[3] == device_states(SEED, CLASS_NAMES, 3)
    assert first[0][0] == device_states(SEED, ("phone",), 0)[0]
    assert first[0] != device_states(bytes(32), CLASS_NAMES, 0)
    assert len({state.up_bytes_per_second for states in first for state in states}) == 10


def test_trace_values_are_fixed() -> None:
    """Golden: an auditor of next year computes the same trace."""
    assert device_states(bytes(32), CLASS_NAMES, 2) == GOLDEN


def test_channel_wanders_with_the_stated_spread_and_memory() -> None:
    spread = CLASSES["phone"].channel_spread
    paths = np.array(
        [
            [log2(device_states(bytes([n]) * 32, ("phone",), t)[0].up_bytes_per_second) for t in (0, 1)]
            for n in range(250)
        ]
    )
    assert np.std(paths[:, 0]) == pytest.approx(spread, rel=0.15)
    assert np.corrcoef(paths.T)[0, 1] == pytest.approx(0.8, abs=0.08)


def test_interpolated_powers_and_logarithms_are_inverse_and_close() -> None:
    for exponent in (-2.5, 0.0, 0.75, 3.0):
        assert pow2(exponent) == pytest.approx(2.0**exponent, rel=0.065)
        assert log2(round(pow2(exponent) * 2**20)) - 20 == pytest.approx(exponent, abs=1e-5)
    assert log2(0) == 0.0


def test_policy_survives_its_file() -> None:
    policy = some_policy()
    again = load_policy(policy.to_bytes())
    assert again.digest() == policy.digest()
    assert again.decide(observation()) == policy.decide(observation())


def test_decision_takes_the_lowest_of_equal_levels() -> None:
    policy = some_policy()
    last = (np.zeros_like(policy.layers[1][0]), np.zeros_like(policy.layers[1][1]))
    assert LearnedPolicy((policy.layers[0], last), SIZES).decide(observation()) == (0,) * len(SIZES)


def test_logits_agree_with_plain_matrix_products() -> None:
    policy, values = some_policy(width=33), features(observation())
    (w0, b0), (w1, b1) = ((w.astype(np.float64), b.astype(np.float64)) for w, b in policy.layers)
    np.testing.assert_allclose(policy.logits(values), w1 @ np.maximum(w0 @ values + b0, 0) + b1, rtol=1e-12)


@pytest.mark.parametrize("place", [0, 3, 40, 150, -1])
def test_damaged_policy_files_are_refused_or_another_policy(place: int) -> None:
    data = bytearray(some_policy().to_bytes())
    data[place] ^= 0x40
    with suppress(EncodingError):
        assert load_policy(bytes(data)).digest() != some_policy().digest()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"widths":"11,8,14"', b'"widths":"11,9,14"', "must be F32"),
        (b'"widths":"11,8,14"', b'"widths":"11,+8,9"', "in another way"),
        (b'"branches":"4,4,2,2,2"', b'"branches":"4,4,2,2,9"', "outputs for"),
        (b'"branches":"4,4,2,2,2"', b'"branches":"4,4,2,2,0"', "beyond"),
        (b"policy-v1", b"policy-v2", "not the file of a policy"),
        (b"layer1.bias", b"layer9.bias", "order of names|nothing else|canonical"),
        (b"F32", b"F16", "must be F32"),
    ],
)
def test_hostile_policy_files_are_refused(old: bytes, new: bytes, message: str) -> None:
    data = some_policy().to_bytes()
    assert old in data
    with pytest.raises(EncodingError, match=message):
        load_policy(data.replace(old, new, 1))


def test_policy_with_a_weight_that_is_no_number_is_refused() -> None:
    data = some_policy().to_bytes()
    with pytest.raises(EncodingError, match="finite"):
        load_policy(data[:-4] + np.float32("nan").tobytes())
    with pytest.raises(EncodingError):
        load_policy(data[:-4])
    with pytest.raises(EncodingError, match="exceeds"):
        load_policy(bytes(2**20 + 1))


def test_honest_decision_passes_the_check() -> None:
    policy = some_policy()
    assert check_decision(decided(policy), 3, policy.to_bytes()) == []


def test_tampered_action_is_found() -> None:
    policy = some_policy()
    action = policy.decide(observation())
    other = (*action[:-1], 1 - action[-1])
    assert "not" in check_decision(decided(policy, action=other), 3, policy.to_bytes())[0]


def test_tampered_device_state_is_found() -> None:
    policy = some_policy()
    states = list(device_states(SEED, CLASS_NAMES, 3))
    states[1] = states[1].model_copy(update={"speed_milli": states[1].speed_milli + 1})
    seen = observation(devices=tuple(states))
    control = decided(policy, observation=seen, action=policy.decide(seen))
    assert check_decision(control, 3, policy.to_bytes())[0].startswith("device 1 was observed")


def test_other_trace_or_step_is_found() -> None:
    policy = some_policy()
    assert len(check_decision(decided(policy, trace_seed=bytes(32)), 3, policy.to_bytes())) == 2
    seen = observation(step=3, devices=device_states(SEED, CLASS_NAMES, 4))
    control = decided(policy, observation=seen, action=policy.decide(seen))
    assert len(check_decision(control, 3, policy.to_bytes())) == 2


def test_other_or_missing_policy_file_is_found() -> None:
    control = decided(some_policy())
    for weights in (None, some_policy(seed=1).to_bytes()):
        assert "not those that the task names" in check_decision(control, 3, weights)[0]
    assert "branches" in check_decision(control, 2, some_policy().to_bytes())[0]


def test_fixed_and_random_policies_are_checked_without_a_file() -> None:
    action = (1, 2, 0, 1, 0)
    fixed = decided(some_policy(), policy_digest=None, fixed_action=action, action=action)
    assert check_decision(fixed, 3, None) == []
    drawn = RandomPolicy(SEED, SIZES).decide(observation())
    by_lot = decided(some_policy(), policy_digest=None, policy_seed=SEED, action=drawn)
    assert check_decision(by_lot, 3, None) == []
    assert decision_of(by_lot, 3, None) == drawn
    draws = {RandomPolicy(SEED, SIZES).decide(observation(step)) for step in range(6)}
    assert len(draws) > 3


def test_control_that_contradicts_itself_is_refused() -> None:
    policy = some_policy()
    for changes, message in (
        ({"policy_seed": SEED}, "exactly one"),
        ({"devices": PEOPLE[:1] * 2}, "twice"),
        ({"classes": ("phone",)}, "differ in number"),
        ({"previous_task": None}, "names the task before it"),
        ({"observation": observation(step=0, horizon=6), "previous_task": None}, "before the first step"),
    ):
        with pytest.raises(ValueError, match=message):
            decided(policy, **changes)


def test_action_that_leaves_everybody_out_means_everybody() -> None:
    assert KNOBS.read((0, 0, 1, 0, 1), 2, 3).emulators == (0, 0)
    assert KNOBS.read((0, 3, 1, 0, 1), 2, 3).emulators == (None, 2)
    for wrong in ((0, 0, 1, 0), (0, 4, 1, 0, 1), (-1, 0, 1, 0, 1)):
        with pytest.raises(ValueError, match="branch"):
            KNOBS.read(wrong, 2, 3)


def test_fixed_grid_is_distinct_and_valid() -> None:
    grid = dict(fixed_actions(KNOBS, CLASS_NAMES, 3))
    assert len(grid) == 6 * 8
    for action in grid.values():
        assert any(level is not None for level in KNOBS.read(action, 2, 3).emulators)


GOLDEN = (
    DeviceState(speed_milli=145, memory_bytes=571018, up_bytes_per_second=64464, down_bytes_per_second=257856),
    DeviceState(speed_milli=8430, memory_bytes=1035421, up_bytes_per_second=575830, down_bytes_per_second=2303320),
)
