"""What a juror finds about a settlement in dispute: by its own attestation, or by judging the round anew.

An error about a case stays with the case. Anybody makes a task, and brings a case about it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from deltaproof.agent.heavy import Heavy
from deltaproof.agent.patience import Patience, report_delay
from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Case
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import TaskParams
from deltaproof.chain.admissions import givers_of
from deltaproof.chain.announced import announced_stores
from deltaproof.chain.participation import read_task, settled_leaves
from deltaproof.chain.reading import publish_reading_key
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import (
    ArtifactMissing,
    ChainReorganised,
    ChainUnavailable,
    OverLimit,
    SigningKeyError,
    TransactionError,
    WrongChain,
)
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementProposal
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.permits import Writer
from deltaproof.store.readers import Keyring
from incentives.settling import attested_alike
from verifier.docket import Docket
from verifier.examining import Examiner
from verifier.facts import RoundToJudge, as_settled, case_key, read_case
from verifier.hindsight import Hindsight, look_back
from verifier.reach import out_of_reach

__all__ = ["Opinions"]

BUSY = (Phase.OPENING, Phase.ATTEST_COMMIT, Phase.ATTEST_REVEAL)
"""Phases in which the own round comes before somebody else's case."""


OURS = (ChainUnavailable, ChainReorganised, TransactionError, WrongChain, SigningKeyError)
"""What is wrong with the chain or this account, and not with the task that a case is about."""


@dataclass(frozen=True)
class _Formed:
    """An opinion, and what it was formed on."""

    contradicts: bool
    level: int
    """Of the case, when it was last compared with what is known."""
    basis: Hashable
    """What chain and own home say."""
    evidence: frozenset[object]
    """What the store says against the settlement: see `Hindsight.evidence`."""

    def stands(self, basis: Hashable, evidence: frozenset[object]) -> bool:
        """Whether nothing else is known now. Attack: take evidence out of the store, so that a juror unlearns it."""
        return self.basis == basis and evidence <= self.evidence


@dataclass(frozen=True)
class _Question:
    """A round to be judged anew."""

    spec: TaskSpec
    store: ArtifactStore
    proposal: SettlementProposal
    """The settlement in dispute."""
    round: RoundToJudge
    seen: Hindsight


