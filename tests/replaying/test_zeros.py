"""No coordinate is left open: zeros stay zero, ties move nothing, and rounding explains no more than rounding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deltaproof.protocol.evidence.state import Layout
from deltaproof.protocol.rules import TIE_NOISE
from deltaproof.protocol.terms.spec import TrainingSection
from deltaproof.replaying.comparison import compare_bounded, compare_exact
from deltaproof.replaying.condition import rounded_at_random
from deltaproof.replaying.drift import DriftSample, judge_drift
from deltaproof.tuning.training.workbench import RowNorms
from tests.replaying.forging import recommitted, with_next_state
from tests.tuning.rehearsal import Rehearsal, minimal_spec, rehearse

TRAINING = TrainingSection(steps=1000, batch_size=1, numeric="bounded")
WORDS = {"name": "lora", "options": {"r": 2, "lora_alpha": 4, "target_modules": ["word_embeddings", "query"]}}


@pytest.fixture(scope="module", params=["exact", "bounded"])
def with_words(
    request: pytest.FixtureRequest, bert_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Rehearsal:
    """LoRA also on word embeddings: most words occur in no row of a batch."""
    training = {"numeric": request.param, "steps": 3}
    spec = minimal_spec(bert_folder, method=WORDS, training=training, optimizer={"name": "adamw", "eps": 1e-10})
    return rehearse(spec, tmp_path_factory.mktemp("words") / "round")


@pytest.mark.parametrize("push", [1e-9, 1e-14, 1e-30])
def test_push_on_a_word_that_no_row_holds_is_refused(with_words: Rehearsal, push: float) -> None:
    (opening,) = with_words.openings([2])
    words = with_words.bench.layout.slices[next(n for n in with_words.bench.layout.names if "embedding_A" in n)]
    unused = words.start + np.flatnonzero(opening.gradient[words] == 0.0)[:4]
    assert unused.size == 4, "most words are in no row"
    assert with_words.judge().judge_step(opening, 2, with_words.replay_context).accepted
    gradient = opening.gradient.copy()
    gradient[unused] = push
    tampered, context = recommitted(with_words, with_next_state(with_words, replace(opening, gradient=gradient)))
    verdict = with_words.judge().judge_step(tampered, 2, context)
    assert verdict.failed == "gradient"
    assert "zero, whatever the rounding" in verdict.message or with_words.spec.training.numeric == "exact"


def test_push_on_a_value_that_is_not_the_trainers_to_tune_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    """Federated dropout masks single values of a tensor, so the tensor as a whole is not zero."""
    codec = {"name": "dropout", "options": {"fraction": 0.5}}
    method = {"name": "pfeiffer", "options": {}}
    training = {"numeric": "bounded", "steps": 2}
    round_ = rehearse(minimal_spec(bert_folder, method=method, codec=codec, training=training,
                                   optimizer={"name": "adam", "weight_decay": 0.0}), tmp_path / "round")  # fmt: skip
    (opening,) = round_.openings([1])
    mask = round_.bench.codec.mask(round_.context.key)
    assert mask is not None
    gradient = opening.gradient.copy()
    partly = (where for where in round_.bench.layout.slices.values() if gradient[where].any() and not mask[where].all())
    where = next(partly)
    gradient[where.start + np.flatnonzero(~mask[where])[:3]] = 1e-10
    tampered, context = recommitted(round_, with_next_state(round_, replace(opening, gradient=gradient)))
    verdict = round_.judge().judge_step(tampered, 1, replace(context, delta=None))
    assert verdict.failed == "gradient"
    assert "zero, whatever the rounding" in verdict.message


def test_tie_of_a_tiny_value_is_limited_by_what_the_optimiser_makes_of_it() -> None:
    """1.3e-11 root mean squares is a full step where eps and the second moment are 1e-11."""
    layout = Layout.of({"only": (1000,)})
    recomputed = np.random.default_rng(1).standard_normal(1000)
    recomputed[0] = 1e-13
    committed = recomputed.astype(np.float32)
    committed[0] = 0.9 * TIE_NOISE
    assert compare_exact(committed, recomputed, layout).agrees, "float64 noise explains the value by itself"
    assert not compare_exact(committed, recomputed, layout, np.full(1000, 1e-11)).agrees
    assert compare_exact(committed, recomputed, layout, np.full(1000, 1e-6)).agrees, "which moves a thousandth at most"


def test_rounding_that_cancels_inside_a_row_is_explained() -> None:
    layout = Layout.of({"a": (10,), "b": (10,)})
    recomputed = np.concatenate([np.ones(10), np.full(10, 0.1)])
    committed = (recomputed + np.concatenate([np.zeros(10), np.full(10, 3e-5)])).astype(np.float32)
    measured = RowNorms(1e-5, {"a": 1e-7, "b": 1e-5})
    assert not compare_bounded(committed, recomputed, layout, TRAINING).agrees
    assert compare_bounded(committed, recomputed, layout, TRAINING, None, measured).agrees
    assert not compare_bounded(committed, recomputed, layout, TRAINING, None, RowNorms(1e-6, measured.tensors)).agrees


def test_random_rounding_is_of_the_size_of_float32_and_keeps_structural_zeros() -> None:
    generator = torch.Generator().manual_seed(5)
    first, second = (torch.randn(64, 64, dtype=torch.float64, generator=generator) for _ in range(2))
    first[:, 3] = 0.0

    def product(seed: int | None = None) -> torch.Tensor:
        if seed is None:
            return torch.tanh(first.T @ second) @ second.T
        with rounded_at_random(seed):
            return torch.tanh(first.T @ second) @ second.T

    drawn, float32 = product(1), torch.tanh(first.T.float() @ second.float()) @ second.T.float()
    assert torch.equal(drawn, product(1)), "equal seeds round alike"
    assert not torch.equal(drawn, product(2))
    noise, real = (drawn - product()).norm(), (float32.double() - product()).norm()
    assert 0.1 < noise / real < 10
    assert not drawn[3].any(), "nothing to round"
    assert int((drawn == 0).sum()) == 64


def steady(push: float, count: int = 22, stride: float = 1e-6) -> list[DriftSample]:
    """Noise of a millionth everywhere; four values with a tiny second moment, pushed in every step."""
    layout, samples = Layout.of({"only": (1000,)}), []
    for number in range(count):
        generator = np.random.default_rng(number)
        scale = np.ones(1000)
        scale[:4] = stride
        gradient = generator.standard_normal(1000) * scale
        noise = generator.standard_normal(1000) * scale * 1e-6
        committed = gradient + generator.standard_normal(1000) * scale * 1e-6
        committed[:4] += push
        sample = DriftSample.of(committed, gradient, noise if number in {0, 11, 21} else None, layout, scale)
        samples.append(sample)
    return samples


def test_steady_push_on_small_values_is_seen_in_the_optimisers_steps() -> None:
    layout = Layout.of({"only": (1000,)})
    assert judge_drift(steady(0.0), TRAINING, layout).accepted
    verdict = judge_drift(steady(1e-9), TRAINING, layout)  # a thousandth of a step, a billionth of the gradient
    assert not verdict.accepted
    assert verdict.where.startswith("in the optimiser's steps")
    blind = [replace(sample, stride=None, rounding=None) for sample in steady(1e-9)]
    assert judge_drift(blind, TRAINING, layout).accepted, "the raw gradient shows nothing"
