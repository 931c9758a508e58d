"""A verifier's round, read top-down: one method for each phase, named as the phase is.

What must survive a crash is the home's secret and the attestation document; everything else is on chain or in the
store. A verifier signs one settlement a round, the one that follows from the revealed attestations, and only if it is
within tolerance of its own findings.
"""

from __future__ import annotations

import time
from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import AttestationState, Phase, Role
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.memory import memory_root
from deltaproof.chain.money import Money
from deltaproof.chain.participation import attempt, known_faults, lock_stake, move_on, quorum_members, read_task
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.commitments import attestation_hash
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementProposal, scores_tree, verdicts_digest
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, TokenAmount, address_bytes
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission, proven_faulty
from deltaproof.replaying.replay import StepVerdict
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore
from deltaproof.tuning.emulators.fetching import fetch_emulators
from deltaproof.tuning.training.federation import scoring_bench
from deltaproof.tuning.training.step import DrawnRound
from incentives.scoring import RoundScores, score_round
from incentives.settling import NothingToSettle
from incentives.unions import Contribution, named_root
from verifier.closing import close_round
from verifier.quorum import QuorumDesk

__all__ = ["Verifier"]

PATIENCE_SECONDS = 4.0
"""How long a verifier leaves work that anybody may do to each one before it in the round's order."""


