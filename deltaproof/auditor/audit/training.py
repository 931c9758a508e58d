"""The work: deltas and openings are where they belong, and samples are the drawn ones. `replays` trains them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import SEALED_ROWS, Check, Status, Subject
from deltaproof.auditor.audit.deltas import adapter_of, context_of, delta_paths, drawn_steps
from deltaproof.auditor.facts.tasks import Reveal
from deltaproof.errors import ArtifactError, ArtifactSealed
from deltaproof.protocol.evidence.state import StateRoots, component_root
from deltaproof.protocol.evidence.transcript import OpeningLimits, StepOpening
from deltaproof.protocol.outcome.attestation import TrainerFinding
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, StepIndex
from deltaproof.protocol.wire import merkle
from deltaproof.store import ArtifactStore
from deltaproof.tuning.training.step import RoundContext

__all__ = [
    "WHOLE_SUBMISSION",
    "accepted",
    "check_deltas",
    "check_openings",
    "check_samples",
    "opening_problems",
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
    about = f"of {finding.trainer}"
    if finding.verdict is Verdict.ACCEPTED:
        yield subject.equal("samples", drawn, replayed, about)
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
    """Every drawn step of every accepted trainer was published and lies under the committed transcript root."""
    if case.artifacts is None or case.spec is None:
        return
    for trainer, reveal, step in published_steps(case):
        path = f"openings/{reveal.transcript_root.hex()}/{step}"
        subject = case.subject.of(reveal.event, participant=trainer, step=step, artifact=path)
        context = context_of(case, reveal.trainer)
        if context is None:
            yield subject.failed("opening", "the trainer was not enrolled")
            continue
        limits = context.opening_limits(case.spec, case.facts.task.params.training.parameters)
        try:
            opening = case.artifacts.store.get_opening(reveal.transcript_root, StepIndex(step), limits)
        except ArtifactSealed as error:
            yield from _sealed(case.artifacts.store, reveal.transcript_root, StepIndex(step), limits, subject, error)
            continue
        except ArtifactError as error:
            yield subject.artifact_failed("opening", error)
            continue
        yield subject.passed("opening")
        yield from _contents(case.spec, context, opening, subject)


def _sealed(
    store: ArtifactStore,
    root: Digest32,
    step: StepIndex,
    limits: OpeningLimits,
    subject: Subject,
    sealed: ArtifactSealed,
) -> Iterator[Check]:
    """What can be said of an opening that is for others: that it is there, and how many rows are not seen."""
    try:
        store.check_sealed(root, step, limits)
    except ArtifactError as error:
        yield subject.artifact_failed("opening", error)
        return
    yield subject.passed("opening", "it is there, and sealed")
    yield replace(subject.unchecked(SEALED_ROWS, str(sealed)), expected=str(limits.batch_rows))


def _contents(spec: TaskSpec, context: RoundContext, opening: StepOpening, subject: Subject) -> Iterator[Check]:
    """What is shown is what the record commits to: everything about a step that needs no model."""
    roots = {slot: component_root(values) for slot, values in opening.state.items()}
    yield subject.equal("opened state", opening.before.state_root, StateRoots(**roots, e=opening.error_root).root())
    yield subject.equal("opened gradient", opening.before.grad_root, component_root(opening.gradient))
    step = opening.before.step
    yield subject.equal("batch order", context.batch(spec, step), tuple(row.index for row in opening.rows))
    strangers = [row.index for row in opening.rows if not row.verify(context.data_root, context.rows)]
    yield subject.that("opened rows", not strangers, f"rows {strangers} do not belong to the enrolled data")
    shown_rows = merkle.root([row.digest for row in opening.rows])
    yield subject.equal("batch rows", opening.before.rows_root, shown_rows)
    if step == 0:
        yield subject.equal("start of training", context.start_digest, roots["theta"])


def opening_problems(spec: TaskSpec, context: RoundContext, opening: StepOpening) -> list[Check]:
    """What an opening shows that is not what its records commit to."""
    return [c for c in _contents(spec, context, opening, Subject(0)) if c.status is Status.FAIL]


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
    found = [f.trainer for d in case.attestations.values() for f in d.findings if f.verdict is Verdict.ACCEPTED]
    return [trainer for trainer in case.facts.trainers if trainer in found]
