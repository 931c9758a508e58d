"""Held-out loss: against the plain model, against means merged by hand, and however coalitions are grouped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import LOSS_CAP
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.presets import Architecture, complete_spec, minimal_model
from deltaproof.tuning.combining.aggregation import aggregate
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.methods.low_rank import low_rank_pairs, mergeable_pairs, tensors_of, vector_of
from deltaproof.tuning.training.workbench import Workbench

KINDS: dict[Architecture, str] = {"bert": "sequence-classification", "llama": "causal-lm"}
TEXTS = (
    "good",
    "a rather long sentence about a film",
    "bad",
    "no",
    "it was fine, mostly",
    "splendid work",
    "dull",
    "ok!",
)


def make_bench(folder: Path, architecture: Architecture, **method: Any) -> Workbench:
    source = f"path:{minimal_model(folder / architecture, architecture)}"
    sections = {"method": {"options": {"r": 4, "lora_alpha": 8, **method}}, "scoring": {"batch_size": 3}}
    return Workbench.from_spec(complete_spec(source, KINDS[architecture], sections), precision="float64")


def make_rows(bench: Workbench) -> list[bytes]:
    if bench.spec.model.kind == "causal-lm":
        return [canonical_row({"text": text}) for text in TEXTS]
    return [canonical_row({"text": text, "label": i % 2}) for i, text in enumerate(TEXTS)]


def make_thetas(bench: Workbench, count: int, spread: float = 0.3) -> list[Vector]:
    rng = np.random.default_rng(5)
    return [(bench.start + spread * rng.normal(size=bench.layout.size)).astype(np.float32) for _ in range(count)]


def plain_loss(bench: Workbench, theta: Vector, rows: list[bytes]) -> float:
    """What the unmerged model says, one row at a time."""
    bench.load(theta)
    total, count = 0.0, 0
    for row in rows:
        part = make_batch([row], bench.spec.model, tokenizer=bench.tokenizer, config=None, parts=1)
        inputs = {name: value for name, value in part.parts[0].items() if name != "labels"}
        labels = part.parts[0]["labels"]
        with torch.no_grad():
            logits = bench.model(**inputs).logits
        if bench.spec.model.kind == "causal-lm":
            logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        count += part.count
    return total / count


@pytest.fixture(scope="module", params=["bert", "llama"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return make_bench(tmp_path_factory.mktemp("models"), request.param)


def test_evaluate_equals_the_unmerged_model(bench: Workbench) -> None:
    rows, (theta,) = make_rows(bench), make_thetas(bench, 1)
    evaluation = Evaluator(bench, rows).evaluate(theta)
    assert evaluation.loss == pytest.approx(plain_loss(bench, theta, rows), rel=1e-7)
    assert evaluation.predictions == (
        len(rows) if bench.spec.model.kind != "causal-lm" else sum(min(len(t), 31) for t in TEXTS)
    )


def test_evaluate_accuracy_counts_argmax(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, "bert")
    rows, (theta,) = make_rows(bench), make_thetas(bench, 1)
    bench.load(theta)
    hits = 0
    for row in rows:
        part = make_batch([row], bench.spec.model, tokenizer=bench.tokenizer, config=None, parts=1).parts[0]
        labels = part.pop("labels")
        hits += int(bench.model(**part).logits.argmax() == labels[0])
    assert Evaluator(bench, rows).evaluate(theta).accuracy == hits / len(rows)


def test_evaluate_means_is_the_exact_mean_not_its_truncation(bench: Workbench) -> None:
    """Against a model whose base weights were replaced by hand by W + mean of products."""
    rows, thetas = make_rows(bench), make_thetas(bench, 3)
    shares = np.array([[0.5, 0.3, 0.2]])
    measured = Evaluator(bench, rows).evaluate_means(thetas, shares).mean(0).loss
    members = [tensors_of(bench.layout, theta) for theta in thetas]
    pairs = low_rank_pairs(bench.model)
    mean = {n: sum(p * m[n] for p, m in zip(shares[0], members, strict=True)) for n in bench.layout.names}
    zeroed = vector_of(bench.layout, {n: v * (n not in {p.b for p in pairs}) for n, v in mean.items()})
    layers = dict(bench.model.named_modules())
    for pair in pairs:
        product = sum(p * m[pair.b].astype(float) @ m[pair.a] for p, m in zip(shares[0], members, strict=True))
        base = layers[pair.module].get_base_layer()
        base.merged = base.weight + torch.from_numpy(pair.scale * product)
    by_hand = plain_loss(bench, zeroed, rows)
    for pair in pairs:
        layers[pair.module].get_base_layer().merged = None
    assert measured == pytest.approx(by_hand, rel=1e-7)
    truncated = aggregate(members, pairs, weights=[5, 3, 2])
    assert truncated.truncation_error > 0.1
    refactored = Evaluator(bench, rows).evaluate(vector_of(bench.layout, truncated.tensors)).loss
    assert abs(refactored - measured) > 1e-5


def test_evaluate_means_of_one_equals_evaluate_of_its_refactorisation(bench: Workbench) -> None:
    rows, (theta,) = make_rows(bench), make_thetas(bench, 1)
    result = aggregate([tensors_of(bench.layout, theta)], low_rank_pairs(bench.model))
    evaluator = Evaluator(bench, rows)
    same = evaluator.evaluate(vector_of(bench.layout, result.tensors)).loss
    assert evaluator.evaluate(theta).loss == pytest.approx(same, rel=1e-5)


def test_evaluate_means_same_bits_however_grouped(bench: Workbench) -> None:
    rows, thetas = make_rows(bench), make_thetas(bench, 4)
    shares = np.random.default_rng(1).dirichlet(np.ones(4), size=6)
    evaluator = Evaluator(bench, rows)
    together = evaluator.evaluate_means(thetas, shares).losses
    alone = [evaluator.evaluate_means(thetas, row[None]).losses[0] for row in shares[::-1]][::-1]
    fresh = Evaluator(bench, rows, cache_bytes=0).evaluate_means(thetas, shares).losses
    assert (together == np.stack(alone)).all()
    assert (together == fresh).all()


def test_evaluate_means_batch_shape_changes_rounding_only(bench: Workbench) -> None:
    rows, thetas = make_rows(bench), make_thetas(bench, 2)
    shares = np.array([[0.5, 0.5]])
    losses = [
        Evaluator(bench, rows, batch_rows=n, tokens_per_pass=t).evaluate_means(thetas, shares).mean(0).loss
        for n, t in ((1, 512), (8, 512), (8, 40))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    assert losses[0] == pytest.approx(losses[2], abs=1e-12)


def test_evaluator_leaves_the_workbench_as_it_was(bench: Workbench) -> None:
    rows, (theta, other) = make_rows(bench), make_thetas(bench, 2)
    bench.load(theta)
    gradient, loss = bench.gradient(rows[:4], bytes(32))
    Evaluator(bench, rows).evaluate(other)
    bench.load(theta)
    again, loss_again = bench.gradient(rows[:4], bytes(32))
    assert torch.equal(gradient, again)
    assert loss == loss_again


def test_prefix_cache_layers_below_the_adapter_run_once(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, "bert", target_modules=["query", "value"], layers_to_transform=[1])
    rows, thetas = make_rows(bench), make_thetas(bench, 2)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    plain = Evaluator(bench, rows, cache_bytes=0).evaluate_means(thetas, np.eye(2)).losses
    evaluator = Evaluator(bench, rows)
    layers = [m for name, m in bench.model.named_modules() if name.endswith("layer.0.attention.self.query")]
    handle = layers[0].register_forward_hook(count)
    assert (evaluator.evaluate_means(thetas, np.eye(2)).losses == plain).all()
    first = calls
    assert (evaluator.evaluate_means(thetas, np.eye(2)).losses == plain).all()
    handle.remove()
    assert first == len(evaluator._chunks)
    assert calls == first


def test_evaluate_hostile_values_are_charged_the_cap(tmp_path: Path) -> None:
    source = f"path:{minimal_model(tmp_path, 'bert')}"
    bench = Workbench.from_spec(complete_spec(source, "sequence-classification"), precision="float32")
    signs = np.random.default_rng(0).choice([-1.0, 1.0], bench.layout.size)
    broken, wild = (signs * 3e38).astype(np.float32), (signs * 1e4).astype(np.float32)
    evaluator = Evaluator(bench, make_rows(bench))
    assert evaluator.evaluate(broken).loss == LOSS_CAP  # the model yields NaN
    assert 1.0 < evaluator.evaluate(wild).loss <= LOSS_CAP


def test_evaluate_means_bad_input_refused(bench: Workbench) -> None:
    evaluator = Evaluator(bench, make_rows(bench))
    with pytest.raises(ValueError, match="not weights of 2 adapters"):
        evaluator.evaluate_means(make_thetas(bench, 2), np.array([[0.5, 0.6]]))
    with pytest.raises(EncodingError):
        evaluator.evaluate(np.zeros(3, np.float32))
    with pytest.raises(EncodingError):
        evaluator.evaluate(np.full(bench.layout.size, math.nan, np.float32))
    with pytest.raises(ValueError, match="at least one row"):
        Evaluator(bench, [])


def test_evaluate_means_dora_single_adapters_only(tmp_path: Path) -> None:
    """DoRA's magnitudes act on the sum W + B A, so a mean of products is not merged into W."""
    bench = make_bench(tmp_path, "bert", use_dora=True)
    rows, thetas = make_rows(bench), make_thetas(bench, 2, spread=0.05)
    evaluator = Evaluator(bench, rows)
    assert not evaluator.mixes_exactly
    assert mergeable_pairs(bench.model) == ()
    assert evaluator.evaluate(thetas[0]).loss == pytest.approx(plain_loss(bench, thetas[0], rows), rel=1e-6)
    with pytest.raises(ValueError, match="aggregate the adapters first"):
        evaluator.evaluate_means(thetas, np.array([[0.5, 0.5]]))


