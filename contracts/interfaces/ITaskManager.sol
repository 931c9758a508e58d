// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Outcome,
    Phase,
    PhaseSeconds,
    QuorumProof,
    QuorumTerms,
    RewardTerms,
    RoundView,
    Settlement,
    StakeTerms,
    TaskParams,
    TaskView,
    TrainingTerms
} from "./Types.sol";
import {PayoutRule} from "../libraries/PayoutRule.sol";

/// @title Tasks, rounds and their phases
/// @notice The state machine of docs/protocol.md, section 4. Trainers act through `ITrainerPool`, verifiers through
/// `IVerifierPool`; both report here when everyone who may act has acted. Nothing here loops over participants.
interface ITaskManager {
    event TaskCreated(
        uint64 indexed taskId, address indexed sponsor, TaskParams params, bytes32[] validationCommitments
    );
    event TaskCancelled(uint64 indexed taskId, uint32 round);
    event NewTasksPaused(bool paused);
    /// @notice A round began: who takes part is fixed from here on.
    event RoundOpened(
        uint64 indexed taskId,
        uint32 indexed round,
        bytes32 startDigest,
        uint32 trainers,
        uint32 verifiers,
        uint32 verifierSetVersion,
        uint256 orderRequest
    );
    event OrderSeedDrawn(uint64 indexed taskId, uint32 indexed round, bytes32 orderSeed);
    event ChallengeSeedDrawn(uint64 indexed taskId, uint32 indexed round, bytes32 challengeSeed);
    /// @param deadline end of the phase, seconds since the epoch; 0 for phases that end with a beacon's seed
    event PhaseStarted(uint64 indexed taskId, uint32 indexed round, Phase indexed phase, uint64 deadline);
    event ValidationRevealed(uint64 indexed taskId, uint32 indexed round, bytes32 digest, bytes32 salt);
    /// @notice The final held-out test set, after the last round.
    event HeldOutRevealed(uint64 indexed taskId, bytes32 digest, bytes32 salt);
    event SettlementPosted(
        uint64 indexed taskId, uint32 indexed round, bytes32 indexed digest, Settlement settlement, address[] nonSigners
    );
    /// @param culpable whether its signers may be slashed for it
    event SettlementVoided(uint64 indexed taskId, uint32 indexed round, bytes32 indexed digest, bool culpable);
    /// @notice Pay and start digest of a round are final. `unearned` went back to the task's balance.
    event RoundEnded(
        uint64 indexed taskId,
        uint32 indexed round,
        Outcome outcome,
        bytes32 nextStartDigest,
        uint128 paid,
        uint128 unearned
    );

    error NotModule(address caller);
    error NotSponsor(uint64 taskId, address caller);
    error NotGuardian(address caller);
    error NewTasksArePaused();
    error UnknownTask(uint64 taskId);
    error UnknownRound(uint64 taskId, uint32 round);
    /// @notice A parameter is outside its range; `field` names it.
    error InvalidParameter(bytes32 field, uint256 value);
    error TaskIsCancelled(uint64 taskId);
    error NoRoundLeft(uint64 taskId, uint32 rounds);
    error TooFewEnrolled(uint64 taskId, uint32 trainers, uint32 verifiers);
    error WrongPhase(uint64 taskId, Phase current, Phase required);
    error PhaseClosed(uint64 taskId, Phase phase, uint64 deadline);
    error NotDue(uint64 taskId, Phase phase, uint64 deadline);
    error DisputesOpen(uint64 taskId, uint32 count);
    error AlreadyRevealed(uint64 taskId, uint32 round);
    error ValidationMismatch(uint64 taskId, bytes32 expected, bytes32 actual);
    error LeafCountMismatch(uint32 expected, uint32 actual);
    error PayoutOverBudget(uint128 released, uint128 totalPayout);
    error SettlementIsVoid(bytes32 digest);
    error NotSettled(uint64 taskId, uint32 round);

    /// @notice Create a task and fund it from the caller, who becomes its sponsor.
    /// @param params everything that the task fixes
    /// @param validationCommitments `keccak256(abi.encode(digest, salt))` of each round's validation set, then of the
    /// final held-out test set: `rounds + 1` values
    /// @param funding reward tokens to move from the caller to the vault (which the caller approved), may be 0
    function createTask(TaskParams calldata params, bytes32[] calldata validationCommitments, uint96 funding)
        external
        returns (uint64 taskId);

    /// @notice End the task: at once between rounds, else after the running round. Sponsor only.
    function cancelTask(uint64 taskId) external;

