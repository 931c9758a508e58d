"""A relayer's life in one task: bring what trainers handed in, many at once, before their patience ends.

A trainer acts by itself when the last quarter of a phase begins (`trainer.relay`); everything here is done in the half
before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deltaproof.agent.loop import Agent, Duty, Moment
from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.agent.proposals import KeptProposals
from deltaproof.agent.pruning import Pruner
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.abi.structs import BatchReveal, RevealData, RoundView
from deltaproof.chain.batches import batch_entries, place_in_batch
from deltaproof.chain.claims import Tried, claim_base, is_due, settled_claims
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.events.participants import BatchCommitted
from deltaproof.chain.participation import attempt
from deltaproof.chain.rpc.blocks import Depth
from deltaproof.chain.rpc.connection import View
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import ContractRevert
from deltaproof.protocol.types import ZERO_DIGEST, Address, RoundIndex, TaskId
from deltaproof.relaying.desk import Desk
from deltaproof.reporting import Reporter, counted
from deltaproof.store import ArtifactStore
from deltaproof.store.homes import HomeLeaves

__all__ = ["GATHER_SECONDS", "Relayer"]

GATHER_SECONDS = 15.0
"""How long the first commitment or reveal waits for others."""
MOST_IN_A_BATCH = 256
"""`TrainerBatches.MAX_BATCH`."""
SEARCH_SECONDS = 3600
"""Between two searches of the chain for leaves that no store shows, by the chain's clock."""
UNHURRIED = 0.5
"""Share of a phase that is left when nothing waits for others any more."""


