"""Every verdict that a submission can get, from real artifacts on a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deltaproof.agent.patience import owner_of, report_delay
from deltaproof.demo.cheat import SkipHalf
from deltaproof.errors import WorkAbandoned, is_out_of_memory
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Digest32, StepIndex, address
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.backend import LocalBackend
from deltaproof.store.paths import opening_path
from deltaproof.tuning.errors import ModelError
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.step import DrawnRound
from tests.tuning.rehearsal import Rehearsal, context_for, minimal_spec, rehearse
from trainer.conduct import RoundWork

STEPS = (0, 2, 5)
DAMAGE = (lambda data: data[: len(data) // 2], lambda data: b"\xff" * len(data), lambda _: b"")


@pytest.fixture(scope="module", params=["exact", "bounded"])
def rehearsal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp(f"judging-{request.param}")
    return rehearse(minimal_spec(folder / "model", training={"numeric": request.param}), folder / "round")


@pytest.fixture
def store(rehearsal: Rehearsal, tmp_path: Path) -> ArtifactStore:
    published = open_store(str(tmp_path / "store"))
    published.put_tensors(rehearsal.trained.theta)
    for opening in rehearsal.openings(STEPS):
        published.put_opening(rehearsal.trained.transcript_root, rehearsal.committed.trainer, opening)
    return published


@pytest.fixture
def submission(rehearsal: Rehearsal) -> Submission:
    return Submission(
        trainer=address(rehearsal.context.trainer),
        data_root=rehearsal.shard.root,
        data_rows=len(rehearsal.shard.rows),
        delta_digest=rehearsal.trained.theta_digest,
        transcript_root=rehearsal.trained.transcript_root,
    )


@pytest.fixture
def judged(rehearsal: Rehearsal, store: ArtifactStore) -> Callable[[Submission], Judgement]:
    judges = Judges(rehearsal.spec)
    return lambda submission: judge_submission(judges, store, rehearsal.context, submission, STEPS)


def test_honest_submission_is_accepted_with_its_adapter(
    judged: Callable[[Submission], Judgement], submission: Submission, rehearsal: Rehearsal
) -> None:
    judgement = judged(submission)
    assert judgement.finding.verdict is Verdict.ACCEPTED
    assert judgement.finding.failure() is None
    assert judgement.theta is not None
    assert (judgement.theta == rehearsal.trained.theta).all()
    drift = [check for check in judgement.finding.checks if check.check == "drift"]
    assert len(drift) == (rehearsal.spec.training.numeric == "bounded")


def test_nothing_revealed_is_unrevealed(judged: Callable[[Submission], Judgement], submission: Submission) -> None:
    judgement = judged(replace(submission, delta_digest=None, transcript_root=None))
    assert judgement.finding.verdict is Verdict.UNREVEALED


@pytest.mark.parametrize("artifact", ["tensors", "openings"])
def test_artifact_that_is_gone_is_withheld(
    judged: Callable[[Submission], Judgement], submission: Submission, tmp_path: Path, artifact: str
) -> None:
    for path in (tmp_path / "store" / artifact).rglob("*"):
        if path.is_file():
            path.unlink()
    judgement = judged(submission)
    assert judgement.finding.verdict is Verdict.WITHHELD
    assert judgement.theta is None


@pytest.mark.parametrize("artifact", ["tensors", "openings"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"\xff" * len(data), lambda _: b""]
)
def test_artifact_with_other_bytes_is_withheld(
    judged: Callable[[Submission], Judgement],
    submission: Submission,
    tmp_path: Path,
    artifact: str,
    damage: Callable[[bytes], bytes],
) -> None:
    for path in (tmp_path / "store" / artifact).rglob("*"):
        if path.is_file():
            path.write_bytes(damage(path.read_bytes()))
    assert judged(submission).finding.verdict is Verdict.WITHHELD


def test_other_data_than_enrolled_is_withheld(
    judged: Callable[[Submission], Judgement], submission: Submission
) -> None:
    """What was enrolled was never shown; that costs as much as what is rejected."""
    judgement = judged(replace(submission, data_root=Digest32(bytes(31) + b"\x01")))
    assert judgement.finding.verdict is Verdict.WITHHELD
    failure = judgement.finding.failure()
    assert failure is not None
    assert failure.check == "opening"
    assert "does not belong to the enrolled data" in failure.message


def test_want_of_memory_is_nobodys_fault(
    judged: Callable[[Submission], Judgement], submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer must not lose its stake because the judge's machine is too small."""

    def greedy(*_arguments: object) -> None:
        torch.empty(10**15)

    monkeypatch.setattr("deltaproof.replaying.judging.fetch_delta", greedy)
    with pytest.raises(RuntimeError) as refused:
        judged(submission)
    assert is_out_of_memory(refused.value)


