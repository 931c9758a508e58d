// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SettlementLeaf} from "./Types.sol";

/// @title Escrow of the tasks' reward money, and claims on it
/// @notice Each task's money is kept apart: free balance, the running round's reserve, and per settled round what is
/// left to claim. No payment can exceed the part it is taken from. Amounts in the reward token's smallest unit.
interface IRewardVault {
    /// @param token reward token
    /// @param balance not reserved for a round
    /// @param reserved set aside for the running round
    struct Account {
        address token;
        uint96 balance;
        uint96 reserved;
    }

    /// @param root settlement tree of the round with the number of its leaves (`LeafTree.counted`); zero without one
    /// @param remaining not yet claimed by trainers
    /// @param fees not yet claimed by verifiers
    /// @param expiresAt when unclaimed money may go back to the task, seconds since the epoch
    /// @param baseEach due to everyone who revealed and opened in a round that ended without a settlement
    struct RoundPot {
        bytes32 root;
        uint96 remaining;
        uint96 fees;
        uint64 expiresAt;
        uint96 baseEach;
    }

    /// @notice Why a trainer's claim on a round is closed.
    /// @param holds demands that it has not answered
    /// @param blocked whether a fault of it was established
    /// @param returned whether the blocked pay went back to the task
    struct Closure {
        uint32 holds;
        bool blocked;
        bool returned;
    }

    /// @param index position of the leaf in the settlement's tree
    /// @param count leaves of that tree
    struct Claim {
        uint64 taskId;
        uint32 round;
        uint32 index;
        uint32 count;
        SettlementLeaf leaf;
        bytes32[] proof;
    }

