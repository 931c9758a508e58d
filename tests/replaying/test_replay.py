"""Replays of honest steps: every one is accepted, alone and many at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.protocol.types import Digest32
from deltaproof.replaying.judges import Judges, ReplayJob
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import Rehearsal, context_for, minimal_spec, rehearse, some_rows


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_honest_steps_are_accepted(bert_folder: Path, tmp_path: Path, name: str, numeric: str) -> None:
    spec = minimal_spec(
        bert_folder,
        optimizer={"name": name, "clip_norm": 0.05, "weight_decay": 0.1},
        training={"numeric": numeric, **({"bound_total": 1e-4} if numeric == "bounded" else {})},
    )
    round_ = rehearse(spec, tmp_path / "round")
    judge = round_.judge()
    openings = round_.openings(range(6))
    assert min(opening.before.clip_scale for opening in openings) < 1.0, "clipping was at work"
    for opening in openings:
        verdict = judge.judge_bytes(serialize_opening(opening), opening.before.step, round_.replay_context)
        assert verdict.accepted, verdict.message


def test_pool_gives_the_same_verdicts_in_the_same_order(exact_round: Rehearsal) -> None:
    openings = list(exact_round.openings(range(6)))
    openings[4] = replace(openings[4], gradient=openings[4].gradient * np.float32(1.5))
    jobs = [ReplayJob(exact_round.replay_context, step, openings[step]) for step in (5, 0, 4, 1)]
    inline = [verdict for _, verdict in Judges(exact_round.spec, HERE).judged(jobs)]
    assert [verdict.step for verdict in inline] == [5, 0, 4, 1]
    assert [verdict.accepted for verdict in inline] == [True, True, False, True]
    judges = Judges(exact_round.spec, Machine(workers=2, backend="processes"))
    found = list(judges.judged(jobs))
    judges.close()
    assert [job.step for job, _ in found] == [5, 0, 4, 1]
    assert [verdict for _, verdict in found] == inline


def test_honest_steps_on_learnt_data_are_accepted(bert_folder: Path, tmp_path: Path) -> None:
    """`softmax - 1` in float32 is off by 6e-8 / loss; the last step is always sampled."""
    spec = minimal_spec(
        bert_folder,
        method={"name": "bitfit", "options": {}},
        optimizer={"name": "adam", "learning_rate": 0.3},
        training={"steps": 6, "numeric": "bounded", "bound_total": 1e-5, "bound_tensor": 5e-5},
    )
    bench = Workbench.from_spec(spec)
    shard = Shard(tuple(row for row in some_rows(spec.model.kind) if b'"label":1' in row), Digest32(bytes(32)))
    context = context_for(bench, shard)
    trained = train_round(bench, context, bench.initial_state(), shard, tmp_path / "round")
    assert min(trained.losses) < 1e-7, "the data is learnt"
    judge, replay_context = Judge.from_spec(spec), ReplayContext(context, trained.transcript_root, trained.theta_digest)
    for opening in open_steps(bench, context, shard, tmp_path / "round", range(6)):
        verdict = judge.judge_step(opening, opening.before.step, replay_context)
        assert verdict.accepted, verdict.message
