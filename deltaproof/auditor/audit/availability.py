"""Who could read what, and when: verifiers' receipts, and verdicts of *withheld*.

*Withheld* says: at my last look, just before I sealed this, it was not in the store. That is wrong for sure if it was
sealed before the time until which a verifier has to look, or if another verifier had read the same bytes a minute
before. If nobody else read it, the store's own word on when it was written decides, together with the trainer's
announcement on chain. What neither receipts nor the store tell stays unknown, and the check says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.deltas import adapter_of, context_of, delta_paths, drawn_steps, submission_of
from deltaproof.auditor.audit.readers import due_readers_of, gives_up_from, in_time_until_of, published_at
from deltaproof.auditor.audit.valuation import attested_in
from deltaproof.auditor.index.events import Event
from deltaproof.errors import ArtifactError, ArtifactSealed, StoreUnavailable
from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.protocol.outcome.attestation import CheckRecord, TrainerFinding
from deltaproof.protocol.outcome.reads import DELTA, read_receipt
from deltaproof.protocol.outcome.reports import taken_over
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import AUDIT_CLOCK_SECONDS
from deltaproof.protocol.types import Address, Digest32, StepIndex
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.replaying.judging import Submission, sealing_problem
from deltaproof.store.paths import envelope_path, opening_path

__all__ = ["check_reads", "check_withheld"]

JUDGED = (Verdict.ACCEPTED, Verdict.REJECTED, Verdict.WITHHELD)


def check_reads(case: RoundCase) -> Iterator[Check]:
    """Every verifier shows that it read the delta and each opening that it made a check on."""
    if case.artifacts is None or case.spec is None:
        return
    known: dict[tuple[Address, int], Digest32 | ArtifactSealed | StoreUnavailable | None] = {}
    for verifier, document in case.attestations.items():
        subject = attested_in(case, verifier)
        for finding in document.findings:
            expected, shown = _expected_reads(case, finding), [read.step for read in finding.reads]
            yield subject.equal("reads", expected, shown, f"of {finding.trainer}")
            for read in finding.reads:
                place = (finding.trainer, read.step)
                if place not in known:
                    try:
                        known[place] = _content(case, *place)
                    except (ArtifactSealed, StoreUnavailable) as error:
                        known[place] = error
                content = known[place]
                what = f"of {finding.trainer}, {_name(read.step)}"
                if isinstance(content, ArtifactSealed | StoreUnavailable):
                    yield subject.unchecked("receipt", f"{what}: {content}")
                    continue
                if content is None:
                    yield subject.unchecked("receipt", f"{what}: it is not there, or is not what was committed")
                    continue
                own = read_receipt(case.facts.task.id, case.facts.number, verifier, content)
                yield subject.equal("receipt", own, read.receipt, what)


def _expected_reads(case: RoundCase, finding: TrainerFinding) -> list[int]:
    """The delta and the openings that the recorded checks were made on; with a committee's word all up to the fault."""
    failure = finding.failure()
    unread = (
        failure is not None
        and failure.step == DELTA
        and failure.check in ("reveal", "data", "sealing", "delta", "judging", "fault")
    )
    if unread or finding.verdict not in JUDGED:
        return []
    if taken_over(finding):
        drawn = drawn_steps(case, finding.trainer)
        if failure is None:
            return [DELTA, *drawn]
        last = failure.step if failure.check == "opening" else failure.step + 1
        return [DELTA, *(step for step in drawn if step < last)]
    made = (check.step for check in finding.checks if check.step != DELTA and check.check != "opening")
    return [DELTA, *dict.fromkeys(made)]


def check_withheld(case: RoundCase) -> Iterator[Check]:
    """Every verdict of *withheld*, against the store, the receipts of others, and the clocks."""
    if case.artifacts is None or case.spec is None:
        return
    unanswered = _unanswered(case)
    for verifier, document in case.attestations.items():
        for finding in document.findings:
            failure = finding.failure()
            if finding.verdict is not Verdict.WITHHELD or failure is None:
                continue  # without a reason: `finding`
            sealed = case.facts.attestations[verifier].committed
            claim = _Claim(case, verifier, finding.trainer, failure, sealed)
            if finding.trainer in unanswered:
                yield claim.subject.passed("withheld", "a demand on chain to show it was not answered")
            else:
                yield from claim.checks()