def test_gpu_that_fails_is_nobodys_fault(
    judged: Callable[[Submission], Judgement], submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has failed, everything fails in this process: all who were judged after that were rejected."""

    def failing(*_arguments: object) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later")

    monkeypatch.setattr("deltaproof.replaying.judging.fetch_delta", failing)
    with pytest.raises(RuntimeError) as refused:
        judged(submission)
    assert owner_of(refused.value) == "machine"
    told: list[str] = []
    report_delay(lambda _, message, **__: told.append(message), "round 1", refused.value, 1.0, "")
    assert told == [
        "round 1 waits: the GPU failed (RuntimeError: CUDA error: unspecified launch failure); start this process "
        "again; again in 1 s"
    ]


def test_judge_that_does_not_load_is_nobodys_fault(
    judged: Callable[[Submission], Judgement], submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    monkeypatch.setattr("deltaproof.replaying.judges.Judge.from_spec", fail)
    with pytest.raises(ModelError, match="no data!"):
        judged(submission)


@pytest.mark.parametrize("rows", [0, 3, 2**20 + 1, 2**28], ids=["none", "below a batch", "above the task's", "2^28"])
def test_data_out_of_proportion_is_rejected_without_a_replay(
    judged: Callable[[Submission], Judgement], submission: Submission, rows: int
) -> None:
    """The order of 2^28 rows alone would cost every verifier minutes and gigabytes."""
    judgement = judged(replace(submission, data_rows=rows))
    assert judgement.finding.verdict is Verdict.REJECTED
    assert [check.step for check in judgement.finding.checks] == [-1]


def test_delta_of_somebody_else_is_rejected_at_the_last_step(
    judged: Callable[[Submission], Judgement], submission: Submission, store: ArtifactStore, rehearsal: Rehearsal
) -> None:
    other = store.put_tensors(rehearsal.trained.theta * 2)
    failure = judged(replace(submission, delta_digest=other)).finding.failure()
    assert failure is not None
    assert (failure.check, failure.step) == ("delta", 5)


def test_made_up_steps_are_rejected_by_their_gradient(
    judged: Callable[[Submission], Judgement], submission: Submission, store: ArtifactStore, rehearsal: Rehearsal
) -> None:
    bench = rehearsal.bench
    work = RoundWork(bench, rehearsal.context, bench.initial_state(), rehearsal.shard, rehearsal.folder / "cheat")
    forged = SkipHalf().train(work, lambda _: None)
    store.put_tensors(forged.theta)
    for opening in SkipHalf().open(work, STEPS):
        store.put_opening(forged.transcript_root, submission.trainer, opening)
    cheat = replace(submission, delta_digest=forged.theta_digest, transcript_root=forged.transcript_root)
    judgement = judged(cheat)
    assert judgement.finding.verdict is Verdict.REJECTED
    failure = judgement.finding.failure()
    assert failure is not None
    assert (failure.check, failure.step) == ("gradient", 5)
    assert failure.measured > 1e-3


def test_shard_that_repeats_its_rows_is_rejected(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """`min_rows` of one row, salted anew under every index."""
    row = rehearsal.shard.rows[0]
    shard = Shard((row,) * 24, Digest32(bytes(32)))
    context = context_for(rehearsal.bench, shard)
    folder = tmp_path / "repeated"
    trained = train_round(rehearsal.bench, context, rehearsal.bench.initial_state(), shard, folder)
    published = open_store(str(tmp_path / "repeats"))
    published.put_tensors(trained.theta)
    for opening in open_steps(rehearsal.bench, context, shard, folder, STEPS):
        published.put_opening(trained.transcript_root, address(context.trainer), opening)
    submission = Submission(address(context.trainer), shard.root, 24, trained.theta_digest, trained.transcript_root)
    round_ = DrawnRound(context.task_id, context.round, context.order_seed, context.start_digest)
    failure = judge_submission(Judges(rehearsal.spec), published, round_, submission, STEPS).finding.failure()
    assert failure is not None
    assert failure.check == "rows"
    assert "the same row" in failure.message


def test_workers_find_what_one_process_finds(
    rehearsal: Rehearsal, store: ArtifactStore, submission: Submission, tmp_path: Path
) -> None:
    """Also what was read: openings that workers asked for ahead of a failed step do not count."""
    two = Judges(rehearsal.spec, Machine(workers=2, backend="processes"))
    one = Judges(rehearsal.spec)

    def both(submitted: Submission) -> Judgement:
        here, there = (judge_submission(j, store, rehearsal.context, submitted, STEPS) for j in (one, two))
        assert here.finding == there.finding
        assert here.read == there.read
        assert here.opened == there.opened
        return there

    try:
        assert both(submission).finding.verdict is Verdict.ACCEPTED
        other = store.put_tensors(rehearsal.trained.theta * 2)
        assert both(replace(submission, delta_digest=other)).finding.verdict is Verdict.REJECTED
        path = opening_path(rehearsal.trained.transcript_root, submission.trainer, StepIndex(2))
        (tmp_path / "store" / path).write_bytes(b"")
        withheld = both(submission)
        assert withheld.finding.verdict is Verdict.WITHHELD
        assert 5 not in withheld.read
    finally:
        two.close()


def test_rows_of_every_drawn_step_are_evidence(
    judged: Callable[[Submission], Judgement], submission: Submission, rehearsal: Rehearsal
) -> None:
    """Also the middle one's: two honest trainers of common rows need not meet in their first and last step."""
    shown = [{row.row for row in opening.rows} for opening in rehearsal.openings(STEPS)]
    assert judged(submission).opened == set.union(*shown) > shown[0] | shown[-1]


def test_work_that_is_given_up_while_it_waits_for_the_store_is_no_verdict(
    rehearsal: Rehearsal, submission: Submission, tmp_path: Path
) -> None:
    """A store that does not finish its answer gives way to other work; honest work must not be rejected for that."""

    class Wanted(LocalBackend):
        def read(self, path: str, max_bytes: int) -> bytes:
            if path.startswith("openings/"):
                raise WorkAbandoned("other work is wanted now")
            return super().read(path, max_bytes)

    open_store(str(tmp_path)).put_tensors(rehearsal.trained.theta)
    with pytest.raises(WorkAbandoned):
        judge_submission(Judges(rehearsal.spec), ArtifactStore(Wanted(tmp_path)), rehearsal.context, submission, STEPS)
