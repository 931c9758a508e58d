// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {ITaskTerms} from "./interfaces/ITaskTerms.sol";
import {
    Modules,
    PhaseSeconds,
    QuorumTerms,
    RewardTerms,
    StakeTerms,
    TaskParams,
    TrainingTerms
} from "./interfaces/Types.sol";
import {TaskRules} from "./libraries/TaskRules.sol";

/// @title What tasks fix for ever, and what can be paused
/// @notice See `ITaskTerms`.
/// @dev INVARIANT: nothing here changes a task after its creation.
contract TaskTerms is ITaskTerms, ModuleSet {
    /// @notice How long new rounds stay stopped.
    uint64 public constant PAUSE_SECONDS = 7 days;
    /// @notice How long the guardian has to wait after a stop before the next one.
    uint64 public constant PAUSE_GAP_SECONDS = 28 days;
    /// @notice Time-lock of a change of guardian.
    uint64 public constant HANDOVER_SECONDS = 2 days;

    struct Terms {
        address sponsor;
        TaskParams params;
        bytes32[] validationCommitments;
    }

    /// @inheritdoc ITaskTerms
    uint64 public taskCount;
    /// @inheritdoc ITaskTerms
    address public guardian;
    /// @inheritdoc ITaskTerms
    bool public newTasksPaused;
    /// @inheritdoc ITaskTerms
    uint64 public newRoundsPausedUntil;
    uint64 private _nextPauseAt;
    address private _successor;
    uint64 private _handoverAt;
    mapping(uint64 taskId => Terms) private _terms;

    constructor(Modules memory set, address guardian_) ModuleSet(set, set.terms) {
        guardian = guardian_;
    }

    modifier onlyGuardian() {
        require(msg.sender == guardian, NotGuardian(msg.sender));
        _;
    }

    /// @inheritdoc ITaskTerms
    function createTask(TaskParams calldata params, bytes32[] calldata validationCommitments, uint96 funding)
        external
        returns (uint64 taskId)
    {
        require(!newTasksPaused, NewTasksArePaused());
        TaskRules.check(params, validationCommitments, COURT.params().answerSeconds, isTestChain());
        taskId = ++taskCount;
        Terms storage terms = _terms[taskId];
        terms.sponsor = msg.sender;
        terms.params = params;
        terms.validationCommitments = validationCommitments;
        emit TaskCreated(taskId, msg.sender, params, validationCommitments);
        VAULT.open(taskId, params.token, msg.sender, funding);
    }

    // Incidents.

    /// @inheritdoc ITaskTerms
    function setNewTasksPaused(bool paused) external onlyGuardian {
        newTasksPaused = paused;
        emit NewTasksPaused(paused);
    }

    /// @inheritdoc ITaskTerms
    function pauseNewRounds() external onlyGuardian {
        // Attack: a guardian that starves every task by one pause after another.
        require(block.timestamp >= _nextPauseAt, PauseTooSoon(_nextPauseAt));
        uint64 until = uint64(block.timestamp) + PAUSE_SECONDS;
        newRoundsPausedUntil = until;
        _nextPauseAt = until + PAUSE_GAP_SECONDS;
        emit NewRoundsPaused(until);
    }

    /// @inheritdoc ITaskTerms
    function resumeNewRounds() external onlyGuardian {
        newRoundsPausedUntil = uint64(block.timestamp);
        emit NewRoundsPaused(uint64(block.timestamp));
    }

    /// @inheritdoc ITaskTerms
    function proposeGuardian(address successor) external onlyGuardian {
        _successor = successor;
        _handoverAt = uint64(block.timestamp) + HANDOVER_SECONDS;
        emit GuardianProposed(successor, _handoverAt);
    }

    /// @inheritdoc ITaskTerms
    function acceptGuardian() external {
        address successor = _successor;
        require(_handoverAt != 0 && (msg.sender == successor || successor == address(0)), NotGuardian(msg.sender));
        require(block.timestamp >= _handoverAt, HandoverTooSoon(_handoverAt));
        guardian = successor;
        _handoverAt = 0;
        emit GuardianChanged(successor);
    }

    // Views.

    /// @inheritdoc ITaskTerms
    function isTestChain() public view returns (bool) {
        return block.chainid == 31_337 || block.chainid == 1_337;
    }

    /// @inheritdoc ITaskTerms
    function sponsorOf(uint64 taskId) external view returns (address) {
        return _of(taskId).sponsor;
    }

    /// @inheritdoc ITaskTerms
    function paramsOf(uint64 taskId) external view returns (TaskParams memory) {
        return _of(taskId).params;
    }

    /// @inheritdoc ITaskTerms
    function rewardTerms(uint64 taskId) external view returns (RewardTerms memory) {
        return _of(taskId).params.rewards;
    }

    /// @inheritdoc ITaskTerms
    function stakeTerms(uint64 taskId) external view returns (StakeTerms memory) {
        return _of(taskId).params.stakes;
    }

    /// @inheritdoc ITaskTerms
    function quorumTerms(uint64 taskId) external view returns (QuorumTerms memory) {
        return _of(taskId).params.quorum;
    }

    /// @inheritdoc ITaskTerms
    function trainingTerms(uint64 taskId) external view returns (TrainingTerms memory) {
        return _of(taskId).params.training;
    }

    /// @inheritdoc ITaskTerms
    function phaseSeconds(uint64 taskId) external view returns (PhaseSeconds memory) {
        return _of(taskId).params.phases;
    }

    /// @inheritdoc ITaskTerms
    function startDigestOf(uint64 taskId) external view returns (bytes32) {
        return _of(taskId).params.startDigest;
    }

    /// @inheritdoc ITaskTerms
    function constantsRootOf(uint64 taskId) external view returns (bytes32) {
        return _of(taskId).params.constantsRoot;
    }

    /// @inheritdoc ITaskTerms
    function validationCommitmentsOf(uint64 taskId) external view returns (bytes32[] memory) {
        return _of(taskId).validationCommitments;
    }

    /// @inheritdoc ITaskTerms
    function checkValidation(uint64 taskId, uint256 index, bytes32 digest, bytes32 salt) external view {
        bytes32 expected = _of(taskId).validationCommitments[index];
        bytes32 actual = keccak256(abi.encode(digest, salt));
        require(actual == expected, ValidationMismatch(taskId, expected, actual));
    }

    function _of(uint64 taskId) private view returns (Terms storage terms) {
        terms = _terms[taskId];
        require(terms.sponsor != address(0), UnknownTask(taskId));
    }
}
