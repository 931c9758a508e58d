// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {CommitmentRef, Fault, Phase, RevealData} from "./interfaces/Types.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {LeafTree} from "./libraries/LeafTree.sol";

/// @title What is stored of trainers, and the views on it
abstract contract TrainerStore is ITrainerPool, ModuleSet {
    /// @dev All that a commitment reads is in the first slot. `TrainerBatches._admit` reads it whole.
    struct Trainer {
        uint32 index;
        uint32 activeFrom;
        uint32 activeUntil;
        uint96 stake;
        uint32 dataRows;
        bytes32 dataRoot;
    }

    /// @dev What was established about a trainer's round.
    struct Record {
        Fault fault;
        uint64 faultBlock;
        bool slashed;
    }

    /// @dev One bit per trainer, by its index in the task.
    struct Marks {
        mapping(uint256 word => uint256) batched;
        mapping(uint256 word => uint256) revealed;
        mapping(uint256 word => uint256) opened;
        mapping(uint256 word => uint256) forfeited;
    }

    mapping(uint64 taskId => mapping(address trainer => Trainer)) internal _trainers;
    mapping(uint64 taskId => address[]) internal _lists;
    /// @dev Trainers who may commit in the next round. INVARIANT: at most the task's `maxTrainers`.
    mapping(uint64 taskId => uint32) internal _members;
    mapping(uint64 taskId => Progress) internal _progress;
    /// @dev Direct commitments. Kept for every round: a fault can be shown as long as the stake can be slashed.
    mapping(uint64 taskId => mapping(uint32 round => mapping(address trainer => bytes32))) internal _commitments;
    mapping(uint64 taskId => mapping(uint32 round => mapping(address trainer => Record))) internal _records;
    mapping(uint64 taskId => mapping(uint32 round => Marks)) internal _marks;
    /// @dev Root of each batch with its count.
    mapping(uint64 taskId => mapping(uint32 round => mapping(uint32 batchId => bytes32))) internal _batchRoots;

    /// @inheritdoc ITrainerPool
    function enrolmentOf(uint64 taskId, address trainer) external view returns (Enrolment memory) {
        return _view(_trainers[taskId][trainer]);
    }

    /// @inheritdoc ITrainerPool
    function progressOf(uint64 taskId) external view returns (Progress memory) {
        return _progress[taskId];
    }

    /// @inheritdoc ITrainerPool
    function commitmentOf(uint64 taskId, uint32 round, address trainer) external view returns (bytes32) {
        return _commitments[taskId][round][trainer];
    }

    /// @inheritdoc ITrainerPool
    function batchRootOf(uint64 taskId, uint32 round, uint32 batchId) external view returns (bytes32) {
        return _batchRoots[taskId][round][batchId];
    }

    /// @inheritdoc ITrainerPool
    function trainerCount(uint64 taskId) external view returns (uint256) {
        return _lists[taskId].length;
    }

    /// @inheritdoc ITrainerPool
    function trainersOf(uint64 taskId, uint256 offset, uint256 limit)
        external
        view
        returns (address[] memory trainers, Enrolment[] memory enrolments)
    {
        address[] storage list = _lists[taskId];
        uint256 end = offset + limit < list.length ? offset + limit : list.length;
        uint256 count = end > offset ? end - offset : 0;
        trainers = new address[](count);
        enrolments = new Enrolment[](count);
        for (uint256 i = 0; i < count; ++i) {
            trainers[i] = list[offset + i];
            enrolments[i] = _view(_trainers[taskId][trainers[i]]);
        }
    }

    /// @inheritdoc ITrainerPool
    function workOf(uint64 taskId, uint32 round, address account) external view returns (Work memory) {
        Record storage record = _records[taskId][round][account];
        uint32 index = _trainers[taskId][account].index;
        Marks storage marks = _marks[taskId][round];
        return Work(
            hasCommitted(taskId, round, account),
            _isSet(marks.revealed, index),
            _isSet(marks.opened, index),
            _isSet(marks.forfeited, index),
            record.slashed,
            record.fault,
            record.faultBlock,
            _commitments[taskId][round][account]
        );
    }

    /// @inheritdoc ITrainerPool
    function hasCommitted(uint64 taskId, uint32 round, address trainer) public view returns (bool) {
        return _commitments[taskId][round][trainer] != 0
            || _isSet(_marks[taskId][round].batched, _trainers[taskId][trainer].index);
    }

    /// @inheritdoc ITrainerPool
    function hasRevealed(uint64 taskId, uint32 round, address trainer) public view returns (bool) {
        return _isSet(_marks[taskId][round].revealed, _trainers[taskId][trainer].index);
    }

    /// @inheritdoc ITrainerPool
    function hasOpened(uint64 taskId, uint32 round, address trainer) external view returns (bool) {
        return _isSet(_marks[taskId][round].opened, _trainers[taskId][trainer].index);
    }

    /// @inheritdoc ITrainerPool
    function faultOf(uint64 taskId, uint32 round, address trainer)
        external
        view
        returns (Fault fault, uint64 blockNumber)
    {
        Record storage record = _records[taskId][round][trainer];
        return (record.fault, record.faultBlock);
    }

    /// @inheritdoc ITrainerPool
    function isCommitted(
        uint64 taskId,
        uint32 round,
        address account,
        RevealData calldata data,
        CommitmentRef calldata ref
    ) external view returns (bool) {
        bytes32 commitment = commitmentHash(taskId, round, account, data);
        if (ref.batchId == 0) return _commitments[taskId][round][account] == commitment;
        return _isInBatch(taskId, round, account, commitment, ref);
    }

    /// @inheritdoc ITrainerPool
    function commitmentHash(uint64 taskId, uint32 round, address trainer, RevealData memory data)
        public
        view
        returns (bytes32)
    {
        return Commitments.commitment(address(TASKS), taskId, round, trainer, data);
    }

    function _enrolled(uint64 taskId, address account) internal view returns (Trainer storage trainer) {
        trainer = _trainers[taskId][account];
        require(trainer.activeFrom != 0, NotEnrolled(taskId, account));
    }

    function _requireActive(uint64 taskId, uint32 round, address account, Trainer storage trainer) internal view {
        require(
            trainer.activeFrom != 0 && trainer.activeFrom <= round && round <= trainer.activeUntil,
            NotActive(taskId, round, account)
        );
    }

    function _openRound(uint64 taskId, Phase required) internal view returns (uint32 round) {
        Phase phase;
        uint64 deadline;
        (round, phase, deadline) = TASKS.currentPhase(taskId);
        require(phase == required, ITaskManager.WrongPhase(taskId, phase, required));
        require(block.timestamp < deadline, ITaskManager.PhaseClosed(taskId, phase, deadline));
    }

    /// @dev INVARIANT: index 0, of those who never enrolled, is never set.
    function _isSet(mapping(uint256 => uint256) storage words, uint32 index) internal view returns (bool) {
        return words[index >> 8] & (1 << (index & 0xff)) != 0;
    }

    function _set(mapping(uint256 => uint256) storage words, uint32 index) internal {
        words[index >> 8] |= 1 << (index & 0xff);
    }

    function _isInBatch(uint64 taskId, uint32 round, address account, bytes32 commitment, CommitmentRef calldata ref)
        internal
        view
        returns (bool)
    {
        bytes32 leaf = LeafTree.hashBatchEntry(ref.index, account, commitment);
        return
            LeafTree.containsCounted(_batchRoots[taskId][round][ref.batchId], leaf, ref.position, ref.count, ref.proof);
    }

    function _view(Trainer storage trainer) private view returns (Enrolment memory) {
        return Enrolment(
            trainer.index, trainer.activeFrom, trainer.activeUntil, trainer.stake, trainer.dataRows, trainer.dataRoot
        );
    }
}
