"""Committees per trainer: who took over what from whom, and whether somebody drawn says to have replayed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.readers import published_at
from deltaproof.auditor.audit.valuation import attested_in
from deltaproof.chain.abi.enums import Phase
from deltaproof.errors import UNUSABLE, StoreUnavailable
from deltaproof.protocol.draws.committees import draw_committee
from deltaproof.protocol.outcome.attestation import TrainerFinding
from deltaproof.protocol.outcome.reports import CommitteeReport, own_word, sealed_until, taken_over, word_of
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import AUDIT_CLOCK_SECONDS
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.types import Address
from deltaproof.store.paths import report_path

__all__ = ["check_committees"]

Findings = Mapping[Address, TrainerFinding]
"""By trainer."""


def check_committees(case: RoundCase) -> Iterator[Check]:
    """Whoever takes over that a trainer is accepted was not drawn for it, and enough of those who were say it.

    What one of them said too late, others did not hear: a contrary report makes nobody a liar. Attack: report, stay
    away, and have the store lose the report. What is not there any more says nothing against who heard it.
    """
    if case.artifacts is None or case.spec is None:
        return
    round_ = _Reports(case)
    for verifier, document in case.attestations.items():
        for finding in document.findings:
            if taken_over(finding):
                subject = attested_in(case, verifier).of(participant=finding.trainer)
                yield round_.taken_over(subject, verifier, finding.trainer)


class _Reports:
    """The committees of one round, each drawn once, and their members' reports, each read once."""

    def __init__(self, case: RoundCase) -> None:
        self._case = case
        self._drawn: dict[Address, Mapping[Address, int]] = {}
        self._reports: dict[Address, Findings | StoreUnavailable | None] = {}

    def taken_over(self, subject: Subject, verifier: Address, trainer: Address) -> Check:
        """Whether a verifier had somebody to take a trainer over from."""
        members = self._members(trainer)
        if not members or verifier in members:
            return subject.failed("committee", f"{verifier} had to replay {trainer} itself")
        accepting, unheard = dict[Address, Verdict](), dict[Address, Verdict]()
        for member in members:
            report = self._report(member)
            if isinstance(report, StoreUnavailable):
                return subject.unchecked("committee", str(report))
            attested = self._case.findings.get(member, {})
            if any(own_word(said[trainer]) is Verdict.ACCEPTED for said in (report or {}, attested) if trainer in said):
                accepting[member] = Verdict.ACCEPTED
            elif report is None:
                unheard[member] = Verdict.ACCEPTED
        why = f"{len(accepting)} of the {len(members)} drawn for {trainer} say that they replayed and accepted it"
        if word_of(members, accepting) is None and word_of(members, {**accepting, **unheard}) is not None:
            return subject.unchecked("committee", f"{why}; what {', '.join(sorted(unheard))} reported is not there")
        return subject.that("committee", word_of(members, accepting) is not None, why)

    def _members(self, trainer: Address) -> Mapping[Address, int]:
        """Who was drawn for a trainer, with their stakes; nobody where everybody replays everybody."""
        facts, seed, spec = self._case.facts, self._case.facts.challenge_seed, self._case.spec
        size = 0 if spec is None else spec.verification.committee
        if not 0 < size < len(self._stakes) or seed is None:
            return {}
        if trainer not in self._drawn:
            drawn = draw_committee(seed, facts.task.id, facts.number, trainer, self._stakes, size)
            self._drawn[trainer] = {member: self._stakes[member] for member in drawn}
        return self._drawn[trainer]

    @cached_property
    def _stakes(self) -> Mapping[Address, int]:
        facts = self._case.facts
        quorum = facts.task.quorum_of(facts.number)
        weights = {verifier: int(facts.task.verifier_weight(verifier, facts.opened.position)) for verifier in quorum}
        return {verifier: weight for verifier, weight in weights.items() if weight}

    def _report(self, member: Address) -> Findings | StoreUnavailable | None:
        """What a member reported; None if that is not there, or not what others heard."""
        if member not in self._reports:
            try:
                self._reports[member] = self._read(member)
            except StoreUnavailable as error:
                self._reports[member] = error
        return self._reports[member]

    def _read(self, member: Address) -> Findings | None:
        case, seed = self._case, self._case.facts.challenge_seed
        if case.artifacts is None or case.spec is None or seed is None:
            return None
        store, most = case.artifacts.store, attestation_bytes(case.spec, len(case.facts.trainers))
        try:
            seal = store.get_report_seal(case.index.deployment.permit_domain, member, seed)
            report = store.get_attestation(CommitteeReport, seal.report, most)
        except UNUSABLE:
            return None
        place = (report.task, report.round, report.verifier, report.challenge_seed)
        if place != (case.facts.task.id, case.facts.number, member, seed) or self._is_late(member):
            return None
        return {finding.trainer: finding for finding in report.findings}

    def _is_late(self, member: Address) -> bool:
        """Whether a seal is there that was written when seals counted no more, perhaps in place of another."""
        case, started = self._case, self._case.facts.phase_start(Phase.ATTEST_COMMIT)
        if case.artifacts is None or started is None or case.facts.challenge_seed is None:
            return False
        written = published_at(case.artifacts.store, report_path(case.facts.challenge_seed, member))
        until = sealed_until(started.args["deadline"], case.facts.task.params.phases.attest_commit)
        return written is not None and written > until + AUDIT_CLOCK_SECONDS