    /// @notice Somebody paid into the task's account, in the reward token's smallest unit.
    /// @param amount reward token, as in every event here
    event TaskFunded(uint64 indexed taskId, address indexed payer, uint96 amount);
    /// @notice A round that opened reserved its budget and fee, in the reward token's smallest unit.
    event RoundReserved(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    /// @notice A settled round's reserve became pots for trainers and verifiers, in the reward token's smallest unit.
    /// @param root settlement tree with its count
    /// @param payouts for trainers
    /// @param fees for verifiers
    /// @param expiresAt seconds since the epoch
    event RoundAllocated(
        uint64 indexed taskId, uint32 indexed round, bytes32 root, uint96 payouts, uint96 fees, uint64 expiresAt
    );
    /// @notice A round ended without a settlement; those who revealed and opened get `each`.
    /// @param each reward token, for every trainer who opened; may be 0
    /// @param amount all of it together
    /// @param returned what went back to the task's balance
    event BaseAllocated(uint64 indexed taskId, uint32 indexed round, uint96 each, uint96 amount, uint96 returned);
    /// @notice A trainer was paid, in the reward token's smallest unit.
    event Claimed(uint64 indexed taskId, uint32 indexed round, address indexed trainer, uint128 amount);
    /// @notice A verifier was paid its part of the fee, in the reward token's smallest unit.
    event FeePaid(uint64 indexed taskId, uint32 indexed round, address indexed verifier, uint96 amount);
    /// @notice What nobody claimed went back to the task's account, in the reward token's smallest unit.
    event RoundExpired(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    /// @notice The trainer cannot claim while somebody waits for its answer.
    event ClaimHeld(uint64 indexed taskId, uint32 indexed round, address indexed trainer, uint32 holds);
    /// @notice A demand on the trainer was answered; so many still hold its pay.
    event ClaimResumed(uint64 indexed taskId, uint32 indexed round, address indexed trainer, uint32 holds);
    /// @notice A fault was established: the trainer is not paid for this round.
    event ClaimBlocked(uint64 indexed taskId, uint32 indexed round, address indexed trainer);
    /// @notice Blocked pay went back to the task's account, in the reward token's smallest unit.
    event BlockedPayReturned(uint64 indexed taskId, uint32 indexed round, address indexed trainer, uint96 amount);
    /// @notice The sponsor took what was left, in the reward token's smallest unit.
    event SponsorWithdrew(uint64 indexed taskId, address indexed sponsor, uint96 amount);

    /// @notice Only another contract of the deployment may call this.
    error NotModule(address caller);
    /// @notice No task has this number.
    error UnknownTask(uint64 taskId);
    /// @notice There is nothing to move.
    error ZeroAmount();
    /// @notice The task's account holds less than the round needs, in the reward token's smallest unit.
    error InsufficientBalance(uint64 taskId, uint96 balance, uint96 needed);
    /// @notice The trainer was paid for this round before.
    error AlreadyClaimed(uint64 taskId, uint32 round, address trainer);
    /// @notice The trainer's pay is held by demands or blocked by a fault.
    /// @param holds demands that the trainer has not answered
    /// @param blocked whether a fault of it was established
    error ClaimIsClosed(uint64 taskId, uint32 round, address trainer, uint32 holds, bool blocked);
    /// @notice The leaf's trainer did not commit and reveal in the round, or did not publish its openings in time.
    error NotEntitled(uint64 taskId, uint32 round, address trainer);
    /// @notice The leaf has no place in the round's settlement.
    error InvalidProof(bytes32 root, bytes32 leaf);
    /// @notice The leaves promise more than the settlement's total (the reward token's smallest unit); the tree was wrong.
    error PotExhausted(uint64 taskId, uint32 round, uint96 remaining, uint128 asked);
    /// @notice The round can be claimed until this Unix time in seconds; 0: it has no pot.
    error NotExpired(uint64 taskId, uint32 round, uint64 expiresAt);
    /// @notice Only the task's sponsor may call this.
    error NotSponsor(uint64 taskId, address caller);
    /// @notice The sponsor's money is bound until the task is cancelled or its last round has ended.
    error TaskStillRunning(uint64 taskId);
    /// @notice A batch of claims is for one payee and one token.
    error MixedClaims(address token, address payee);
    /// @notice The trainer's pay of the round is not blocked, or went back already.
    error NotBlocked(uint64 taskId, uint32 round, address trainer);

    /// @notice Add money to a task. Anyone may.
    function fund(uint64 taskId, uint96 amount) external;

    /// @notice Pay one trainer its reward of one round. Anyone may call; the money goes to the leaf's trainer.
    /// @param index position of the leaf in the settlement's tree
    /// @param count leaves of that tree
    function claim(
        uint64 taskId,
        uint32 round,
        uint32 index,
        uint32 count,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof
    ) external;

    /// @notice Pay one trainer the base of a round that ended without a settlement although it revealed and opened. Anyone
    /// may call.
    function claimBase(uint64 taskId, uint32 round, address trainer) external;

    /// @notice Return the pay of a trainer whose fault was established to the task's balance. Anyone may call.
    function returnBlocked(
        uint64 taskId,
        uint32 round,
        uint32 index,
        uint32 count,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof
    ) external;

    /// @notice Pay several rewards of one trainer in one token (across rounds and tasks) in one transfer. Claims that are
    /// paid, held or blocked by now are left out; reverts if none is left.
    function claimBatch(Claim[] calldata claims) external;

    /// @notice Return what was not claimed in time to the task's balance. Anyone may call.
    function expire(uint64 taskId, uint32 round) external;

    /// @notice Pay the free balance of an ended or cancelled task to its sponsor. Sponsor only.
    function withdraw(uint64 taskId) external returns (uint96 amount);

    // Modules only.

    /// @notice Open a new task's account, with its first funding.
    function open(uint64 taskId, address token, address payer, uint96 amount) external;
    /// @notice Make the first write to a trainer's claim record, so that its first claim costs as little as the next.
    function prepare(uint64 taskId, address trainer) external;
    /// @notice Set money aside for the round that begins.
    function reserve(uint64 taskId, uint32 round, uint96 amount) external;
    /// @notice Turn the reserve into the pots of a settled round; the rest goes back to the balance.
    /// @param root the settlement's tree with its count (`LeafTree.counted`)
    function allocate(uint64 taskId, uint32 round, bytes32 root, uint96 payouts, uint96 fees, uint64 expiresAt) external;
    /// @notice End the reserve of a round without a settlement: `each` for `count` trainers, the rest to the balance.
    function allocateBase(uint64 taskId, uint32 round, uint96 each, uint32 count, uint64 expiresAt) external;
    /// @notice Close a trainer's claim until it answers. @return held false if it was paid before
    function hold(uint64 taskId, uint32 round, address trainer) external returns (bool held);
    /// @notice One demand fewer.
    function resume(uint64 taskId, uint32 round, address trainer) external;
    /// @notice Close a trainer's claim for ever.
    function block_(uint64 taskId, uint32 round, address trainer) external;
    /// @notice Pay at most what is left of the round's fees. @return paid 0 after the fees expired
    function payFee(uint64 taskId, uint32 round, address verifier, uint96 amount) external returns (uint96 paid);

    // Views.

    /// @notice A task's account, in the reward token's smallest unit.
    function accountOf(uint64 taskId) external view returns (Account memory);
    /// @notice A round's pots, in the reward token's smallest unit.
    function potOf(uint64 taskId, uint32 round) external view returns (RoundPot memory);
    /// @notice Whether the trainer was paid for the round.
    function hasClaimed(uint64 taskId, uint32 round, address trainer) external view returns (bool);
    /// @notice What keeps a trainer's pay of a round closed.
    function closureOf(uint64 taskId, uint32 round, address trainer) external view returns (Closure memory);
    /// @notice The hash of a settlement's leaf in its tree.
    function leafHash(SettlementLeaf calldata leaf) external pure returns (bytes32);
}
