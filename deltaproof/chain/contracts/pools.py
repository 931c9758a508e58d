"""Who takes part in a task, what they did, and verifiers' fees: `ITrainerPool`, `IVerifierPool`, `IVerifierFees`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltaproof.chain.abi.structs import (
    AttestationStatus,
    BatchReveal,
    Checkpoint,
    CommitmentRef,
    FeePot,
    RevealData,
    ScorePair,
    SignedCommit,
    TrainerEnrolment,
    TrainerProgress,
    TrainerWork,
    VerifierEnrolment,
    VerifierProgress,
)
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.events.participants import BatchCommitted, FeesClaimed
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.protocol.outcome.settlement import SettlementLeaf
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

__all__ = ["PAGE", "ClaimableFees", "TrainerPool", "VerifierFees", "VerifierPool"]

PAGE = 200
"""Most participants to ask for in one call: a node's answer stays small."""


@dataclass(frozen=True)
class _TrainerPage:
    accounts: tuple[Address, ...]
    enrolments: tuple[TrainerEnrolment, ...]


@dataclass(frozen=True)
class _VerifierPage:
    accounts: tuple[Address, ...]
    enrolments: tuple[VerifierEnrolment, ...]


@dataclass(frozen=True)
class ClaimableFees:
    """`fee` in the reward token, `slash_reward` in the stake token."""

    fee: TokenAmount
    slash_reward: TokenAmount


class TrainerPool(ContractClient):
    """`ITrainerPool`."""

    INTERFACE = "ITrainerPool"

    def enrolment(self, task_id: TaskId, trainer: Address) -> TrainerEnrolment:
        """A trainer's part in a task; `index` 0: never enrolled."""
        return self._read(TrainerEnrolment, "enrolmentOf", task_id, trainer)

    def count(self, task_id: TaskId) -> int:
        """How many ever enrolled."""
        return self._read(int, "trainerCount", task_id)

    def enrolments(self, task_id: TaskId) -> dict[Address, TrainerEnrolment]:
        """Everybody who ever enrolled, in order of enrolment."""
        found: dict[Address, TrainerEnrolment] = {}
        for offset in range(0, self.count(task_id), PAGE):
            page = self._read(_TrainerPage, "trainersOf", task_id, offset, PAGE)
            found.update(zip(page.accounts, page.enrolments, strict=True))
        return found

    def progress(self, task_id: TaskId) -> TrainerProgress:
        """Who acted in the current round."""
        return self._read(TrainerProgress, "progressOf", task_id)

    def commitment(self, task_id: TaskId, round_index: RoundIndex, trainer: Address) -> Digest32:
        """The direct commitment of a round, zero if there is none."""
        return self._read(Digest32, "commitmentOf", task_id, round_index, trainer)

    def has_committed(self, task_id: TaskId, round_index: RoundIndex, trainer: Address) -> bool:
        """Whether the trainer committed in that round, directly or in a batch."""
        return self._read(bool, "hasCommitted", task_id, round_index, trainer)

    def work(self, task_id: TaskId, round_index: RoundIndex, trainer: Address) -> TrainerWork:
        """What the trainer did in that round, and what was established about it."""
        return self._read(TrainerWork, "workOf", task_id, round_index, trainer)

    def commitment_hash(self, task_id: TaskId, round_index: RoundIndex, trainer: Address, data: RevealData) -> Digest32:
        """The commitment to a round's work, as the contract computes it."""
        return self._read(Digest32, "commitmentHash", task_id, round_index, trainer, data)

    def enrol(self, task_id: TaskId, data_root: Digest32, data_rows: int) -> Receipt:
        """Join from the next round on with a fixed shard; locks the task's trainer stake."""
        return self._write("enrol", task_id, data_root, data_rows)

    def top_up(self, task_id: TaskId) -> Receipt:
        """Fill the locked stake up after a penalty."""
        return self._write("topUp", task_id)

    def vacate(self, task_id: TaskId, trainer: Address) -> Receipt:
        """In a full task, free the seat of a trainer that committed nothing in its last two rounds, or its first."""
        return self._write("vacate", task_id, trainer)

    def resign(self, task_id: TaskId) -> Receipt:
        """Take no part in later rounds."""
        return self._write("resign", task_id)

    def release(self, task_id: TaskId, trainer: Address) -> Receipt:
        """Unlock the stake of a trainer who left, when it is no longer slashable."""
        return self._write("release", task_id, trainer)

    def commit(self, task_id: TaskId, commitment: Digest32) -> Receipt:
        """Commit to this round's work."""
        return self._write("commit", task_id, commitment)

    def commit_batch(self, task_id: TaskId, commits: Sequence[SignedCommit]) -> tuple[int, Receipt]:
        """Bring signed commitments of several trainers; returns the batch id, 0 if none of them counts."""
        receipt = self._write("commitBatch", task_id, list(commits))
        batches = self._events(receipt, BatchCommitted)
        return batches[0].batch_id if batches else 0, receipt

    def reveal(self, task_id: TaskId, data: RevealData) -> Receipt:
        """Reveal the caller's direct commitment."""
        return self._write("reveal", task_id, data.delta_digest, data.transcript_root, data.salt)

    def reveal_batch(self, task_id: TaskId, batch_id: int, entries: Sequence[BatchReveal]) -> Receipt:
        """Reveal a whole batch."""
        return self._write("revealBatch", task_id, batch_id, list(entries))

    def reveal_from_batch(self, task_id: TaskId, trainer: Address, data: RevealData, ref: CommitmentRef) -> Receipt:
        """Reveal one batched commitment."""
        return self._write("revealFromBatch", task_id, trainer, data, ref)

    def openings_published(self, task_id: TaskId) -> Receipt:
        """Announce that the openings of the caller's round are in the store."""
        return self._write("openingsPublished", task_id)

    def forfeit_bond(self, task_id: TaskId, round_index: RoundIndex, trainer: Address) -> Receipt:
        """Burn the bond of a commitment that was not revealed in time."""
        return self._write("forfeitBond", task_id, round_index, trainer)

    def slash(
        self, task_id: TaskId, round_index: RoundIndex, index: int, leaf: SettlementLeaf, proof: Sequence[Digest32]
    ) -> Receipt:
        """Slash a trainer whom a final settlement rejects or calls withheld; `index` is the leaf's position."""
        return self._write("slash", task_id, round_index, index, leaf, list(proof))