class Opinions:
    """Whether settlements in dispute contradict what one verifier computes, by settlement."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        params: TaskParams,
        secret: HomeSecret,
        report: Reporter,
        *,
        attested: Callable[[RoundIndex], Attestation | None],
        examiner: Examiner,
        heavy: Callable[[], Heavy],
        speaks_for: Callable[[TaskId], bool],
    ) -> None:
        """See `VerifierDisputes`."""
        self.gateway, self.store, self.task_id, self.report = gateway, store, task_id, report
        self.phase = Phase.IDLE
        """Of the own task, as it was seen last."""
        self._attested, self._heavy, self._speaks_for = attested, heavy, speaks_for
        self._secret, self._examiners, self._stores = secret, {task_id: examiner}, {task_id: store}
        self._values = params.training.parameters
        self._formed: dict[Digest32, _Formed] = {}
        self._work: dict[Digest32, Hashable] = {}
        """What is being computed, as `Heavy` tells it apart."""
        self._patience: dict[Digest32, Patience] = {}
        self._docket = Docket(gateway, task_id)

    def look(self, phase: Phase) -> None:
        """All open cases are gone through once more, in this phase of the own task."""
        self.phase = phase
        self._docket.look()

    def of(self, case: Case) -> bool | None:
        """Whether the settlement in dispute contradicts what this verifier computes itself; None while it computes, or
        where it cannot: an error about a case is told once, and tried again with growing pauses. Raises `OURS`.

        What was found is compared with what is known once at each level of a case.
        """
        known = self._formed.get(case.settlement)
        if known is not None and known.level == case.level:
            return known.contradicts
        name = f"{self.gateway.account}/{case.settlement.hex()}"
        patience = self._patience.setdefault(case.settlement, Patience(name))
        if not patience.ready or not self._speaks_for(case.task_id):
            return None if known is None else known.contradicts
        try:
            found = self._form(case, known)
        except OURS:
            raise
        except Exception as error:  # what is wrong with a case stays there
            pause = patience.failed()
            if patience.failures == 1:
                what = f"an opinion on round {case.round} of task {case.task_id}"
                report_delay(self.report, what, error, pause, "")
            return None if known is None else known.contradicts
        if found is None:
            return None
        self._formed[case.settlement] = found
        return found.contradicts

    def _form(self, case: Case, known: _Formed | None) -> _Formed | None:
        own = self._attested(case.round) if case.task_id == self.task_id else None
        if own is None:
            return self._computed(case, known)
        proposal = self._proposal(case)
        if proposal is None:
            return known
        contradicts = self._examiners[case.task_id].contradicts(own, proposal)
        return _Formed(contradicts, case.level, own.digest(), frozenset())

    def _computed(self, case: Case, known: _Formed | None) -> _Formed | None:
        """The round in dispute, judged and scored anew from everything that its trainers had to publish.

        Attack: take what verifiers saw out of the store, or let no juror read it, and have jurors call it withheld. Who
        misses what the settlement judged has no opinion. Raises ArtifactMissing then.
        """
        heavy, work = self._heavy(), self._work.get(case.settlement)
        self._docket.asked(case)
        if work is not None and heavy.running(work):
            return None
        failures, in_hand = self._patience[case.settlement].failures, self._docket.in_hand()
        if in_hand is not None and heavy.running(self._work[in_hand]) and self._docket.waits(case, failures):
            return known
        asked = None if self.phase in BUSY else self._looked_up(case)
        if asked is None:
            return known
        basis, evidence = case_key(asked.round), asked.seen.evidence
        if known is not None and known.stands(basis, evidence):
            return replace(known, level=case.level)

        def compute() -> bool:
            examiner = self._examiners.get(case.task_id)
            if examiner is None:
                own_task = self._examiners[self.task_id]
                # Attack: cases in many tasks, each with a model of its own, until a juror's memory is full of them.
                self._examiners = {self.task_id: own_task}
                examiner = Examiner(asked.spec, asked.store, self.gateway.account, self.report, own_task.judges.machine)
                self._examiners[case.task_id] = examiner
            own = _judged(examiner, asked.round, asked.seen, heavy.between_steps)
            return examiner.contradicts(own, asked.proposal)

        self._work[case.settlement] = ("vote", case.settlement, basis, evidence)
        contradicts = heavy.result(self._work[case.settlement], compute)
        if contradicts is None:
            self._docket.begun(case, failures)
            return None
        return _Formed(contradicts, case.level, basis, evidence)

    def _looked_up(self, case: Case) -> _Question | None:
        """What is to be judged; None also while its store is asked.

        Attack: name a store that answers one byte a minute, so that every juror waits for it, and its own round does.
        """
        connection = self.gateway.connection
        block = connection.read_block

        def ask() -> tuple[_Question | None]:
            with connection.reading_at(block):
                return (self._question(case),)

        # What was found before an appeal may wait here through the own round, without what was shown since.
        asked = self._heavy().aside(("question", case.settlement, case.level), ask)
        return None if asked is None else asked[0]

    def _question(self, case: Case) -> _Question | None:
        """What is to be judged; None where this juror is not let in, or the settlement does not stand any more."""
        followed = [self.gateway.tasks.address, self.gateway.trainers.address, self.gateway.verifiers.address]
        log = TaskLog(self.gateway, followed, case.task_id)
        log.refresh(case.round)
        store = self._store_of(case.task_id)
        spec = self._spec_of(case.task_id, store)
        store = store.of_task(spec)
        proposal = self._proposal(case) if self._admitted(case, store) else None
        if proposal is None:
            return None
        to_judge = as_settled(read_case(self.gateway, store, log, spec, case.task_id, case.round), proposal)
        if spec.data.sealed and not self._lets_me_read(store, to_judge):
            return None
        return _Question(spec, store, proposal, to_judge, look_back(self.gateway, store, log, spec, to_judge))

    def _spec_of(self, task_id: TaskId, store: ArtifactStore) -> TaskSpec:
        """The spec of a task whose running round this juror can judge. Raises OverLimit if it asks too much of it."""
        own, known = self._examiners[self.task_id].spec, self._examiners.get(task_id)
        spec = known.spec if known is not None else read_task(self.gateway, store, task_id).spec
        values = self.gateway.terms.params(task_id).training.parameters
        trainers = self.gateway.trainers.progress(task_id).committed
        if task_id != self.task_id and (why := out_of_reach(own, self._values, spec, values, trainers)):
            raise OverLimit(f"task {task_id} is not judged: {why}; verify a task of its size, or vote by hand")
        return spec

    def _store_of(self, task_id: TaskId) -> ArtifactStore:
        """Where the artifacts of a task are that this juror may have no part in: where its sponsor says on chain, else
        where one's own are. Raises ChainError, StoreUnavailable."""
        if task_id not in self._stores:
            place, sender = announced_stores(self.gateway, task_id), self.gateway.sender
            if place and sender is not None:
                writer = Writer(sender.sign_message, self.gateway.permit_domain, task_id)
                keyring = Keyring(ReadingKey.all_of_home(self._secret))
                self._stores[task_id] = open_store(place, writer).reading_with(keyring)
            else:
                self._stores[task_id] = self.store
        return self._stores[task_id]

    def _admitted(self, case: Case, store: ArtifactStore) -> bool:
        """Whether this juror has the adapters of a private task. Without them it has no opinion."""
        if store.private is None or store.private.enter(givers_of(self.gateway, case.task_id)):
            return True
        publish_reading_key(self.gateway, store, self._secret)
        return False

    def _lets_me_read(self, store: ArtifactStore, to_judge: RoundToJudge) -> bool:
        """Whether trainers have let this juror read all that it has to judge."""
        shown = [(s.transcript_root, s.trainer) for s in to_judge.submissions if s.trainer not in to_judge.withheld]
        if all(store.is_sealed_for_me(root, trainer) for root, trainer in shown if root is not None):
            return True
        publish_reading_key(self.gateway, store, self._secret)
        return False

    def _proposal(self, case: Case) -> SettlementProposal | None:
        """The settlement in dispute with its leaves, as long as it is the posted one."""
        view = self.gateway.tasks.round(case.task_id, case.round)
        return settled_leaves(self.gateway, self._store_of(case.task_id), case.task_id, case.round, view)


def _judged(examiner: Examiner, case: RoundToJudge, seen: Hindsight, between_steps: Callable[[], None]) -> Attestation:
    """What a juror finds: as the settlement says what was not there, but for what two words say was there.

    Raises ArtifactMissing if something that the settlement judged is not there now.
    """
    there = {one for one, read in seen.read_by.items() if examiner.was_read(case, one, read, between_steps)}
    fair = replace(case, withheld=case.withheld - there)
    if seen.scored_by:
        scored = replace(fair, unscored=False)
        found = examiner.examine(scored, may_give_up=False, publish=False, between_steps=between_steps)
        # Who attested just these scores had read the validation set.
        if found is not None and any(attested_alike(examiner.spec, found, one) for one in seen.scored_by):
            return found
    found = examiner.examine(fair, may_give_up=False, publish=False, between_steps=between_steps)
    if found is None:
        what = f"round {case.round} of task {case.task_id}"
        raise ArtifactMissing(what, "not all that its settlement judged is in the store now")
    return found
