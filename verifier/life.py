"""A verifier's round, read top-down: one method for each phase, named as the phase is.

What must survive a crash is the home's secret, the attestation documents and the proposals that were signed; everything
else is on chain or in the store. A document belongs to the facts that it judges, all read at one block: when a
reorganisation changes them, they are judged anew beside it. A verifier signs one settlement a round, the one that
follows from the revealed attestations, and only if it is within tolerance of its own findings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

from deltaproof.agent.homes import task_folder
from deltaproof.agent.loop import Agent, Duty, Moment
from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.agent.proposals import KeptProposals
from deltaproof.agent.pruning import Pruner
from deltaproof.agent.terms import kept_task
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import AttestationState, Phase, Role
from deltaproof.chain.admissions import AdmissionDesk, Entrance
from deltaproof.chain.free_share import FREE_SHARE, require_stake, told_free
from deltaproof.chain.participation import attempt, lock_stake, move_on, require_going_on
from deltaproof.chain.reading import publish_reading_key
from deltaproof.chain.rpc.blocks import Depth
from deltaproof.chain.rpc.connection import View
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import StoreUnavailable, UsageError
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementProposal
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, RoundIndex, TaskId, TokenAmount, address_bytes
from deltaproof.reporting import Once, Reporter, counted
from deltaproof.store import ArtifactStore
from deltaproof.store.closing import Closing
from deltaproof.store.readers import Keyring
from deltaproof.tuning.numerics.machine import HERE, Machine
from incentives.settling import NothingToSettle
from verifier.attesting import AttestingDesk
from verifier.bound import BoundVerdicts
from verifier.closing import charge_absences, close_round, collect_fees
from verifier.committee import CommitteeDesk
from verifier.disputes import VerifierDisputes
from verifier.examining import Examiner
from verifier.outbox import Outbox
from verifier.own import OwnAttestations
from verifier.quorum import QuorumDesk
from verifier.standing import SeatDesk, check_pace

__all__ = ["Verifier"]

PATIENCE_SECONDS = 4.0
"""How long a verifier leaves work that anybody may do to each one before it in the round's order."""