class Verifier:
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
        poll_seconds: float = 0.5,
    ) -> None:
        """`stake` is locked for the task and weighs in its quorum; by default the task's minimum."""
        self.gateway, self.store, self.task_id, self.home = gateway, store, task_id, home
        self.report, self.poll_seconds = report, poll_seconds
        self.account = gateway.account
        self.secret = HomeSecret.of(home)
        self.key = SecretKey.from_seed(self.secret.derive("bls key"))
        terms = read_task(gateway, store, task_id)
        self.params, self.spec = terms.view.params, terms.spec
        self.stake = stake or self.params.stakes.verifier_stake
        report("loading", "loading the model")
        fetch_emulators(store, self.spec)
        self.judges = Judges(self.spec)
        self.scoring_bench = scoring_bench(self.spec)
        self.log = TaskLog(gateway.connection, [gateway.tasks.address, gateway.trainers.address,
                                                gateway.verifiers.address], task_id)  # fmt: skip
        self.quorum = QuorumDesk(gateway, store, task_id, self.spec, self.log, self.key, report)
        self.money = Money(gateway.token(self.params.token))
        self._waiting = (RoundIndex(0), Phase.IDLE, time.monotonic())
        self._signed: dict[tuple[RoundIndex, int], SettlementProposal] = {}
        """By round and attempt."""
        self._objected: set[tuple[RoundIndex, int]] = set()
        self._closed: set[RoundIndex] = set()

    def live(self) -> None:
        """Take part until the task has ended and every fee is claimed."""
        self.join()
        while not self.finished():
            view = self.gateway.tasks.phase(self.task_id)
            if self._in_quorum(view.round):
                match view.phase:
                    case Phase.ATTEST_COMMIT:
                        self.attest_commit(view.round)
                    case Phase.ATTEST_REVEAL:
                        self.attest_reveal(view.round)
                    case Phase.SETTLE:
                        self.settle(view.round)
            self.close_rounds(view.round)
            self.keep_standing()
            if self._my_turn(view.round, view.phase):
                move_on(self.gateway, self.task_id, view)
            time.sleep(self.poll_seconds)
        self.report("done", "the task has ended")

    def join(self) -> None:
        """Register the key, stake and enrol, each once."""
        registry = self.gateway.registry
        if registry.key_of(self.account) is None:
            chain_id = self.gateway.connection.chain_id
            possession = self.key.prove_possession(chain_id, registry.address, self.account)
            registry.register_key(self.key.public_key(), possession)
        if self.gateway.verifiers.enrolment(self.task_id, self.account).index == 0:
            lock_stake(self.gateway, Role.VERIFIER, self.stake)
            self.gateway.verifiers.enrol(self.task_id, self.stake)
            self.report("joined", "registered a BLS key, staked and enrolled")

    def keep_standing(self) -> None:
        """Bring waiting stake into the quorum; come back after an absence or a slash that stopped this verifier."""
        enrolment = self.gateway.verifiers.enrolment(self.task_id, self.account)
        if enrolment.active_at and not enrolment.active_from:
            if enrolment.active_at <= self.gateway.connection.block()["timestamp"]:
                attempt(self.gateway.verifiers.activate, self.task_id, self.account)
        elif enrolment.active_at and enrolment.active_until in self._closed:
            missing = TokenAmount(max(self.params.stakes.verifier_stake - enrolment.stake, 0))
            lock_stake(self.gateway, Role.VERIFIER, missing)
            if attempt(self.gateway.verifiers.rejoin, self.task_id, missing) is not None:
                self.report("rejoined", "came back into the quorum after being stopped")

    def attest_commit(self, round_: RoundIndex) -> None:
        """Replay, score, and seal what was found."""
        if self.gateway.verifiers.attestation(self.task_id, round_, self.account).state != AttestationState.NONE:
            return
        attestation = self._own_attestation(round_) or self._attest(round_)
        sealed = attestation_hash(
            self.gateway.domain(self.task_id, round_),
            self.account,
            **self._sealed_fields(attestation),
            salt=self._salt(round_, attestation.digest()),
        )
        if attempt(self.gateway.verifiers.commit_attestation, self.task_id, sealed) is None:
            self.report("late", f"round {round_}: judging took longer than the phase")
        else:
            self.report("attested", f"round {round_}: attestation sealed", round=round_)

    def attest_reveal(self, round_: RoundIndex) -> None:
        """Publish the attestation and open the seal."""
        attestation = self._own_attestation(round_)
        state = self.gateway.verifiers.attestation(self.task_id, round_, self.account).state
        if attestation is None or state != AttestationState.COMMITTED:
            return
        self.store.put_attestation(attestation)
        fields = self._sealed_fields(attestation)
        salt = self._salt(round_, attestation.digest())
        if attempt(self.gateway.verifiers.reveal_attestation, self.task_id, **fields, salt=salt) is not None:
            self.report("revealed", f"round {round_}: attestation revealed", round=round_)

    def settle(self, round_: RoundIndex) -> None:
        """Sign the settlement that follows from the revealed attestations; post it when a quorum has signed."""
        view = self.gateway.tasks.round(self.task_id, round_)
        place = (round_, view.attempts)
        if place not in self._signed and not self._sign(*place):
            return
        settlement = self._signed[place].settlement
        digest = settlement.signing_digest(self.gateway.domain(self.task_id, round_), view.attempts)
        # A full quorum costs the least gas; the others get a moment to sign.
        patient = not self._my_turn(round_, Phase.SETTLE, late=True)
        proof = self.quorum.proof(round_, digest, all_signers=patient, late=view.late)
        if proof is None or attempt(self.gateway.tasks.settle, self.task_id, settlement, proof) is None:
            return
        paid = self.money.text(settlement.total_payout)
        message = f"round {round_}: settled, {paid} for {settlement.leaf_count} trainers"
        self.report("settled", message, round=round_, settlement=digest)

    def close_rounds(self, last_round: RoundIndex) -> None:
        """Of every round that has ended: slash, take bonds, claim fees."""
        for number in range(1, last_round + 1):
            round_ = RoundIndex(number)
            if round_ in self._closed:
                continue
            view = self.gateway.tasks.round(self.task_id, round_)
            if view.ended_at:
                close_round(self.gateway, self.store, self.task_id, round_, view, self.report)
                self._closed.add(round_)

    def finished(self) -> bool:
        last = self.gateway.tasks.phase(self.task_id).round
        return len(self._closed) == last and self.gateway.tasks.is_ended(self.task_id)

    # Below: how the phases do it.

    def _attest(self, round_: RoundIndex) -> Attestation:
        view = self.gateway.tasks.round(self.task_id, round_)
        self.log.refresh()
        submissions = self._submissions(round_)
        faulty = known_faults(self.gateway, self.task_id, round_, [submission.trainer for submission in submissions])
        judgements = [
            proven_faulty(submission) if submission.trainer in faulty else self._judge(round_, view, submission)
            for submission in submissions
        ]
        self.report("scoring", f"round {round_}: scoring", round=round_)
        scores = self._score(round_, view, judgements)
        attestation = Attestation(
            task=self.task_id,
            round=round_,
            verifier=self.account,
            findings=tuple(scores.scored(judgement.finding) for judgement in judgements),
            game=scores.game,
            improvement_nanos=scores.improvement_nanos,
            next_start_digest=self.store.put_tensors(scores.next_start),
        )
        path = self._attestation_path(round_)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(attestation.to_document())
        partial.replace(path)
        return attestation

    def _sign(self, round_: RoundIndex, attempts: int) -> bool:
        own = self._own_attestation(round_)
        if own is None or (round_, attempts) in self._objected:
            return False
        try:
            proposal = self.quorum.compose(round_)
        except NothingToSettle as error:
            self.report("waiting", f"round {round_}: not signed yet: {error}", round=round_)
            return False
        if objections := self.quorum.objections(own, proposal, self.scoring_bench.layout.size):
            self._objected.add((round_, attempts))
            for objection in objections:
                self.report("disagreed", f"round {round_}: not signed: {objection}", round=round_)
            return False
        digest = self.quorum.sign(round_, attempts, proposal)
        self._signed[round_, attempts] = proposal
        self.report("signed", f"round {round_}: signed the settlement", round=round_, settlement=digest)
        return True

    def _submissions(self, round_: RoundIndex) -> list[Submission]:
        """Everybody who committed, in the order of settlement leaves."""
        reveals = self.log.reveals(round_)
        enrolments = self.gateway.trainers.enrolments(self.task_id)
        found = []
        for trainer in self.log.sorted_trainers(round_):
            enrolment, reveal = enrolments[trainer], reveals.get(trainer)
            found.append(
                Submission(
                    trainer=trainer,
                    data_root=enrolment.data_root,
                    data_rows=enrolment.data_rows,
                    delta_digest=reveal.delta_digest if reveal else None,
                    transcript_root=reveal.transcript_root if reveal else None,
                    error_root=memory_root(
                        self.gateway, self.store, self.log, self.spec, self.task_id, round_, trainer
                    ),
                )
            )
        return found

    def _judge(self, round_: RoundIndex, view: RoundView, submission: Submission) -> Judgement:
        drawn = draw_samples(
            view.challenge_seed, self.task_id, round_, submission.trainer,
            quorum_members(self.gateway, self.task_id, round_),
            steps=self.spec.training.steps, extra=self.spec.verification.samples,
        )  # fmt: skip
        short = submission.trainer[:8]

        def progress(verdict: StepVerdict) -> None:
            self.report("replayed", f"round {round_}: replayed {short} {verdict.message}", round=round_)

        drawn_round = DrawnRound(self.task_id, round_, view.order_seed, view.start_digest)
        judgement = judge_submission(self.judges, self.store, drawn_round, submission, drawn[self.account], progress)
        if failure := judgement.finding.failure():
            verdict = judgement.finding.verdict.name.lower()
            message = f"round {round_}: {short} {verdict}: {failure.message}"
            self.report("caught", message, round=round_, trainer=submission.trainer, check=failure.check)
        return judgement

    def _score(self, round_: RoundIndex, view: RoundView, judgements: list[Judgement]) -> RoundScores:
        """Score the accepted deltas on the validation set, if the sponsor showed it."""
        start = self.store.get_tensors(view.start_digest, self.scoring_bench.layout.size)
        order = {trainer: i for i, trainer in enumerate(self.log.committed(round_))}
        accepted = {
            s.trainer: Contribution(j.theta, s.data_rows, order[s.trainer], j.tuned, named_root(self.spec, s.data_root))
            for j in judgements
            if j.theta is not None and (s := j.submission)
        }
        return score_round(
            self.scoring_bench,
            start,
            accepted,
            self._validation_rows(round_, view),
            view.challenge_seed,
            self.judges.emulators(),
        )

    def _validation_rows(self, round_: RoundIndex, view: RoundView) -> list[bytes] | None:
        """The round's validation rows; None if the round is unscored.

        Raises StoreUnavailable or ArtifactError: what the sponsor opened on chain has to be in the store.
        """
        if not view.validation_revealed:
            return None
        commitment = self.spec.validation.commitments[round_ - 1]
        rows, _salt = self.store.get_validation(commitment)
        return [row.encode() for row in rows.rows]

    def _sealed_fields(self, attestation: Attestation) -> dict[str, Digest32]:
        leaves = attestation.leaves()
        return {
            "verdicts_digest": verdicts_digest(leaves),
            "scores_root": scores_tree(leaves).root,
            "artifact_digest": attestation.digest(),
        }

    def _own_attestation(self, round_: RoundIndex) -> Attestation | None:
        path = self._attestation_path(round_)
        return Attestation.from_document(path.read_bytes()) if path.is_file() else None

    def _attestation_path(self, round_: RoundIndex) -> Path:
        return self.home / f"task-{self.task_id}" / f"attestation-{round_}"

    def _salt(self, round_: RoundIndex, digest: Digest32) -> Digest32:
        return self.secret.derive(
            "attestation salt", self.task_id.to_bytes(8, "big"), round_.to_bytes(4, "big"), digest
        )

    def _in_quorum(self, round_: RoundIndex) -> bool:
        enrolment = self.gateway.verifiers.enrolment(self.task_id, self.account)
        return round_ > 0 and enrolment.in_quorum(round_)

    def _my_turn(self, round_: RoundIndex, phase: Phase, *, late: bool = False) -> bool:
        """Whether it is this verifier's turn to do what anybody may do: each waits longer than the one before it."""
        now = time.monotonic()
        if self._waiting[:2] != (round_, phase):
            self._waiting = (round_, phase, now)
        members = sorted(self.gateway.verifiers.enrolments(self.task_id), key=address_bytes)
        rank = (members.index(self.account) - round_) % len(members) + (1 if late else 0)
        return now - self._waiting[2] >= rank * PATIENCE_SECONDS
