// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {Outcome, Phase, RewardTerms, RoundView, Settlement, TaskState} from "./interfaces/Types.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {PayoutRule} from "./libraries/PayoutRule.sol";

/// @title What is stored of rounds, and every view on it
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
        bool late;
    }

    /// @dev `signedWeight`: stake of those who signed the posted settlement. Everything before `startDigest` is one slot.
    struct Round {
        Outcome outcome;
        uint8 attempts;
        bool validationRevealed;
        uint32 verifierSetVersion;
        uint40 endedAt;
        uint40 attestingBlock;
        uint96 signedWeight;
        bytes32 startDigest;
        bytes32 orderSeed;
        bytes32 challengeSeed;
        bytes32 validationDigest;
        Settlement settlement;
        bytes32 nonSignersHash;
    }

    struct Task {
        Cursor cursor;
        bytes32 adapterDigest;
        uint256 seedRequest;
        mapping(uint32 round => Round) rounds;
    }

    /// @dev `nonSignersHash` is zero when everyone signed.
    struct Voided {
        uint64 taskId;
        uint32 round;
        bool culpable;
        address prover;
        bytes32 nonSignersHash;
    }

    mapping(uint64 taskId => Task) internal _tasks;
    mapping(bytes32 settlementDigest => Voided) internal _voided;

    /// @inheritdoc ITaskManager
    function taskOf(uint64 taskId) external view returns (TaskState memory) {
        Task storage task = _tasks[taskId];
        bytes32 adapter = task.adapterDigest;
        if (adapter == 0) adapter = TERMS.startDigestOf(taskId);
        return TaskState(task.cursor.cancelled, task.cursor.round, adapter);
    }

    /// @inheritdoc ITaskManager
    function roundOf(uint64 taskId, uint32 round) external view returns (RoundView memory) {
        Round storage r = _round(taskId, round);
        Cursor storage cursor = _tasks[taskId].cursor;
        return RoundView(
            r.outcome,
            r.attempts,
            cursor.late && cursor.round == round,
            r.validationRevealed,
            r.verifierSetVersion,
            r.endedAt,
            r.attestingBlock,
            r.startDigest,
            r.orderSeed,
            r.challengeSeed,
            r.validationDigest,
            r.settlement
        );
    }

    /// @inheritdoc ITaskManager
    function phaseOf(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline, bool due) {
        Task storage task = _tasks[taskId];
        (round, phase, deadline) = (task.cursor.round, task.cursor.phase, task.cursor.deadline);
        if (phase == Phase.Draw || phase == Phase.Challenge) (, due) = BEACON.seedOf(task.seedRequest);
        else due = phase != Phase.Idle && block.timestamp >= deadline;
    }

    /// @inheritdoc ITaskManager
    function currentPhase(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline) {
        Cursor storage cursor = _tasks[taskId].cursor;
        return (cursor.round, cursor.phase, cursor.deadline);
    }

    /// @inheritdoc ITaskManager
    function seedRequestOf(uint64 taskId) external view returns (uint256 id) {
        return _tasks[taskId].seedRequest;
    }

    /// @inheritdoc ITaskManager
    function openDisputes(uint64 taskId) external view returns (uint32) {
        return _tasks[taskId].cursor.disputes;
    }

    /// @inheritdoc ITaskManager
    function attemptsOf(uint64 taskId, uint32 round) external view returns (uint8) {
        return _tasks[taskId].rounds[round].attempts;
    }

    /// @inheritdoc ITaskManager
    function isEnded(uint64 taskId) external view returns (bool) {
        Cursor storage cursor = _tasks[taskId].cursor;
        if (cursor.phase != Phase.Idle) return false;
        return cursor.cancelled || cursor.round == TERMS.trainingTerms(taskId).rounds;
    }

    /// @inheritdoc ITaskManager
    function endedAt(uint64 taskId, uint32 round) external view returns (uint64) {
        return _tasks[taskId].rounds[round].endedAt;
    }

    /// @inheritdoc ITaskManager
    function isSettled(uint64 taskId, uint32 round) external view returns (bool) {
        return _tasks[taskId].rounds[round].outcome == Outcome.Settled;
    }

    /// @inheritdoc ITaskManager
    function attestingBlock(uint64 taskId, uint32 round) external view returns (uint64) {
        return _tasks[taskId].rounds[round].attestingBlock;
    }

    /// @inheritdoc ITaskManager
    function isPunishable(uint64 taskId, uint32 round) external view returns (bool) {
        Task storage task = _tasks[taskId];
        uint64 ended = task.rounds[round].endedAt;
        if (ended != 0) return block.timestamp < ended + TERMS.phaseSeconds(taskId).slash;
        return round != 0 && round == task.cursor.round && task.cursor.phase >= Phase.Opening;
    }

    /// @inheritdoc ITaskManager
    function settlementOf(uint64 taskId, uint32 round) external view returns (Settlement memory settlement) {
        settlement = _round(taskId, round).settlement;
        require(settlement.leafCount != 0, NotSettled(taskId, round));
    }

    /// @inheritdoc ITaskManager
    function isPosted(uint64 taskId, uint32 round, bytes32 verdictsDigest) external view returns (bool) {
        return _tasks[taskId].rounds[round].settlement.verdictsDigest == verdictsDigest;
    }

    /// @inheritdoc ITaskManager
    function nonSignersHashOf(uint64 taskId, uint32 round) external view returns (bytes32) {
        return _tasks[taskId].rounds[round].nonSignersHash;
    }

    /// @inheritdoc ITaskManager
    function signedWeightOf(uint64 taskId, uint32 round) external view returns (uint96) {
        return _tasks[taskId].rounds[round].signedWeight;
    }

    /// @inheritdoc ITaskManager
    function voidedSettlement(bytes32 digest)
        external
        view
        returns (uint64 taskId, uint32 round, bool culpable, bytes32 nonSignersHash, address prover)
    {
        Voided storage voided = _voided[digest];
        return (voided.taskId, voided.round, voided.culpable, voided.nonSignersHash, voided.prover);
    }

    /// @inheritdoc ITaskManager
    function payoutTermsOf(uint64 taskId, int64 improvementNanos) external view returns (PayoutRule.Terms memory) {
        return _payoutTerms(taskId, improvementNanos);
    }

    /// @inheritdoc ITaskManager
    function settlementDigest(uint64 taskId, uint32 round, uint8 attempt, Settlement memory settlement)
        public
        view
        returns (bytes32)
    {
        return Commitments.settlement(address(this), taskId, round, attempt, settlement);
    }

    function _round(uint64 taskId, uint32 round) internal view returns (Round storage) {
        Task storage task = _tasks[taskId];
        require(round != 0 && round <= task.cursor.round, UnknownRound(taskId, round));
        return task.rounds[round];
    }

    /// @dev Terms of the running round under an improvement that a settlement states.
    function _payoutTerms(uint64 taskId, int64 improvementNanos) internal view returns (PayoutRule.Terms memory) {
        RewardTerms memory rewards = TERMS.rewardTerms(taskId);
        return PayoutRule.Terms({
            budget: rewards.budgetPerRound,
            improvementNanos: improvementNanos,
            targetNanos: rewards.targetNanos,
            floorBps: rewards.floorBps,
            capBps: rewards.capBps,
            baseBps: rewards.baseBps,
            scored: _tasks[taskId].cursor.validationRevealed
        });
    }
}
