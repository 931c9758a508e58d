"""Tasks (`ITaskTerms`), and rounds with their phases (`ITaskManager`)."""

from __future__ import annotations

from collections.abc import Sequence

from deltaproof.chain.abi.enums import Optimizer
from deltaproof.chain.abi.structs import (
    Modules,
    PhaseSeconds,
    PhaseView,
    QuorumProof,
    QuorumTerms,
    RewardTerms,
    RoundView,
    StakeTerms,
    TaskParams,
    TaskState,
    TrainingTerms,
)
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.events.rounds import TaskCreated
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

__all__ = ["TaskManager", "TaskTerms", "task_params"]

OPTIMIZERS = {
    "sgd": Optimizer.SGD,
    "momentum": Optimizer.MOMENTUM,
    "adam": Optimizer.ADAM,
    "adamw": Optimizer.ADAM,
}


def task_params(spec: TaskSpec, *, token: Address, parameters: int, constants_root: Digest32) -> TaskParams:
    """What of a spec the contract has to know. `parameters` is the number of trainable values, P."""
    rewards, stakes, phases = spec.rewards, spec.verification, spec.phases
    return TaskParams(
        token=token,
        spec_hash=spec.digest(),
        start_digest=spec.start_digest,
        constants_root=constants_root,
        rewards=RewardTerms(
            budget_per_round=rewards.budget_per_round,
            verifier_fee_bps=rewards.verifier_fee_bps,
            target_nanos=rewards.target_nanos,
            floor_bps=rewards.floor_bps,
            cap_bps=rewards.cap_bps,
            base_bps=rewards.base_bps,
        ),
        stakes=StakeTerms(
            trainer_stake=stakes.min_trainer_stake,
            commit_bond=stakes.commit_bond,
            verifier_stake=stakes.min_verifier_stake,
            slash_bps=stakes.slash_bps,
            prover_bps=stakes.prover_bps,
            absence_bps=stakes.absence_bps,
        ),
        quorum=QuorumTerms(
            quorum_bps=stakes.quorum_bps,
            min_trainers=stakes.min_trainers,
            max_trainers=stakes.max_trainers,
            min_verifiers=stakes.min_verifiers,
            score_tolerance_nanos=spec.scoring.tolerance_nanos,
        ),
        training=TrainingTerms(
            rounds=rewards.rounds,
            steps=spec.training.steps,
            parameters=parameters,
            optimizer=OPTIMIZERS[spec.optimizer.name],
            float32_delta=spec.codec.name == "float32",
            samples=stakes.samples,
        ),
        phases=PhaseSeconds(
            commit=phases.commit,
            reveal=phases.reveal,
            opening=phases.opening,
            attest_commit=phases.attest_commit,
            attest_reveal=phases.attest_reveal,
            settle=phases.settle,
            window=phases.window,
            slash=phases.slash,
            claim=phases.claim,
            activation=phases.activation,
        ),
    )