class VerifierPool(ContractClient):
    """`IVerifierPool`."""

    INTERFACE = "IVerifierPool"

    def enrolment(self, task_id: TaskId, verifier: Address) -> VerifierEnrolment:
        """A verifier's part in a task; `index` 0: never enrolled."""
        return self._read(VerifierEnrolment, "enrolmentOf", task_id, verifier)

    def count(self, task_id: TaskId) -> int:
        """How many ever enrolled."""
        return self._read(int, "verifierCount", task_id)

    def enrolments(self, task_id: TaskId) -> dict[Address, VerifierEnrolment]:
        """Everybody who ever enrolled, in order of enrolment."""
        found: dict[Address, VerifierEnrolment] = {}
        for offset in range(0, self.count(task_id), PAGE):
            page = self._read(_VerifierPage, "verifiersOf", task_id, offset, PAGE)
            found.update(zip(page.accounts, page.enrolments, strict=True))
        return found

    def progress(self, task_id: TaskId) -> VerifierProgress:
        """Who acted in the current round."""
        return self._read(VerifierProgress, "progressOf", task_id)

    def in_quorum(self, task_id: TaskId, round_index: RoundIndex, verifier: Address) -> bool:
        """Whether the verifier belongs to the quorum of the current or last round."""
        return self._read(bool, "inQuorum", task_id, round_index, verifier)

    def quorum(self, task_id: TaskId, round_index: RoundIndex) -> Checkpoint:
        """The set that forms the quorum of a round."""
        return self._read(Checkpoint, "quorumOf", task_id, round_index)

    def attestation(self, task_id: TaskId, round_index: RoundIndex, verifier: Address) -> AttestationStatus:
        """How far a verifier's attestation came."""
        return self._read(AttestationStatus, "attestationOf", task_id, round_index, verifier)

    def agreeing_weight(self, task_id: TaskId, round_index: RoundIndex, verdicts_digest: Digest32) -> TokenAmount:
        """Stake whose revealed attestations carry this verdicts digest."""
        return self._read(TokenAmount, "agreeingWeight", task_id, round_index, verdicts_digest)

    def enrol(self, task_id: TaskId, stake: TokenAmount) -> Receipt:
        """Lock `stake`, the voting weight; `activate` brings it into the quorum when it has waited long enough."""
        return self._write("enrol", task_id, stake)

    def activate(self, task_id: TaskId, verifier: Address) -> Receipt:
        """Bring a verifier whose stake has waited into the quorum from the next round on."""
        return self._write("activate", task_id, verifier)

    def replace(self, task_id: TaskId, verifier: Address, weaker: Address) -> Receipt:
        """The same in the place of a member with less weight, where the quorum is full."""
        return self._write("replace", task_id, verifier, weaker)

    def rejoin(self, task_id: TaskId, added: TokenAmount) -> Receipt:
        """Come back after being stopped, with `added` stake on top of what is left."""
        return self._write("rejoin", task_id, added)

    def charge_absence(self, task_id: TaskId, round_index: RoundIndex, verifier: Address) -> Receipt:
        """Charge a verifier for not attesting in a round, and stop it."""
        return self._write("chargeAbsence", task_id, round_index, verifier)

    def resign(self, task_id: TaskId) -> Receipt:
        """Take no part in later rounds."""
        return self._write("resign", task_id)

    def release(self, task_id: TaskId, verifier: Address) -> Receipt:
        """Unlock the stake of a verifier who left, when it is no longer slashable."""
        return self._write("release", task_id, verifier)

    def commit_attestation(self, task_id: TaskId, commitment: Digest32) -> Receipt:
        """Seal this round's verdicts and scores."""
        return self._write("commitAttestation", task_id, commitment)

    def reveal_attestation(
        self,
        task_id: TaskId,
        *,
        verdicts_digest: Digest32,
        scores_root: Digest32,
        artifact_digest: Digest32,
        salt: Digest32,
    ) -> Receipt:
        """Open the sealed attestation."""
        return self._write("revealAttestation", task_id, verdicts_digest, scores_root, artifact_digest, salt)

    def contest_attestation(self, task_id: TaskId, pair: ScorePair) -> Receipt:
        """Show that a verifier's revealed score or verdict contradicts the settlement."""
        return self._write("contestAttestation", task_id, pair)


