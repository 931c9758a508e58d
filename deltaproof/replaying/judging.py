"""Judge what a trainer submitted: fetch, check, replay the given steps, and say what was found.

A pure function of chain facts and artifacts, used by verifiers for their own samples and by auditors for anybody's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deltaproof.errors import UNUSABLE, StoreUnavailable, WorkAbandoned, is_accelerator_failure, is_out_of_memory
from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.evidence.transcript import StepOpening, serialize_opening
from deltaproof.protocol.outcome.attestation import CheckRecord, ReadRecord, TrainerFinding
from deltaproof.protocol.outcome.reads import DELTA, read_receipt
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import MAX_MESSAGE
from deltaproof.protocol.terms.spec import TaskSpec, TrainingSection
from deltaproof.protocol.types import (
    ZERO_DIGEST,
    Address,
    Digest32,
    RoundIndex,
    StepIndex,
    TaskId,
    address_bytes,
    hex_of,
)
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.replaying.drift import DriftSample, judge_drift, noise_steps
from deltaproof.replaying.judges import Judges, ReplayJob
from deltaproof.replaying.replay import Judge, ReplayContext, StepVerdict
from deltaproof.reporting import printable
from deltaproof.store import ArtifactStore
from deltaproof.store.readers import Reader
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.deltas import CommittedDelta, fetch_delta
from deltaproof.tuning.errors import ModelError
from deltaproof.tuning.training.step import DrawnRound, RoundContext

__all__ = [
    "Judgement",
    "Submission",
    "enrolment_problem",
    "judge_submission",
    "proven_faulty",
    "repeated_row",
    "replay_context",
    "sealing_problem",
    "taken_as_withheld",
    "training_context",
]

SUBMISSION = -1
"""Stands for the step in checks on a whole submission."""
UNBOUNDED = 1e300
"""Stands for a magnitude that is not finite, which JSON cannot hold."""
"""What makes an artifact worthless. A store that does not answer at all is no verdict; it is raised."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What the chain says about one trainer who committed. Digests are None if it did not reveal."""

    trainer: Address
    data_root: Digest32
    data_rows: int
    delta_digest: Digest32 | None
    transcript_root: Digest32 | None
    error_root: Digest32 | None = ZERO_DIGEST
    """Of the error-feedback memory, which the trainer's delta of the round before names; None if that is gone."""
    readers: tuple[Reader, ...] = ()
    """Who else has to be able to open what the trainer sealed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A finding and, if the submission was accepted, the adapter it leads to, float32 of shape (P,).

    `tuned` are the values that the trainer was to tune, shape (P,); None for all. `read` holds the SHA-256 of what was
    read, by step; `reads.DELTA` for the delta. `opened` are the canonical rows of the steps that were replayed.
    """

    finding: TrainerFinding
    submission: Submission
    theta: Vector | None = None
    tuned: Mask | None = None
    read: Mapping[int, Digest32] = field(default_factory=dict)
    opened: frozenset[bytes] = frozenset()

    def attested_by(self, verifier: Address, task: TaskId, round_: RoundIndex) -> TrainerFinding:
        """The finding with the verifier's receipts for what it read."""
        records = (
            ReadRecord(step=step, receipt=read_receipt(task, round_, verifier, content))
            for step, content in self.read.items()
        )
        return self.finding.model_copy(update={"reads": tuple(records)})


def judge_submission(
    judges: Judges,
    store: ArtifactStore,
    round_: DrawnRound,
    submission: Submission,
    steps: Sequence[int],
    progress: Callable[[StepVerdict], None] = lambda _: None,
    word: CheckRecord | None = None,
) -> Judgement:
    """Check one submission, replaying `steps`; stops at the first check that fails.

    With a committee's `word` the same artifacts are read and held against what was committed, and nothing is replayed.

    Data that make the checks themselves fail are rejected: they must not keep a judge from judging the others. Raises
    StoreUnavailable, OSError and MemoryError (or torch's word for it, or for a GPU that failed), which are nobody's
    fault, ModelError, WorkAbandoned and what `progress` raises.
    """
    interrupted: list[BaseException] = []

    def watched(verdict: StepVerdict) -> None:
        try:
            progress(verdict)
        except BaseException as error:
            interrupted.append(error)
            raise

    try:
        return _judged(judges, store, round_, submission, steps, watched, word)
    except (StoreUnavailable, OSError, MemoryError, ModelError, WorkAbandoned):
        raise
    except Exception as error:
        if interrupted or is_out_of_memory(error) or is_accelerator_failure(error):
            raise
        message = f"judging it failed: {type(error).__name__}: {error}"
        return _without_adapter(submission, Verdict.REJECTED, "judging", message)


