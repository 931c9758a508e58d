"""A verifier's part in committees: seal what it found of the trainers it was drawn for, show it, and hear the others.

`protocol.outcome.reports` says what is taken over. A seal counts if it was there before reports were shown; who seals
nothing, or shows nothing, keeps others waiting until `sealed_until` and `reports_until`, and then they replay what they
did not hear about. Attack: show a wrong report to some and none to others. Only a committee that has no honest member
who speaks can do that, and what each verifier attests is still its own word: the majority of all stake decides. A store
that is away is like members who say nothing: it delays, and keeps nobody from attesting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deltaproof.agent.heavy import AtOnce, Heavy
from deltaproof.agent.patience import Patience
from deltaproof.chain import Gateway
from deltaproof.chain.participation import quorum_members
from deltaproof.errors import UNUSABLE, ArtifactAltered, ArtifactTooLarge, EncodingError, StoreUnavailable
from deltaproof.folders import write_whole
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.draws.committees import draw_committee
from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.outcome.attestation import TrainerFinding
from deltaproof.protocol.outcome.reports import CommitteeReport, own_word, reports_until, sealed_until, word_of
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.reporting import Once, Reporter, counted
from deltaproof.store import ArtifactStore
from deltaproof.store.paths import report_path
from deltaproof.store.seals import ReportSeal
from verifier.facts import RoundToJudge
from verifier.hindsight import Receipts
from verifier.looking import Word
from verifier.outbox import Outbox

__all__ = ["CommitteeDesk", "Committees", "Deadline"]

LOOKS_AT_A_TIME = 8
"""For seals, and for reports: a store may let each wait."""
Words = Mapping[Address, Word]
"""By trainer, what its committee says of it."""


@dataclass(frozen=True)
class Deadline:
    """Of the phase in which verifiers attest: when it ends, its seconds, and the time now."""

    at: int
    seconds: int
    now: int


@dataclass(frozen=True)
class Committees:
    """Who was drawn in a round."""

    stakes: Mapping[Address, int]
    """Of the round's quorum."""
    by_trainer: Mapping[Address, tuple[Address, ...]]
    """Of each trainer who revealed and whose fault no contract had established."""

    def of(self, verifier: Address) -> frozenset[Address]:
        """The trainers that a verifier was drawn for."""
        return frozenset(trainer for trainer, members in self.by_trainer.items() if verifier in members)

    @property
    def members(self) -> frozenset[Address]:
        """All who were drawn for somebody."""
        return frozenset(member for members in self.by_trainer.values() for member in members)


@dataclass
class _Heard:
    """What is known of the reports of one round."""

    seals: dict[Address, Digest32] = field(default_factory=dict)
    reports: dict[Address, CommitteeReport] = field(default_factory=dict)
    unusable: set[Address] = field(default_factory=set)
    """Whose report is another round's or account's."""
    junk: dict[Address, Patience] = field(default_factory=dict)
    """When a report that was none is looked at again: a mirror may have the right one by then."""
    own: CommitteeReport | None = None
    looked: bool = False
    """Whether all were looked for once."""
    shown: bool = False
    """Whether one's own report was given to the store."""