class TaskTerms(ContractClient):
    """`ITaskTerms`: what tasks fix for ever, and what can be paused."""

    INTERFACE = "ITaskTerms"

    def task_count(self, block: int | None = None) -> int:
        """Number of tasks, now or at the block of that number; ids run from 1."""
        return self._read(int, "taskCount", block=block)

    def sponsor(self, task_id: TaskId) -> Address:
        """Who created the task."""
        return self._read(Address, "sponsorOf", task_id)

    def params(self, task_id: TaskId) -> TaskParams:
        """Everything that the task fixed."""
        return self._read(TaskParams, "paramsOf", task_id)

    def validation_commitments(self, task_id: TaskId) -> tuple[Digest32, ...]:
        """One per round, then the final test set's."""
        return self._read_list(Digest32, "validationCommitmentsOf", task_id)

    def is_test_chain(self) -> bool:
        """Whether times may be seconds here."""
        return self._read(bool, "isTestChain")

    def create_task(
        self, params: TaskParams, validation_commitments: Sequence[Digest32], funding: TokenAmount, told: bytes = b""
    ) -> tuple[TaskId, Receipt]:
        """Create a task and fund it from the caller, who approved the vault for `funding` reward tokens.

        `told`: an announcement, see `deltaproof.chain.announced`.
        """
        receipt = self._write("createTask", params, list(validation_commitments), funding, behind=told)
        return self._emitted(receipt, TaskCreated).task_id, receipt

    def rehearse_create(self, params: TaskParams, validation_commitments: Sequence[Digest32]) -> int:
        """Most wei that creating the task could cost in gas, before it is funded. Raises ContractRevert if the contract
        refuses its terms."""
        return self._rehearse("createTask", params, list(validation_commitments), TokenAmount(0))

    def set_new_tasks_paused(self, paused: bool) -> Receipt:
        """Stop or allow the creation of new tasks. Guardian only."""
        return self._write("setNewTasksPaused", paused)

    def pause_new_rounds(self) -> Receipt:
        """Stop new rounds for a week, at most every five weeks. Guardian only."""
        return self._write("pauseNewRounds")

    def resume_new_rounds(self) -> Receipt:
        """Let rounds be opened again. Guardian only."""
        return self._write("resumeNewRounds")

    def propose_guardian(self, successor: Address) -> Receipt:
        """Propose who may take the office after two days; the zero address to give it up. Guardian only."""
        return self._write("proposeGuardian", successor)

    def accept_guardian(self) -> Receipt:
        """Take the office. Only the one proposed."""
        return self._write("acceptGuardian")


class TaskManager(ContractClient):
    """`ITaskManager`. Rounds count from 1."""

    INTERFACE = "ITaskManager"

    def modules(self) -> Modules:
        """The contracts of this deployment."""
        return self._read(Modules, "modules")

    def state(self, task_id: TaskId) -> TaskState:
        """What changes of a task."""
        return self._read(TaskState, "taskOf", task_id)

    def round(self, task_id: TaskId, round_index: RoundIndex) -> RoundView:
        """A round as it stands or ended."""
        return self._read(RoundView, "roundOf", task_id, round_index)

    def phase(self, task_id: TaskId) -> PhaseView:
        """Where the task is."""
        return self._read(PhaseView, "phaseOf", task_id)

    def is_ended(self, task_id: TaskId) -> bool:
        """Whether no round runs and none will."""
        return self._read(bool, "isEnded", task_id)

    def open_disputes(self, task_id: TaskId) -> int:
        """Disputes over the current round that are not closed."""
        return self._read(int, "openDisputes", task_id)

    def seed_request(self, task_id: TaskId) -> int:
        """Beacon request that the current phase waits for, 0 if none."""
        return self._read(int, "seedRequestOf", task_id)

    def settlement_digest(
        self, task_id: TaskId, round_index: RoundIndex, attempt: int, settlement: Settlement
    ) -> Digest32:
        """What verifiers sign, as the contract computes it; `attempt` counts settlements voided before."""
        return self._read(Digest32, "settlementDigest", task_id, round_index, attempt, settlement)

    def cancel_task(self, task_id: TaskId) -> Receipt:
        """End the task: at once between rounds, else after the running round. Sponsor only."""
        return self._write("cancelTask", task_id)

    def open_round(self, task_id: TaskId) -> Receipt:
        """Begin the next round."""
        return self._write("openRound", task_id)

    def advance(self, task_id: TaskId) -> Receipt:
        """Move on from a phase that expired or whose seed is decided; does nothing while a seed is undecided."""
        return self._write("advance", task_id)

    def reveal_validation(self, task_id: TaskId, digest: Digest32, salt: Digest32) -> Receipt:
        """Open the round's validation set, in the opening phase."""
        return self._write("revealValidation", task_id, digest, salt)

    def reveal_held_out(self, task_id: TaskId, digest: Digest32, salt: Digest32) -> Receipt:
        """Open the final test set after the last round."""
        return self._write("revealHeldOut", task_id, digest, salt)

    def settle(self, task_id: TaskId, settlement: Settlement, proof: QuorumProof) -> Receipt:
        """Post the settlement that a quorum signed."""
        return self._write("settle", task_id, settlement, proof)

    def finalize(self, task_id: TaskId) -> Receipt:
        """End a settled round after its dispute window."""
        return self._write("finalize", task_id)
