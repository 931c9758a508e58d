// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {TrainerBatches} from "./TrainerBatches.sol";
import {TrainerStore} from "./TrainerStore.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {
    Fault,
    Modules,
    Phase,
    RevealData,
    Role,
    Settlement,
    SettlementLeaf,
    StakeTerms,
    Verdict
} from "./interfaces/Types.sol";
import {LeafTree} from "./libraries/LeafTree.sol";

/// @title The trainers of every task: enrolment, commitments, reveals, penalties
/// @notice See `ITrainerPool`.
/// @dev INVARIANT: the registry holds exactly `stake` of every enrolment locked for it.
contract TrainerPool is TrainerBatches {
    uint256 private constant BPS = 10_000;
    /// @dev Attack: a shard of 2^32-1 rows, whose order every verifier would have to shuffle.
    uint32 private constant MAX_ROWS = 1 << 22;

    constructor(Modules memory set) ModuleSet(set, set.trainers) {}

    // Enrolment.

    /// @inheritdoc ITrainerPool
    function enrol(uint64 taskId, bytes32 dataRoot, uint32 dataRows) external {
        require(dataRoot != 0 && dataRows != 0 && dataRows <= MAX_ROWS, InvalidShard(dataRoot, dataRows));
        Trainer storage trainer = _trainers[taskId][msg.sender];
        require(trainer.activeFrom == 0, AlreadyEnrolled(taskId, msg.sender));
        uint96 stake = TERMS.stakeTerms(taskId).trainerStake;
        if (trainer.index == 0) {
            _lists[taskId].push(msg.sender);
            trainer.index = uint32(_lists[taskId].length);
        }
        _seat(taskId, trainer);
        trainer.stake = stake;
        trainer.dataRoot = dataRoot;
        trainer.dataRows = dataRows;
        emit TrainerEnrolled(taskId, msg.sender, trainer.index, trainer.activeFrom, dataRoot, dataRows, stake);
        REGISTRY.lock(msg.sender, Role.Trainer, stake);
        VAULT.prepare(taskId, msg.sender);
    }

    /// @inheritdoc ITrainerPool
    function topUp(uint64 taskId) external {
        Trainer storage trainer = _enrolled(taskId, msg.sender);
        uint96 wanted = TERMS.stakeTerms(taskId).trainerStake;
        uint96 missing = wanted - trainer.stake;
        bool stopped = trainer.activeUntil != type(uint32).max;
        require(missing != 0 || stopped, AlreadyEnrolled(taskId, msg.sender));
        if (stopped) _seat(taskId, trainer);
        trainer.stake = wanted;
        emit StakeToppedUp(taskId, msg.sender, wanted, trainer.activeFrom);
        REGISTRY.lock(msg.sender, Role.Trainer, missing);
    }

    /// @inheritdoc ITrainerPool
    function resign(uint64 taskId) external {
        Trainer storage trainer = _enrolled(taskId, msg.sender);
        require(trainer.activeUntil == type(uint32).max, NotActive(taskId, trainer.activeUntil, msg.sender));
        _stop(taskId, msg.sender, trainer);
    }

    /// @inheritdoc ITrainerPool
    function vacate(uint64 taskId, address account) external {
        Trainer storage trainer = _enrolled(taskId, account);
        uint32 most = TERMS.quorumTerms(taskId).maxTrainers;
        (uint32 round,,) = TASKS.currentPhase(taskId);
        if (round != 0 && TASKS.endedAt(taskId, round) == 0) --round;
        // Attack: fill a task with names that never work, so that nobody else can. A name that works keeps its seat.
        bool idle = round != 0 && trainer.activeFrom <= round && trainer.activeUntil == type(uint32).max
            && !hasCommitted(taskId, round, account);
        // Attack: put everybody out after one round in which nobody could work.
        if (idle && trainer.activeFrom < round) idle = !hasCommitted(taskId, round - 1, account);
        require(idle && _members[taskId] == most, NotVacant(taskId, account));
        _stop(taskId, account, trainer);
    }

    /// @inheritdoc ITrainerPool
    function release(uint64 taskId, address account) external {
        Trainer storage trainer = _enrolled(taskId, account);
        uint32 last = trainer.activeUntil;
        // INVARIANT: stake stays until every round it vouches for is over and could be slashed for.
        uint64 free = type(uint64).max;
        if (last == 0) {
            free = 0;
        } else if (last != type(uint32).max) {
            uint64 ended = TASKS.endedAt(taskId, last);
            if (ended != 0) free = ended + TERMS.phaseSeconds(taskId).slash;
        }
        require(block.timestamp >= free, StillBound(taskId, account, free));
        // Attack: let the time to answer pass and take the stake out before somebody closes the demand.
        uint32 open = COURT.openDemandsOn(taskId, account);
        require(open == 0, DemandsOpen(taskId, account, open));
        uint96 stake = trainer.stake;
        trainer.stake = 0;
        trainer.activeFrom = 0;
        emit TrainerReleased(taskId, account, stake);
        REGISTRY.unlock(account, Role.Trainer, stake);
    }

    // A round.

    /// @inheritdoc ITrainerPool
    function openRound(uint64 taskId, uint32 round) external returns (uint32 trainers) {
        require(msg.sender == address(TASKS), NotModule(msg.sender));
        trainers = _members[taskId];
        _progress[taskId] = Progress(round, trainers, 0, 0, 0, 0, 0);
    }

    /// @inheritdoc ITrainerPool
    function commit(uint64 taskId, bytes32 commitment) external {
        require(commitment != 0, ZeroCommitment());
        uint32 round = _openRound(taskId, Phase.Commit);
        Trainer storage trainer = _trainers[taskId][msg.sender];
        _requireActive(taskId, round, msg.sender, trainer);
        Progress memory progress = _progress[taskId];
        bool batched = progress.batches != 0 && _isSet(_marks[taskId][round].batched, trainer.index);
        require(!batched && _commitments[taskId][round][msg.sender] == 0, AlreadyCommitted(taskId, round, msg.sender));
        _commitments[taskId][round][msg.sender] = commitment;
        ++progress.committed;
        ++progress.direct;
        _progress[taskId] = progress;
        emit Committed(taskId, round, msg.sender, commitment);
        if (progress.committed == progress.expected) TASKS.completePhase(taskId, Phase.Commit);
    }

    /// @inheritdoc ITrainerPool
    function reveal(uint64 taskId, bytes32 deltaDigest, bytes32 transcriptRoot, bytes32 salt) external {
        uint32 round = _openRound(taskId, Phase.Reveal);
        bytes32 committed = _commitments[taskId][round][msg.sender];
        require(committed != 0, NotCommitted(taskId, round, msg.sender));
        uint32 index = _trainers[taskId][msg.sender].index;
        mapping(uint256 => uint256) storage revealed = _marks[taskId][round].revealed;
        require(!_isSet(revealed, index), AlreadyRevealed(taskId, round, msg.sender));
        bytes32 shown = commitmentHash(taskId, round, msg.sender, RevealData(deltaDigest, transcriptRoot, salt));
        require(shown == committed, CommitmentMismatch(committed, shown));
        _set(revealed, index);
        emit Revealed(taskId, round, msg.sender, deltaDigest, transcriptRoot);
        _countRevealed(taskId, 1);
    }

    /// @inheritdoc ITrainerPool
    function openingsPublished(uint64 taskId) external {
        uint32 round = _openRound(taskId, Phase.Opening);
        uint32 index = _trainers[taskId][msg.sender].index;
        Marks storage marks = _marks[taskId][round];
        require(_isSet(marks.revealed, index), NotRevealed(taskId, round, msg.sender));
        require(!_isSet(marks.opened, index), AlreadyOpened(taskId, round, msg.sender));
        _set(marks.opened, index);
        emit OpeningsPublished(taskId, round, msg.sender);
        Progress memory progress = _progress[taskId];
        _progress[taskId].opened = ++progress.opened;
        if (progress.opened == progress.revealed) TASKS.completePhase(taskId, Phase.Opening);
    }

    // Penalties.

    /// @inheritdoc ITrainerPool
    function forfeitBond(uint64 taskId, uint32 round, address account) external {
        _requireRevealsClosed(taskId, round);
        Trainer storage trainer = _enrolled(taskId, account);
        require(hasCommitted(taskId, round, account), NotCommitted(taskId, round, account));
        Marks storage marks = _marks[taskId][round];
        require(!_isSet(marks.revealed, trainer.index), AlreadyRevealed(taskId, round, account));
        require(!_isSet(marks.forfeited, trainer.index), AlreadyPenalised(taskId, round, account));
        _set(marks.forfeited, trainer.index);
        uint96 bond = TERMS.stakeTerms(taskId).commitBond;
        if (bond > trainer.stake) bond = trainer.stake;
        emit BondForfeited(taskId, round, account, bond);
        _take(taskId, account, trainer, bond, address(0), 0);
    }

    /// @inheritdoc ITrainerPool
    function slash(uint64 taskId, uint32 round, uint32 index, SettlementLeaf calldata leaf, bytes32[] calldata proof)
        external
    {
        require(TASKS.endedAt(taskId, round) != 0, NotPunishable(taskId, round, leaf.trainer));
        Settlement memory settlement = TASKS.settlementOf(taskId, round);
        bytes32 hash = LeafTree.hash(leaf);
        bytes32 root = settlement.leavesRoot;
        require(LeafTree.contains(root, hash, index, settlement.leafCount, proof), InvalidProof(root, hash));
        require(
            leaf.verdict == uint8(Verdict.Rejected) || leaf.verdict == uint8(Verdict.Withheld),
            NotPunishable(taskId, round, leaf.trainer)
        );
        // Attack: a quorum hides leaves of people who had no part in the round, and slashes them; or calls the work of somebody
        // who could not reveal rejected. The chain knows who revealed, and no reveal costs the bond alone.
        require(hasRevealed(taskId, round, leaf.trainer), NotRevealed(taskId, round, leaf.trainer));
        // The share of those who found the fault: the verifiers who agreed. Nobody agreed: everything is burned.
        bool shared = FEES.feePotOf(taskId, round).weight != 0;
        address beneficiary = shared ? address(FEES) : address(0);
        uint96 reward = _slash(taskId, round, leaf.trainer, Fault.None, beneficiary);
        if (reward != 0) FEES.addSlashRewards(taskId, round, reward);
    }

    /// @inheritdoc ITrainerPool
    function punish(uint64 taskId, uint32 round, address account, Fault fault, address prover) external {
        require(msg.sender == address(COURT) || msg.sender == address(FAULTS), NotModule(msg.sender));
        Record storage record = _records[taskId][round][account];
        if (record.fault == Fault.None) (record.fault, record.faultBlock) = (fault, uint64(block.number));
        // INVARIANT: a fault touches its trainer's claim and stake and nothing of anybody else; the settlement stands.
        VAULT.block_(taskId, round, account);
        if (record.slashed || _trainers[taskId][account].stake == 0) return;
        _slash(taskId, round, account, fault, prover);
    }

    function _requireRevealsClosed(uint64 taskId, uint32 round) private view {
        (uint32 current, Phase phase,) = TASKS.currentPhase(taskId);
        bool closed = round < current || (round == current && (phase == Phase.Idle || phase > Phase.Reveal));
        require(closed, RevealStillOpen(taskId, round));
    }

    /// @dev INVARIANT: at most one slash per trainer and round, however many ways the fault can be shown.
    function _slash(uint64 taskId, uint32 round, address account, Fault fault, address beneficiary)
        private
        returns (uint96 reward)
    {
        Record storage record = _records[taskId][round][account];
        require(!record.slashed, AlreadyPenalised(taskId, round, account));
        Trainer storage trainer = _trainers[taskId][account];
        require(trainer.stake != 0, NothingAtStake(taskId, account));
        record.slashed = true;
        StakeTerms memory terms = TERMS.stakeTerms(taskId);
        uint96 amount = uint96(uint256(trainer.stake) * terms.slashBps / BPS);
        emit TrainerSlashed(taskId, round, account, fault, amount, beneficiary);
        return _take(taskId, account, trainer, amount, beneficiary, terms.proverBps);
    }

    /// @dev Whoever has less than the task's stake left takes no part in later rounds until it tops up.
    function _take(
        uint64 taskId,
        address account,
        Trainer storage trainer,
        uint96 amount,
        address beneficiary,
        uint16 rewardBps
    ) private returns (uint96 reward) {
        if (amount == 0) return 0;
        trainer.stake -= amount;
        if (trainer.activeUntil == type(uint32).max) _stop(taskId, account, trainer);
        return REGISTRY.slash(account, Role.Trainer, amount, beneficiary, rewardBps);
    }

    function _seat(uint64 taskId, Trainer storage trainer) private {
        uint32 most = TERMS.quorumTerms(taskId).maxTrainers;
        require(_members[taskId] < most, TaskIsFull(taskId, most));
        (uint32 round,,) = TASKS.currentPhase(taskId);
        // Attack: stop and come back in every round, so that none finds the seat idle. Who comes back in the round in which
        // it stopped has taken part all the time.
        if (trainer.activeFrom == 0 || trainer.activeUntil < round) trainer.activeFrom = round + 1;
        trainer.activeUntil = type(uint32).max;
        ++_members[taskId];
    }

    function _stop(uint64 taskId, address account, Trainer storage trainer) private {
        (uint32 round,,) = TASKS.currentPhase(taskId);
        trainer.activeUntil = round;
        --_members[taskId];
        emit TrainerStopped(taskId, account, round);
    }
}
