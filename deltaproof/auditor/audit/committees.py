"""Committees per trainer: who took over what from whom, and whether somebody drawn says to have replayed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.valuation import attested_in
from deltaproof.errors import UNUSABLE, StoreUnavailable
from deltaproof.protocol.draws.committees import draw_committee
from deltaproof.protocol.outcome.reports import CommitteeReport, taken_over, word_of
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.types import Address

__all__ = ["check_committees", "committee_of"]


def committee_of(case: RoundCase, trainer: Address) -> Mapping[Address, int] | None:
    """The verifiers who were drawn for a trainer, with their stakes; None where everybody replays everybody."""
    facts, seed = case.facts, case.facts.challenge_seed
    size = 0 if case.spec is None else case.spec.verification.committee
    weights = {v: int(facts.task.verifier_weight(v, facts.opened.position)) for v in facts.task.quorum_of(facts.number)}
    stakes = {verifier: weight for verifier, weight in weights.items() if weight}
    if not 0 < size < len(stakes) or seed is None:
        return None
    members = draw_committee(seed, facts.task.id, facts.number, trainer, stakes, size)
    return {member: stakes[member] for member in members}


def check_committees(case: RoundCase) -> Iterator[Check]:
    """Whoever takes over that a trainer is accepted was not drawn for it, and enough of those who were say it.

    What one of them said too late, others did not hear: a contrary report makes nobody a liar.
    """
    if case.artifacts is None or case.spec is None:
        return
    said: dict[Address, Mapping[Address, Verdict] | StoreUnavailable] = {}
    for verifier, document in case.attestations.items():
        for finding in document.findings:
            if not taken_over(finding):
                continue
            trainer = finding.trainer
            subject, stakes = attested_in(case, verifier).of(participant=trainer), committee_of(case, trainer)
            if stakes is None or verifier in stakes:
                yield subject.failed("committee", f"{verifier} had to replay {trainer} itself")
                continue
            if trainer not in said:
                try:
                    said[trainer] = _accepted_by(case, trainer, stakes)
                except StoreUnavailable as error:
                    said[trainer] = error
            heard = said[trainer]
            if isinstance(heard, StoreUnavailable):
                yield subject.unchecked("committee", str(heard))
                continue
            why = f"{len(heard)} of the {len(stakes)} drawn for {trainer} say that they replayed and accepted it"
            yield subject.that("committee", word_of(stakes, heard) is not None, why)


def _accepted_by(case: RoundCase, trainer: Address, stakes: Mapping[Address, int]) -> Mapping[Address, Verdict]:
    """Members who say that a trainer is accepted, by their reports or their attestations. Raises StoreUnavailable."""
    found = {}
    for member in stakes:
        own = case.attestations.get(member)
        documents = [document for document in (_report(case, member), own) if document is not None]
        findings = [f for document in documents for f in document.findings if f.trainer == trainer]
        if any(f.verdict is Verdict.ACCEPTED and not taken_over(f) for f in findings):
            found[member] = Verdict.ACCEPTED
    return found


def _report(case: RoundCase, member: Address) -> CommitteeReport | None:
    if case.artifacts is None or case.spec is None or case.facts.challenge_seed is None:
        return None
    store, seed = case.artifacts.store, case.facts.challenge_seed
    most = attestation_bytes(case.spec, len(case.facts.trainers))
    try:
        seal = store.get_report_seal(case.index.deployment.permit_domain, member, seed)
        report = store.get_attestation(CommitteeReport, seal.report, most)
    except UNUSABLE:
        return None
    place = (report.task, report.round, report.verifier, report.challenge_seed)
    return report if place == (case.facts.task.id, case.facts.number, member, seed) else None