def _unanswered(case: RoundCase) -> set[Address]:
    """Trainers who left a demand of this round unanswered: the contract has decided."""
    demands = {event.args["demand_id"] for event in case.facts.named("DemandOpened")}
    events = case.index.events(names=["DemandUnanswered"]) if demands else []
    return {event.args["respondent"] for event in events if event.args["demand_id"] in demands}


@dataclass(frozen=True)
class _Claim:
    """One verifier's word that one artifact was not there when it sealed its attestation."""

    case: RoundCase
    verifier: Address
    trainer: Address
    failure: CheckRecord
    sealed: Event

    @property
    def step(self) -> int:
        return self.failure.step if self.failure.check == "opening" else DELTA

    @property
    def subject(self) -> Subject:
        step = self.step if self.step != DELTA else None
        return attested_in(self.case, self.verifier).of(participant=self.trainer, step=step)

    def checks(self) -> Iterator[Check]:
        yield from self._patience()
        name, what = "withheld", _name(self.step)
        try:
            submission = submission_of(self.case, self.trainer)
        except StoreUnavailable as error:
            yield self.subject.unchecked(name, str(error))
            return
        if submission is None or submission.delta_digest is None or submission.error_root is None:
            yield self.subject.passed(name, "nothing was revealed, or the round before left nothing to go on from")
            return
        if self.failure.check == "sealing":
            yield self._sealing(submission)
            return
        try:
            content = _content(self.case, self.trainer, self.step)
        except (StoreUnavailable, ArtifactSealed) as error:
            yield self.subject.unchecked(name, str(error))
            return
        if content is None:
            yield self.subject.passed(name, f"{what} is not in the store now, or is not what was committed")
            return
        published = self._published()
        late = published if self._came_late(published) else None
        yield self._witnessed(content, late) or self._dated(name, what, published)

    def _sealing(self, submission: Submission) -> Check:
        """Somebody could not read what was sealed. Who holds the secret makes every envelope again."""
        if self.case.spec is not None and not self.case.spec.data.sealed:
            return self.subject.failed("withheld", "nobody lacks an envelope: nothing is sealed in this task")
        store, root = self.case.artifacts.store if self.case.artifacts else None, submission.transcript_root
        if store is None or root is None:
            return self.subject.unchecked("withheld", "nothing was revealed, or there is no store")
        context, spec = context_of(self.case, self.trainer), self.case.spec
        if context is None or spec is None:
            return self.subject.unchecked("withheld", "nothing can be read without the spec and the enrolment")
        committed = context.committed_steps(spec, self.case.facts.task.params.training.parameters, root)
        readers = due_readers_of(self.case, store)
        if problem := sealing_problem(store, committed, readers):
            return self.subject.unchecked("withheld", problem)
        paths = [envelope_path(root, self.trainer, key) for reader in readers for key in reader.keys]
        times = [time for path in paths if (time := published_at(store, path)) is not None]
        last = max(times, default=None)
        if last is not None and last <= self._time() - AUDIT_CLOCK_SECONDS and not self._came_late(last):
            return self.subject.failed("withheld", "by the store's clock every envelope was there, and all are good")
        return self.subject.unchecked("withheld", "every envelope is good now; whether it was, the store does not say")

    def _patience(self) -> Iterator[Check]:
        """A verifier looks again until late in the phase; a store may lag."""
        earliest = gives_up_from(self.case)
        if earliest is None:
            return
        yield self.subject.of(self.sealed).that(
            "withheld too early", self._time() >= earliest, "sealed before it was time to give up looking",
            expected=f"not before {earliest}", actual=self._time(),
        )  # fmt: skip

    def _came_late(self, published: float | None) -> bool:
        """Whether something came when it counted as withheld already, whoever saw it then."""
        until = in_time_until_of(self.case)
        return published is not None and until is not None and published > until

    def _witnessed(self, content: Digest32, late: float | None) -> Check | None:
        """Another verifier's receipt for the same bytes, sealed a minute earlier; of what came too late, a minute
        before the store says that it came at all."""
        before = self._time() if late is None else min(late, self._time())
        facts, times = self.case.facts, self.case.index
        for other, findings in self.case.findings.items():
            finding = findings.get(self.trainer)
            if other == self.verifier or finding is None:
                continue
            own = read_receipt(facts.task.id, facts.number, other, content)
            committed = facts.attestations[other].committed
            if not any(read.step == self.step and read.receipt == own for read in finding.reads):
                continue
            block = times.blocks([committed.block]).get(committed.block)
            if block is not None and block.timestamp + AUDIT_CLOCK_SECONDS <= before:
                reason = f"{other} had read it before: transaction {committed.transaction}"
                return self.subject.failed("withheld", reason)
        return None

    def _dated(self, name: str, what: str, published: float | None) -> Check:
        """By the store's clock."""
        if published is None:
            reason = f"{what} is there now; since when, neither a receipt nor the store says"
            return self.subject.unchecked(name, reason)
        if published >= self._time() + AUDIT_CLOCK_SECONDS:
            return self.subject.passed(name, f"{what} was written after the verdict was sealed, by the store's clock")
        if self._came_late(published):
            return self.subject.passed(name, f"{what} was written when it counted as withheld, by the store's clock")
        announced = self._announced()
        if published > self._time() - AUDIT_CLOCK_SECONDS or announced is None:
            reason = f"{what} was written about when the verdict was sealed, or its trainer never announced it"
            return self.subject.unchecked(name, reason)
        reason = f"{what} was in the store by its own clock, and announced in transaction {announced.transaction}"
        return self.subject.of(artifact=self._paths()[0]).failed(name, reason)

    def _announced(self) -> Event | None:
        """The trainer's word on chain that it had published, before the verdict was sealed."""
        named = "OpeningsPublished" if self.step != DELTA else "Revealed"
        mine = (e for e in self.case.facts.named(named, "BatchRevealed") if _about(e, self.trainer))
        return next((event for event in mine if event.position < self.sealed.position), None)

    def _published(self) -> float | None:
        """When the artifact was written. Of several sealed copies the last counts: a store does not say which is
        right, and the doubt is the verifier's."""
        if self.case.artifacts is None:
            return None
        times = [published_at(self.case.artifacts.store, path) for path in self._paths()]
        return max((time for time in times if time is not None), default=None)

    def _paths(self) -> list[str]:
        reveal, artifacts = self.case.facts.reveals[self.trainer], self.case.artifacts
        if self.step != DELTA:
            return [opening_path(reveal.transcript_root, self.trainer, StepIndex(self.step))]
        return delta_paths(self.case, artifacts.store, reveal.delta_digest) if artifacts else []

    def _time(self) -> int:
        """When the verdict was sealed, seconds since the epoch."""
        return self.case.index.blocks([self.sealed.block])[self.sealed.block].timestamp


