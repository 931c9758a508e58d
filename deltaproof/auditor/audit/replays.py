"""Judging again: fresh steps, every settled rejection, and with `--full` everything that a verifier replayed.

A verdict is judged by what its verifier judged it by: its own steps, in their order. The drift test and the search for
repeated rows look at a trainer's samples as a whole, so no step alone shows what they found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.deltas import drawn_round, drawn_steps, submission_of
from deltaproof.auditor.audit.training import WHOLE_SUBMISSION, accepted, published_steps
from deltaproof.auditor.audit.valuation import attested_in
from deltaproof.errors import UNUSABLE, ArtifactSealed, StoreUnavailable
from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.outcome.attestation import CheckRecord, TrainerFinding
from deltaproof.protocol.outcome.reports import taken_over
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import AUDIT_DRIFT_SHARE
from deltaproof.protocol.types import Address, StepIndex
from deltaproof.replaying.judging import enrolment_problem, judge_submission, proven_faulty, training_context
from deltaproof.reporting import counted
from deltaproof.store.paths import opening_path
from deltaproof.tuning.errors import TuningError

__all__ = ["Replay", "check_replays", "planned_replays", "run_replay"]

DRIFT = "drift"


@dataclass(frozen=True)
class Replay:
    """Steps of one trainer, or a whole submission, to be judged again."""

    name: str
    trainer: Address
    steps: tuple[int, ...]
    expected: Verdict
    subject: Subject
    claim: CheckRecord | None = None
    """The check that a verifier says failed."""
    attested: TrainerFinding | None = None
    """A verifier's finding on exactly these steps, to be found again check by check."""


def check_replays(case: RoundCase) -> Iterator[Check]:
    """Judge again what `planned_replays` says."""
    for planned in planned_replays(case):
        yield run_replay(case, planned) if isinstance(planned, Replay) else planned


def planned_replays(case: RoundCase) -> Iterator[Replay | Check]:
    """What to judge again: fresh steps among the published ones, every rejection, and with `--full` everything.

    What cannot be judged is a check that says why.
    """
    if case.artifacts is None or case.spec is None:
        return
    yield from _rejections(case)
    yield from _fresh(case)
    if case.options.official_replays:
        yield from _official(case)


def _rejections(case: RoundCase) -> Iterator[Replay | Check]:
    """Every reason that verifiers give for a settled rejection."""
    for leaf in case.leaves or ():
        if leaf.verdict is not Verdict.REJECTED:
            continue
        claims: dict[tuple[int, str], Replay] = {}
        for verifier, findings in case.findings.items():
            finding = findings.get(leaf.trainer)
            failure = finding.failure() if finding and finding.verdict is leaf.verdict else None
            if failure is not None:
                replay = _claimed(case, verifier, leaf.trainer, leaf.verdict, failure)
                # All verifiers judge the same steps: the same reason is judged again once, whoever gives it.
                claims.setdefault((failure.step, failure.check), replay)
        yield from claims.values()
        if not claims:
            subject = case.subject.of(participant=leaf.trainer)
            yield subject.unchecked("rejection", "no attestation says which check failed")


def _claimed(case: RoundCase, verifier: Address, trainer: Address, verdict: Verdict, failure: CheckRecord) -> Replay:
    # A judge stops at the first check that fails, so all drawn steps cost no more than those up to it.
    steps = drawn_steps(case, trainer)
    step = failure.step if failure.step != WHOLE_SUBMISSION else None
    subject = attested_in(case, verifier).of(participant=trainer, step=step)
    return Replay("rejection", trainer, steps, verdict, subject, failure)


def _fresh(case: RoundCase) -> Iterator[Replay | Check]:
    candidates = list(published_steps(case))
    stream = HashStream(
        b"deltaproof/audit/v1\x00" + case.options.draw_seed + bytes(case.facts.opened.args["start_digest"])
    )
    for number in range(case.options.replays):
        if not candidates:
            reason = (
                f"only {counted(number, 'opening was', 'openings were')} published; trainers open no steps but "
                f"the drawn ones"
            )
            yield case.subject.unchecked("replay", reason if number else "no accepted trainer's step was published")
            return
        trainer, reveal, step = candidates.pop(stream.below(len(candidates)))
        path = opening_path(reveal.transcript_root, trainer, StepIndex(step))
        subject = case.subject.of(reveal.event, participant=trainer, step=step, artifact=path)
        yield Replay("replay", trainer, (step,), Verdict.ACCEPTED, subject)


