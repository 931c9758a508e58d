"""Bounded mode: pushes beyond the bound, and those inside it that lean the same way in many steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from deltaproof.protocol.evidence.state import Layout
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.terms.spec import TrainingSection
from deltaproof.replaying.drift import DriftSample, judge_drift, noise_steps
from deltaproof.replaying.replay import ReplayContext, StepVerdict
from tests.replaying.forging import recommitted, with_next_state
from tests.tuning.rehearsal import Rehearsal


def push(
    round_: Rehearsal, opening: StepOpening, direction: np.ndarray, size: float
) -> tuple[StepOpening, ReplayContext]:
    scaled = direction / np.linalg.norm(direction) * size * np.linalg.norm(opening.gradient)
    gradient = (opening.gradient + scaled).astype(np.float32)
    return recommitted(round_, with_next_state(round_, replace(opening, gradient=gradient)))


def test_push_beyond_the_bound_is_refused(bounded_round: Rehearsal) -> None:
    judge = bounded_round.judge()
    direction = np.random.default_rng(1).standard_normal(bounded_round.bench.layout.size)
    for opening in bounded_round.openings([1, 4]):
        tampered, context = push(bounded_round, opening, direction, 1e-3)
        verdict = judge.judge_step(tampered, opening.before.step, context)
        assert verdict.failed == "gradient"
        assert verdict.magnitude > verdict.bound


def test_push_on_a_tensor_without_gradient_is_refused(bounded_round: Rehearsal) -> None:
    """LoRA's A has exactly no gradient while B is zero; Adam would turn any push there into a full step."""
    (first,) = bounded_round.openings([0])
    layout = bounded_round.bench.layout
    name = next(name for name in layout.names if "lora_A" in name)
    direction = np.zeros(layout.size)
    direction[layout.slices[name]] = 1.0
    tampered, context = push(bounded_round, first, direction, 1e-9)
    assert bounded_round.judge().judge_step(tampered, 0, context).failed == "gradient"


def verdicts_under(
    round_: Rehearsal, attack: Callable[[StepOpening], tuple[StepOpening, ReplayContext]]
) -> list[StepVerdict]:
    judge = round_.judge()
    return [judge.judge_step(*_judged(attack(opening), opening.before.step)) for opening in round_.openings(range(6))]


def _judged(attacked: tuple[StepOpening, ReplayContext], step: int) -> tuple[StepOpening, int, ReplayContext]:
    return attacked[0], step, attacked[1]


def test_steady_push_inside_the_bound_is_caught_by_the_drift_test(bounded_round: Rehearsal) -> None:
    layout = bounded_round.bench.layout
    direction = np.zeros(layout.size)
    head = layout.slices[next(name for name in layout.names if "classifier" in name and name.endswith("weight"))]
    direction[head] = np.random.default_rng(2).standard_normal(head.stop - head.start)

    def steered(opening: StepOpening) -> tuple[StepOpening, ReplayContext]:
        return push(bounded_round, opening, direction, 7e-6)

    verdicts = verdicts_under(bounded_round, steered)
    assert all(verdict.accepted for verdict in verdicts), "each single step is inside the bound"
    drift = judge_drift([v.drift for v in verdicts if v.drift], bounded_round.spec.training, layout)
    assert not drift.accepted
    assert "lean in " in drift.message

    honest = verdicts_under(bounded_round, lambda opening: (opening, bounded_round.replay_context))
    assert judge_drift([v.drift for v in honest if v.drift], bounded_round.spec.training, layout).accepted


FLAT = Layout.of({"large": (1900,), "small": (100,)})
TRAINING = TrainingSection(steps=1000, batch_size=1, numeric="bounded")


def drift_sample(generator: np.random.Generator, along: float = 0.0, small: float = 0.0) -> DriftSample:
    """Rounding noise of 1e-6, a tenth of it in the small tensor, plus pushes."""
    scale = np.where(np.arange(2000) < 1900, 1e-6 / np.sqrt(1900), 1e-7 / np.sqrt(100))
    gradient = generator.standard_normal(2000) * np.where(np.arange(2000) < 1900, 1.0, 0.04)
    gradient /= np.linalg.norm(gradient)
    difference = generator.standard_normal(2000) * scale + along * gradient
    difference[1900:] += small / 10
    along_ = float(difference @ gradient)
    return DriftSample(difference.astype(np.float32), along_, 1.0, (1.0, 0.01), 1e-6, (1e-6, 1e-7))


def test_drift_along_a_turning_gradient_is_seen() -> None:
    generator = np.random.default_rng(3)
    assert judge_drift([drift_sample(generator) for _ in range(40)], TRAINING, FLAT).accepted
    leaning = judge_drift([drift_sample(generator, along=4e-6) for _ in range(40)], TRAINING, FLAT)
    assert not leaning.accepted
    assert "along the gradient" in leaning.message


def test_drift_that_drowns_in_the_whole_is_seen_in_its_tensor() -> None:
    leaning = judge_drift([drift_sample(np.random.default_rng(i), small=3e-7) for i in range(40)], TRAINING, FLAT)
    assert leaning.steady < leaning.noise
    assert not leaning.accepted
    assert leaning.where == "in one direction in small"


def test_coarser_rounding_of_another_machine_is_no_drift() -> None:
    """One MKL code path rounds some batches ten times as coarsely as another, always in the same direction."""
    coarse = [drift_sample(np.random.default_rng(i), small=3e-7) for i in range(40)]
    calibrated = TRAINING.model_copy(update={"bound_tensor": 1e-3})  # what calibration gives where that is so
    assert judge_drift(coarse, calibrated, FLAT).accepted
    assert not judge_drift(
        [drift_sample(np.random.default_rng(i), small=3e-6) for i in range(40)], calibrated, FLAT
    ).accepted


def test_noise_is_measured_over_the_whole_round() -> None:
    assert noise_steps((0, 3, 8, 20, 99)) == {0, 8, 99}
    assert noise_steps((0,)) == {0}
    assert noise_steps(()) == frozenset()


def test_drift_needs_a_yardstick() -> None:
    with pytest.raises(ValueError, match="noise"):
        judge_drift([DriftSample(np.zeros(2000, np.float32), 0.0, 1.0, (1.0, 0.01))], TRAINING, FLAT)
