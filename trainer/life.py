"""A trainer's round, read top-down: one method for each phase, named as the phase is.

All that must survive a crash is the home's secret and the transcripts; everything else is on chain. So a trainer that
comes back looks where the task is and goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome, Phase, Role
from deltaproof.chain.abi.structs import RevealData, TrainerEnrolment
from deltaproof.chain.claims import claim_base, claim_reward
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.chain.memory import memory_root
from deltaproof.chain.money import Money
from deltaproof.chain.participation import (
    attempt,
    lock_stake,
    quorum_members,
    read_task,
    settled_leaves,
)
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import ChainError
from deltaproof.protocol.commit.commitments import commitment_hash
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.evidence.transcript import StepRecord
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.spec import DataSection
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, RoundIndex, TaskId, TokenAmount, address_bytes
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore, open_store
from deltaproof.tuning.codecs import EncodedDelta
from deltaproof.tuning.emulators.fetching import fetch_emulators
from deltaproof.tuning.training.federation import as_held_by
from deltaproof.tuning.training.optimizers import constants_root
from deltaproof.tuning.training.recording import TrainedRound
from deltaproof.tuning.training.step import DrawnRound, RoundContext
from deltaproof.tuning.training.workbench import Workbench
from trainer.conduct import Conduct, RoundWork

__all__ = ["Trainer"]


class Trainer:
    """One trainer in one task."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        rows: tuple[bytes, ...],
        home: Path,
        conduct: Conduct,
        report: Reporter,
        *,
        top_up: bool = False,
        checkpointing: bool = False,
        poll_seconds: float = 0.5,
    ) -> None:
        """`rows` are the shard's canonical rows. With `top_up` a slashed stake is filled up to go on;
        `checkpointing` trains the same bits in less memory."""
        self.gateway, self.store, self.task_id, self.home = gateway, store, task_id, home
        self.conduct, self.report, self.top_up, self.poll_seconds = conduct, report, top_up, poll_seconds
        self.account = gateway.account
        self.secret = HomeSecret.of(home)
        terms = read_task(gateway, store, task_id)
        self.params, self.spec = terms.view.params, terms.spec
        self.shard = _shard(rows, self.secret.derive("rows", *(_number(task_id),)), self.spec.data)
        report("loading", "loading the model")
        fetch_emulators(store, self.spec, self.account)
        self.bench = Workbench.from_spec(as_held_by(self.spec, self.account), checkpointing=checkpointing)
        self._check_terms()
        self.money = Money(gateway.token(self.params.token))
        self.log = TaskLog(gateway.connection, [gateway.trainers.address], task_id)
        self._memories = open_store(str(home / f"task-{task_id}" / "memory"))
        self._deltas: dict[RoundIndex, EncodedDelta] = {}
        self._trained: dict[RoundIndex, TrainedRound] = {}
        self._collected: set[RoundIndex] = set()

    def live(self) -> None:
        """Take part until the task has ended and everything earned is claimed."""
        self.join()
        while not self.finished():
            view = self.gateway.tasks.phase(self.task_id)
            match view.phase:
                case Phase.COMMIT:
                    self.commit(view.round)
                case Phase.REVEAL:
                    self.reveal(view.round)
                case Phase.OPENING:
                    self.opening(view.round)
                case _:
                    self.collect(view.round)
            time.sleep(self.poll_seconds)
        self.report("done", "the task has ended")

    def join(self) -> None:
        """Stake and enrol the shard, once."""
        enrolment = self._enrolment()
        if enrolment.index == 0:
            lock_stake(self.gateway, Role.TRAINER, self.params.stakes.trainer_stake)
            self.gateway.trainers.enrol(self.task_id, self.shard.root, len(self.shard.rows))
            self.report("joined", f"enrolled {len(self.shard.rows)} rows", data_root=self.shard.root)
        elif enrolment.data_root != self.shard.root:
            raise ChainError(
                f"{self.account} is enrolled in task {self.task_id} with other data; "
                "go on with the same --data and --home as before"
            )

    def commit(self, round_: RoundIndex) -> None:
        """Train all steps and seal the result."""
        if not self._may_act(round_) or self.gateway.trainers.has_committed(self.task_id, round_, self.account):
            return
        trained = self._train(round_)
        data = self._reveal_data(round_, trained)
        sealed = commitment_hash(
            self.gateway.domain(self.task_id, round_), self.account, data.delta_digest, data.transcript_root, data.salt
        )
        if attempt(self.gateway.trainers.commit, self.task_id, sealed) is None:
            self.report("late", f"round {round_}: training took longer than the commit phase")
        else:
            self.report("committed", f"round {round_}: committed", round=round_, commitment=sealed)

    def reveal(self, round_: RoundIndex) -> None:
        """Publish the delta and open the commitment."""
        done = self.gateway.trainers.work(self.task_id, round_, self.account)
        if not done.committed or done.revealed:
            return
        trained = self._train(round_)
        if delta := self._encoded(round_, trained):
            self.store.put_blob(delta.data)
        else:
            self.store.put_tensors(trained.theta)
        if attempt(self.gateway.trainers.reveal, self.task_id, self._reveal_data(round_, trained)) is not None:
            self.report("revealed", f"round {round_}: revealed", round=round_)

    def opening(self, round_: RoundIndex) -> None:
        """Publish the steps that the challenge drew."""
        done = self.gateway.trainers.work(self.task_id, round_, self.account)
        if not done.revealed or done.opened:
            return
        steps = self._drawn_steps(round_)
        trained = self._train(round_)
        if (memory := self._memory(self._work(round_).context)) is not None:
            self.store.put_tensors(memory)
        for opening in self.conduct.open(self._work(round_), steps):
            self.store.put_opening(trained.transcript_root, opening)
        if attempt(self.gateway.trainers.openings_published, self.task_id) is not None:
            self.report("opened", f"round {round_}: opened steps {', '.join(map(str, steps))}", round=round_)

    def collect(self, last_round: RoundIndex) -> None:
        """Claim the pay of every round that has ended; mind the stake."""
        for number in range(1, last_round + 1):
            round_ = RoundIndex(number)
            if round_ not in self._collected and self._settle_accounts(round_):
                self._collected.add(round_)
        if self.top_up and self._stopped():
            lock_stake(self.gateway, Role.TRAINER, self._missing_stake())
            if attempt(self.gateway.trainers.top_up, self.task_id) is not None:
                self.report("topped-up", "filled the slashed stake up")

    def finished(self) -> bool:
        """Whether nothing is left to do: all ended rounds are collected, and none will follow for this trainer."""
        last = self.gateway.tasks.phase(self.task_id).round
        if len(self._collected) < last or (last == 0 and not self.gateway.tasks.is_ended(self.task_id)):
            return False
        if self.gateway.tasks.is_ended(self.task_id):
            return True
        if self._stopped() and not self.top_up:
            self.report("stopped", "the stake fell below the task's minimum: --top-up goes on")
            return True
        return False

    # Below: how the phases do it.

    def _train(self, round_: RoundIndex) -> TrainedRound:
        """Train, or find what was trained before a restart."""
        if round_ not in self._trained:
            steps = self.spec.training.steps
            self.report("training", f"round {round_}: training", round=round_)

            def progress(record: StepRecord) -> None:
                message = f"round {round_}: step {record.step + 1}/{steps}, loss {record.loss:.3f}"
                self.report("trained-step", message, round=round_, step=record.step, loss=record.loss)

            self._trained[round_] = self.conduct.train(self._work(round_), progress)
        return self._trained[round_]

    def _work(self, round_: RoundIndex) -> RoundWork:
        view = self.gateway.tasks.round(self.task_id, round_)
        drawn = DrawnRound(self.task_id, round_, view.order_seed, view.start_digest)
        context = drawn.with_shard(address_bytes(self.account), self.shard, self._error_root(round_))
        start = self.store.get_tensors(view.start_digest, self.bench.layout.size)
        return RoundWork(self.bench, context, start, self.shard, self.home / f"task-{self.task_id}" / f"round-{round_}")

    def _reveal_data(self, round_: RoundIndex, trained: TrainedRound) -> RevealData:
        delta = self._encoded(round_, trained)
        digest = delta.digest if delta else trained.theta_digest
        salt = self.secret.derive(
            "commitment salt", _number(self.task_id), _number(round_), digest, trained.transcript_root
        )
        return RevealData(digest, trained.transcript_root, salt)

    def _encoded(self, round_: RoundIndex, trained: TrainedRound) -> EncodedDelta | None:
        """What travels; None under the codec `float32`, where the adapter itself does. Keeps the memory for later."""
        if self.bench.codec.plain:
            return None
        if round_ not in self._deltas:
            work = self._work(round_)
            memory, key = self._memory(work.context), work.context.key
            delta = self.bench.codec.encode(work.start, trained.theta, memory, key)
            if delta.memory is not None:
                self._memories.put_tensors(delta.memory)
            self._deltas[round_] = delta
        return self._deltas[round_]

    def _memory(self, context: RoundContext) -> Vector | None:
        """What earlier deltas lost and this round feeds back. Raises ArtifactError if the home has lost it."""
        if context.error_root == ZERO_DIGEST:
            return None
        return self._memories.get_tensors(Digest32(context.error_root), self.bench.layout.size)

    def _error_root(self, round_: RoundIndex) -> Digest32:
        if self.bench.codec.plain:
            return ZERO_DIGEST
        self.log.refresh()
        root = memory_root(self.gateway, self.store, self.log, self.spec, self.task_id, round_, self.account)
        if root is None:
            raise ChainError(f"the store has lost the delta of round {round_ - 1}, which round {round_} goes on from")
        return root

    def _drawn_steps(self, round_: RoundIndex) -> list[int]:
        seed = self.gateway.tasks.round(self.task_id, round_).challenge_seed
        drawn = draw_samples(
            seed, self.task_id, round_, self.account, quorum_members(self.gateway, self.task_id, round_),
            steps=self.spec.training.steps, extra=self.spec.verification.samples,
        )  # fmt: skip
        return sorted({step for steps in drawn.values() for step in steps})

    def _settle_accounts(self, round_: RoundIndex) -> bool:
        """Claim one ended round; True when nothing more can come of it."""
        view = self.gateway.tasks.round(self.task_id, round_)
        if not view.ended_at:
            return False
        if view.outcome != Outcome.SETTLED:
            self.report("ended", f"round {round_}: ended without a settlement ({view.outcome.name.lower()})")
            if base := claim_base(self.gateway, self.task_id, round_, self.account):
                message = f"round {round_}: paid the base of {self.money.text(base)}"
                self.report("paid", message, round=round_, payout=str(base))
            return True
        verifiers = self.gateway.verifiers.enrolments(self.task_id)
        proposal = settled_leaves(self.store, self.task_id, round_, view.settlement, verifiers)
        if proposal is None:
            raise ChainError(f"round {round_} is settled, but no verifier has published the leaves of its settlement")
        leaf = next((leaf for leaf in proposal.leaves if leaf.trainer == self.account), None)
        if leaf is None:
            return True
        verdict, closure = leaf.verdict.name.lower(), self.gateway.vault.closure(self.task_id, round_, self.account)
        if closure.blocked:
            self.report("blocked", f"round {round_}: not paid, a fault of this work was shown on chain", round=round_)
        elif closure.holds:
            self.report("held", f"round {round_}: the pay waits for {closure.holds} demanded openings", round=round_)
            return False
        elif leaf.verdict != Verdict.ACCEPTED:
            self.report("refused", f"round {round_}: {verdict}", round=round_, verdict=verdict)
        elif not leaf.payout:
            self.report("unpaid", f"round {round_}: accepted, worth nothing", round=round_)
        else:
            now = claim_reward(self.gateway, self.task_id, round_, proposal.leaves, self.account)
            message = f"round {round_}: paid {self.money.text(leaf.payout)}{'' if now else ', claimed before'}"
            self.report("paid", message, round=round_, payout=str(leaf.payout))
        return True

    def _may_act(self, round_: RoundIndex) -> bool:
        enrolment = self._enrolment()
        return enrolment.active_from <= round_ <= enrolment.active_until

    def _stopped(self) -> bool:
        return self._enrolment().stake < self.params.stakes.trainer_stake

    def _missing_stake(self) -> TokenAmount:
        return TokenAmount(self.params.stakes.trainer_stake - self._enrolment().stake)

    def _enrolment(self) -> TrainerEnrolment:
        return self.gateway.trainers.enrolment(self.task_id, self.account)

    def _check_terms(self) -> None:
        """A contract that pays by other terms than the spec says is not worth working for."""
        expected = task_params(
            self.spec,
            token=self.params.token,
            parameters=self.bench.layout.size,
            constants_root=constants_root(self.bench.constants),
        )
        if expected != self.params:
            raise ChainError(f"task {self.task_id} on chain does not follow from its own spec; keep away from it")


def _shard(rows: tuple[bytes, ...], secret: Digest32, data: DataSection) -> Shard:
    """The rows under salts of their owner's, or, where the task names the shards, under the public ones.

    Raises ChainError if the task names roots and this shard's is not among them: it could earn nothing.
    """
    if not data.roots:
        return Shard(rows, secret)
    for shard in (Shard(rows, PUBLIC_SALTS), Shard(rows, secret)):
        if shard.root in data.roots:
            return shard
    raise ChainError(
        f"the task takes only data that its sponsor named, and these {len(rows)} rows are none of its "
        f"{len(data.roots)} shards; pass one of them, unchanged, as --data"
    )


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")