class Verifier(Agent):
    """One verifier in one task."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        home: Path,
        report: Reporter,
        *,
        stake: TokenAmount | None = None,
        free_share: Fraction = FREE_SHARE,
        top_up: bool = False,
        poll_seconds: float = IDLE_POLL_SECONDS,
        depth: Depth | None = None,
        machine: Machine = HERE,
    ) -> None:
        """`stake` is locked for the task and weighs in its quorum; by default the task's minimum. Beside it so much is
        deposited that `free_share` of all the verifier's stake is free, to come back with. With `top_up` a stake
        that a penalty reduced is filled up from the wallet, and work that does not fit into its phase is risked."""
        super().__init__(gateway, task_id, report, poll_seconds=poll_seconds, depth=depth)
        self.home = home
        self.secret = HomeSecret.of(home)
        self.key = SecretKey.from_seed(self.secret.derive("bls key"))
        terms = kept_task(gateway, store, task_id, home)
        self.params, self.spec = terms.view.params, terms.spec
        self.shortest_phase = self.params.phases.shortest
        keyring = Keyring(ReadingKey.all_of_home(self.secret))
        self.store = store = store.reading_with(keyring).of_task(self.spec)
        self.entrance = Entrance(gateway, store, task_id, report)
        self.admissions = AdmissionDesk(gateway, store, task_id, self.spec, report)
        self._folder = task_folder(home, gateway, task_id)
        self.pruner = Pruner(gateway, task_id, self._folder, report)
        self.stake, self.free_share, self.top_up = stake or self.params.stakes.verifier_stake, free_share, top_up
        self.seat = SeatDesk(gateway, task_id, self.params.stakes.verifier_stake, report, top_up=top_up)
        if self.joined():
            report("staked", told_free(gateway, free_share))
        else:
            require_going_on(gateway, task_id)
            self._require_enough()
            require_stake(gateway, self.stake, free_share)  # told before minutes of loading
        report("loading", "loading the model")
        self.closing, self.outbox = Closing(), Outbox(report)
        self.examiner = Examiner(self.spec, store, self.account, report, machine, self.closing, self.outbox)
        followed = [gateway.tasks.address, gateway.trainers.address, gateway.verifiers.address]
        self.log = TaskLog(gateway, followed, task_id, self._folder)
        self.proposals = KeptProposals(
            self._folder, gateway, store, task_id, report,
            require=lambda size, what: self.disk.require(size, what),  # noqa: PLW0108 - the limit comes later
        )  # fmt: skip
        self.bound = BoundVerdicts(self._folder)
        self.own = OwnAttestations(
            gateway, task_id, self.account, self.secret, self._folder,
            require=lambda size, what: self.disk.require(size, what),  # noqa: PLW0108 - the limit comes later
        )  # fmt: skip
        self.committee = CommitteeDesk(
            gateway, store, task_id, self.spec, self.secret, self._folder, self.outbox, report,
            heavy=lambda: self.heavy,
        )  # fmt: skip
        self.attesting = AttestingDesk(
            gateway, store, task_id, self.spec, self.log, self.examiner, self.committee, self.own, self.closing,
            heavy=lambda: self.heavy, now=self._now,
        )  # fmt: skip
        self.quorum = QuorumDesk(
            gateway, store, task_id, self.spec, self.log, self.key, self.proposals, self.outbox, report
        )
        self.money = gateway.money(self.params.token)
        self.disputes = VerifierDisputes(
            gateway, store, task_id, self.params, self.log, self.secret, report,
            attested=self.own.of, kept=self.proposals.of, most_attested=partial(attestation_bytes, self.spec),
            examiner=self.examiner, heavy=lambda: self.heavy,
            speaks_for=lambda task: self.company.speaks_for(task),  # noqa: PLW0108 - the company comes later
        )  # fmt: skip
        self._waiting = (RoundIndex(0), Phase.IDLE, time.monotonic())
        self._once = Once(report)
        self._key_is_shown = False
        self._signed: dict[tuple[RoundIndex, int], SettlementProposal] = {}
        """By round and attempt."""
        self._objected: set[tuple[RoundIndex, int]] = set()
        self._closed: set[RoundIndex] = set()
        self._shown: set[Digest32] = set()
        """Attestations that the store has, or that wait for it."""
        self._charged: set[RoundIndex] = set()
        """Rounds in whose window the absent were charged."""

    def duties(self) -> Sequence[Duty]:
        """What a verifier minds."""

        def at_stake(moment: Moment) -> str:
            attesting = (Phase.ATTEST_COMMIT, Phase.ATTEST_REVEAL, Phase.SETTLE)
            return "this round's fee" if moment.view.phase in attesting else ""

        def demanded(moment: Moment) -> str:
            left = [deadline - moment.now for deadline in self.disputes.deadlines]
            return f"this round's fee unless a demand is answered within {min(left)} s" if left else ""

        return [
            Duty("answers", self.disputes.answer_demands, demanded),
            Duty("pruning", self.pruner.mind),
            Duty("reading key", lambda moment: self.show_reading_key()),
            Duty("round", self.play, at_stake),
            Duty("showing", lambda moment: self.outbox.mind()),
            Duty("works", self.disputes.works.mind),
            Duty("settlement", self.disputes.mind_settlement),
            Duty("proposals", self.proposals.mind),
            Duty("contest", self.disputes.contest),
            Duty("votes", self.disputes.vote),
            Duty("claims", lambda moment: self.close_rounds(moment.view.round)),
            Duty("admissions", lambda moment: self.admissions.mind()),
            Duty("standing", lambda moment: self.keep_standing()),
            Duty("advance", self.advance),
        ]

    def play(self, moment: Moment) -> None:
        """What the phase asks for."""
        round_ = moment.view.round
        if moment.view.phase is not Phase.ATTEST_COMMIT:
            self.closing.lift()
        if not self._in_quorum(round_) or not self.entrance.is_open():
            return
        if moment.view.phase is not Phase.ATTEST_COMMIT and self.attesting.was_late(round_):
            self.seat.was_too_slow(round_)
        match moment.view.phase:
            case Phase.OPENING:
                self.look_early(round_)
            case Phase.ATTEST_COMMIT:
                self.attest_commit(round_)
            case Phase.ATTEST_REVEAL:
                self.attest_reveal(round_)
            case Phase.SETTLE:
                self.settle(round_)
            case Phase.WINDOW if round_ not in self._charged and self._my_turn(round_, Phase.WINDOW):
                charge_absences(self.gateway, self.task_id, round_, self.report)
                self._charged.add(round_)

    def advance(self, moment: Moment) -> None:
        """Move the task on when its time is up and it is this verifier's turn."""
        waits_for_a_seed = moment.view.phase in (Phase.DRAW, Phase.CHALLENGE)
        if (moment.overdue or waits_for_a_seed) and self._my_turn(moment.view.round, moment.view.phase):
            move_on(self.gateway, self.task_id, moment.view, overdue=moment.overdue, now=moment.now)

    def _require_enough(self) -> None:
        least = self.params.stakes.verifier_stake
        if self.stake < least:
            money = self.gateway.money(self.gateway.registry.token())
            said, asked = money.exact(self.stake), money.exact(least)
            raise UsageError(f"--stake {said} is less than the {asked} that task {self.task_id} asks for; leave it out")

    def join(self) -> None:
        """Register the key, stake, publish the reading key and enrol, each once."""
        if self.joined():
            return  # and nothing here asks the store: one that is away keeps nobody from answering
        check_pace(self.gateway, self.task_id, self.examiner, self.report, top_up=self.top_up, stake=self.stake)
        registry = self.gateway.registry
        if registry.key_of(self.account) is None:
            chain_id = self.gateway.connection.chain_id
            possession = self.key.prove_possession(chain_id, registry.address, self.account)
            registry.register_key(self.key.public_key(), possession)
        lock_stake(self.gateway, Role.VERIFIER, require_stake(self.gateway, self.stake, self.free_share))
        self._show_reading_key_first()
        self.gateway.verifiers.enrol(self.task_id, self.stake)
        locked = self.gateway.money(registry.token()).text(self.stake)
        free = told_free(self.gateway, self.free_share)
        self.report("joined", f"registered a BLS key and enrolled with {locked}; {free}")

    def show_reading_key(self) -> None:
        """Say for which key trainers have to seal: in each process once."""
        if not self._key_is_shown:
            publish_reading_key(self.gateway, self.store, self.secret)
            self._key_is_shown = True

    def _show_reading_key_first(self) -> None:
        """Before trainers may be held to it; where nothing is sealed, the duty tries again what a store did not take.

        Attack: name two stores of which one answers nothing, so that no stranger ever verifies the task.
        """
        try:
            self.show_reading_key()
        except StoreUnavailable:
            if self.spec.data.sealed or self.spec.adapter.sealed is not None:
                raise

    def joined(self) -> bool:
        """See `Agent`."""
        return self.gateway.verifiers.enrolment(self.task_id, self.account).index != 0

    def keep_standing(self) -> None:
        """Bring waiting stake into the quorum; come back after an absence or a slash: see `SeatDesk`.

        Who is not admitted to a private task takes no seat: it could judge nothing.
        """
        if not self.entrance.is_open():
            return
        self.seat.keep(self._closed)

    def look_early(self, round_: RoundIndex) -> None:
        """Replay what is opened already: the slowest trainer keeps nobody from that."""
        self.closing.lift()
        self.attesting.look_early(round_)

    def attest_commit(self, round_: RoundIndex) -> None:
        """Replay, score, and seal what was found."""
        if self.gateway.verifiers.attestation(self.task_id, round_, self.account).state != AttestationState.NONE:
            return
        view = self.gateway.tasks.round(self.task_id, round_)
        if ZERO_DIGEST in (view.order_seed, view.challenge_seed):
            return
        attestation = self.attesting.judged(round_)
        if attestation is None:
            return
        if attempt(self.gateway.verifiers.commit_attestation, self.task_id, self.own.seal(attestation)) is None:
            self.seat.was_too_slow(round_)
        else:
            self.report("attested", f"round {round_}: attestation sealed", round=round_)

    def attest_reveal(self, round_: RoundIndex) -> None:
        """Publish the attestation and open the seal, though the store may refuse the document."""
        on_chain = self.gateway.verifiers.attestation(self.task_id, round_, self.account)
        attestation = self.own.of(round_)
        if attestation is None or on_chain.state != AttestationState.COMMITTED:
            return
        self._show(round_, attestation)
        fields, salt = self.own.fields(attestation), self.own.salt(attestation)
        if attempt(self.gateway.verifiers.reveal_attestation, self.task_id, **fields, salt=salt) is not None:
            self.report("revealed", f"round {round_}: attestation revealed", round=round_)

    def settle(self, round_: RoundIndex) -> None:
        """Sign the settlement that follows from the revealed attestations; post it when a quorum has signed."""
        view = self.gateway.tasks.round(self.task_id, round_)
        place, own = (round_, view.attempts), self.own.of(round_)
        if own is not None:
            self._show(round_, own)
        # Attack: reveal on chain, and show the document when half of the others have signed without it.
        if place not in self._signed or not self.quorum.complete:
            self._sign(*place)
        if place not in self._signed:
            return
        settlement = self._signed[place].settlement
        digest = settlement.signing_digest(self.gateway.domain(self.task_id, round_), view.attempts)
        # A full quorum costs the least gas; the others get a moment to sign.
        patient = not self._my_turn(round_, Phase.SETTLE, late=True)
        proof = self.quorum.proof(round_, digest, all_signers=patient, late=view.late)
        if proof is None or attempt(self.gateway.tasks.settle, self.task_id, settlement, proof) is None:
            return
        paid = self.money.text(settlement.total_payout)
        message = f"round {round_}: settled, {paid} for {counted(settlement.leaf_count, 'trainer')}"
        self.report("settled", message, round=round_, settlement=digest)

    def close_rounds(self, last_round: RoundIndex) -> None:
        """Of every round that has ended: slash, take bonds, claim fees. Raises the first error after all were tried."""
        errors: list[Exception] = []
        ended: list[RoundIndex] = []
        for number in range(1, last_round + 1):
            round_ = RoundIndex(number)
            if round_ in self._closed:
                continue
            try:
                view = self.gateway.tasks.round(self.task_id, round_)
                if view.ended_at:
                    kept = self.proposals.of(round_, view.settlement)
                    close_round(self.gateway, self.store, self.task_id, round_, view, self.report, kept=kept)
                    ended.append(round_)
            except Exception as error:
                errors.append(error)
        refused = collect_fees(self.gateway, self.task_id, ended, self.report)
        self._closed.update(round_ for round_ in ended if round_ not in refused)
        if errors := [*errors, *refused.values()]:
            raise errors[0]

    def finished(self, moment: Moment) -> bool:
        """Whether the task has ended, all its rounds are closed, and no vote waits to be shown or settled.

        A sealed vote that is not shown costs like absence, and the other side is counted without it.
        """
        if not moment.ended or len(self._closed) != moment.view.round:
            return False
        if cases := self.disputes.jury.unsettled():
            numbers = ", ".join(map(str, cases))
            self._once("answering", f"stays until its votes are shown and settled: case {numbers}")
        return not cases

    def views(self) -> list[View]:
        """What every block is asked: see `Agent.views`."""
        verifiers = self.gateway.verifiers
        asked = [*super().views(), verifiers.view("enrolmentOf", self.task_id, self.account)]
        asked += [self.gateway.court.view("demandCount"), self.gateway.jury.view("caseCount")]
        if self._known is not None and (last := self._known.view.round):
            asked.append(self.gateway.tasks.view("roundOf", self.task_id, last))
            asked.append(verifiers.view("attestationOf", self.task_id, last, self.account))
        return asked

    # Below: how the phases do it.

    def _now(self) -> int:
        """A chain that makes blocks of transactions alone stands still where everybody waits, and nobody sends."""
        between_blocks = self._known.now if self._known is not None else 0
        return max(between_blocks, self.gateway.connection.timestamp())

    def _sign(self, round_: RoundIndex, attempts: int) -> None:
        """Sign the settlement that follows from what is revealed; again if a late document changes all but verdicts."""
        own, place = self.own.of(round_), (round_, attempts)
        if own is None or (place in self._objected and self.quorum.complete):
            return
        try:
            known, phase = self._known, self.params.phases.settle
            proposal = self.quorum.compose(round_, patient=known is None or 2 * known.seconds_left > phase)
        except NothingToSettle as error:
            self._once("waiting", f"round {round_}: not signed yet: {error}", round=round_)
            return
        if place in self._signed and self._signed[place].settlement == proposal.settlement:
            return
        if not self.bound.allows(round_, attempts, proposal.settlement.verdicts_digest):
            message = f"round {round_}: not signed: other verdicts were signed in this attempt from this home before"
            self._once("disagreed", message, round=round_)
            return
        if objections := self.quorum.objections(own, proposal, self.examiner.adapter):
            self._objected.add(place)
            for objection in objections:
                self._once("disagreed", f"round {round_}: not signed: {objection}", round=round_)
            return
        self.bound.bind(round_, attempts, proposal.settlement.verdicts_digest)
        digest = self.quorum.sign(round_, attempts, proposal)
        self._signed[place] = proposal
        self.report("signed", f"round {round_}: signed the settlement", round=round_, settlement=digest)

    def _show(self, round_: RoundIndex, attestation: Attestation) -> None:
        """Publish what was sealed: in each process once, as the store may have refused it to the one before."""
        if attestation.digest() not in self._shown:
            self._shown.add(attestation.digest())
            self.outbox.put(round_, "the attestation", lambda: self.store.put_attestation(attestation))

    def _in_quorum(self, round_: RoundIndex) -> bool:
        enrolment = self.gateway.verifiers.enrolment(self.task_id, self.account)
        return round_ > 0 and enrolment.in_quorum(round_)

    def _my_turn(self, round_: RoundIndex, phase: Phase, *, late: bool = False) -> bool:
        """Whether it is this verifier's turn to do what anybody may do: each waits longer than the one before it."""
        now = time.monotonic()
        if self._waiting[:2] != (round_, phase):
            self._waiting = (round_, phase, now)
        members = sorted(self.gateway.verifiers.enrolments(self.task_id), key=address_bytes)
        if self.account not in members:  # a reorganisation took the enrolment away: it has no place in the order
            return False
        rank = (members.index(self.account) - round_) % len(members) + (1 if late else 0)
        return now - self._waiting[2] >= rank * PATIENCE_SECONDS