def _judged(
    judges: Judges,
    store: ArtifactStore,
    round_: DrawnRound,
    submission: Submission,
    steps: Sequence[int],
    progress: Callable[[StepVerdict], None],
    word: CheckRecord | None,
) -> Judgement:
    if submission.delta_digest is None or submission.transcript_root is None:
        return _without_adapter(submission, Verdict.UNREVEALED, "reveal", "committed, but revealed nothing")
    if problem := enrolment_problem(judges.spec, submission):
        return _without_adapter(submission, Verdict.REJECTED, "data", problem)
    judge = judges.of(submission.trainer)
    size, root = judge.reference.layout.size, submission.transcript_root
    committed = training_context(round_, submission).committed_steps(judges.spec, size, root)
    if absent := _absent(store, submission, committed):
        return absent
    try:
        delta = fetch_delta(store, judge.reference, training_context(round_, submission), submission.delta_digest)
    except UNUSABLE as error:
        return _without_adapter(submission, Verdict.WITHHELD, "delta", f"the delta cannot be used: {error}")

    context = replay_context(round_, submission, submission.transcript_root, submission.delta_digest, delta)
    read = {DELTA: delta.content}
    opened: set[bytes] = set()
    verdict, checks = _replay(judges, judge, store, context, steps, read, progress, opened, word)
    finding = _finding(submission, verdict, checks)
    if verdict is not Verdict.ACCEPTED:
        return Judgement(finding, submission, read=read)
    return Judgement(finding, submission, delta.theta, delta.tuned, read, frozenset(opened))


def _replay(
    judges: Judges,
    judge: Judge,
    store: ArtifactStore,
    context: ReplayContext,
    steps: Sequence[int],
    read: dict[int, Digest32],
    progress: Callable[[StepVerdict], None],
    opened: set[bytes],
    word: CheckRecord | None,
) -> tuple[Verdict, list[CheckRecord]]:
    """Replay the steps, and in bounded mode look at all of them together; the last check is the one that failed.

    With a `word` in their place they are only read. Adds to `read` what was read, and to `opened` the rows.
    """
    spec, layout = judge.spec, judge.reference.layout
    committed = context.round.committed_steps(spec, layout.size, context.transcript_root)
    checks: list[CheckRecord] = [word] if word is not None else []
    samples: list[DriftSample] = []
    thorough = noise_steps(steps)
    seen: dict[bytes, int] = {}
    missing: list[CheckRecord] = []
    foresight = judges.foresight(context) if word is None else None

    def jobs() -> Iterator[ReplayJob]:
        """Workers ask for openings ahead of the verdicts; one that is missing counts when its turn comes."""
        for step in steps:
            try:
                opening = store.get_opening(committed, StepIndex(step), foresight)
            except UNUSABLE as error:
                missing.append(_missing(step, error))
                return
            yield ReplayJob(context, step, opening, step in thorough, foresight)

    for job, verdict in judges.judged(jobs()) if word is None else ((job, None) for job in jobs()):
        step, opening = job.step, job.opening
        read[step] = sha256(serialize_opening(opening))
        if verdict is not None:
            progress(verdict)
            checks.append(_record(verdict))
            if not verdict.accepted:
                return Verdict.REJECTED, checks
        if problem := repeated_row(opening, seen):
            checks.append(_failed(step, "rows", problem))
            return Verdict.REJECTED, checks
        opened |= {row.row for row in opening.rows}
        if verdict is not None and verdict.drift is not None:
            samples.append(verdict.drift)
    if missing:
        return Verdict.WITHHELD, [*checks, *missing]
    if samples:
        checks.append(_drift_check(samples, spec.training, layout))
    return Verdict.ACCEPTED if all(check.passed for check in checks) else Verdict.REJECTED, checks


def repeated_row(opening: StepOpening, seen: dict[bytes, int]) -> str | None:
    """Whether a row is enrolled under two indices, which makes a shard look larger; `seen` are indices by row."""
    for row in opening.rows:
        if (index := seen.setdefault(row.row, row.index)) != row.index:
            return f"rows {index} and {row.index} of the shard are the same row; a shard holds each row once"
    return None


