"""What was sealed and what was opened: commitments, validation sets, attestations, and the documents behind them."""

from __future__ import annotations

from collections.abc import Iterator

from deltaproof.auditor.audit.case import RoundCase, unopened
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.facts.tasks import AttestationFacts
from deltaproof.chain.abi.enums import Phase
from deltaproof.errors import ArtifactError
from deltaproof.protocol.commit.commitments import attestation_hash, commitment_hash, validation_commitment
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import scores_tree, verdicts_digest
from deltaproof.protocol.terms.attested import attestation_limit
from deltaproof.protocol.types import Address, Digest32, hex_of

__all__ = ["check_attestation_documents", "check_seals", "check_validation_set", "usable_attestations"]


def check_seals(case: RoundCase) -> Iterator[Check]:
    """Every opening of a seal on chain: it must hash to what was committed before."""
    yield from _commitments(case)
    yield from _validation(case)
    for attested in case.facts.attestations.values():
        if attested.revealed is not None:
            yield from _attestation_seal(case, attested)


def _commitments(case: RoundCase) -> Iterator[Check]:
    facts = case.facts
    for trainer, reveal in facts.reveals.items():
        sealed = facts.commitments.get(trainer)
        subject = case.subject.of(reveal.event, participant=trainer)
        if sealed is None:
            continue  # reported with the course of the round
        if reveal.opened is None:
            yield unopened(case.index, subject, "commitment", reveal.event)
            continue
        said = (reveal.delta_digest, reveal.transcript_root)
        yield subject.equal("reveal", (reveal.opened.delta_digest, reveal.opened.transcript_root), said)
        opened = commitment_hash(facts.domain, trainer, *said, reveal.opened.salt)
        yield subject.equal("commitment", opened, sealed.commitment)


def _validation(case: RoundCase) -> Iterator[Check]:
    event = case.facts.first("ValidationRevealed")
    if event is None:
        return
    opened = validation_commitment(Digest32(event.args["digest"]), Digest32(event.args["salt"]))
    committed = case.facts.task.validation_commitments[case.facts.number - 1]
    yield case.subject.of(event).equal("validation commitment", committed, opened)
    reveals_over = case.facts.phase_start(Phase.CHALLENGE)
    if reveals_over is not None:
        yield case.subject.of(event).that(
            "validation after reveals",
            event.position > reveals_over.position,
            "the validation set was shown while trainers could still choose whether to reveal",
        )


def _attestation_seal(case: RoundCase, attested: AttestationFacts) -> Iterator[Check]:
    subject = case.subject.of(attested.revealed, participant=attested.verifier)
    if attested.opened is None:
        if attested.revealed is not None:
            yield unopened(case.index, subject, "attestation commitment", attested.revealed)
        return
    said = (attested.verdicts, attested.scores, attested.artifact)
    shown = tuple(attested.opened[name] for name in ("verdicts_digest", "scores_root", "artifact_digest"))
    yield subject.equal("attestation reveal", shown, said)
    opened = attestation_hash(
        case.facts.domain,
        attested.verifier,
        verdicts_digest=attested.verdicts,
        scores_root=attested.scores,
        artifact_digest=attested.artifact,
        salt=Digest32(attested.opened["salt"]),
    )
    yield subject.equal("attestation commitment", opened, attested.commitment)


def check_validation_set(case: RoundCase) -> Iterator[Check]:
    """The validation set in the store is the one that was revealed."""
    event = case.facts.first("ValidationRevealed")
    if event is None or case.artifacts is None:
        return
    commitment = case.facts.task.validation_commitments[case.facts.number - 1]
    subject = case.subject.of(event, artifact=f"validation/{commitment.hex()}")
    try:
        rows, _ = case.artifacts.validation(commitment)
    except ArtifactError as error:
        yield subject.artifact_failed("validation set", error)
        return
    yield subject.equal("validation set", Digest32(event.args["digest"]), rows.digest())
    if case.spec is not None:
        yield subject.equal("validation rows", case.spec.validation.rows, len(rows.rows))


def check_attestation_documents(case: RoundCase) -> Iterator[Check]:
    """Every revealed attestation's document is there, is about this round, and says what was revealed."""
    for attested in case.facts.attestations.values():
        if attested.revealed is None:
            continue
        subject = case.subject.of(
            attested.revealed, participant=attested.verifier, artifact=f"attestations/{attested.artifact.hex()}"
        )
        document = case.attestations.get(attested.verifier)
        if document is None:
            yield _missing_document(case, attested, subject)
            continue
        about = (document.task, document.round, document.verifier)
        yield subject.equal("attestation document", (case.facts.task.id, case.facts.number, attested.verifier), about)
        yield subject.equal("attested verdicts", verdicts_digest(document.leaves()), attested.verdicts)
        yield subject.equal("attested scores", scores_tree(document.leaves()).root, attested.scores)
        covered = [finding.trainer for finding in document.findings]
        yield subject.equal("attested trainers", case.facts.trainers, covered)


def _missing_document(case: RoundCase, attested: AttestationFacts, subject: Subject) -> Check:
    if case.artifacts is None:
        return subject.unchecked("attestation document", case.task.without)
    most = attestation_limit(case.spec, len(case.facts.trainers))
    try:
        case.artifacts.attestation(attested.artifact, most)
    except ArtifactError as error:
        return subject.artifact_failed("attestation document", error)
    return subject.failed("attestation document", f"cannot be read as {hex_of(attested.artifact)}")


def usable_attestations(case: RoundCase) -> dict[Address, Attestation]:
    """Documents that say what their verifier revealed on chain: those that count in the settlement."""
    usable = {}
    for verifier, document in case.attestations.items():
        attested = case.facts.attestations[verifier]
        about = (document.task, document.round, document.verifier)
        if (
            about == (case.facts.task.id, case.facts.number, verifier)
            and verdicts_digest(document.leaves()) == attested.verdicts
            and scores_tree(document.leaves()).root == attested.scores
        ):
            usable[verifier] = document
    return usable
