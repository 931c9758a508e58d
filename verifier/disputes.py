"""A verifier's part in disputes: answer for its scores, prove wrong settlements, vote in cases, object with a bond."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deltaproof.agent.heavy import Heavy
from deltaproof.agent.loop import Moment
from deltaproof.agent.patience import Patience, each_in_turn, report_delay
from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Case, Demand, DemandKind
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import TaskParams
from deltaproof.chain.admissions import givers_of
from deltaproof.chain.announced import announced_stores
from deltaproof.chain.events.participants import AttestationRevealed
from deltaproof.chain.participation import attempt, read_task, settled_leaves
from deltaproof.chain.reading import publish_reading_key
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.demands import DemandDesk, score_pair
from deltaproof.disputing.desk import Kept, SettlementDesk
from deltaproof.disputing.jury import JuryDesk, vote_salt
from deltaproof.disputing.workdesk import WorkDesk
from deltaproof.errors import (
    UNUSABLE,
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
from deltaproof.protocol.outcome.settlement import SettlementLeaf, SettlementProposal, scores_tree, verdicts_digest
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.permits import Writer
from deltaproof.store.readers import Keyring
from verifier.examining import Examiner
from verifier.facts import RoundToJudge, as_settled, read_case
from verifier.hindsight import receipts_in_time
from verifier.reach import out_of_reach

__all__ = ["VerifierDisputes"]

BUSY = (Phase.OPENING, Phase.ATTEST_COMMIT, Phase.ATTEST_REVEAL)
"""Phases in which the own round comes before somebody else's case."""


OURS = (ChainUnavailable, ChainReorganised, TransactionError, WrongChain, SigningKeyError)
"""What is wrong with the chain or this account, and not with the task that a case is about."""