class CommitteeDesk:
    """One verifier in the committees of one task."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        spec: TaskSpec,
        secret: HomeSecret,
        folder: Path,
        outbox: Outbox,
        report: Reporter,
        heavy: Callable[[], Heavy] = AtOnce,
    ) -> None:
        """`folder`: where reports are kept before they are sealed; `outbox`: where seal and report wait for a store;
        `heavy`: beside whose work others are heard, in nobody's way."""
        self._heavy = heavy
        self._gateway, self._store, self._task_id, self._spec = gateway, store, task_id, spec
        self._secret, self._folder, self._outbox, self._once = secret, folder, outbox, Once(report)
        self._report = report
        self._heard: tuple[Digest32, _Heard] | None = None
        self._drawn: tuple[object, Committees] | None = None
        """The last committees, and what they were drawn from."""

    def drawn(self, case: RoundToJudge) -> Committees | None:
        """The committees of a round; None where everybody replays everybody."""
        size, seed = self._spec.verification.committee, case.view.challenge_seed
        if not size:
            return None
        members = quorum_members(self._gateway, self._task_id, case.round)
        stakes = {verifier: int(stake) for verifier, stake in members.items() if stake}
        if not size < len(stakes):
            return None
        judged = [s.trainer for s in case.submissions if s.transcript_root is not None and s.trainer not in case.faulty]
        basis = (seed, judged, stakes)
        if self._drawn is None or self._drawn[0] != basis:
            by_trainer = {t: draw_committee(seed, case.task_id, case.round, t, stakes, size) for t in judged}
            self._drawn = basis, Committees(stakes, by_trainer)
        return self._drawn[1]

    def looked_at_anyway(self, case: RoundToJudge, committees: Committees) -> frozenset[Address]:
        """One trainer beside those that this verifier was drawn for, or nobody if there is no other.

        Attack: own a whole committee. Nobody knows whom another verifier replays all the same: its home's secret says.
        """
        others = sorted(committees.by_trainer.keys() - committees.of(self._gateway.account))
        if not others:
            return frozenset()
        stream = HashStream(self._secret.derive("look anyway", case.view.challenge_seed))
        return frozenset({others[stream.below(len(others))]})

    def has_sealed(self, case: RoundToJudge) -> bool:
        """Whether this verifier's report of the round is in its home: no other is sealed then."""
        return self._own(case) is not None

    def seal(self, case: RoundToJudge, findings: Sequence[TrainerFinding]) -> None:
        """Keep the report, and publish its seal."""
        seed, account = case.view.challenge_seed, self._gateway.account
        salt = self._secret.derive("report salt", seed)
        document = CommitteeReport(
            task=case.task_id, round=case.round, verifier=account, challenge_seed=seed, salt=salt,
            findings=tuple(findings),
        )  # fmt: skip
        write_whole(self._path(case), document.to_document())
        message = (
            f"round {case.round}: sealed what was found of {counted(len(findings), 'trainer')}, as their committee"
        )
        self._report("report", message, round=case.round)

    def words(self, case: RoundToJudge, committees: Committees, deadline: Deadline) -> Words | None:
        """What committees say of the trainers that this verifier was not drawn for; None while more may be heard.

        Nothing of whom it looks at anyway.
        """
        heard, account = self._of_round(case), self._gateway.account
        mine = committees.of(account)
        own = self._own(case) if mine else None
        if own is not None and account not in heard.seals:
            self._publish_seal(case, own)
            heard.seals[account] = own.digest()
        counted = sealed_until(deadline.at, deadline.seconds)
        hear = partial(self._hear, case, committees, heard, counted, deadline.now)
        # Attack: a second store that lets each look wait, where what nobody sealed is asked for, too.
        if self._heavy().aside(("hearing", case.view.challenge_seed), hear):
            heard.looked = True
        if not committees.members <= set(heard.seals) and deadline.now < counted:
            return None
        if own is not None and not heard.shown:
            heard.shown = True
            self._outbox.put(case.round, "the committee's report", partial(self._store.put_attestation, own))
        shown = reports_until(deadline.at, deadline.seconds)
        waited = set(heard.seals) - set(heard.reports) - set(heard.unusable) - {account}
        if (waited and deadline.now < shown) or (not heard.looked and 2 * deadline.now < shown + deadline.at):
            return None
        anyway = self.looked_at_anyway(case, committees)
        return {trainer: word for trainer, word in self._said(committees, heard, mine).items() if trainer not in anyway}

    def _said(self, committees: Committees, heard: _Heard, mine: frozenset[Address]) -> Words:
        reports = dict(heard.reports)  # more may be heard meanwhile
        findings = {
            member: {finding.trainer: finding for finding in report.findings} for member, report in reports.items()
        }
        found: dict[Address, Word] = {}
        for trainer, members in committees.by_trainer.items():
            if trainer in mine:
                continue
            stakes = {member: committees.stakes[member] for member in members}
            told = {m: findings[m][trainer] for m in members if trainer in findings.get(m, {})}
            said = {m: word for m, finding in told.items() if (word := own_word(finding)) is not None}
            if (record := word_of(stakes, said)) is not None:
                found[trainer] = Word(record, tuple(_receipts(reports[m], told[m]) for m in said))
        return found

    def _hear(self, case: RoundToJudge, committees: Committees, heard: _Heard, counted: int, now: int) -> bool:
        """Look once for every seal and report that is not known yet; several at a time, as each may be waited for."""
        with ThreadPoolExecutor(LOOKS_AT_A_TIME, "hearing") as looks:
            members = committees.members - set(heard.seals)
            list(looks.map(partial(self._hear_seal, case, heard, counted, now), members))
            if committees.members <= set(heard.seals) or now >= counted:
                most = attestation_bytes(self._spec, len(case.submissions))
                known = set(heard.seals) - set(heard.reports) - heard.unusable - {self._gateway.account}
                list(looks.map(partial(self._hear_report, case, heard, most), known))
        return True

    def _hear_seal(self, case: RoundToJudge, heard: _Heard, counted: int, now: int, member: Address) -> None:
        seed = case.view.challenge_seed
        try:
            seal = self._store.get_report_seal(self._gateway.permit_domain, member, seed)
            # Who looks first when seals count no more goes by the store's clock, as for what counts as withheld.
            if now >= counted and not self._was_there(report_path(seed, member), counted):
                return
        except (*UNUSABLE, StoreUnavailable):
            # Attack: say nothing while one of two mirrors is away, which may have what the other lacks.
            return
        heard.seals[member] = seal.report

    def _was_there(self, path: str, by: int) -> bool:
        written = self._store.published(path)
        return written is not None and written < by

    def _hear_report(self, case: RoundToJudge, heard: _Heard, most: int, member: Address) -> None:
        if not heard.junk.setdefault(member, Patience(f"{self._gateway.account}/{member}")).ready:
            return
        try:
            report = self._store.get_attestation(CommitteeReport, heard.seals[member], most)
        except (ArtifactAltered, ArtifactTooLarge):
            # Attack: seal junk as long as a report may be, so that everybody loads it at every look.
            heard.junk[member].failed()
            return
        except (*UNUSABLE, StoreUnavailable):
            return
        place = (report.task, report.round, report.verifier, report.challenge_seed)
        if place != (case.task_id, case.round, member, case.view.challenge_seed):
            heard.unusable.add(member)
            self._once("unusable", f"the committee's report of {member} is not what it sealed", round=case.round)
            return
        heard.reports[member] = report

    def _of_round(self, case: RoundToJudge) -> _Heard:
        seed = case.view.challenge_seed
        if self._heard is None or self._heard[0] != seed:
            self._heard = (seed, _Heard())
        return self._heard[1]

    def _publish_seal(self, case: RoundToJudge, document: CommitteeReport) -> None:
        sender = self._gateway.sender
        assert sender is not None, "a verifier signs"
        seal = ReportSeal(
            account=self._gateway.account, challenge_seed=document.challenge_seed, report=document.digest()
        ).signed(sender.sign_message, self._gateway.permit_domain)
        try:
            # Whoever starts again would make its seal late: a store says when it was written last.
            there = self._store.get_report_seal(self._gateway.permit_domain, seal.account, seal.challenge_seed)
            if there.report == seal.report:
                return
        except (*UNUSABLE, StoreUnavailable):
            pass
        self._outbox.put(case.round, "the seal of the committee's report", lambda: self._store.put_report_seal(seal))

    def _own(self, case: RoundToJudge) -> CommitteeReport | None:
        """The report in this home; None if there is none, or it is damaged."""
        heard = self._of_round(case)
        if heard.own is None:
            try:
                heard.own = CommitteeReport.from_document(self._path(case).read_bytes())
            except (FileNotFoundError, EncodingError):
                return None
        return heard.own

    def _path(self, case: RoundToJudge) -> Path:
        return self._folder / f"report-{case.round}-{case.view.challenge_seed.hex()[:16]}"


def _receipts(report: CommitteeReport, finding: TrainerFinding) -> Receipts:
    by_step = {read.step: read.receipt for read in finding.reads}
    return Receipts(TaskId(report.task), RoundIndex(report.round), report.verifier, by_step)
