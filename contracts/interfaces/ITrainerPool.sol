// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommitmentRef, Fault, RevealData, SettlementLeaf} from "./Types.sol";

/// @title The trainers of every task: enrolment, commitments, reveals, penalties
interface ITrainerPool {
    /// @param index position in the task's list of trainers, from 1; 0: never enrolled
    /// @param activeFrom first round they may commit in
    /// @param activeUntil last round they may commit in
    /// @param stake what the registry holds locked for this task, stake token
    /// @param dataRows rows of their shard
    /// @param dataRoot ordered tree over their salted rows
    struct Enrolment {
        uint32 index;
        uint32 activeFrom;
        uint32 activeUntil;
        uint96 stake;
        uint32 dataRows;
        bytes32 dataRoot;
    }

    /// @notice What a trainer did in a round.
    /// @param committed directly or in a batch
    /// @param opened whether it announced its openings
    /// @param forfeited whether its commit bond was burned
    /// @param slashed whether it lost stake for the round
    /// @param fault first fault that was established, if any
    /// @param faultBlock block in which it was, 0 without a fault
    /// @param commitment the direct commitment, zero if none (or if it was batched)
    struct Work {
        bool committed;
        bool revealed;
        bool opened;
        bool forfeited;
        bool slashed;
        Fault fault;
        uint64 faultBlock;
        bytes32 commitment;
    }

    /// @notice Who acted in the current round. `direct`: commitments that came by themselves; the others count batches, too.
    struct Progress {
        uint32 round;
        uint32 expected;
        uint32 committed;
        uint32 revealed;
        uint32 opened;
        uint32 batches;
        uint32 direct;
    }

    /// @notice A commitment that its trainer signed for a relayer (EIP-712, compact signature of EIP-2098).
    struct SignedCommit {
        bytes32 commitment;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice One position of a batch at its reveal. `index`: the trainer's index in the task. Not revealed: `salt` and `deltaDigest` are zero and
    /// `transcriptRoot` holds the bare commitment.
    struct BatchReveal {
        uint32 index;
        address trainer;
        bytes32 deltaDigest;
        bytes32 transcriptRoot;
        bytes32 salt;
    }

    /// @notice A trainer takes part from a round on, with so much stake in the stake token's smallest unit.
    event TrainerEnrolled(
        uint64 indexed taskId,
        address indexed trainer,
        uint32 index,
        uint32 activeFrom,
        bytes32 dataRoot,
        uint32 dataRows,
        uint96 stake
    );
    /// @notice A trainer has all its stake (the stake token's smallest unit) again and takes part from a round on.
    event StakeToppedUp(uint64 indexed taskId, address indexed trainer, uint96 stake, uint32 activeFrom);
    /// @notice The trainer left, or its stake fell below the task's minimum.
    event TrainerStopped(uint64 indexed taskId, address indexed trainer, uint32 activeUntil);
    /// @notice A trainer left and its stake is free, in the stake token's smallest unit.
    event TrainerReleased(uint64 indexed taskId, address indexed trainer, uint96 stake);
    /// @notice A trainer sealed its work.
    event Committed(uint64 indexed taskId, uint32 indexed round, address indexed trainer, bytes32 commitment);
    /// @notice The commitments of several trainers came in one transaction.
    event BatchCommitted(
        uint64 indexed taskId,
        uint32 indexed round,
        uint32 batchId,
        bytes32 root,
        address[] trainers,
        bytes32[] commitments
    );
    /// @notice A trainer showed what it had sealed.
    event Revealed(
        uint64 indexed taskId,
        uint32 indexed round,
        address indexed trainer,
        bytes32 deltaDigest,
        bytes32 transcriptRoot
    );
    /// @notice The work of trainers of a batch was revealed.
    event BatchRevealed(uint64 indexed taskId, uint32 indexed round, uint32 batchId, BatchReveal[] entries);
    /// @notice A trainer announced that its sampled steps are in the store.
    event OpeningsPublished(uint64 indexed taskId, uint32 indexed round, address indexed trainer);
    /// @notice A trainer lost its commit bond, in the stake token's smallest unit.
    event BondForfeited(uint64 indexed taskId, uint32 indexed round, address indexed trainer, uint96 amount);
    /// @notice A trainer lost stake for a round, in the stake token's smallest unit.
    event TrainerSlashed(
        uint64 indexed taskId, uint32 indexed round, address indexed trainer, Fault fault, uint96 amount, address prover
    );

