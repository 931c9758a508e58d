// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PhaseSeconds, QuorumTerms, RewardTerms, StakeTerms, TaskParams, TrainingTerms} from "./Types.sol";

/// @title What tasks fix for ever, and what can be paused
/// @notice Tasks are created here; their rounds are `ITaskManager`'s. Incident policy: the guardian can stop new tasks for
/// as long as it likes, and new rounds for `PAUSE_SECONDS` at a time with as long a pause in between as `PAUSE_GAP_SECONDS`.
/// Rounds that run, claims, penalties, releases and withdrawals cannot be stopped by anybody.
interface ITaskTerms {
    /// @notice A task was made; amounts are in the token's smallest unit, times in seconds.
    /// @param taskId number of the task, from 1
    /// @param sponsor who created it and gets unearned money back
    /// @param params everything that the task fixes
    /// @param validationCommitments of each round's validation set, then of the final held-out set
    event TaskCreated(
        uint64 indexed taskId, address indexed sponsor, TaskParams params, bytes32[] validationCommitments
    );
    /// @notice New tasks are refused, or taken again.
    /// @param paused whether new tasks are refused from here on
    event NewTasksPaused(bool paused);
    /// @notice New rounds are stopped until a Unix time in seconds.
    /// @param until when rounds can be opened again, seconds since the epoch
    event NewRoundsPaused(uint64 until);
    /// @notice The office passes on from a Unix time in seconds.
    /// @param guardian who may take the office
    /// @param from when, seconds since the epoch
    event GuardianProposed(address indexed guardian, uint64 from);
    /// @notice The office changed hands.
    /// @param guardian who holds the office now; zero: nobody, for ever
    event GuardianChanged(address indexed guardian);

    /// @notice Only the guardian may call this.
    /// @param caller who is not the guardian, nor the one proposed
    error NotGuardian(address caller);
    /// @notice The guardian refuses new tasks.
    error NewTasksArePaused();
    /// @notice New rounds cannot be stopped again before this Unix time in seconds.
    /// @param until when rounds can be paused again, seconds since the epoch
    error PauseTooSoon(uint64 until);
    /// @notice The office passes on from this Unix time in seconds.
    /// @param from when the office can be taken, seconds since the epoch
    error HandoverTooSoon(uint64 from);
    /// @notice No task has this number.
    /// @param taskId a task that does not exist
    error UnknownTask(uint64 taskId);
    /// @notice A parameter is outside its range.
    /// @param field its name
    /// @param value what was given
    error InvalidParameter(bytes32 field, uint256 value);
    /// @notice The set shown is not the one that was committed.
    /// @param expected commitment that the task fixed
    /// @param actual commitment of what was shown
    error ValidationMismatch(uint64 taskId, bytes32 expected, bytes32 actual);

    /// @notice Create a task and fund it from the caller, who becomes its sponsor.
    /// @param params everything that the task fixes
    /// @param validationCommitments `keccak256(abi.encode(digest, salt))` of each round's validation set, then of the
    /// final held-out test set: `rounds + 1` values
    /// @param funding reward tokens to move from the caller to the vault (which the caller approved), may be 0
    /// @return taskId number of the task, from 1
    function createTask(TaskParams calldata params, bytes32[] calldata validationCommitments, uint96 funding)
        external
        returns (uint64 taskId);

    // Incidents; guardian only.

    /// @notice Stop or allow the creation of new tasks.
    function setNewTasksPaused(bool paused) external;

    /// @notice Stop new rounds for `PAUSE_SECONDS`; possible again `PAUSE_GAP_SECONDS` after that.
    function pauseNewRounds() external;

    /// @notice Let rounds be opened again before the pause is over.
    function resumeNewRounds() external;

    /// @notice Propose a successor, who may take the office after `HANDOVER_SECONDS`; zero to give the office up.
    function proposeGuardian(address successor) external;

    /// @notice Take the office. Only the proposed successor; the resignation of a guardian can be completed by anybody.
    function acceptGuardian() external;

    // Views.

    /// @notice How many tasks were made; the last one's number.
    function taskCount() external view returns (uint64);
    /// @notice Who may stop new tasks and new rounds.
    function guardian() external view returns (address);
    /// @notice Whether new tasks are refused.
    function newTasksPaused() external view returns (bool);
    /// @notice Until when no round can be opened, seconds since the epoch; in the past: rounds can be opened.
    function newRoundsPausedUntil() external view returns (uint64);
    /// @notice Whether this chain counts as a test chain, where times may be seconds.
    function isTestChain() external view returns (bool);
    /// @notice Who made the task.
    function sponsorOf(uint64 taskId) external view returns (address);
    /// @notice All terms of a task; amounts in the token's smallest unit, times in seconds.
    function paramsOf(uint64 taskId) external view returns (TaskParams memory);
    /// @notice What the task pays, in the reward token's smallest unit.
    function rewardTerms(uint64 taskId) external view returns (RewardTerms memory);
    /// @notice What the task asks to be staked, in the stake token's smallest unit.
    function stakeTerms(uint64 taskId) external view returns (StakeTerms memory);
    /// @notice What a settlement of the task needs.
    function quorumTerms(uint64 taskId) external view returns (QuorumTerms memory);
    /// @notice How the task trains.
    function trainingTerms(uint64 taskId) external view returns (TrainingTerms memory);
    /// @notice How long the task's phases last, in seconds.
    function phaseSeconds(uint64 taskId) external view returns (PhaseSeconds memory);
    /// @notice The adapter that the first round starts from.
    function startDigestOf(uint64 taskId) external view returns (bytes32);
    /// @notice Root of the optimiser's constants.
    function constantsRootOf(uint64 taskId) external view returns (bytes32);
    /// @notice Commitments to the task's validation sets, one for each round and one for the held-out set.
    function validationCommitmentsOf(uint64 taskId) external view returns (bytes32[] memory);
    /// @notice Reverts with `ValidationMismatch` unless (digest, salt) opens commitment `index`, from 0.
    function checkValidation(uint64 taskId, uint256 index, bytes32 digest, bytes32 salt) external view;
}
