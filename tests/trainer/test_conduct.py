"""Honest conduct: what is opened is what was committed, and an interrupted round ends in the same root."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaproof.protocol.evidence.transcript import StepRecord
from deltaproof.replaying.replay import ReplayContext
from tests.tuning.rehearsal import Rehearsal, minimal_spec, rehearse
from trainer.conduct import Honest, RoundWork


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp("conduct")
    return rehearse(minimal_spec(folder / "model"), folder / "round")


def work_in(rehearsal: Rehearsal, folder: Path) -> RoundWork:
    return RoundWork(rehearsal.bench, rehearsal.context, rehearsal.bench.initial_state(), rehearsal.shard, folder)


def test_every_opening_of_an_honest_round_is_accepted(rehearsal: Rehearsal, tmp_path: Path) -> None:
    work, honest, judge = work_in(rehearsal, tmp_path), Honest(), rehearsal.judge()
    trained = honest.train(work, lambda _: None)
    context = ReplayContext(rehearsal.context, trained.transcript_root, trained.theta_digest)
    steps = range(rehearsal.spec.training.steps)
    verdicts = [judge.judge_step(opening, opening.before.step, context) for opening in honest.open(work, steps)]
    assert [verdict.step for verdict in verdicts] == list(steps)
    assert all(verdict.accepted for verdict in verdicts), [verdict.message for verdict in verdicts]


def test_interrupted_round_goes_on_to_the_same_root(rehearsal: Rehearsal, tmp_path: Path) -> None:
    work, seen = work_in(rehearsal, tmp_path), list[StepRecord]()

    def interrupt(record: StepRecord) -> None:
        seen.append(record)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Honest().train(work, interrupt)
    trained = Honest().train(work, lambda _: None)
    assert trained.transcript_root == rehearsal.trained.transcript_root
    found = Honest().train(work, seen.append)
    assert found.transcript_root == trained.transcript_root
    assert len(seen) == 3  # a round that is done is found, not trained