def test_float32_differs_from_float64_by_rounding(tmp_path: Path) -> None:
    losses: list[NDArray[np.float64]] = []
    for precision in ("float32", "float64"):
        source = f"path:{minimal_model(tmp_path / precision, 'bert')}"
        bench = Workbench.from_spec(complete_spec(source, "sequence-classification"), precision=precision)
        results = Evaluator(bench, make_rows(bench)).evaluate_means(make_thetas(bench, 3), np.eye(3))
        losses.append(results.losses.mean(axis=1))
    assert 0 < np.abs(losses[0] - losses[1]).max() < 1e-6


UNUSABLE = (b'{"label":0}', b'{"label":7,"text":"x"}', b'{"label":0,"text":1}', b"no row at all", b"[]", b"")


def test_row_that_the_model_cannot_use_counts_for_nobody(tmp_path: Path) -> None:
    """A sponsor who hides one among the validation rows must not end every verifier after people trained."""
    bench = make_bench(tmp_path, "bert")
    rows, (theta,) = make_rows(bench), make_thetas(bench, 1)
    mixed = [row for pair in zip(rows, [*UNUSABLE, b"x", b"x"], strict=True) for row in pair]
    assert Evaluator(bench, mixed).evaluate(theta) == Evaluator(bench, rows).evaluate(theta)


def test_set_without_a_usable_row_is_worth_nothing_to_anybody(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, "bert")
    results = Evaluator(bench, UNUSABLE).evaluate_means(make_thetas(bench, 2), np.eye(2))
    assert results.counts.sum() == 0
    assert results.mean(0) == results.mean(1)