class VerifierDisputes:
    """Everything of a verifier's life that is a dispute."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        params: TaskParams,
        log: TaskLog,
        secret: HomeSecret,
        report: Reporter,
        *,
        attested: Callable[[RoundIndex], Attestation | None],
        kept: Kept,
        most_attested: Callable[[int], int],
        examiner: Examiner,
        heavy: Callable[[], Heavy],
        speaks_for: Callable[[TaskId], bool],
    ) -> None:
        """`attested` finds what this verifier sealed in a round, `kept` a proposal that is in its home; `most_attested`
        how many bytes anybody's attestation of so many trainers has at most; `heavy` is where long work is done;
        `speaks_for` says about which tasks' settlements it votes: see `Company`."""
        self.gateway, self.store, self.task_id, self.report = gateway, store, task_id, report
        self._log, self._attested, self._heavy, self._speaks_for = log, attested, heavy, speaks_for
        self._secret, self._examiners, self._stores = secret, {task_id: examiner}, {task_id: store}
        self._most_attested = most_attested
        self._values = params.training.parameters
        self._tolerance = params.quorum.score_tolerance_nanos
        self._contested: set[tuple[RoundIndex, int]] = set()
        self._compared: set[tuple[RoundIndex, int, Address]] = set()
        """Whose attestations were compared with which settlement, by round, attempt and verifier."""
        self._opinions: dict[Digest32, bool] = {}
        self._patience: dict[Digest32, Patience] = {}
        """By settlement in dispute."""
        self.settlements = SettlementDesk(gateway, store, task_id, params, log, report, kept=kept)
        self.works = WorkDesk(gateway, store, task_id, params, log, report)
        self.demands = DemandDesk(gateway, task_id, report, self._concerns, self._answer)
        self.jury = JuryDesk(gateway, vote_salt(secret), self._opinion, report, appeals=speaks_for)
        self._now = Phase.IDLE

    @property
    def deadlines(self) -> Sequence[int]:
        """Of demands on this verifier; see `DemandDesk`."""
        return self.demands.deadlines

    def answer_demands(self, moment: Moment) -> None:
        """Show demanded scores and leaves; close the demands that others did not answer."""
        self.demands.mind(moment.now)

    def mind_settlement(self, moment: Moment) -> None:
        """Prove a wrong settlement and slash who signed it; ask for leaves that nobody shows."""
        self.settlements.mind(moment)
        self.settlements.demand_hidden(moment, self._log.sorted_trainers)

    def contest(self, moment: Moment) -> None:
        """Strike attestations that contradict the settlement from the fee, which the others then share. Raises the
        first error about one of them after all others were compared."""
        round_ = moment.view.round
        if moment.view.phase is not Phase.WINDOW or moment.overdue:
            return
        view = self.gateway.tasks.round(self.task_id, round_)
        own, place = self._attested(round_), (round_, view.attempts)
        if own is None or place in self._contested:
            return
        leaves = self.settlements.leaves(round_, view)
        if leaves is None or verdicts_digest(own.leaves()) != view.settlement.verdicts_digest:
            return  # who disagrees has no part in the fee anyway
        self._log.refresh(round_)

        def compare(event: AttestationRevealed) -> None:
            if event.verifier != self.gateway.account and (*place, event.verifier) not in self._compared:
                self._contest(round_, event, leaves)
                self._compared.add((*place, event.verifier))

        each_in_turn(self._log.of(AttestationRevealed, round_), compare)
        self._contested.add(place)

    def _contest(self, round_: RoundIndex, event: AttestationRevealed, leaves: Sequence[SettlementLeaf]) -> None:
        try:
            theirs = self.store.get_attestation(Attestation, event.artifact_digest, self._most_attested(len(leaves)))
        except UNUSABLE:
            return  # what nobody can see can be demanded: `deltaproof dispute demand --score-by`
        attested_leaves = theirs.leaves()
        if scores_tree(attested_leaves).root != event.scores_root or event.verdicts_digest != self._settled(round_):
            return
        if len(attested_leaves) != len(leaves):
            return  # no leaf of it can be shown on chain, where as many count as committed; it, too, can be demanded
        for attested, settled in zip(attested_leaves, leaves, strict=True):
            if abs(attested.score_nanos - settled.score_nanos) <= self._tolerance:
                continue
            pair = score_pair(theirs, leaves, settled.trainer)
            if pair and attempt(self.gateway.verifiers.contest_attestation, self.task_id, pair) is not None:
                self.report("contested", f"round {round_}: {event.verifier} attested another score; it has no fee")
            return

    def _settled(self, round_: RoundIndex) -> Digest32:
        return self.gateway.tasks.round(self.task_id, round_).settlement.verdicts_digest

    def vote(self, moment: Moment) -> None:
        """Do what every open case waits for."""
        self._now = moment.view.phase
        self.jury.mind(moment.now)

    def _concerns(self, demand: Demand) -> bool:
        return demand.kind in (DemandKind.SCORE, DemandKind.LEAF)

    def _answer(self, number: int, demand: Demand) -> Receipt | None:
        if demand.kind is DemandKind.LEAF:
            return self.settlements.answer_leaf(number, demand)
        if demand.respondent != self.gateway.account:
            return None
        view = self.gateway.tasks.round(self.task_id, demand.round)
        own, leaves = self._attested(demand.round), self.settlements.leaves(demand.round, view)
        if own is None or leaves is None:
            return None
        pair = score_pair(own, leaves, demand.subject)
        return None if pair is None else attempt(self.gateway.court.answer_score, number, pair)

    def _opinion(self, case: Case) -> bool | None:
        """Whether the settlement in dispute contradicts what this verifier computes itself; None while it computes, or
        where it cannot: an error about a case is told once, and tried again with growing pauses. Raises `OURS`."""
        known = self._opinions.get(case.settlement)
        if known is not None:
            return known
        name = f"{self.gateway.account}/{case.settlement.hex()}"
        patience = self._patience.setdefault(case.settlement, Patience(name))
        if not patience.ready or not self._speaks_for(case.task_id):
            return None
        try:
            return self._formed(case)
        except OURS:
            raise
        except Exception as error:  # anybody makes a task, and brings a case about it: what is wrong there stays there
            pause = patience.failed()
            if patience.failures == 1:
                what = f"an opinion on round {case.round} of task {case.task_id}"
                report_delay(self.report, what, error, pause, "")
            return None

    def _formed(self, case: Case) -> bool | None:
        own = self._attested(case.round) if case.task_id == self.task_id else None
        if own is None:
            own = self._computed(case)
        if own is None:
            return None
        proposal = self._proposal(case)
        if proposal is None:
            return None
        self._opinions[case.settlement] = self._examiners[case.task_id].contradicts(own, proposal)
        return self._opinions[case.settlement]

    def _computed(self, case: Case) -> Attestation | None:
        """The round in dispute, judged and scored anew from everything that its trainers had to publish.

        Attack: take what verifiers saw out of the store, or let no juror read it, and have jurors call it withheld. Who
        misses what the settlement judged has no opinion. Raises ArtifactMissing then.
        """
        key, heavy = ("vote", case.settlement), self._heavy()
        if self._now in BUSY or heavy.running(key):
            return None
        followed = [self.gateway.tasks.address, self.gateway.trainers.address, self.gateway.verifiers.address]
        log = TaskLog(self.gateway, followed, case.task_id)
        log.refresh(case.round)
        store = self._store_of(case.task_id)
        spec = self._spec_of(case.task_id, store)
        store = store.of_task(spec)
        if not self._admitted(case, store):
            return None
        proposal = self._proposal(case)
        if proposal is None:
            return None
        to_judge = as_settled(read_case(self.gateway, store, log, spec, case.task_id, case.round), proposal)
        if spec.data.sealed and not self._lets_me_read(store, to_judge):
            return None

        read_by = receipts_in_time(self.gateway, store, log, spec, to_judge)

        def compute() -> Attestation:
            examiner = self._examiners.get(case.task_id)
            if examiner is None:
                machine = self._examiners[self.task_id].judges.machine
                examiner = Examiner(spec, store, self.gateway.account, self.report, machine)
                self._examiners[case.task_id] = examiner
            between = heavy.between_steps
            there = {one for one, receipts in read_by.items() if examiner.was_read(to_judge, one, receipts, between)}
            fair = replace(to_judge, withheld=to_judge.withheld - there)
            found = examiner.examine(fair, may_give_up=False, publish=False, between_steps=between)
            if found is None:
                what = f"round {case.round} of task {case.task_id}"
                raise ArtifactMissing(what, "not all that its settlement judged is in the store now")
            return found

        return heavy.result(key, compute)

    def _spec_of(self, task_id: TaskId, store: ArtifactStore) -> TaskSpec:
        """The spec of a task whose rounds this juror can judge. Raises OverLimit for one that asks too much of it."""
        if task_id in self._examiners:
            return self._examiners[task_id].spec
        read = read_task(self.gateway, store, task_id)
        values = read.view.params.training.parameters
        if why := out_of_reach(self._examiners[self.task_id].spec, self._values, read.spec, values):
            raise OverLimit(f"task {task_id} is not judged: {why}; verify a task of its size, or vote by hand")
        return read.spec

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
        shown = [s.transcript_root for s in to_judge.submissions if s.trainer not in to_judge.withheld]
        if all(store.is_sealed_for_me(root) for root in shown if root is not None):
            return True
        publish_reading_key(self.gateway, store, self._secret)
        return False

    def _proposal(self, case: Case) -> SettlementProposal | None:
        """The settlement in dispute with its leaves, as long as it is the posted one."""
        posted = self.gateway.tasks.round(case.task_id, case.round).settlement
        verifiers = self.gateway.verifiers.enrolments(case.task_id)
        return settled_leaves(self._store_of(case.task_id), case.task_id, case.round, posted, verifiers)