    /// @notice Only another contract of the deployment may call this.
    error NotModule(address caller);
    /// @notice The trainer is enrolled and has all its stake.
    error AlreadyEnrolled(uint64 taskId, address trainer);
    /// @notice As many trainers take part as the task has room for.
    error TaskIsFull(uint64 taskId, uint32 maxTrainers);
    /// @notice The task has room, or the trainer worked in the last round that ended or did not belong to it.
    error NotVacant(uint64 taskId, address trainer);
    /// @notice The account is not enrolled.
    error NotEnrolled(uint64 taskId, address trainer);
    /// @notice A shard has a root, and 1 to 4,194,304 rows.
    error InvalidShard(bytes32 dataRoot, uint32 dataRows);
    /// @notice The trainer takes no part in this round.
    error NotActive(uint64 taskId, uint32 round, address trainer);
    /// @notice A commitment is not zero.
    error ZeroCommitment();
    /// @notice The trainer committed in this round before.
    error AlreadyCommitted(uint64 taskId, uint32 round, address trainer);
    /// @notice The trainer did not commit in this round.
    error NotCommitted(uint64 taskId, uint32 round, address trainer);
    /// @notice The work shown is not what was committed.
    error CommitmentMismatch(bytes32 committed, bytes32 revealed);
    /// @notice The trainer revealed in this round.
    error AlreadyRevealed(uint64 taskId, uint32 round, address trainer);
    /// @notice The trainer did not reveal in this round.
    error NotRevealed(uint64 taskId, uint32 round, address trainer);
    /// @notice The trainer announced its openings before.
    error AlreadyOpened(uint64 taskId, uint32 round, address trainer);
    /// @notice Batches hold 1 to 256 commitments in ascending order of the trainers' index.
    error InvalidBatch(uint256 length);
    /// @notice The trainers of a batch stand in ascending order of their indices.
    error BatchNotSorted(uint32 previousIndex, uint32 index);
    /// @notice The round has no such batch.
    error UnknownBatch(uint64 taskId, uint32 round, uint32 batchId);
    /// @notice What is shown is not what the batch committed to.
    error BatchRootMismatch(bytes32 expected, bytes32 actual);
    /// @notice Nobody signed the entry at this position.
    /// @param position of the signature in the batch, from 0
    error InvalidSignature(uint256 position);
    /// @notice The trainer may still reveal.
    error RevealStillOpen(uint64 taskId, uint32 round);
    /// @notice The trainer lost stake or bond for this round before.
    error AlreadyPenalised(uint64 taskId, uint32 round, address trainer);
    /// @notice The trainer's stake for this task is gone.
    error NothingAtStake(uint64 taskId, address trainer);
    /// @notice The round is not over, or the leaf's verdict costs no stake.
    error NotPunishable(uint64 taskId, uint32 round, address trainer);
    /// @notice The leaf has no place in the round's settlement.
    error InvalidProof(bytes32 root, bytes32 leaf);
    /// @notice The stake vouches for a round until this Unix time in seconds; 2^64-1: for the running one.
    /// @param until when the stake can be released, seconds since the epoch; 2^64-1: not known yet
    error StillBound(uint64 taskId, address trainer, uint64 until);
    /// @notice Demands on the trainer are open.
    /// @param open demands that the trainer has not answered
    error DemandsOpen(uint64 taskId, address trainer, uint32 open);

    // Trainers.

    /// @notice Join a task from its next round on, with a fixed shard; locks the task's `trainerStake`.
    /// @param dataRoot ordered tree over the salted rows
    /// @param dataRows number of rows, 1 to 4,194,304
    function enrol(uint64 taskId, bytes32 dataRoot, uint32 dataRows) external;

    /// @notice Fill the locked stake up to `trainerStake` after a penalty; active again from the next round on, or all
    /// the time if it stopped in the running one.
    function topUp(uint64 taskId) external;

    /// @notice In a full task, stop a trainer that committed nothing in the last two rounds that ended, or in the last one if
    /// that was its first, so that its seat is free. It keeps its stake, and takes part again by `topUp` when there is
    /// room. Anyone may call.
    function vacate(uint64 taskId, address trainer) external;

    /// @notice Take no part in later rounds.
    function resign(uint64 taskId) external;

    /// @notice Unlock the stake of a trainer who left, `slash` seconds after the last round it could act in.
    /// Anyone may call.
    function release(uint64 taskId, address trainer) external;

    /// @notice Commit to this round's work.
    /// @param commitment `commitmentHash(taskId, round, caller, reveal)`
    function commit(uint64 taskId, bytes32 commitment) external;

