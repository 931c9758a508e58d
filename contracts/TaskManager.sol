// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {TaskStore} from "./TaskStore.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {
    Modules,
    Outcome,
    Phase,
    PhaseSeconds,
    QuorumProof,
    QuorumTerms,
    RewardTerms,
    Settlement
} from "./interfaces/Types.sol";
import {LeafTree} from "./libraries/LeafTree.sol";
import {PayoutRule} from "./libraries/PayoutRule.sol";

/// @title Rounds and their phases
/// @notice See `ITaskManager`. Read `_next` for the life of a round.
/// @dev INVARIANT: while a round runs, budget plus fee are reserved in the vault; when it ends, the reserve was either
/// turned into claims or given back. INVARIANT: no transition depends on a particular participant: every phase ends by
/// its deadline, and nothing here loops over participants.
contract TaskManager is TaskStore {
    /// @dev Settlements of one round that may be voided before the round ends without one.
    uint8 private constant MAX_ATTEMPTS = 3;
    /// @dev More than half: two such sets share a verifier, so a round cannot be settled twice without an equivocation.
    uint16 private constant MAJORITY_BPS = 5_001;

    constructor(Modules memory set) ModuleSet(set, set.tasks) {}

    /// @inheritdoc ITaskManager
    function modules() external view returns (Modules memory) {
        return _modules();
    }

    // The life of a task.

    /// @inheritdoc ITaskManager
    function cancelTask(uint64 taskId) external {
        require(msg.sender == TERMS.sponsorOf(taskId), NotSponsor(taskId, msg.sender));
        Cursor storage cursor = _tasks[taskId].cursor;
        require(!cursor.cancelled, TaskIsCancelled(taskId));
        cursor.cancelled = true;
        emit TaskCancelled(taskId, cursor.round);
    }

    /// @inheritdoc ITaskManager
    function openRound(uint64 taskId) external {
        // Attack: be seated first, and open a round before anybody else is, who would outweigh the opener.
        require(msg.sender == TERMS.sponsorOf(taskId), NotSponsor(taskId, msg.sender));
        Task storage task = _tasks[taskId];
        Cursor memory cursor = task.cursor;
        require(cursor.phase == Phase.Idle, WrongPhase(taskId, cursor.phase, Phase.Idle));
        require(!cursor.cancelled, TaskIsCancelled(taskId));
        uint64 paused = TERMS.newRoundsPausedUntil();
        require(block.timestamp >= paused, NewRoundsArePaused(paused));
        uint32 rounds = TERMS.trainingTerms(taskId).rounds;
        require(cursor.round < rounds, NoRoundLeft(taskId, rounds));
        uint32 round = cursor.round + 1;
        task.cursor = Cursor({
            round: round,
            phase: Phase.Draw,
            deadline: 0,
            disputes: 0,
            attempts: 0,
            cancelled: false,
            validationRevealed: false,
            late: false
        });
        if (round == 1) task.adapterDigest = TERMS.startDigestOf(taskId);
        uint32 trainers = TRAINERS.openRound(taskId, round);
        (uint32 verifiers, uint32 version) = VERIFIERS.openRound(taskId, round);
        QuorumTerms memory quorum = TERMS.quorumTerms(taskId);
        require(
            trainers >= quorum.minTrainers && verifiers >= quorum.minVerifiers,
            TooFewEnrolled(taskId, trainers, verifiers)
        );
        Round storage opened = task.rounds[round];
        opened.verifierSetVersion = version;
        opened.startDigest = task.adapterDigest;
        RewardTerms memory rewards = TERMS.rewardTerms(taskId);
        VAULT.reserve(taskId, round, rewards.budgetPerRound + _fee(rewards));
        // Attack: fit the order of the rows to a known seed. Shards are fixed by now and the seed is decided later.
        uint256 orderRequest = BEACON.request();
        task.seedRequest = orderRequest;
        emit RoundOpened(taskId, round, opened.startDigest, trainers, verifiers, version, orderRequest);
        emit PhaseStarted(taskId, round, Phase.Draw, 0);
    }

    /// @inheritdoc ITaskManager
    function advance(uint64 taskId) external returns (bool moved) {
        Task storage task = _tasks[taskId];
        Phase phase = task.cursor.phase;
        if (phase == Phase.Draw || phase == Phase.Challenge) return _drawSeed(taskId, task, phase);
        uint64 deadline = task.cursor.deadline;
        require(phase != Phase.Idle && block.timestamp >= deadline, NotDue(taskId, phase, deadline));
        _next(taskId, task, phase);
        return true;
    }

    /// @inheritdoc ITaskManager
    function finalize(uint64 taskId) external {
        Task storage task = _tasks[taskId];
        _requirePhase(taskId, task, Phase.Window);
        uint64 deadline = task.cursor.deadline;
        require(block.timestamp >= deadline, NotDue(taskId, Phase.Window, deadline));
        _finalize(taskId, task);
    }

    /// @inheritdoc ITaskManager
    function revealValidation(uint64 taskId, bytes32 digest, bytes32 salt) external {
        Task storage task = _tasks[taskId];
        // Attack: look at the set and reveal the best of k deltas, or none. By now everybody has revealed or never will, and
        // whoever keeps its openings back loses stake.
        _requireOpenPhase(taskId, task, Phase.Opening);
        uint32 round = task.cursor.round;
        require(!task.cursor.validationRevealed, AlreadyRevealed(taskId, round));
        TERMS.checkValidation(taskId, round - 1, digest, salt);
        task.cursor.validationRevealed = true;
        task.rounds[round].validationRevealed = true;
        task.rounds[round].validationDigest = digest;
        emit ValidationRevealed(taskId, round, digest, salt);
        ITrainerPool.Progress memory progress = TRAINERS.progressOf(taskId);
        if (progress.opened == progress.revealed) _next(taskId, task, Phase.Opening);
    }

    /// @inheritdoc ITaskManager
    function revealHeldOut(uint64 taskId, bytes32 digest, bytes32 salt) external {
        Cursor storage cursor = _tasks[taskId].cursor;
        uint32 rounds = TERMS.trainingTerms(taskId).rounds;
        require(cursor.phase == Phase.Idle && cursor.round == rounds, WrongPhase(taskId, cursor.phase, Phase.Idle));
        TERMS.checkValidation(taskId, rounds, digest, salt);
        emit HeldOutRevealed(taskId, digest, salt);
    }

    /// @inheritdoc ITaskManager
    function settle(uint64 taskId, Settlement calldata settlement, QuorumProof calldata proof) external {
        Task storage task = _tasks[taskId];
        _requireOpenPhase(taskId, task, Phase.Settle);
        uint32 round = task.cursor.round;
        bytes32 digest = settlementDigest(taskId, round, task.cursor.attempts, settlement);
        uint32 committed = TRAINERS.progressOf(taskId).committed;
        require(settlement.leafCount == committed, LeafCountMismatch(committed, settlement.leafCount));
        uint128 allowed = uint128(PayoutRule.most(_payoutTerms(taskId, settlement.improvementNanos)));
        // INVARIANT: a settlement never pays more than the round's budget, whoever signed it.
        require(settlement.totalPayout <= allowed, PayoutOverBudget(allowed, settlement.totalPayout));
        // Attack: a third of the stake stays silent for ever. It costs a second settle phase, not the round.
        uint16 quorumBps = task.cursor.late ? MAJORITY_BPS : TERMS.quorumTerms(taskId).quorumBps;
        Round storage settled = task.rounds[round];
        settled.signedWeight = VERIFIERS.checkQuorum(taskId, round, quorumBps, digest, proof);
        settled.settlement = settlement;
        if (proof.nonSigners.length != 0) settled.nonSignersHash = keccak256(abi.encode(proof.nonSigners));
        emit SettlementPosted(taskId, round, digest, settlement, proof.nonSigners);
        _begin(taskId, task, Phase.Window, TERMS.phaseSeconds(taskId).window);
    }

    // Modules.

    /// @inheritdoc ITaskManager
    function completePhase(uint64 taskId, Phase phase) external {
        require(msg.sender == address(TRAINERS) || msg.sender == address(VERIFIERS), NotModule(msg.sender));
        Task storage task = _tasks[taskId];
        _requirePhase(taskId, task, phase);
        // The opening phase also waits for the sponsor's validation set.
        if (phase == Phase.Opening && !task.cursor.validationRevealed) return;
        _next(taskId, task, phase);
    }

    /// @inheritdoc ITaskManager
    function countDispute(uint64 taskId, bool opened) external {
        require(msg.sender == address(COURT) || msg.sender == address(JURY), NotModule(msg.sender));
        Cursor storage cursor = _tasks[taskId].cursor;
        if (opened) ++cursor.disputes;
        else --cursor.disputes;
    }

    /// @inheritdoc ITaskManager
    function voidSettlement(uint64 taskId, bool culpable, address prover) external {
        require(
            msg.sender == address(SETTLEMENTS) || msg.sender == address(JURY) || msg.sender == address(COURT),
            NotModule(msg.sender)
        );
        Task storage task = _tasks[taskId];
        _requirePhase(taskId, task, Phase.Window);
        uint32 round = task.cursor.round;
        Round storage settled = task.rounds[round];
        bytes32 digest = settlementDigest(taskId, round, task.cursor.attempts, settled.settlement);
        _voided[digest] = Voided(taskId, round, culpable, prover, settled.nonSignersHash);
        delete settled.settlement;
        delete settled.nonSignersHash;
        emit SettlementVoided(taskId, round, digest, culpable);
        uint8 attempts = ++task.cursor.attempts;
        settled.attempts = attempts;
        bool last = attempts == MAX_ATTEMPTS;
        // After the last attempt both settle phases are over at once, and `advance` ends the round without a settlement.
        task.cursor.late = last;
        _begin(taskId, task, Phase.Settle, last ? 0 : TERMS.phaseSeconds(taskId).settle);
    }

    // Transitions.

    /// @dev The life of a round from `Commit` on. Called when `phase` expired or everyone acted.
    function _next(uint64 taskId, Task storage task, Phase phase) private {
        PhaseSeconds memory lengths = TERMS.phaseSeconds(taskId);
        if (phase == Phase.Commit) {
            if (TRAINERS.progressOf(taskId).committed == 0) _endUnsettled(taskId, task, Outcome.NoCommitments);
            else _begin(taskId, task, Phase.Reveal, lengths.reveal);
        } else if (phase == Phase.Reveal) {
            if (TRAINERS.progressOf(taskId).revealed == 0) _endUnsettled(taskId, task, Outcome.NoReveals);
            else _beginChallenge(taskId, task);
        } else if (phase == Phase.Opening) {
            // INVARIANT: what a settlement must say is fixed from here on: attestations, and the faults known by now. So one
            // settlement follows per attempt, nobody has to sign two, and a fault shown later cannot make attestations that
            // were right disagree with it.
            task.rounds[task.cursor.round].attestingBlock = uint40(block.number);
            _begin(taskId, task, Phase.AttestCommit, lengths.attestCommit);
        } else if (phase == Phase.AttestCommit) {
            if (VERIFIERS.progressOf(taskId).committed == 0) _endUnsettled(taskId, task, Outcome.NoAttestations);
            else _begin(taskId, task, Phase.AttestReveal, lengths.attestReveal);
        } else if (phase == Phase.AttestReveal) {
            if (VERIFIERS.progressOf(taskId).revealed == 0) _endUnsettled(taskId, task, Outcome.NoAttestations);
            else _begin(taskId, task, Phase.Settle, lengths.settle);
        } else if (phase == Phase.Settle) {
            if (task.cursor.late) return _endUnsettled(taskId, task, Outcome.NoQuorum);
            task.cursor.late = true;
            emit QuorumLowered(taskId, task.cursor.round, task.cursor.attempts);
            _begin(taskId, task, Phase.Settle, lengths.settle);
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
        PhaseSeconds memory lengths = TERMS.phaseSeconds(taskId);
        if (phase == Phase.Draw) {
            task.rounds[round].orderSeed = seed;
            emit OrderSeedDrawn(taskId, round, seed);
            _begin(taskId, task, Phase.Commit, lengths.commit);
        } else {
            task.rounds[round].challengeSeed = seed;
            emit ChallengeSeedDrawn(taskId, round, seed);
            _begin(taskId, task, Phase.Opening, lengths.opening);
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
        RewardTerms memory rewards = TERMS.rewardTerms(taskId);
        uint96 payouts = uint96(settlement.totalPayout);
        uint96 fee = _fee(rewards);
        uint96 reserved = rewards.budgetPerRound + fee;
        if (FEES.fixFees(taskId, round, settlement.verdictsDigest, fee) == 0) fee = 0;
        task.adapterDigest = settlement.nextStartDigest;
        _end(taskId, task, Outcome.Settled, payouts + fee, reserved - payouts - fee);
        _allocate(taskId, round, settlement, payouts, fee);
    }

    function _allocate(uint64 taskId, uint32 round, Settlement storage settlement, uint96 payouts, uint96 fee) private {
        // Attack: a tree with more leaves than the round had trainers. The number is part of what a claim is proved against.
        bytes32 root = LeafTree.counted(settlement.leavesRoot, settlement.leafCount);
        VAULT.allocate(taskId, round, root, payouts, fee, _claimableUntil(taskId));
    }

    /// @dev Attack: a sponsor with a blocking share of the stake gets deltas for nothing. Work that was revealed and opened
    /// and that nobody judged is paid the task's base.
    function _endUnsettled(uint64 taskId, Task storage task, Outcome outcome) private {
        RewardTerms memory rewards = TERMS.rewardTerms(taskId);
        uint96 reserved = rewards.budgetPerRound + _fee(rewards);
        uint32 round = task.cursor.round;
        uint32 opened =
            outcome == Outcome.NoQuorum || outcome == Outcome.NoAttestations ? TRAINERS.progressOf(taskId).opened : 0;
        uint96 each = opened == 0 ? 0 : uint96(PayoutRule.base(rewards.budgetPerRound, rewards.baseBps) / opened);
        _end(taskId, task, outcome, each * opened, reserved - each * opened);
        VAULT.allocateBase(taskId, round, each, opened, _claimableUntil(taskId));
    }

    function _end(uint64 taskId, Task storage task, Outcome outcome, uint96 paid, uint96 unearned) private {
        // INVARIANT: a round outlives every dispute over it. New disputes need an open phase, so this wait is bounded.
        require(task.cursor.disputes == 0, DisputesOpen(taskId, task.cursor.disputes));
        uint32 round = task.cursor.round;
        task.cursor.phase = Phase.Idle;
        task.cursor.deadline = 0;
        task.rounds[round].outcome = outcome;
        task.rounds[round].endedAt = uint40(block.timestamp);
        emit RoundEnded(taskId, round, outcome, task.adapterDigest, paid, unearned);
    }

    function _claimableUntil(uint64 taskId) private view returns (uint64) {
        return uint64(block.timestamp) + TERMS.phaseSeconds(taskId).claim;
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

    function _fee(RewardTerms memory rewards) private pure returns (uint96) {
        return uint96(uint256(rewards.budgetPerRound) * rewards.verifierFeeBps / PayoutRule.BPS);
    }
}
