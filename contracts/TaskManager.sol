// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {TaskStore} from "./TaskStore.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {Modules, Outcome, Phase, PhaseSeconds, QuorumProof, Settlement, TaskParams} from "./interfaces/Types.sol";
import {PayoutRule} from "./libraries/PayoutRule.sol";
import {TaskRules} from "./libraries/TaskRules.sol";

/// @title Tasks, rounds and their phases
/// @notice See `ITaskManager`. Read `_next` for the life of a round.
/// @dev INVARIANT: while a round runs, budget plus fee are reserved in the vault; when it ends, the reserve was either
/// turned into claims (`Settled`) or given back. INVARIANT: no transition depends on a particular participant: every
/// phase ends by its deadline, and nothing here loops over participants.
contract TaskManager is TaskStore {
    /// @dev Settlements of one round that may be voided before the round ends without pay.
    uint8 private constant MAX_ATTEMPTS = 3;

    constructor(Modules memory set, address guardian_) ModuleSet(set, set.tasks) TaskStore(guardian_) {}

    // The life of a task.

    /// @inheritdoc ITaskManager
    function createTask(TaskParams calldata params, bytes32[] calldata validationCommitments, uint96 funding)
        external
        returns (uint64 taskId)
    {
        require(!newTasksPaused, NewTasksArePaused());
        TaskRules.check(params, validationCommitments);
        taskId = ++taskCount;
        Task storage task = _tasks[taskId];
        task.sponsor = msg.sender;
        task.params = params;
        task.adapterDigest = params.startDigest;
        task.validationCommitments = validationCommitments;
        emit TaskCreated(taskId, msg.sender, params, validationCommitments);
        VAULT.open(taskId, params.token, msg.sender, funding);
    }

    /// @inheritdoc ITaskManager
    function cancelTask(uint64 taskId) external {
        Task storage task = _task(taskId);
        require(msg.sender == task.sponsor, NotSponsor(taskId, msg.sender));
        require(!task.cursor.cancelled, TaskIsCancelled(taskId));
        task.cursor.cancelled = true;
        emit TaskCancelled(taskId, task.cursor.round);
    }

    /// @inheritdoc ITaskManager
    function openRound(uint64 taskId) external {
        Task storage task = _task(taskId);
        Cursor memory cursor = task.cursor;
        require(cursor.phase == Phase.Idle, WrongPhase(taskId, cursor.phase, Phase.Idle));
        require(!cursor.cancelled, TaskIsCancelled(taskId));
        uint32 rounds = task.params.training.rounds;
        require(cursor.round < rounds, NoRoundLeft(taskId, rounds));
        uint32 round = cursor.round + 1;
        task.cursor = Cursor({
            round: round,
            phase: Phase.Draw,
            deadline: 0,
            disputes: 0,
            attempts: 0,
            cancelled: false,
            validationRevealed: false
        });
        uint32 trainers = TRAINERS.openRound(taskId, round);
        (uint32 verifiers, uint32 version) = VERIFIERS.openRound(taskId, round);
        require(
            trainers >= task.params.quorum.minTrainers && verifiers >= task.params.quorum.minVerifiers,
            TooFewEnrolled(taskId, trainers, verifiers)
        );
        Round storage opened = task.rounds[round];
        opened.verifierSetVersion = version;
        opened.startDigest = task.adapterDigest;
        VAULT.reserve(taskId, round, task.params.rewards.budgetPerRound + _fee(task));
        // Attack: fit the order of the rows to a known seed. Shards are fixed by now and the seed is decided later.
        uint256 orderRequest = BEACON.request();
        task.seedRequest = orderRequest;
        emit RoundOpened(taskId, round, opened.startDigest, trainers, verifiers, version, orderRequest);
        emit PhaseStarted(taskId, round, Phase.Draw, 0);
    }

    /// @inheritdoc ITaskManager
    function advance(uint64 taskId) external returns (bool moved) {
        Task storage task = _task(taskId);
        Phase phase = task.cursor.phase;
        if (phase == Phase.Draw || phase == Phase.Challenge) return _drawSeed(taskId, task, phase);
        uint64 deadline = task.cursor.deadline;
        require(phase != Phase.Idle && block.timestamp >= deadline, NotDue(taskId, phase, deadline));
        _next(taskId, task, phase);
        return true;
    }

    /// @inheritdoc ITaskManager
    function finalize(uint64 taskId) external {
        Task storage task = _task(taskId);
        _requirePhase(taskId, task, Phase.Window);
        uint64 deadline = task.cursor.deadline;
        require(block.timestamp >= deadline, NotDue(taskId, Phase.Window, deadline));
        _finalize(taskId, task);
    }

    /// @inheritdoc ITaskManager
    function revealValidation(uint64 taskId, bytes32 digest, bytes32 salt) external {
        Task storage task = _task(taskId);
        _requireOpenPhase(taskId, task, Phase.Reveal);
        uint32 round = task.cursor.round;
        require(!task.cursor.validationRevealed, AlreadyRevealed(taskId, round));
        _checkValidation(taskId, task, round - 1, digest, salt);
        task.cursor.validationRevealed = true;
        task.rounds[round].validationRevealed = true;
        task.rounds[round].validationDigest = digest;
        emit ValidationRevealed(taskId, round, digest, salt);
        ITrainerPool.Progress memory progress = TRAINERS.progressOf(taskId);
        if (progress.revealed == progress.committed) _next(taskId, task, Phase.Reveal);
    }

    /// @inheritdoc ITaskManager
    function revealHeldOut(uint64 taskId, bytes32 digest, bytes32 salt) external {
        Task storage task = _task(taskId);
        uint32 rounds = task.params.training.rounds;
        require(
            task.cursor.phase == Phase.Idle && task.cursor.round == rounds,
            WrongPhase(taskId, task.cursor.phase, Phase.Idle)
        );
        _checkValidation(taskId, task, rounds, digest, salt);
        emit HeldOutRevealed(taskId, digest, salt);
    }

    /// @inheritdoc ITaskManager
    function settle(uint64 taskId, Settlement calldata settlement, QuorumProof calldata proof) external {
        Task storage task = _task(taskId);
        _requireOpenPhase(taskId, task, Phase.Settle);
        uint32 round = task.cursor.round;
        bytes32 digest = settlementDigest(taskId, round, settlement);
        // Attack: post a voided settlement again with the signatures that it already has.
        require(_voided[digest].round == 0, SettlementIsVoid(digest));
        uint32 committed = TRAINERS.progressOf(taskId).committed;
        require(settlement.leafCount == committed, LeafCountMismatch(committed, settlement.leafCount));
        uint128 released = uint128(PayoutRule.released(_payoutTerms(task, settlement.improvementNanos)));
        // INVARIANT: a settlement never pays more than the round's budget, whoever signed it.
        require(settlement.totalPayout <= released, PayoutOverBudget(released, settlement.totalPayout));
        VERIFIERS.checkQuorum(taskId, round, task.params.quorum.quorumBps, digest, proof);
        Round storage settled = task.rounds[round];
        settled.settlement = settlement;
        if (proof.nonSigners.length != 0) settled.nonSignersHash = keccak256(abi.encode(proof.nonSigners));
        emit SettlementPosted(taskId, round, digest, settlement, proof.nonSigners);
        _begin(taskId, task, Phase.Window, task.params.phases.window);
    }

    // Modules.

    /// @inheritdoc ITaskManager
    function completePhase(uint64 taskId, Phase phase) external {
        require(msg.sender == address(TRAINERS) || msg.sender == address(VERIFIERS), NotModule(msg.sender));
        Task storage task = _task(taskId);
        _requirePhase(taskId, task, phase);
        // The reveal phase also waits for the sponsor's validation set.
        if (phase == Phase.Reveal && !task.cursor.validationRevealed) return;
        _next(taskId, task, phase);
    }

    /// @inheritdoc ITaskManager
    function countDispute(uint64 taskId, bool opened) external {
        require(msg.sender == address(COURT), NotModule(msg.sender));
        Cursor storage cursor = _task(taskId).cursor;
        if (opened) ++cursor.disputes;
        else --cursor.disputes;
    }

    /// @inheritdoc ITaskManager
    function voidSettlement(uint64 taskId, bool culpable) external {
        require(msg.sender == address(COURT) || msg.sender == address(FAULTS), NotModule(msg.sender));
        Task storage task = _task(taskId);
        _requirePhase(taskId, task, Phase.Window);
        uint32 round = task.cursor.round;
        Round storage settled = task.rounds[round];
        bytes32 digest = settlementDigest(taskId, round, settled.settlement);
        _voided[digest] = Voided(taskId, round, culpable, settled.nonSignersHash);
        delete settled.settlement;
        delete settled.nonSignersHash;
        emit SettlementVoided(taskId, round, digest, culpable);
        uint8 attempts = ++task.cursor.attempts;
        settled.attempts = attempts;
        // After the last attempt the phase is over at once, and `advance` ends the round without pay.
        _begin(taskId, task, Phase.Settle, attempts < MAX_ATTEMPTS ? task.params.phases.settle : 0);
    }

    // Transitions.

    /// @dev The life of a round from `Commit` on. Called when `phase` expired or everyone acted.
    function _next(uint64 taskId, Task storage task, Phase phase) private {
        PhaseSeconds storage lengths = task.params.phases;
        if (phase == Phase.Commit) {
            if (TRAINERS.progressOf(taskId).committed == 0) _endUnpaid(taskId, task, Outcome.NoCommitments);
            else _begin(taskId, task, Phase.Reveal, lengths.reveal);
        } else if (phase == Phase.Reveal) {
            if (TRAINERS.progressOf(taskId).revealed == 0) _endUnpaid(taskId, task, Outcome.NoReveals);
            else _beginChallenge(taskId, task);
        } else if (phase == Phase.Opening) {
            _begin(taskId, task, Phase.AttestCommit, lengths.attestCommit);
        } else if (phase == Phase.AttestCommit) {
            if (VERIFIERS.progressOf(taskId).committed == 0) _endUnpaid(taskId, task, Outcome.NoAttestations);
            else _begin(taskId, task, Phase.AttestReveal, lengths.attestReveal);
        } else if (phase == Phase.AttestReveal) {
            if (VERIFIERS.progressOf(taskId).revealed == 0) _endUnpaid(taskId, task, Outcome.NoAttestations);
            else _begin(taskId, task, Phase.Settle, lengths.settle);
        } else if (phase == Phase.Settle) {
            _endUnpaid(taskId, task, Outcome.NoQuorum);
        } else {
            _finalize(taskId, task);
        }
    }

    function _drawSeed(uint64 taskId, Task storage task, Phase phase) private returns (bool drawn) {
        uint256 request = task.seedRequest;
        if (!BEACON.fulfil(request)) return false;
        (bytes32 seed,) = BEACON.seedOf(request);
        task.seedRequest = 0;
        uint32 round = task.cursor.round;
        if (phase == Phase.Draw) {
            task.rounds[round].orderSeed = seed;
            emit OrderSeedDrawn(taskId, round, seed);
            _begin(taskId, task, Phase.Commit, task.params.phases.commit);
        } else {
            task.rounds[round].challengeSeed = seed;
            emit ChallengeSeedDrawn(taskId, round, seed);
            _begin(taskId, task, Phase.Opening, task.params.phases.opening);
        }
        return true;
    }

    function _beginChallenge(uint64 taskId, Task storage task) private {
        // Attack: predict or grind the samples. The deciding block comes after everything sampled is committed.
        task.seedRequest = BEACON.request();
        task.cursor.phase = Phase.Challenge;
        task.cursor.deadline = 0;
        emit PhaseStarted(taskId, task.cursor.round, Phase.Challenge, 0);
    }

    function _begin(uint64 taskId, Task storage task, Phase phase, uint32 length) private {
        uint64 deadline = uint64(block.timestamp) + length;
        task.cursor.phase = phase;
        task.cursor.deadline = deadline;
        emit PhaseStarted(taskId, task.cursor.round, phase, deadline);
    }

    function _finalize(uint64 taskId, Task storage task) private {
        uint32 round = task.cursor.round;
        Settlement storage settlement = task.rounds[round].settlement;
        uint96 payouts = uint96(settlement.totalPayout);
        uint96 fee = _fee(task);
        uint96 unearned = task.params.rewards.budgetPerRound - payouts;
        if (VERIFIERS.fixFees(taskId, round, settlement.verdictsDigest, fee) == 0) {
            unearned += fee;
            fee = 0;
        }
        task.adapterDigest = settlement.nextStartDigest;
        _end(taskId, task, Outcome.Settled, payouts + fee, unearned);
        uint64 expiresAt = uint64(block.timestamp) + task.params.phases.claim;
        VAULT.allocate(taskId, round, settlement.leavesRoot, payouts, fee, expiresAt);
    }

    function _endUnpaid(uint64 taskId, Task storage task, Outcome outcome) private {
        _end(taskId, task, outcome, 0, task.params.rewards.budgetPerRound + _fee(task));
        VAULT.returnReserve(taskId, task.cursor.round);
    }

    function _end(uint64 taskId, Task storage task, Outcome outcome, uint96 paid, uint96 unearned) private {
        // INVARIANT: a round outlives every dispute over it. New disputes need an open phase, so this wait is bounded.
        require(task.cursor.disputes == 0, DisputesOpen(taskId, task.cursor.disputes));
        uint32 round = task.cursor.round;
        task.cursor.phase = Phase.Idle;
        task.cursor.deadline = 0;
        task.rounds[round].outcome = outcome;
        task.rounds[round].endedAt = uint64(block.timestamp);
        emit RoundEnded(taskId, round, outcome, task.adapterDigest, paid, unearned);
    }

    function _checkValidation(uint64 taskId, Task storage task, uint256 index, bytes32 digest, bytes32 salt)
        private
        view
    {
        bytes32 expected = task.validationCommitments[index];
        bytes32 actual = keccak256(abi.encode(digest, salt));
        require(actual == expected, ValidationMismatch(taskId, expected, actual));
    }

    function _requirePhase(uint64 taskId, Task storage task, Phase required) private view {
        Phase current = task.cursor.phase;
        require(current == required, WrongPhase(taskId, current, required));
    }

    function _requireOpenPhase(uint64 taskId, Task storage task, Phase required) private view {
        _requirePhase(taskId, task, required);
        uint64 deadline = task.cursor.deadline;
        require(block.timestamp < deadline, PhaseClosed(taskId, required, deadline));
    }

    function _fee(Task storage task) private view returns (uint96) {
        return uint96(uint256(task.params.rewards.budgetPerRound) * task.params.rewards.verifierFeeBps / PayoutRule.BPS);
    }
}