    /// @notice Stop or allow the creation of new tasks; nothing else can be stopped. Guardian only.
    function setNewTasksPaused(bool paused) external;

    /// @notice Fix who takes part in the next round, set its budget aside and ask the beacon for the order seed.
    /// Anyone may call while no round runs.
    function openRound(uint64 taskId) external;

    /// @notice Move on from a phase that expired or whose seed is decided. Anyone may call. While a seed is not decided
    /// yet it does nothing and returns false instead of reverting.
    function advance(uint64 taskId) external returns (bool moved);

    /// @notice Open the round's validation set. Anyone who knows it may, but the salt makes that the sponsor.
    function revealValidation(uint64 taskId, bytes32 digest, bytes32 salt) external;

    /// @notice Open the final held-out test set after the last round.
    function revealHeldOut(uint64 taskId, bytes32 digest, bytes32 salt) external;

    /// @notice Post the settlement that a quorum of the round's verifiers signed. Anyone may call.
    function settle(uint64 taskId, Settlement calldata settlement, QuorumProof calldata proof) external;

    /// @notice End a settled round after its dispute window. Anyone may call.
    function finalize(uint64 taskId) external;

    // Modules only.

    /// @notice Everyone who may act in `phase` has acted: move on.
    function completePhase(uint64 taskId, Phase phase) external;

    /// @notice A dispute over the current round opened (+1) or closed (-1).
    function countDispute(uint64 taskId, bool opened) external;

    /// @notice Void the current settlement; back to `Settle` or, after too many attempts, the end of the round.
    function voidSettlement(uint64 taskId, bool culpable) external;

    // Views.

    function taskCount() external view returns (uint64);
    function newTasksPaused() external view returns (bool);
    function guardian() external view returns (address);
    function taskOf(uint64 taskId) external view returns (TaskView memory);
    function validationCommitmentsOf(uint64 taskId) external view returns (bytes32[] memory);
    function roundOf(uint64 taskId, uint32 round) external view returns (RoundView memory);

    /// @notice The stored phase and whether `advance` (or `finalize`) would move it on now.
    /// @return round last round that was opened
    /// @return phase current phase
    /// @return deadline its end, seconds since the epoch; 0 in `Idle`, `Draw` and `Challenge`
    /// @return due whether the phase has expired or, in `Draw` and `Challenge`, the seed is fixed already
    function phaseOf(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline, bool due);

    /// @notice Round and phase from a single storage slot, for the modules.
    function currentPhase(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline);

    /// @notice Beacon request that the current phase waits for, 0 if none.
    function seedRequestOf(uint64 taskId) external view returns (uint256 id);

    /// @notice Disputes over the current round that are not closed.
    function openDisputes(uint64 taskId) external view returns (uint32);

    function sponsorOf(uint64 taskId) external view returns (address);
    function rewardTerms(uint64 taskId) external view returns (RewardTerms memory);
    function stakeTerms(uint64 taskId) external view returns (StakeTerms memory);
    function quorumTerms(uint64 taskId) external view returns (QuorumTerms memory);
    function trainingTerms(uint64 taskId) external view returns (TrainingTerms memory);
    function phaseSeconds(uint64 taskId) external view returns (PhaseSeconds memory);
    function constantsRootOf(uint64 taskId) external view returns (bytes32);

    /// @notice Settlements of the round that were voided.
    function attemptsOf(uint64 taskId, uint32 round) external view returns (uint8);

    /// @notice Whether no round runs and none will: cancelled, or all rounds done.
    function isEnded(uint64 taskId) external view returns (bool);

    /// @notice When the round ended, 0 while it runs or before it opened.
    function endedAt(uint64 taskId, uint32 round) external view returns (uint64);

    /// @notice The settlement that stands (posted or final). Reverts with `NotSettled` if there is none.
    function settlementOf(uint64 taskId, uint32 round) external view returns (Settlement memory);

    /// @notice Signers of a voided settlement may be slashed if `culpable`.
    function voidedSettlement(bytes32 digest)
        external
        view
        returns (uint64 taskId, uint32 round, bool culpable, bytes32 nonSignersHash);

    /// @notice Inputs of the payout rule for the running round, given the improvement that a settlement states.
    function payoutTermsOf(uint64 taskId, int64 improvementNanos) external view returns (PayoutRule.Terms memory);

    /// @notice What verifiers sign: `keccak256(abi.encode(SETTLEMENT_TYPEHASH, chainId, this, taskId, round, ...))`.
    function settlementDigest(uint64 taskId, uint32 round, Settlement memory settlement) external view returns (bytes32);
}
