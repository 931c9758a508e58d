"""Who may read what a trainer sealed: the round's verifiers, jurors of a case about it, auditors of the spec."""

from __future__ import annotations

import time
from collections.abc import Callable

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import CasePhase
from deltaproof.chain.admissions import AdmissionDesk, pause_between_looks
from deltaproof.chain.events.participants import VerifierStakeChanged
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.participation import quorum_members
from deltaproof.chain.reading import invited, readers_of
from deltaproof.protocol.commit.sealing import TranscriptSecret
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore
from deltaproof.store.readers import Reader

__all__ = ["ReaderDesk"]


class ReaderDesk:
    """Puts an envelope into the store for everybody who has to read; in a task without sealed openings nothing."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        spec: TaskSpec,
        home: HomeSecret,
        report: Reporter,
        admissions: AdmissionDesk,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gateway, self.store, self.task_id, self.spec, self.report = gateway, store, task_id, spec, report
        self._home, self._admissions, self._clock = home, admissions, clock
        self._sealed_for: dict[tuple[Digest32, str], Digest32] = {}
        """The newest key of a reader that the transcript's secret was sealed for."""
        self._next_look: dict[Digest32, float] = {}
        self._cases: set[int] = set()
        self._looked_to = 0
        self._stakers: dict[Address, None] = {}
        self._read_to = gateway.deployment.block - 1

    def secret(self, transcript_root: Digest32) -> TranscriptSecret | None:
        """What seals the openings of a transcript; None where everybody reads them."""
        return TranscriptSecret.of_home(self._home, transcript_root) if self.spec.data.sealed else None

    def admit(self, round_: RoundIndex, transcript_root: Digest32) -> None:
        """Seal for the round's verifiers and for auditors. Who had no key yet is looked for again each time, who
        has one now and then: it may be another one, of somebody who lost the home that the first came from.

        Raises StoreUnavailable.
        """
        if not self.spec.data.sealed:
            return
        for auditor in invited(self.spec):
            self._admit(transcript_root, auditor)
        self._admit_accounts(transcript_root, list(quorum_members(self.gateway, self.task_id, round_)))

    def admit_jurors(self, root_of: Callable[[RoundIndex], Digest32 | None]) -> None:
        """Seal for who votes about a settlement of this task; `root_of` knows the transcript of a round.

        Raises ChainError, StoreUnavailable.
        """
        if not self.spec.data.sealed:
            return
        jury, count = self.gateway.jury, self.gateway.jury.case_count()
        self._cases.update(range(min(self._looked_to, count) + 1, count + 1))
        self._looked_to = count
        for number in sorted(self._cases):
            case = jury.case(number)
            if case.task_id != self.task_id or case.phase.over:
                self._cases.discard(number)
            elif case.phase is CasePhase.SEAL and (root := root_of(case.round)) is not None:
                seated = [each for each in self._known_stakers() if jury.seats(number, case.level, each)]
                self._admit_accounts(root, seated)
                self._admissions.admit(seated, at_once=True)

    def _known_stakers(self) -> list[Address]:
        """Everybody who ever had a stake as a verifier: who may be drawn for a seat."""
        last = self.gateway.connection.read_block.number
        reader = LogReader(self.gateway.connection, [self.gateway.registry.address])
        for logged in reader.read(self._read_to + 1, last, [VerifierStakeChanged]):
            if isinstance(logged.event, VerifierStakeChanged):
                self._stakers[logged.event.account] = None
        self._read_to = max(self._read_to, last)
        return list(self._stakers)

    def _admit_accounts(self, transcript_root: Digest32, accounts: list[Address]) -> None:
        now, known = self._clock(), self._sealed_for
        if now >= self._next_look.get(transcript_root, 0.0):
            self._next_look[transcript_root] = now + pause_between_looks(len(accounts))
            wanted = accounts
        else:
            wanted = [account for account in accounts if (transcript_root, account) not in known]
        for reader in readers_of(self.store, self.gateway.permit_domain, wanted, seen=True):
            self._admit(transcript_root, reader)

    def _admit(self, transcript_root: Digest32, reader: Reader) -> None:
        place, secret = (transcript_root, reader.name), self.secret(transcript_root)
        if self._sealed_for.get(place) != reader.newest and secret is not None:
            self.store.put_envelope(transcript_root, self.gateway.account, reader.newest, secret)
            self._sealed_for[place] = reader.newest
            self.report("admitted", f"sealed the openings for {reader.name}", reader=reader.name)
