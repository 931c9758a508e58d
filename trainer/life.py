"""A trainer's round, read top-down: one method for each phase, named as the phase is.

All that must survive a crash is the home's secret and the transcripts; everything else is on chain. So a trainer that
comes back looks where the task is and goes on. Work belongs to the seeds that it was done for: what a reorganisation
takes away is done anew beside it, and found again if the old seed comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deltaproof.agent.homes import task_folder
from deltaproof.agent.loop import Agent, Duty, Moment
from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.agent.pruning import Pruner
from deltaproof.agent.terms import kept_task
from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Demand, DemandKind
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import RevealData
from deltaproof.chain.admissions import AdmissionDesk, Entrance
from deltaproof.chain.batches import place_in_batch
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.chain.events.participants import BatchCommitted
from deltaproof.chain.memory import memory_roots
from deltaproof.chain.participation import (
    attempt,
    lacking_stake,
    lock_stake,
    require_going_on,
)
from deltaproof.chain.reading import publish_reading_key
from deltaproof.chain.rpc.blocks import Depth
from deltaproof.chain.rpc.connection import View
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.demands import DemandDesk, demandable_until
from deltaproof.disputing.desk import SettlementDesk
from deltaproof.disputing.spending import own_pay
from deltaproof.errors import ChainError, ChainUnavailable, ContractRevert, TaskRefused
from deltaproof.protocol.commit.commitments import commitment_hash
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, TokenAmount
from deltaproof.reporting import Once, Reporter, counted, moment_text
from deltaproof.store import ArtifactStore
from deltaproof.store.readers import Keyring
from deltaproof.tuning.emulators.fetching import fetch_models
from deltaproof.tuning.training.optimizers import constants_root
from deltaproof.tuning.training.step import RoundContext
from trainer.closing import Accounts
from trainer.conduct import Conduct
from trainer.data import check_rows, enrolled_shard, shard_secret
from trainer.keeping import KeptClaims
from trainer.readers import ReaderDesk
from trainer.relay import Relay
from trainer.seat import TrainerSeat
from trainer.workshop import Done, Workshop

__all__ = ["Trainer"]


class Trainer(Agent):
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
        device: str = "cpu",
        relay: str = "",
        any_quorum: bool = False,
        poll_seconds: float = IDLE_POLL_SECONDS,
        depth: Depth | None = None,
    ) -> None:
        """`rows` are the shard's canonical rows. With `top_up` a slashed stake is filled up to go on;
        `checkpointing` trains the same bits in less memory. `relay`: URL of who brings commitments and reveals for
        free. With `any_quorum` it works also where verifiers of less than half of the enrolled stake judge."""
        super().__init__(gateway, task_id, report, poll_seconds=poll_seconds, depth=depth)
        self.home, self.top_up = home, top_up
        self.secret = HomeSecret.of(home)
        terms = kept_task(gateway, store, task_id, home)
        self.params, self.spec = terms.view.params, terms.spec
        keyring = Keyring(ReadingKey.all_of_home(self.secret))
        self.store = store = store.reading_with(keyring).of_task(self.spec)
        self.entrance = Entrance(gateway, store, task_id, report)
        self.admissions = AdmissionDesk(gateway, store, task_id, self.spec, report)
        self.money = gateway.money(self.params.token)
        self.stake_money = gateway.money(gateway.registry.token())
        self.seat = TrainerSeat(
            gateway, task_id, self.account, self.params, self.stake_money, report, any_quorum=any_quorum
        )
        self.shortest_phase = self.params.phases.shortest
        folder = task_folder(home, gateway, task_id)
        self.pruner = Pruner(gateway, task_id, folder, report)
        self.shard = enrolled_shard(rows, shard_secret(self.secret, task_id), self.spec)
        if not self.joined():
            require_going_on(gateway, task_id)
            lacking_stake(gateway, Role.TRAINER, self.params.stakes.trainer_stake)  # told before minutes of loading
        report("loading", "loading the model")
        fetch_models(store, self.spec, self.account, report)
        self.workshop = Workshop(
            self.spec, self.account, self.shard, store, folder, conduct, report,
            checkpointing=checkpointing, device=device,
        )  # fmt: skip
        self._check_terms()
        check_rows(self.workshop.bench, rows)
        self.claims = KeptClaims(folder, gateway, store, task_id, report)
        self.accounts = Accounts(gateway, store, task_id, self.money, self.claims, report)
        self.accounts.left_to_others = self._is_claimed_by_relay
        self.relay = Relay(relay, gateway, task_id, folder, report) if relay else None
        self.log = TaskLog(gateway, [gateway.trainers.address], task_id, folder)
        self.desk = DemandDesk(gateway, task_id, report, self._asks_me, self._answer)
        posted = TaskLog(gateway, [gateway.tasks.address], task_id, folder)
        self.settlements = SettlementDesk(gateway, store, task_id, self.params, posted, report, spend=self._pay)
        self.readers = ReaderDesk(gateway, store, task_id, self.spec, self.secret, report, self.admissions)
        self._key_is_shown = False
        self._done: dict[RoundIndex, Done] = {}
        self._published: dict[RoundIndex, Digest32] = {}
        """The challenge seed whose steps are in the store, by round."""
        self._once = Once(report)

    def duties(self) -> Sequence[Duty]:
        """What a trainer minds."""
        bond, stake = self.stake_money.text(self.params.stakes.commit_bond), "a share of the stake"

        def at_stake(moment: Moment) -> str:
            lost = {Phase.COMMIT: "this round's pay", Phase.REVEAL: f"the commit bond, {bond}", Phase.OPENING: stake}
            return lost.get(moment.view.phase, "")

        def demanded(moment: Moment) -> str:
            left = [deadline - moment.now for deadline in self.desk.deadlines]
            return f"{stake} unless a demand is answered within {min(left)} s" if left else ""

        return [
            Duty("answers", self.answer_demands, demanded),
            Duty("pruning", self.pruner.mind),
            Duty("reading key", lambda moment: self.show_reading_key()),
            Duty("round", self.play, at_stake),
            Duty("readers", lambda moment: self.readers.admit_jurors(self._transcript)),
            Duty("admissions", lambda moment: self.admissions.mind()),
            Duty("settlement", self.mind_settlement),
            Duty("pay", self.claims.mind),
            Duty("claims", lambda moment: self.collect(moment.view.round)),
            Duty("stake", lambda moment: self.mind_stake()),
        ]

    def answer_demands(self, moment: Moment) -> None:
        """Show on chain what anybody demands of the committed work, also between two steps of training.

        Attack: take the store away, or lose what an answer needs. So answers come from chain and home alone.
        """
        self.desk.mind(moment.now)

    def mind_settlement(self, moment: Moment) -> None:
        """Prove a wrong settlement, which is paid out of this trainer's part; demand the leaves of a hidden one."""
        self.settlements.mind(moment)
        if moment.view.round and self.gateway.trainers.work(self.task_id, moment.view.round, self.account).revealed:
            self.settlements.demand_hidden(moment, self._committed)

    def play(self, moment: Moment) -> None:
        """What the phase asks for; nothing before somebody has admitted this trainer to a private task."""
        round_ = moment.view.round
        if not self.entrance.is_open():
            return
        match moment.view.phase:
            case Phase.COMMIT:
                self.commit(round_)
            case Phase.REVEAL:
                self.reveal(round_)
            case Phase.OPENING | Phase.ATTEST_COMMIT:
                self.opening(round_)

    def join(self) -> None:
        """Stake and enrol the shard, once."""
        enrolment = self.seat.enrolment
        if enrolment.index == 0:
            self.seat.require_judges()
            self.seat.require_room()
            self.disk.require_ever(self.workshop.bytes_of_a_round(), "training a round of this task")
            lock_stake(self.gateway, Role.TRAINER, self.params.stakes.trainer_stake)
            self.show_reading_key()
            self.gateway.trainers.enrol(self.task_id, self.shard.root, len(self.shard.rows))
            self.report("joined", f"enrolled {counted(len(self.shard.rows), 'row')}", data_root=self.shard.root)
        elif enrolment.data_root != self.shard.root:
            raise TaskRefused(
                f"{self.account} is enrolled in task {self.task_id} with other data; "
                "go on with the same --data and --home as before"
            )

    def show_reading_key(self) -> None:
        """In a private task, say for which key others have to seal its adapters: in each process once."""
        if self.store.private is not None and not self._key_is_shown:
            publish_reading_key(self.gateway, self.store, self.secret)
            self._key_is_shown = True

    def joined(self) -> bool:
        """See `Agent`."""
        return self.seat.enrolment.index != 0

    def commit(self, round_: RoundIndex) -> None:
        """Train all steps and seal the result."""
        if not self.seat.may_act(round_) or self.gateway.trainers.has_committed(self.task_id, round_, self.account):
            return
        if not self.seat.is_well_judged(round_):
            return
        self._settle_bond(round_)
        done = self._work_of(round_)
        if done is None:
            return
        sealed, seconds = self._commitment(round_, done), self.params.phases.commit
        if self.relay and self._known and self.relay.leaves_commitment(self._known, seconds, sealed):
            return
        try:
            receipt = attempt(self.gateway.trainers.commit, self.task_id, sealed)
        except ContractRevert as revert:
            if revert.name != "AlreadyCommitted":
                raise
            return  # a relay was faster
        if receipt is None:
            self._once("late", f"round {round_}: training took longer than the commit phase", round=round_)
        else:
            self.report("committed", f"round {round_}: committed", round=round_, commitment=sealed)

    def reveal(self, round_: RoundIndex) -> None:
        """Publish the delta and open the commitment."""
        on_chain = self.gateway.trainers.work(self.task_id, round_, self.account)
        if not on_chain.committed or on_chain.revealed:
            return
        done = self._work_of(round_)
        if done is None:
            return
        batch = self._batch_of(round_) if on_chain.commitment == ZERO_DIGEST else None
        committed = on_chain.commitment
        if batch is not None:
            committed = batch.commitments[batch.trainers.index(self.account)]
        elif committed == ZERO_DIGEST:
            raise ChainUnavailable(f"the node does not show the batch of round {round_} that holds the commitment")
        if committed != self._commitment(round_, done):
            # Revealing work for another order would be judged as wrong work: the bond is less than the stake.
            self._once("stranded", f"round {round_}: not revealed: a reorganisation changed the batch order after the "
                       "commitment; the bond is lost, the stake is not", round=round_)  # fmt: skip
            return
        self.workshop.publish(done)
        if self._revealed(batch, self._reveal_data(round_, done)):
            self.report("revealed", f"round {round_}: revealed", round=round_)

    def opening(self, round_: RoundIndex) -> None:
        """Publish the steps that the challenge drew."""
        on_chain = self.gateway.trainers.work(self.task_id, round_, self.account)
        seed = self.gateway.tasks.round(self.task_id, round_).challenge_seed
        if not on_chain.revealed or seed == ZERO_DIGEST:
            return
        done = self._work_of(round_)
        if done is None:
            return
        if self._published.get(round_) != seed:
            if self.heavy.running(("open", seed)):
                return
            context, drawn = self.context(round_), self._drawn_steps(round_, seed)
            between = self.heavy.between_steps
            secret = self.readers.secret(done.trained.transcript_root)
            steps = self.heavy.result(("open", seed), lambda: self.workshop.open(context, done, drawn, between, secret))
            if steps is None:
                return
            self._published[round_] = seed
            shown = ", ".join(map(str, steps))
            self.report("published", f"round {round_}: steps {shown} are in the store", round=round_)
        self.readers.admit(round_, done.trained.transcript_root)
        if not on_chain.opened and attempt(self.gateway.trainers.openings_published, self.task_id) is not None:
            self.report("opened", f"round {round_}: opened what the challenge drew", round=round_)

    def collect(self, last_round: RoundIndex) -> None:
        """Claim the pay of every round that has ended. Raises the first error after all rounds were tried."""
        self.accounts.settle(last_round)

    def mind_stake(self) -> None:
        """With `--top-up`, fill a stake up that a penalty has reduced, and take a seat again that was lost."""
        if self.top_up:
            self.seat.take_again()

    def finished(self, moment: Moment) -> bool:
        """Whether nothing is left to do: all ended rounds are collected, none will follow for this trainer, and nothing
        of them can be demanded any more."""
        last = moment.view.round
        if len(self.accounts.closed) < last or (last == 0 and not moment.ended):
            return False
        stopped = self.seat.has_stopped() and not self.top_up
        if not (moment.ended or stopped) or self._has_to_answer(moment):
            return False
        if not moment.ended:
            self.report("stopped", "the stake fell below the task's minimum, or another has the seat: --top-up goes on")
            self.farewell = "the task goes on without this trainer"
        return True

    def _has_to_answer(self, moment: Moment) -> bool:
        """Whether stake is left to lose for a demand that was made, or may yet be made, about an ended round."""
        if not self.seat.enrolment.stake:
            return False
        if self.desk.deadlines:
            return True
        for number in range(moment.view.round, 0, -1):
            round_ = RoundIndex(number)
            until = demandable_until(self.gateway, self.task_id, round_)
            if until <= moment.block.timestamp:
                return False  # also of those before it, which ended earlier
            if self.gateway.trainers.has_committed(self.task_id, round_, self.account):
                day = moment_text(until)
                message = (
                    f"stays until {day}: openings of round {round_} can be demanded until then, and the stake pays for "
                    "one that is not shown; Ctrl-C is at your own risk"
                )
                self._once("answering", message, round=round_)
                return True
        return False

    def views(self) -> list[View]:
        """What every block is asked: see `Agent.views`."""
        asked = [
            *super().views(),
            self.gateway.trainers.view("enrolmentOf", self.task_id, self.account),
            self.gateway.court.view("demandCount"),
        ]
        if self.spec.data.sealed:
            asked.append(self.gateway.jury.view("caseCount"))
        if self._known is not None and (last := self._known.view.round):
            asked.append(self.gateway.tasks.view("roundOf", self.task_id, last))
            asked.append(self.gateway.trainers.view("hasCommitted", self.task_id, last, self.account))
            asked += [self.gateway.court.view("params"), self.gateway.terms.view("paramsOf", self.task_id)]
        return asked

    # Below: how the phases do it.

    def _revealed(self, batch: BatchCommitted | None, data: RevealData) -> bool:
        """Open the commitment; whether that was done here and now."""
        pool = self.gateway.trainers
        if batch is None:
            return attempt(pool.reveal, self.task_id, data) is not None
        if self.relay and self._known and self.relay.leaves_reveal(self._known, self.params.phases.reveal, data):
            return False
        place = place_in_batch(self.gateway, self.task_id, self.account, batch)
        return attempt(pool.reveal_from_batch, self.task_id, self.account, data, place) is not None

    def _batch_of(self, round_: RoundIndex) -> BatchCommitted | None:
        """The relayed batch that holds this trainer's commitment of a round, if one does."""
        self.log.refresh(round_)
        return next((batch for batch in self.log.of(BatchCommitted, round_) if self.account in batch.trainers), None)

    def _is_claimed_by_relay(self, round_: RoundIndex, ended_at: int) -> bool:
        """Whether the pay of a round that a relay brought is left to it for now."""
        if self.relay is None or self._known is None or not self.relay.leaves_claim(ended_at, self._known.now):
            return False
        return self._batch_of(round_) is not None

    def _committed(self, round_: RoundIndex) -> Sequence[Address]:
        self.log.refresh(round_)
        return self.log.sorted_trainers(round_)

    def _transcript(self, round_: RoundIndex) -> Digest32 | None:
        """The root of the transcript that this trainer revealed in a round, if it did."""
        self.log.refresh(round_)
        revealed = self.log.reveals(round_).get(self.account)
        return revealed.transcript_root if revealed else None

    def _pay(self, round_: RoundIndex) -> TokenAmount:
        return own_pay(self.gateway, self.task_id, self.params, Role.TRAINER, round_)

    def _asks_me(self, demand: Demand) -> bool:
        return demand.kind is DemandKind.OPENING and demand.respondent == self.account

    def _answer(self, number: int, demand: Demand) -> Receipt | None:
        context = self.context(demand.round)
        place = (demand.step, demand.component, demand.chunk)
        opening = self.heavy.urgent(lambda: self.workshop.chunk(context, *place))
        return attempt(self.gateway.court.answer_opening, number, opening)

    def context(self, round_: RoundIndex) -> RoundContext:
        """The round as training knows it, from one block."""
        view = self.gateway.tasks.round(self.task_id, round_)
        if not self.workshop.bench.codec.plain and (root := self._transcript(round_)) is not None:
            revealed = self.workshop.trained_context(self.task_id, round_, view, root)
            if revealed is not None:
                return revealed
        return self.workshop.context(self.task_id, round_, view, self._error_root(round_))

    def _work_of(self, round_: RoundIndex) -> Done | None:
        """Train, or find what was trained before a restart; None while that goes on or no order is drawn."""
        seed = self.gateway.tasks.round(self.task_id, round_).order_seed
        if seed == ZERO_DIGEST:
            return None
        done = self._done.get(round_)
        if self.heavy.running(("train", round_, seed)):
            return None
        if done is None or done.order_seed != seed:
            context, between = self.context(round_), self.heavy.between_steps
            done = self.heavy.result(("train", round_, seed), lambda: self._trained(context, between))
            if done is not None:
                self._done = {round_: done}
        return done

    def _trained(self, context: RoundContext, between_steps: Callable[[], None]) -> Done:
        self.disk.require(self.workshop.missing_bytes(context), f"training round {context.round}")
        return self.workshop.train(context, between_steps, self.seconds_left)

    def _commitment(self, round_: RoundIndex, done: Done) -> Digest32:
        data = self._reveal_data(round_, done)
        return commitment_hash(
            self.gateway.domain(self.task_id, round_), self.account, data.delta_digest, data.transcript_root, data.salt
        )

    def _reveal_data(self, round_: RoundIndex, done: Done) -> RevealData:
        digest, root = done.delta_digest, done.trained.transcript_root
        salt = self.secret.derive("commitment salt", _number(self.task_id), _number(round_), digest, root)
        return RevealData(digest, root, salt)

    def _error_root(self, round_: RoundIndex) -> Digest32:
        if self.workshop.bench.codec.plain:
            return ZERO_DIGEST
        self.log.refresh(round_)
        me, chain = self.account, (self.gateway, self.store, self.log)
        root = memory_roots(*chain, self.spec, self.task_id, round_, [me])[me]
        if root is None:
            raise ChainError(f"the store has lost the delta of round {round_ - 1}, which round {round_} goes on from")
        return root

    def _drawn_steps(self, round_: RoundIndex, seed: Digest32) -> tuple[int, ...]:
        steps, terms = self.spec.training.steps, self.spec.verification
        place = (seed, self.task_id, round_, self.account)
        return draw_samples(*place, steps=steps, extra=terms.samples, run=terms.run)

    def _settle_bond(self, round_: RoundIndex) -> None:
        """Give up the bond of the last commitment that was never revealed, before others are paid for taking it."""
        if round_ == 1:
            return
        missed = RoundIndex(round_ - 1)
        work = self.gateway.trainers.work(self.task_id, missed, self.account)
        if not work.committed or work.revealed or work.forfeited:
            return
        if attempt(self.gateway.trainers.forfeit_bond, self.task_id, missed, self.account) is not None:
            self.report("forfeited", f"round {missed}: gave up the bond of a commitment that was not revealed in time")

    def _check_terms(self) -> None:
        """A contract that pays by other terms than the spec says is not worth working for."""
        expected = task_params(
            self.spec,
            token=self.params.token,
            parameters=self.workshop.bench.layout.size,
            constants_root=constants_root(self.workshop.bench.constants),
        )
        if expected != self.params:
            raise TaskRefused(f"task {self.task_id} on chain does not follow from its own spec; keep away from it")


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")
