// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {CommitmentRef, Fault, Phase, RevealData} from "./interfaces/Types.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {SettlementTree} from "./libraries/SettlementTree.sol";

/// @title What is stored of trainers, and the views on it
abstract contract TrainerStore is ITrainerPool, ModuleSet {
    /// @dev One slot for the state that a commitment reads and writes, one for the commitment; the rest is written at
    /// enrolment.
    struct Trainer {
        uint32 index;
        uint32 activeFrom;
        uint32 activeUntil;
        uint96 stake;
        uint32 committedRound;
        uint32 revealedRound;
        bytes32 commitment;
        bytes32 dataRoot;
        uint32 dataRows;
        uint32 openedRound;
    }

    mapping(uint64 taskId => mapping(address trainer => Trainer)) internal _trainers;
    mapping(uint64 taskId => address[]) internal _lists;
    /// @dev Trainers who may commit in the next round.
    mapping(uint64 taskId => uint32) internal _members;
    mapping(uint64 taskId => Progress) internal _progress;
    mapping(uint64 taskId => mapping(uint32 round => mapping(address trainer => bool))) internal _penalised;
    mapping(uint64 taskId => mapping(uint32 round => mapping(address trainer => Fault))) internal _faults;
    /// @dev Bond of a direct commitment burned. The commitment itself stays on record: the round's settlement has its leaf.
    mapping(uint64 taskId => mapping(uint32 round => mapping(address trainer => bool))) internal _forfeited;
    /// @dev One bit per trainer index: committed through a batch.
    mapping(uint64 taskId => mapping(uint32 round => mapping(uint256 word => uint256))) internal _batched;
    mapping(uint64 taskId => mapping(uint32 round => mapping(uint32 batchId => bytes32))) internal _batchRoots;
    /// @dev One bit per position of a batch: revealed in time, or its bond forfeited afterwards.
    mapping(uint64 taskId => mapping(uint32 round => mapping(uint32 batchId => uint256))) internal _batchResolved;

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
        Trainer storage stored = _trainers[taskId][trainer];
        return stored.committedRound == round ? stored.commitment : bytes32(0);
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
    function hasCommitted(uint64 taskId, uint32 round, address trainer) external view returns (bool) {
        Trainer storage stored = _trainers[taskId][trainer];
        if (round == 0 || stored.index == 0) return false;
        return stored.committedRound == round || _inSomeBatch(taskId, round, stored.index);
    }

    /// @inheritdoc ITrainerPool
    function isForfeited(uint64 taskId, uint32 round, address trainer) external view returns (bool) {
        return _forfeited[taskId][round][trainer];
    }

    /// @inheritdoc ITrainerPool
    function faultOf(uint64 taskId, uint32 round, address trainer) external view returns (Fault) {
        return _faults[taskId][round][trainer];
    }

    /// @inheritdoc ITrainerPool
    function isCommitted(
        uint64 taskId,
        uint32 round,
        address account,
        RevealData calldata data,
        CommitmentRef calldata ref
    ) external view returns (bool) {
        Trainer storage trainer = _trainers[taskId][account];
        bytes32 commitment = commitmentHash(taskId, round, account, data);
        if (ref.batchId == 0) return trainer.committedRound == round && trainer.commitment == commitment;
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

    function _inSomeBatch(uint64 taskId, uint32 round, uint32 index) internal view returns (bool) {
        return _batched[taskId][round][index >> 8] & (1 << (index & 0xff)) != 0;
    }

    function _isInBatch(uint64 taskId, uint32 round, address account, bytes32 commitment, CommitmentRef calldata ref)
        internal
        view
        returns (bool)
    {
        bytes32 root = _batchRoots[taskId][round][ref.batchId];
        if (root == 0) return false;
        return
            SettlementTree.contains(root, SettlementTree.hashBatchEntry(ref.position, account, commitment), ref.proof);
    }

    function _view(Trainer storage trainer) private view returns (Enrolment memory) {
        return Enrolment(
            trainer.index,
            trainer.activeFrom,
            trainer.activeUntil,
            trainer.stake,
            trainer.committedRound,
            trainer.revealedRound,
            trainer.openedRound,
            trainer.dataRows,
            trainer.dataRoot,
            trainer.commitment
        );
    }
}