class Relayer(Agent):
    """The relayer of one task. It has no stake and no part in the task, and loses gas at most."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        home: Path,
        report: Reporter,
        *,
        gather_seconds: float = GATHER_SECONDS,
        claims: bool = True,
        poll_seconds: float = IDLE_POLL_SECONDS,
        depth: Depth | None = None,
    ) -> None:
        """`claims`: whether it also claims the pay of those whose commitments came in batches."""
        super().__init__(gateway, task_id, report, poll_seconds=poll_seconds, depth=depth)
        self.desk = Desk(gateway, task_id)
        self._gather, self._claims = gather_seconds, claims
        self.phases = gateway.terms.params(task_id).phases
        self.shortest_phase = self.phases.shortest
        self._folder = home / f"task-{task_id}"
        self._log = TaskLog(gateway, [gateway.trainers.address], task_id, self._folder)
        self._past = TaskLog(gateway, [gateway.trainers.address], task_id, self._folder)
        self._admitted = RoundIndex(0)
        self._claimed: set[RoundIndex] = set()
        self._search_at: dict[RoundIndex, int] = {}
        self._leaves = store.also_from(HomeLeaves(home))
        self._pruner = Pruner(gateway, task_id, self._folder, report)
        self._kept = KeptProposals(self._folder, gateway, store, task_id, report, shows=False)

    def join(self) -> None:
        """Nobody has to let a relayer in."""

    def views(self) -> list[View]:
        """What every block is asked: see `Agent.views`."""
        return [*super().views(), self.gateway.trainers.view("progressOf", self.task_id)]

    def duties(self) -> Sequence[Duty]:
        """What a relayer minds."""
        return [
            Duty("desk", self.open_desk),
            Duty("commitments", self.bring_commitments),
            Duty("reveals", self.bring_reveals),
            Duty("leaves", self._kept.mind),
            Duty("claims", self.bring_claims),
            Duty("pruning", self._pruner.mind),
        ]

    def finished(self, moment: Moment) -> bool:
        """Whether the task has ended and its pay was claimed, as far as the contracts let."""
        return moment.ended and (not self._claims or len(self._claimed) >= moment.view.round)

    def open_desk(self, moment: Moment) -> None:
        """Take what the phase calls for, of those who take part in its round."""
        round_ = moment.view.round
        if round_ and self._admitted != round_ and moment.view.phase in (Phase.DRAW, Phase.COMMIT):
            everybody = self.gateway.trainers.enrolments(self.task_id).items()
            members = {who: e.index for who, e in everybody if e.active_from <= round_ <= e.active_until}
            self.desk.look(round_, moment.view.phase)
            self.desk.admit(members)
            self._admitted = round_
        self.desk.look(round_, moment.view.phase)
        if round_ and moment.view.phase is Phase.REVEAL:
            self._log.refresh(round_)
            self.desk.expect({
                who: sealed
                for batch in self._log.of(BatchCommitted, round_)
                for who, sealed in zip(batch.trainers, batch.commitments, strict=True)
            })  # fmt: skip

    def bring_commitments(self, moment: Moment) -> None:
        """Commit for everybody who handed in, when all have or enough time has passed."""
        waiting = self.desk.commitments()
        if moment.view.phase is not Phase.COMMIT or not waiting:
            return
        progress = self.gateway.trainers.progress(self.task_id)
        all_here = progress.committed + len(waiting) >= progress.expected
        if not all_here and not self._is_time(moment, self.phases.commit):
            return
        round_, pool = moment.view.round, self.gateway.trainers
        self.gateway.connection.prefetch([pool.view("hasCommitted", self.task_id, round_, h.trainer) for h in waiting])
        done = [h for h in waiting if pool.has_committed(self.task_id, round_, h.trainer)]
        self.desk.brought(done)  # by themselves, or by another relay
        batch = [h for h in waiting if h not in done][:MOST_IN_A_BATCH]
        if not batch:
            return
        try:
            number, _ = pool.commit_batch(self.task_id, [h.signed for h in batch])
        except ContractRevert as revert:
            if revert.name not in ("WrongPhase", "PhaseClosed"):
                raise
            self.report("late", f"round {round_}: the phase was over before the batch came", round=round_)
            return
        self.desk.brought(batch)
        self.report(
            "batched", f"round {round_}: brought {counted(len(batch), 'commitment')}", round=round_, batch=number
        )

    def bring_reveals(self, moment: Moment) -> None:
        """Reveal for everybody who handed in, batch by batch."""
        if moment.view.phase is not Phase.REVEAL:
            return
        round_ = moment.view.round
        shown = self._log.reveals(round_)
        for batch in self._log.of(BatchCommitted, round_):
            missing = [who for who in batch.trainers if who not in shown]
            handed = self.desk.reveals(missing)
            if not handed or (len(handed) < len(missing) and not self._is_time(moment, self.phases.reveal)):
                continue
            if self._shows(batch, handed):
                text = f"round {round_}: revealed for {len(handed)} of batch {batch.batch_id}"
                self.report("revealed", text, round=round_, batch=batch.batch_id)

    def bring_claims(self, moment: Moment) -> None:
        """Claim once for each trainer whose commitment came in a batch; what is refused stays theirs to claim."""
        rounds = [RoundIndex(n) for n in range(1, moment.view.round + 1) if n not in self._claimed]
        if not self._claims or not rounds:
            return
        for round_ in rounds:
            view = self.gateway.tasks.round(self.task_id, round_)
            if not view.ended_at:
                return
            self._past.refresh(round_)
            clients = [who for batch in self._past.of(BatchCommitted, round_) for who in batch.trainers]
            if view.outcome != Outcome.SETTLED:
                over, paid = True, self._claim_bases(round_, clients)
            else:
                claims, complete = self._claims_of(round_, view, clients, moment)
                tried = Tried[Claim]()
                tried.one_by_one([c for c in claims.values() if is_due(self.gateway, c)], self.gateway.vault.claim)
                paid = len(tried.done)
                over = complete or moment.now >= self.gateway.vault.pot(self.task_id, round_).expires_at
            if over:  # else nobody has shown all leaves yet
                self._claimed.add(round_)
            if paid:
                self.report("paid", f"round {round_}: claimed for {counted(paid, 'trainer')}", round=round_)

    def _claim_bases(self, round_: RoundIndex, clients: Sequence[Address]) -> int:
        """How many of the clients were paid the base.

        Attack: be a trainer whom the reward token refuses, so that nobody's pay is claimed after one's own.
        """
        tried = Tried[Address]()
        tried.one_by_one(clients, lambda who: claim_base(self.gateway, self.task_id, round_, who) or None)
        return len(tried.done)

    def _claims_of(
        self, round_: RoundIndex, view: RoundView, clients: Sequence[Address], moment: Moment
    ) -> tuple[dict[Address, Claim], bool]:
        """The clients' claims, and whether these are all: from home and store, now and then from answers on chain."""
        search = moment.now >= self._search_at.get(round_, 0)
        place = (self.gateway, self._leaves, self.task_id, round_, view, clients, self._folder)
        claims, complete = settled_claims(*place, search=search)
        if search and not complete:
            self._search_at[round_] = moment.now + SEARCH_SECONDS
        return claims, complete

    def _is_time(self, moment: Moment, phase_seconds: int) -> bool:
        hurry = moment.seconds_left <= UNHURRIED * phase_seconds
        return hurry or self.desk.waited_seconds() >= self._gather

    def _shows(self, batch: BatchCommitted, handed: Mapping[Address, RevealData]) -> bool:
        pool = self.gateway.trainers
        if len(handed) == 1:
            ((who, data),) = handed.items()
            ref = place_in_batch(self.gateway, self.task_id, who, batch)
            return attempt(pool.reveal_from_batch, self.task_id, who, data, ref) is not None
        entries = []
        for index, who, sealed in batch_entries(self.gateway, self.task_id, batch):
            data = handed.get(who) or RevealData(ZERO_DIGEST, sealed, ZERO_DIGEST)
            entries.append(BatchReveal(index, who, data.delta_digest, data.transcript_root, data.salt))
        return attempt(pool.reveal_batch, self.task_id, batch.batch_id, entries) is not None
