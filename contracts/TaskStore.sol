// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {
    Outcome,
    Phase,
    PhaseSeconds,
    QuorumTerms,
    RewardTerms,
    RoundView,
    Settlement,
    StakeTerms,
    TaskParams,
    TaskView,
    TrainingTerms
} from "./interfaces/Types.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {PayoutRule} from "./libraries/PayoutRule.sol";

/// @title What is stored of tasks and rounds, and every view on it
abstract contract TaskStore is ITaskManager, ModuleSet {
    /// @dev The running round, in one storage slot.
    struct Cursor {
        uint32 round;
        Phase phase;
        uint64 deadline;
        uint32 disputes;
        uint8 attempts;
        bool cancelled;
        bool validationRevealed;
    }

    struct Round {
        Outcome outcome;
        uint8 attempts;
        bool validationRevealed;
        uint32 verifierSetVersion;
        uint64 endedAt;
        bytes32 startDigest;
        bytes32 orderSeed;
        bytes32 challengeSeed;
        bytes32 validationDigest;
        Settlement settlement;
        bytes32 nonSignersHash;
    }

    struct Task {
        Cursor cursor;
        address sponsor;
        bytes32 adapterDigest;
        uint256 seedRequest;
        TaskParams params;
        bytes32[] validationCommitments;
        mapping(uint32 round => Round) rounds;
    }

    /// @dev `nonSignersHash` is zero when everyone signed.
    struct Voided {
        uint64 taskId;
        uint32 round;
        bool culpable;
        bytes32 nonSignersHash;
    }

    /// @inheritdoc ITaskManager
    uint64 public taskCount;
    /// @inheritdoc ITaskManager
    bool public newTasksPaused;
    /// @inheritdoc ITaskManager
    address public immutable guardian;

    mapping(uint64 taskId => Task) internal _tasks;
    mapping(bytes32 settlementDigest => Voided) internal _voided;

    constructor(address guardian_) {
        guardian = guardian_;
    }

    /// @inheritdoc ITaskManager
    function setNewTasksPaused(bool paused) external {
        require(msg.sender == guardian, NotGuardian(msg.sender));
        newTasksPaused = paused;
        emit NewTasksPaused(paused);
    }

    /// @inheritdoc ITaskManager
    function taskOf(uint64 taskId) external view returns (TaskView memory) {
        Task storage task = _task(taskId);
        return TaskView(task.sponsor, task.cursor.cancelled, task.cursor.round, task.adapterDigest, task.params);
    }

    /// @inheritdoc ITaskManager
    function validationCommitmentsOf(uint64 taskId) external view returns (bytes32[] memory) {
        return _task(taskId).validationCommitments;
    }

    /// @inheritdoc ITaskManager
    function roundOf(uint64 taskId, uint32 round) external view returns (RoundView memory) {
        Round storage r = _round(taskId, round);
        return RoundView(
            r.outcome,
            r.attempts,
            r.validationRevealed,
            r.verifierSetVersion,
            r.endedAt,
            r.startDigest,
            r.orderSeed,
            r.challengeSeed,
            r.validationDigest,
            r.settlement
        );
    }

    /// @inheritdoc ITaskManager
    function phaseOf(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline, bool due) {
        Task storage task = _task(taskId);
        (round, phase, deadline) = (task.cursor.round, task.cursor.phase, task.cursor.deadline);
        if (phase == Phase.Draw || phase == Phase.Challenge) (, due) = BEACON.seedOf(task.seedRequest);
        else due = phase != Phase.Idle && block.timestamp >= deadline;
    }

    /// @inheritdoc ITaskManager
    function currentPhase(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline) {
        Cursor storage cursor = _task(taskId).cursor;
        return (cursor.round, cursor.phase, cursor.deadline);
    }

    /// @inheritdoc ITaskManager
    function seedRequestOf(uint64 taskId) external view returns (uint256 id) {
        return _task(taskId).seedRequest;
    }

    /// @inheritdoc ITaskManager
    function openDisputes(uint64 taskId) external view returns (uint32) {
        return _task(taskId).cursor.disputes;
    }

    /// @inheritdoc ITaskManager
    function sponsorOf(uint64 taskId) external view returns (address) {
        return _task(taskId).sponsor;
    }

    /// @inheritdoc ITaskManager
    function rewardTerms(uint64 taskId) external view returns (RewardTerms memory) {
        return _task(taskId).params.rewards;
    }

    /// @inheritdoc ITaskManager
    function stakeTerms(uint64 taskId) external view returns (StakeTerms memory) {
        return _task(taskId).params.stakes;
    }

    /// @inheritdoc ITaskManager
    function quorumTerms(uint64 taskId) external view returns (QuorumTerms memory) {
        return _task(taskId).params.quorum;
    }

    /// @inheritdoc ITaskManager
    function trainingTerms(uint64 taskId) external view returns (TrainingTerms memory) {
        return _task(taskId).params.training;
    }

    /// @inheritdoc ITaskManager
    function phaseSeconds(uint64 taskId) external view returns (PhaseSeconds memory) {
        return _task(taskId).params.phases;
    }

    /// @inheritdoc ITaskManager
    function constantsRootOf(uint64 taskId) external view returns (bytes32) {
        return _task(taskId).params.constantsRoot;
    }

    /// @inheritdoc ITaskManager
    function attemptsOf(uint64 taskId, uint32 round) external view returns (uint8) {
        return _task(taskId).rounds[round].attempts;
    }

    /// @inheritdoc ITaskManager
    function isEnded(uint64 taskId) external view returns (bool) {
        Task storage task = _task(taskId);
        if (task.cursor.phase != Phase.Idle) return false;
        return task.cursor.cancelled || task.cursor.round == task.params.training.rounds;
    }

    /// @inheritdoc ITaskManager
    function endedAt(uint64 taskId, uint32 round) external view returns (uint64) {
        return _task(taskId).rounds[round].endedAt;
    }

    /// @inheritdoc ITaskManager
    function settlementOf(uint64 taskId, uint32 round) external view returns (Settlement memory settlement) {
        settlement = _round(taskId, round).settlement;
        require(settlement.leafCount != 0, NotSettled(taskId, round));
    }

    /// @inheritdoc ITaskManager
    function voidedSettlement(bytes32 digest)
        external
        view
        returns (uint64 taskId, uint32 round, bool culpable, bytes32 nonSignersHash)
    {
        Voided storage voided = _voided[digest];
        return (voided.taskId, voided.round, voided.culpable, voided.nonSignersHash);
    }

    /// @inheritdoc ITaskManager
    function payoutTermsOf(uint64 taskId, int64 improvementNanos) external view returns (PayoutRule.Terms memory) {
        return _payoutTerms(_task(taskId), improvementNanos);
    }

    /// @inheritdoc ITaskManager
    function settlementDigest(uint64 taskId, uint32 round, Settlement memory settlement) public view returns (bytes32) {
        return Commitments.settlement(address(this), taskId, round, settlement);
    }

    function _task(uint64 taskId) internal view returns (Task storage task) {
        task = _tasks[taskId];
        require(task.sponsor != address(0), UnknownTask(taskId));
    }

    function _round(uint64 taskId, uint32 round) internal view returns (Round storage) {
        Task storage task = _task(taskId);
        require(round != 0 && round <= task.cursor.round, UnknownRound(taskId, round));
        return task.rounds[round];
    }

    /// @dev Terms of the running round under an improvement that a settlement states.
    function _payoutTerms(Task storage task, int64 improvementNanos) internal view returns (PayoutRule.Terms memory) {
        return PayoutRule.Terms({
            budget: task.params.rewards.budgetPerRound,
            improvementNanos: improvementNanos,
            targetNanos: task.params.rewards.targetNanos,
            floorBps: task.params.rewards.floorBps,
            capBps: task.params.rewards.capBps,
            scored: task.cursor.validationRevealed
        });
    }
}