def _about(event: Event, trainer: Address) -> bool:
    if event.name == "BatchRevealed":
        return any(entry["trainer"] == trainer for entry in event.args["entries"])
    return bool(event.args["trainer"] == trainer)


def _name(step: int) -> str:
    return "the delta" if step == DELTA else f"the opening of step {step}"


def _content(case: RoundCase, trainer: Address, step: int) -> Digest32 | None:
    """SHA-256 of an artifact's content if it is there and is what was committed. Raises StoreUnavailable, and
    ArtifactSealed if it is sealed for others."""
    reveal = case.facts.reveals.get(trainer)
    if reveal is None or case.artifacts is None or case.spec is None:
        return None
    try:
        if step == DELTA:
            theta = adapter_of(case, trainer)
            if case.facts.task.params.training.float32_delta:
                return sha256(theta.tobytes())
            return reveal.delta_digest  # of an encoded delta, the SHA-256 of its bytes
        context = context_of(case, trainer)
        if context is None:
            return None
        size = case.facts.task.params.training.parameters
        committed = context.committed_steps(case.spec, size, reveal.transcript_root)
        return sha256(serialize_opening(case.artifacts.store.get_opening(committed, StepIndex(step))))
    except (StoreUnavailable, ArtifactSealed):
        raise
    except ArtifactError:
        return None
