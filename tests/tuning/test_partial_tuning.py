"""Federated dropout: a value becomes the mean over those who tuned it, in products rank by rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.deltas import CommittedDelta
from deltaproof.tuning.combining.mixing import aggregate_thetas, masks_of
from deltaproof.tuning.errors import CodecError
from deltaproof.tuning.methods.low_rank import tensors_of
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.method_cases import method_section
from tests.tuning.rehearsal import minimal_spec, rehearse

TRAINERS = 5


def bench_of(folder: Path, method: str = "lora", fraction: float = 0.5, **sections: Any) -> Workbench:
    sections = {"optimizer": {"name": "adam", "weight_decay": 0.0}, **sections}
    codec = {"name": "dropout", "options": {"fraction": fraction}}
    spec = minimal_spec(folder, method=method_section(method, folder), codec=codec, **sections)
    return Workbench.from_spec(spec, precision="float32")


def start_of(bench: Workbench) -> Vector:
    """A start whose products are not zero, as in any round but the first."""
    return (bench.start + 0.1 * np.random.default_rng(9).normal(size=bench.layout.size)).astype(np.float32)


def trained(bench: Workbench) -> tuple[list[Vector], list[Mask]]:
    """Adapters that differ from the start where their trainer tunes."""
    start, thetas, masks = start_of(bench), [], []
    for number in range(TRAINERS):
        mask = bench.codec.mask(bytes([number]) * 32)
        assert mask is not None
        change = np.random.default_rng(number).normal(size=bench.layout.size)
        thetas.append(np.where(mask, start + 0.05 * change, start).astype(np.float32))
        masks.append(mask)
    return thetas, masks


def test_a_value_tuned_by_two_of_five_is_the_mean_of_those_two(bert_folder: Path) -> None:
    bench = bench_of(bert_folder, "pfeiffer", fraction=0.4)
    thetas, masks = trained(bench)
    result, lost = aggregate_thetas(bench, thetas, None, masks)
    tuners = np.sum(masks, axis=0)
    assert {0, 2, 5} <= set(tuners.tolist())
    start = start_of(bench)
    for place in np.flatnonzero(tuners == 2)[:200]:
        both = [theta[place] for theta, mask in zip(thetas, masks, strict=True) if mask[place]]
        assert result[place] == pytest.approx((float(both[0]) + float(both[1])) / 2, abs=1e-7)
    assert np.allclose(result[tuners == 0], start[tuners == 0], atol=1e-7), "nobody moved it"
    everybody = np.mean(thetas, axis=0)
    assert np.allclose(result[tuners == 5], everybody[tuners == 5], atol=1e-6)
    moved, diluted = np.linalg.norm((result - start)[tuners == 2]), np.linalg.norm((everybody - start)[tuners == 2])
    assert moved == pytest.approx(2.5 * diluted, rel=1e-4), "no longer averaged with three who left it alone"
    assert lost == 0.0


@pytest.mark.parametrize("weights", [None, [5, 1, 2, 9, 3]])
def test_a_rank_is_the_mean_product_of_those_who_tuned_it(bert_folder: Path, weights: list[int] | None) -> None:
    # Half of the ranks, so that the mean of all products has more than the adapter's rank: compared before truncation.
    bench = bench_of(bert_folder, "lora", fraction=0.25)
    thetas, masks = trained(bench)
    result, lost = aggregate_thetas(bench, thetas, weights, masks)
    members = [tensors_of(bench.layout, theta) for theta in thetas]
    after, counts = tensors_of(bench.layout, result), weights or [1] * TRAINERS
    missing, whole = 0.0, 0.0
    for pair in bench.pairs:
        a, b = members[0][pair.a].shape, members[0][pair.b].shape
        expected = np.zeros((b[0], a[1]))
        for rank in range(a[0]):
            who = [i for i in range(TRAINERS) if masks[i][bench.layout.slices[pair.a]].reshape(a)[rank].all()]
            total = sum(counts[i] for i in who or range(TRAINERS))
            for i in who or range(TRAINERS):
                column, row = members[i][pair.b][:, rank].astype(np.float64), members[i][pair.a][rank]
                expected += counts[i] / total * np.outer(column, row)
        u, sizes, v = np.linalg.svd(expected, full_matrices=False)
        best = (u[:, : a[0]] * sizes[: a[0]]) @ v[: a[0]]
        assert np.abs(after[pair.b].astype(np.float64) @ after[pair.a] - best).max() < 1e-5
        missing, whole = missing + float((sizes[a[0] :] ** 2).sum()), whole + float((sizes**2).sum())
    assert lost == pytest.approx(np.sqrt(missing / whole), rel=1e-4)


def test_everybody_tuning_everything_is_the_plain_mean(bert_folder: Path) -> None:
    bench = bench_of(bert_folder, fraction=1.0)
    thetas, masks = trained(bench)
    assert all(mask.all() for mask in masks)
    with_masks = aggregate_thetas(bench, thetas, [1, 2, 3, 4, 5], masks)[0]
    plain_section = {"method": method_section("lora", bert_folder)}
    plain = Workbench.from_spec(minimal_spec(bert_folder, **plain_section), precision="float32")
    assert np.allclose(with_masks, aggregate_thetas(plain, thetas, [1, 2, 3, 4, 5])[0], atol=1e-6)


def test_masks_may_not_be_forgotten_nor_given_for_nothing(bert_folder: Path) -> None:
    bench = bench_of(bert_folder)
    thetas, masks = trained(bench)
    with pytest.raises(ValueError, match="masks"):
        aggregate_thetas(bench, thetas, None)
    plain = Workbench.from_spec(
        minimal_spec(bert_folder, method=method_section("lora", bert_folder)), precision="float32"
    )
    with pytest.raises(ValueError, match="no masks"):
        aggregate_thetas(plain, thetas, None, masks)
    parts = [CommittedDelta(thetas[0], b"", None, None, masks[0]), CommittedDelta(thetas[1], b"", None, None)]
    with pytest.raises(ValueError, match="1 masks for 2"):
        masks_of([part.tuned for part in parts])


def test_training_leaves_the_rest_of_the_start_as_it_is(bert_folder: Path, tmp_path: Path) -> None:
    bench = bench_of(bert_folder)
    played = rehearse(bench.spec, tmp_path / "round", bench)
    mask = bench.codec.mask(played.context.key)
    assert mask is not None
    changed = played.trained.theta != bench.start
    assert not changed[~mask].any()
    assert changed[mask].any()


@pytest.mark.parametrize(
    ("method", "sections", "reason"),
    [
        ("lora", {"aggregation": {"rule": "median"}}, "median compares"),
        ("lora", {"aggregation": {"rule": "multi_krum", "byzantine": 1}}, "multi_krum compares"),
        ("lora", {"optimizer": {"name": "adamw", "weight_decay": 0.1}}, "weight decay"),
        ("adalora", {}, "does not go with adalora"),
        ("diff_pruning", {}, "does not go with diff_pruning"),
    ],
)
def test_what_has_no_such_mean_is_refused(
    bert_folder: Path, method: str, sections: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CodecError, match=reason):
        bench_of(bert_folder, method, **sections)
