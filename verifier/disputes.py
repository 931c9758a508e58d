"""A verifier's part in disputes: answer for its scores, prove wrong settlements, vote in cases, object with a bond."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deltaproof.agent.heavy import Heavy
from deltaproof.agent.loop import Moment
from deltaproof.agent.patience import each_in_turn
from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Demand, DemandKind
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import TaskParams
from deltaproof.chain.events.participants import AttestationRevealed
from deltaproof.chain.participation import attempt
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.demands import DemandDesk, score_pair
from deltaproof.disputing.desk import Kept, SettlementDesk
from deltaproof.disputing.jury import JuryDesk, vote_salt
from deltaproof.disputing.spending import own_pay
from deltaproof.disputing.workdesk import WorkDesk
from deltaproof.errors import (
    UNUSABLE,
)
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementLeaf, scores_tree, verdicts_digest
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore
from verifier.examining import Examiner
from verifier.opinions import Opinions

__all__ = ["VerifierDisputes"]


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
        self._log, self._attested, self._most_attested = log, attested, most_attested
        self._tolerance = params.quorum.score_tolerance_nanos
        self._contested: set[tuple[RoundIndex, int]] = set()
        self._compared: set[tuple[RoundIndex, int, Address]] = set()
        """Whose attestations were compared with which settlement, by round, attempt and verifier."""
        self.settlements = SettlementDesk(
            gateway, store, task_id, params, log, report, kept=kept,
            spend=lambda round_: own_pay(gateway, task_id, params, Role.VERIFIER, round_),
        )  # fmt: skip
        self._examiner = examiner
        self.works = WorkDesk(gateway, store, task_id, params, log, report, replayed=self._has_replayed)
        self.demands = DemandDesk(gateway, task_id, report, self._concerns, self._answer)
        self.opinions = Opinions(
            gateway, store, task_id, params, secret, report,
            attested=attested, examiner=examiner, heavy=heavy, speaks_for=speaks_for,
        )  # fmt: skip
        self.jury = JuryDesk(gateway, vote_salt(secret), self.opinions.of, report, appeals=speaks_for)

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

    def _has_replayed(self, trainer: Address, transcript_root: Digest32) -> bool | None:
        return self._examiner.look.replayed(trainer, transcript_root)

    def vote(self, moment: Moment) -> None:
        """Do what every open case waits for."""
        self.opinions.look(moment.view.phase)
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