    /// @notice Bring many trainers' signed commitments in one transaction. Anyone may relay. Who committed already or
    /// may not is left out.
    /// @return batchId number of the batch in the round, from 1; 0 if nobody was left
    function commitBatch(uint64 taskId, SignedCommit[] calldata commits) external returns (uint32 batchId);

    /// @notice Reveal the caller's direct commitment.
    function reveal(uint64 taskId, bytes32 deltaDigest, bytes32 transcriptRoot, bytes32 salt) external;

    /// @notice Reveal a whole batch (positions that are not revealed keep their bare commitment). Anyone may relay:
    /// knowing the salt is the authority.
    function revealBatch(uint64 taskId, uint32 batchId, BatchReveal[] calldata entries) external;

    /// @notice Reveal one batched commitment, for a trainer whose relayer is gone.
    function revealFromBatch(uint64 taskId, address trainer, RevealData calldata data, CommitmentRef calldata ref)
        external;

    /// @notice Announce that the openings of the caller's round are in the store. In a round that ends without a settlement
    /// whoever did so is paid the base.
    function openingsPublished(uint64 taskId) external;

    // Penalties; anyone may call.

    /// @notice Burn the bond of a commitment of `round` that was not revealed in time.
    function forfeitBond(uint64 taskId, uint32 round, address trainer) external;

    /// @notice Slash a trainer who revealed and whom a final settlement rejects or calls withheld. The prover's share goes to the pot of
    /// the round's agreeing verifiers.
    /// @param index position of the leaf in the settlement's tree
    function slash(uint64 taskId, uint32 round, uint32 index, SettlementLeaf calldata leaf, bytes32[] calldata proof)
        external;

    // Modules only.

    /// @notice Fix the participants of a round. @return trainers number of trainers who may commit
    function openRound(uint64 taskId, uint32 round) external returns (uint32 trainers);

    /// @notice Record a proven fault of a round that is still punishable, close the trainer's claim on it, and slash for it
    /// unless the trainer was slashed for the round before or has nothing left.
    function punish(uint64 taskId, uint32 round, address trainer, Fault fault, address prover) external;

    // Views.

    /// @notice A trainer's enrolment; its stake is in the stake token's smallest unit.
    function enrolmentOf(uint64 taskId, address trainer) external view returns (Enrolment memory);
    /// @notice How far the running round is.
    function progressOf(uint64 taskId) external view returns (Progress memory);
    /// @notice The trainer's direct commitment of the round, zero if none (or if it was batched).
    function commitmentOf(uint64 taskId, uint32 round, address trainer) external view returns (bytes32);
    /// @notice Root of a batch with its count; zero if there is none.
    function batchRootOf(uint64 taskId, uint32 round, uint32 batchId) external view returns (bytes32);
    /// @notice How many trainers ever enrolled in the task.
    function trainerCount(uint64 taskId) external view returns (uint256);
    /// @notice Trainers who ever enrolled, in order of enrolment, `limit` of them from `offset` on.
    function trainersOf(uint64 taskId, uint256 offset, uint256 limit)
        external
        view
        returns (address[] memory trainers, Enrolment[] memory enrolments);
    /// @notice What the trainer did in the round, and what was established about it.
    function workOf(uint64 taskId, uint32 round, address trainer) external view returns (Work memory);
    /// @notice Whether the trainer committed in the round.
    function hasCommitted(uint64 taskId, uint32 round, address trainer) external view returns (bool);
    /// @notice Whether the trainer revealed in the round; then it committed, too.
    function hasRevealed(uint64 taskId, uint32 round, address trainer) external view returns (bool);
    /// @notice Whether the trainer announced its openings in the round; then it revealed, too.
    function hasOpened(uint64 taskId, uint32 round, address trainer) external view returns (bool);
    /// @notice The first fault shown of a trainer's round, and the block in which it was.
    /// @return fault the first that was established, `None` if none
    /// @return blockNumber block in which it was, 0 without a fault
    function faultOf(uint64 taskId, uint32 round, address trainer)
        external
        view
        returns (Fault fault, uint64 blockNumber);
    /// @notice What a trainer commits to.
    function commitmentHash(uint64 taskId, uint32 round, address trainer, RevealData memory data)
        external
        view
        returns (bytes32);
    /// @notice Whether the trainer committed to exactly this work in the given round.
    function isCommitted(
        uint64 taskId,
        uint32 round,
        address trainer,
        RevealData calldata data,
        CommitmentRef calldata ref
    ) external view returns (bool);
}
