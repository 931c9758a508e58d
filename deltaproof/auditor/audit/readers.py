"""Sealed openings: who could read them, and what this audit cannot.

Without a reading key an audit sees that something sealed is there, and how much. With one it makes every envelope of
the transcript again and so sees whether the others could read what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.deltas import context_of
from deltaproof.auditor.audit.training import accepted
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.reading import invited, readers_of
from deltaproof.errors import ArtifactAltered, ArtifactError, ArtifactMissing, ArtifactSealed, StoreUnavailable
from deltaproof.protocol.commit.sealing import TranscriptSecret
from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.outcome.reads import in_time_until, withheld_from
from deltaproof.store import ArtifactStore
from deltaproof.store.readers import Reader

__all__ = ["check_envelopes", "due_readers_of", "gives_up_from", "in_time_until_of", "published_at"]


def check_envelopes(case: RoundCase) -> Iterator[Check]:
    """Every verifier with a reading key, and every auditor whom the spec names, could open accepted work."""
    if case.artifacts is None or case.spec is None or not case.spec.data.sealed:
        return
    store = case.artifacts.store
    try:
        readers = due_readers_of(case, store)
    except StoreUnavailable as error:
        yield case.subject.unchecked("envelope", str(error))
        return
    for trainer in accepted(case):
        reveal = case.facts.reveals.get(trainer)
        if reveal is None:
            continue
        try:
            context = context_of(case, trainer)
        except StoreUnavailable:
            continue  # reported with the openings
        if context is None:
            continue  # the same
        root = reveal.transcript_root
        committed = context.committed_steps(case.spec, case.facts.task.params.training.parameters, root)
        envelopes = f"envelopes/{root.hex()}/{trainer.lower()}"
        subject = case.subject.of(reveal.event, participant=trainer, artifact=envelopes)
        try:
            secret: TranscriptSecret | None = store.transcript_secret(committed)
        except ArtifactSealed:
            secret = None
        except (ArtifactMissing, ArtifactAltered) as error:
            yield subject.artifact_failed("envelope", error)
            continue
        for reader in readers:
            yield _of_reader(store, committed, secret, subject, reader)


def _of_reader(
    store: ArtifactStore, committed: CommittedSteps, secret: TranscriptSecret | None, subject: Subject, reader: Reader
) -> Check:
    place = (committed.transcript_root, committed.trainer)
    there = [key for key in reader.keys if store.has_envelope(*place, key)]
    if not there:
        return subject.unchecked("envelope", f"none is there for {reader.name}, whose reading key may have come late")
    if secret is None:
        return subject.passed("envelope", f"there is one for {reader.name}; whether it opens, a reader can tell")
    good = any(store.has_envelope(*place, key, secret) for key in there)
    return subject.that("envelope", good, f"the one for {reader.name} does not hold what opens these openings")


def due_readers_of(case: RoundCase, store: ArtifactStore) -> tuple[Reader, ...]:
    """The round's verifiers with a reading key, and the auditors whom the spec names. Raises StoreUnavailable."""
    members = readers_of(store, case.index.deployment.permit_domain, case.facts.task.quorum_of(case.facts.number))
    return (*members, *(invited(case.spec) if case.spec else ()))


def gives_up_from(case: RoundCase) -> int | None:
    """Until when verifiers of the round look again for what they miss, seconds since the epoch; a store may lag."""
    started = case.facts.phase_start(Phase.ATTEST_COMMIT)
    if started is None:
        return None
    return withheld_from(started.args["deadline"], case.facts.task.params.phases.attest_commit)


def in_time_until_of(case: RoundCase) -> int | None:
    """Until when the work of the round had to be in the store, by the store's clock, seconds since the epoch."""
    started = case.facts.phase_start(Phase.ATTEST_COMMIT)
    if started is None:
        return None
    return in_time_until(started.args["deadline"], case.facts.task.params.phases.attest_commit)


def published_at(store: ArtifactStore, path: str) -> float | None:
    """When an artifact was written, by the store's word; None if it does not say, or has none."""
    try:
        return store.published(path)
    except ArtifactError:
        return None