def enrolment_problem(spec: TaskSpec, submission: Submission) -> str | None:
    """Why the trainer or its data does not fit the task, if it does not."""
    if spec.federation is not None and spec.federation.emulator_of(submission.trainer) is None:
        return "the task assigns its emulators to others"
    if submission.data_rows < spec.least_rows:
        return f"enrolled {submission.data_rows} rows where the task asks for {spec.least_rows}"
    if submission.data_rows > spec.data.max_rows:
        # Before any row is looked at: the batch order of 2^28 rows would keep a verifier busy for minutes a step.
        return f"enrolled {submission.data_rows} rows where the task allows {spec.data.max_rows}"
    if spec.data.roots and submission.data_root not in spec.data.roots:
        return f"enrolled the data root {hex_of(submission.data_root)}, which the task does not name"
    return None


def _absent(store: ArtifactStore, submission: Submission, committed: CommittedSteps) -> Judgement | None:
    """The verdict where what judging needs first is not there, or is not there for everybody."""
    if committed.limits.sealed and (problem := sealing_problem(store, committed, submission.readers)):
        return _without_adapter(submission, Verdict.WITHHELD, "sealing", problem)
    if submission.error_root is None:
        message = "the delta of the round before, which names the error-feedback memory, is not in the store"
        return _without_adapter(submission, Verdict.WITHHELD, "delta", message)
    return None


def sealing_problem(store: ArtifactStore, committed: CommittedSteps, readers: Sequence[Reader]) -> str | None:
    """Who cannot read the sealed openings of a transcript, if somebody cannot: this reader, or another one.

    Whoever can read finds the same: the secret makes every envelope again. Raises StoreUnavailable.
    """
    try:
        secret = store.transcript_secret(committed)
    except UNUSABLE as error:
        return str(error)
    for reader in readers:
        place = (committed.transcript_root, committed.trainer)
        if not any(store.has_envelope(*place, key, secret) for key in reversed(reader.keys)):
            return f"no envelope that is there opens the openings for {reader.name}"
    return None


def replay_context(
    round_: DrawnRound,
    submission: Submission,
    transcript_root: Digest32,
    delta_digest: Digest32,
    delta: CommittedDelta,
) -> ReplayContext:
    """What a replay of this trainer's round is checked against."""
    context = training_context(round_, submission)
    if delta.data is None:
        return ReplayContext(context, transcript_root, delta_digest)
    return ReplayContext(context, transcript_root, delta=delta)


def training_context(round_: DrawnRound, submission: Submission) -> RoundContext:
    """The trainer's round as the training step knows it."""
    trainer, memory = address_bytes(submission.trainer), submission.error_root or ZERO_DIGEST
    return round_.of_trainer(trainer, submission.data_root, submission.data_rows, memory)


def _drift_check(samples: Sequence[DriftSample], training: TrainingSection, layout: Layout) -> CheckRecord:
    """Bounded mode: what every step alone may hide, all of them together must not show."""
    drift = judge_drift(samples, training, layout)
    measured = drift.magnitude if math.isfinite(drift.magnitude) else UNBOUNDED
    return CheckRecord(step=SUBMISSION, check="drift", passed=drift.accepted, measured=measured, message=drift.message)


def _missing(step: int, error: Exception) -> CheckRecord:
    return _failed(step, "opening", str(error))


def _failed(step: int, check: str, message: str) -> CheckRecord:
    # What a trainer's bytes say in a message takes four bytes a character at most, not six as an escape.
    return CheckRecord(step=step, check=check, passed=False, measured=0.0, message=printable(message)[:MAX_MESSAGE])


def _record(verdict: StepVerdict) -> CheckRecord:
    return CheckRecord(
        step=verdict.step,
        check=verdict.failed or "replay",
        passed=verdict.accepted,
        measured=verdict.magnitude if math.isfinite(verdict.magnitude) else UNBOUNDED,
        message=printable(verdict.message)[:MAX_MESSAGE],
    )


def _finding(submission: Submission, verdict: Verdict, checks: Sequence[CheckRecord]) -> TrainerFinding:
    return TrainerFinding(trainer=submission.trainer, verdict=verdict, checks=tuple(checks))


def proven_faulty(submission: Submission) -> Judgement:
    """The verdict on a trainer whose fault the chain has established: replaying cannot change it."""
    message = "a contract has established a fault of this work"
    return _without_adapter(submission, Verdict.REJECTED, "fault", message)


def taken_as_withheld(submission: Submission) -> Judgement:
    """The verdict on a trainer whose work was settled as withheld, for who looks later."""
    message = "the settlement says that it was not there, and nobody can look back"
    return _without_adapter(submission, Verdict.WITHHELD, "settled", message)


def _without_adapter(submission: Submission, verdict: Verdict, check: str, message: str) -> Judgement:
    return Judgement(_finding(submission, verdict, [_failed(SUBMISSION, check, message)]), submission)
