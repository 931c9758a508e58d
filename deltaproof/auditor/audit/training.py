"""The work: deltas and openings are where they belong, and samples are the drawn ones. `replays` trains them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import SEALED_ROWS, Check, Subject
from deltaproof.auditor.audit.deltas import adapter_of, context_of, delta_paths, drawn_steps
from deltaproof.auditor.facts.tasks import Reveal
from deltaproof.errors import ArtifactError, ArtifactSealed, StoreUnavailable
from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.outcome.attestation import TrainerFinding
from deltaproof.protocol.outcome.reports import taken_over
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, StepIndex
from deltaproof.store import ArtifactStore
from deltaproof.store.paths import opening_path
from deltaproof.tuning.errors import TuningError

__all__ = [
    "WHOLE_SUBMISSION",
    "accepted",
    "check_deltas",
    "check_openings",
    "check_samples",
    "published_steps",
]

WHOLE_SUBMISSION = -1
"""In the place of a step: the check is of the submission as a whole."""


def check_deltas(case: RoundCase) -> Iterator[Check]:
    """The delta of every accepted trainer is in the store and is the one that was committed."""
    if case.artifacts is None:
        return
    for trainer in accepted(case):
        reveal = case.facts.reveals.get(trainer)
        if reveal is None:
            continue  # the verdict itself is wrong then; see check_samples
        path = delta_paths(case, case.artifacts.store, reveal.delta_digest)[0]
        subject = case.subject.of(reveal.event, participant=trainer, artifact=path)
        try:
            adapter_of(case, trainer)
        except ArtifactError as error:
            yield subject.artifact_failed("delta", error)
        except TuningError as error:  # the model that decodes it is not here
            yield subject.unchecked("delta", str(error))
        else:
            yield subject.passed("delta")


def check_samples(case: RoundCase) -> Iterator[Check]:
    """Every verifier replayed exactly the drawn steps, and its verdict is what its checks say."""
    drawn = {trainer: drawn_steps(case, trainer) for trainer in case.facts.trainers}
    for verifier, document in case.attestations.items():
        for finding in document.findings:
            yield from _finding(case, verifier, finding, list(drawn.get(finding.trainer, ())))
    for leaf in case.leaves or ():
        revealed = leaf.trainer in case.facts.reveals
        wrong = (leaf.verdict is Verdict.UNREVEALED) == revealed
        subject = case.subject.of(case.facts.standing.event if case.facts.standing else None, participant=leaf.trainer)
        reason = "revealed on chain" if revealed else "never revealed on chain"
        yield subject.that("reveal and verdict", not wrong, f"settled as {leaf.verdict.name.lower()}, but {reason}")


def _finding(case: RoundCase, verifier: Address, finding: TrainerFinding, drawn: list[int]) -> Iterator[Check]:
    attested = case.facts.attestations[verifier]
    subject = case.subject.of(
        attested.revealed, participant=verifier, artifact=f"attestations/{attested.artifact.hex()}"
    )
    replayed = sorted({check.step for check in finding.checks if check.step != WHOLE_SUBMISSION})
    failure = finding.failure()
    if failure is not None and failure.check == "fault":
        known = finding.trainer in case.facts.faulty
        yield subject.that("finding", known, f"of {finding.trainer}: no contract had established a fault by then")
    about = f"of {finding.trainer}"
    if finding.verdict is Verdict.ACCEPTED:
        yield subject.equal("samples", [] if taken_over(finding) else drawn, replayed, about)
        reason = f"{about}: accepted although check {failure.check!r} failed" if failure else ""
        yield subject.that("finding", failure is None, reason)
    else:
        yield subject.that(
            "samples", set(replayed) <= set(drawn), f"{about}: looked at steps that were not drawn",
            expected=drawn, actual=replayed,
        )  # fmt: skip
        yield subject.that(
            "finding", failure is not None, f"{about}: {finding.verdict.name.lower()} without a check that failed"
        )


def check_openings(case: RoundCase) -> Iterator[Check]:
    """Every drawn step of every accepted trainer was published, and what is shown is what was committed."""
    if case.artifacts is None or case.spec is None:
        return
    for trainer, reveal, step in published_steps(case):
        path = opening_path(reveal.transcript_root, trainer, StepIndex(step))
        subject = case.subject.of(reveal.event, participant=trainer, step=step, artifact=path)
        try:
            context = context_of(case, reveal.trainer)
        except StoreUnavailable as error:
            yield subject.artifact_failed("opening", error)
            continue
        if context is None:
            yield subject.failed("opening", "the trainer was not enrolled")
            continue
        size = case.facts.task.params.training.parameters
        committed = context.committed_steps(case.spec, size, reveal.transcript_root)
        try:
            opening = case.artifacts.store.get_opening(committed, StepIndex(step))
        except ArtifactSealed as error:
            yield from _sealed(case.artifacts.store, committed, StepIndex(step), subject, error)
            continue
        except ArtifactError as error:
            yield subject.artifact_failed("opening", error)
            continue
        yield subject.passed("opening")
        if step == 0:
            yield subject.equal("start of training", context.start_digest, opening.roots.theta)


def _sealed(
    store: ArtifactStore, committed: CommittedSteps, step: StepIndex, subject: Subject, sealed: ArtifactSealed
) -> Iterator[Check]:
    """What can be said of an opening that is for others: that it is there, and how many rows are not seen."""
    try:
        store.check_sealed(committed, step)
    except ArtifactError as error:
        yield subject.artifact_failed("opening", error)
        return
    yield subject.passed("opening", "it is there, and sealed")
    yield replace(subject.unchecked(SEALED_ROWS, str(sealed)), expected=str(committed.limits.batch_rows))


def published_steps(case: RoundCase) -> Iterator[tuple[Address, Reveal, int]]:
    """Drawn steps of accepted trainers."""
    for trainer in accepted(case):
        reveal = case.facts.reveals.get(trainer)
        if reveal is not None:
            yield from ((trainer, reveal, step) for step in drawn_steps(case, trainer))


def accepted(case: RoundCase) -> list[Address]:
    """Trainers whom the settlement accepts; before it, those whom some attestation accepts."""
    if case.leaves is not None:
        return [leaf.trainer for leaf in case.leaves if leaf.verdict is Verdict.ACCEPTED]
    found = {f.trainer for d in case.attestations.values() for f in d.findings if f.verdict is Verdict.ACCEPTED}
    return [trainer for trainer in case.facts.trainers if trainer in found]