def _official(case: RoundCase) -> Iterator[Replay]:
    """All drawn steps, as each verifier was to judge them; and what the settlement accepts that nobody attested."""
    for verifier, document in case.attestations.items():
        for finding in document.findings:
            steps = drawn_steps(case, finding.trainer)
            if finding.verdict in (Verdict.ACCEPTED, Verdict.REJECTED) and finding.trainer in case.facts.reveals:
                subject = attested_in(case, verifier).of(participant=finding.trainer)
                own = None if taken_over(finding) else finding
                yield Replay(
                    "official replays", finding.trainer, steps, finding.verdict, subject, finding.failure(), own
                )
    attested = {
        f.trainer for d in case.attestations.values() for f in d.findings if f.verdict is Verdict.ACCEPTED
    }  # fmt: skip
    for trainer in accepted(case):
        steps = drawn_steps(case, trainer) if trainer in case.facts.reveals else ()
        if trainer not in attested and steps:
            yield Replay("official replays", trainer, steps, Verdict.ACCEPTED, case.subject.of(participant=trainer))


def run_replay(case: RoundCase, replay: Replay) -> Check:
    """Judge again. An accepted step must pass, a rejected one must fail.

    Attack: name a model that nobody has in a task of one's own, and end every audit of all tasks.
    """
    try:
        return _replayed(case, replay)
    except (StoreUnavailable, TuningError) as error:
        return replay.subject.unchecked(replay.name, str(error))


def _replayed(case: RoundCase, replay: Replay) -> Check:
    """Raises StoreUnavailable, or TuningError where the model is not here."""
    round_ = drawn_round(case)
    if case.artifacts is None or case.spec is None or round_ is None:
        return replay.subject.unchecked(replay.name, "spec, store or order seed are not there")
    submission = submission_of(case, replay.trainer)
    if submission is None:
        return replay.subject.failed(replay.name, "the trainer was not enrolled when the round opened")
    if replay.claim is not None and replay.claim.check == "data":
        problem = enrolment_problem(case.spec, submission)
        return replay.subject.that(replay.name, problem is not None, "rejected for its data, which fits the task")
    if case.spec.data.sealed and submission.transcript_root is not None:
        committed = training_context(round_, submission).committed_steps(
            case.spec, case.facts.task.params.training.parameters, submission.transcript_root
        )
        try:
            case.artifacts.store.transcript_secret(committed)
            if case.artifacts.store.private is not None:
                case.artifacts.store.private.secret()
        except ArtifactSealed as error:
            return replay.subject.unchecked(replay.name, str(error))
        except UNUSABLE:
            pass  # the verdict says so
    # A fault that a contract established before verifiers could attest is no matter of replaying.
    found = (
        proven_faulty(submission)
        if replay.trainer in case.facts.faulty
        else judge_submission(case.task.judges, case.artifacts.store, round_, submission, replay.steps)
    ).finding
    return _outcome(replay, found)


def _outcome(replay: Replay, found: TrainerFinding) -> Check:
    failure = found.failure()
    reason = failure.message if failure else f"{counted(len(replay.steps), 'step')} judged again"
    if replay.expected is Verdict.REJECTED and found.verdict is Verdict.WITHHELD:
        # Whoever was rejected can take away what shows it.
        return replay.subject.unchecked(replay.name, f"what was rejected is no longer there: {reason}")
    if found.verdict is not replay.expected:
        return _contradiction(replay, found, reason)
    if replay.attested is not None:
        mine = [(check.step, check.check, check.passed) for check in found.checks]
        theirs = [(check.step, check.check, check.passed) for check in replay.attested.checks]
        if mine != theirs:
            return replay.subject.equal(replay.name, mine, theirs, "the checks come out otherwise")
    return replay.subject.equal(replay.name, found.verdict, replay.expected, reason)


def _contradiction(replay: Replay, found: TrainerFinding, reason: str) -> Check:
    """Another verdict. Rounding of another machine may decide a drift near its limit; nothing else is left to it."""
    drift = next((check for check in found.checks if check.check == DRIFT), None)
    claimed = replay.claim.check == DRIFT if replay.claim else found.verdict is Verdict.REJECTED
    if drift is not None and claimed:
        near = AUDIT_DRIFT_SHARE <= drift.measured <= 1.0 / AUDIT_DRIFT_SHARE
        only = all(check.passed for check in found.checks if check.check != DRIFT)
        if near and only:
            here = f"the drift is {drift.measured:.3g} of its limit here: another machine may find the other verdict"
            return replay.subject.unchecked(replay.name, here)
    return replay.subject.equal(replay.name, found.verdict, replay.expected, reason)
