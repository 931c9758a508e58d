"""Replays in groups of rows: the same gradient, the same verdicts, and not where rows influence each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.drift import judge_drift
from deltaproof.replaying.grouping import grouped_gradient, groups_of
from deltaproof.tuning.base_models.presets import Architecture
from deltaproof.tuning.errors import RowError
from deltaproof.tuning.training.workbench import Workbench
from tests.replaying.forging import recommitted, with_next_state
from tests.tuning.rehearsal import minimal_spec, rehearse, some_rows

BATCH_OF_16: dict[str, dict[str, Any]] = {"training": {"batch_size": 16}, "model": {"max_tokens": 64}}


def rows_influence_each_other(bench: Workbench) -> None:
    """As in a model that normalises over the batch: every row sees the mean of all."""
    heads = [m for name, m in bench.model.named_modules() if name.endswith("classifier") and isinstance(m, nn.Module)]
    heads[0].register_forward_hook(lambda _module, _inputs, logits: logits + 30 * logits.mean(0))


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_groups_give_the_gradient_of_the_batch(tmp_path: Path, architecture: Architecture) -> None:
    bench = Workbench.from_spec(minimal_spec(tmp_path / "model", architecture, **BATCH_OF_16))
    rows = some_rows(bench.spec.model.kind)[:16]
    assert len({len(row) for row in rows}) > 4
    bench.load(bench.initial_state() + np.float32(0.01))
    gradient, loss = bench.gradient(rows, bytes(32))
    for groups in (1, 2, 3, 4, 16):
        values, nats = grouped_gradient(bench, rows, bytes(32), groups)
        assert torch.allclose(values, gradient, rtol=1e-10, atol=1e-14)
        assert nats == pytest.approx(loss, rel=1e-12)


def test_bad_row_is_named_by_its_place_in_the_batch(bert_folder: Path) -> None:
    bench = Workbench.from_spec(minimal_spec(bert_folder, "bert", **BATCH_OF_16))
    rows = [*some_rows("sequence-classification")[:15], b'{"text":"no label"}']
    with pytest.raises(RowError, match="row 15"):
        grouped_gradient(bench, rows, bytes(32), 4)


def test_only_tasks_that_gain_are_grouped(bert_folder: Path, tmp_path: Path) -> None:
    expected = {4: 1, 8: 2, 16: 4, 64: 4}
    for size, groups in expected.items():
        assert groups_of(Workbench.from_spec(minimal_spec(bert_folder, training={"batch_size": size}))) == groups
    dropout = minimal_spec(bert_folder, training={"batch_size": 16, "dropout": True})
    images = minimal_spec(tmp_path / "vit", "vit", training={"batch_size": 16})
    assert [groups_of(Workbench.from_spec(spec)) for spec in (dropout, images)] == [1, 1]


def test_model_whose_rows_influence_each_other_is_not_grouped(bert_folder: Path) -> None:
    bench = Workbench.from_spec(minimal_spec(bert_folder, "bert", **BATCH_OF_16))
    rows_influence_each_other(bench)
    assert groups_of(bench) == 1


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_honest_steps_pass_and_made_up_ones_fail_in_groups(bert_folder: Path, tmp_path: Path, numeric: str) -> None:
    round_ = rehearse(batches_of_16(bert_folder, numeric), tmp_path / "round")
    judge = round_.judge()
    assert judge.groups == 4
    openings = round_.openings(range(6))
    verdicts = [judge.judge_step(o, o.before.step, round_.replay_context, thorough=False) for o in openings]
    assert all(verdict.accepted for verdict in verdicts), [verdict.message for verdict in verdicts]
    verdicts[0] = judge.judge_step(openings[0], 0, round_.replay_context)
    if samples := [verdict.drift for verdict in verdicts if verdict.drift]:
        assert judge_drift(samples, round_.spec.training, round_.bench.layout).accepted

    made_up = (openings[2].gradient * np.float32(1.001)).astype(np.float32)
    tampered, context = recommitted(round_, with_next_state(round_, replace(openings[2], gradient=made_up)))
    assert judge.judge_step(tampered, 2, context).failed == "gradient"


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_honest_step_that_groups_cannot_repeat_is_judged_in_one_piece(
    bert_folder: Path, tmp_path: Path, numeric: str
) -> None:
    """Should the test of independence ever miss something, no honest trainer may be refused for it."""
    bench = Workbench.from_spec(batches_of_16(bert_folder, numeric))
    rows_influence_each_other(bench)
    round_ = rehearse(bench.spec, tmp_path / "round", bench=bench)
    judge = replace(round_.judge(), groups=4)
    for replayer in (judge.reference, judge.mirror):
        if replayer:
            rows_influence_each_other(replayer)
    for opening in round_.openings(range(3)):
        rows = [row.row for row in opening.rows]
        judge.reference.load(opening.state["theta"])
        apart, _ = grouped_gradient(judge.reference, rows, bytes(32), 4)
        assert np.linalg.norm(apart.numpy() - opening.gradient) > 1e-4 * np.linalg.norm(opening.gradient)
        assert judge.judge_step(opening, opening.before.step, round_.replay_context).accepted


def batches_of_16(folder: Path, numeric: str) -> TaskSpec:
    return minimal_spec(folder, "bert", **{**BATCH_OF_16, "training": {"batch_size": 16, "numeric": numeric}})