class VerifierFees(ContractClient):
    """`IVerifierFees`: what settled rounds owe to the verifiers who agreed with them."""

    INTERFACE = "IVerifierFees"

    def pot(self, task_id: TaskId, round_index: RoundIndex) -> FeePot:
        """What a settled round owes to those who agreed with it."""
        return self._read(FeePot, "feePotOf", task_id, round_index)

    def claimable(self, task_id: TaskId, round_index: RoundIndex, verifier: Address) -> ClaimableFees:
        """What `claim` would pay now."""
        return self._read(ClaimableFees, "claimableFees", task_id, round_index, verifier)

    def claim(self, task_id: TaskId, rounds: Sequence[RoundIndex], verifier: Address) -> tuple[RoundIndex, ...]:
        """Pay a verifier its part of the fees and slash rewards of finished rounds. Returns those that paid now.

        The contract leaves out rounds that owe it nothing any more.
        """
        receipt = self._write("claimFees", task_id, list(rounds), verifier)
        return tuple(event.round for event in self._events(receipt, FeesClaimed))

    def claim_slash_reward(self, task_id: TaskId, round_index: RoundIndex, verifier: Address) -> Receipt:
        """Pay the slash rewards alone, in case the reward token refuses the verifier."""
        return self._write("claimSlashReward", task_id, round_index, verifier)

    def expire_slash_rewards(self, task_id: TaskId, round_index: RoundIndex) -> Receipt:
        """Burn the slash rewards of a round that nobody claimed in time."""
        return self._write("expireSlashRewards", task_id, round_index)
