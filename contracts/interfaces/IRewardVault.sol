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

    /// @param root settlement tree of the round
    /// @param remaining not yet claimed by trainers
    /// @param fees not yet claimed by verifiers
    /// @param expiresAt when unclaimed money may go back to the task, seconds since the epoch
    struct RoundPot {
        bytes32 root;
        uint96 remaining;
        uint96 fees;
        uint64 expiresAt;
    }

    struct Claim {
        uint64 taskId;
        uint32 round;
        SettlementLeaf leaf;
        bytes32[] proof;
    }

    event TaskFunded(uint64 indexed taskId, address indexed payer, uint96 amount);
    event RoundReserved(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    event RoundAllocated(
        uint64 indexed taskId, uint32 indexed round, bytes32 root, uint96 payouts, uint96 fees, uint64 expiresAt
    );
    event RoundReturned(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    event Claimed(uint64 indexed taskId, uint32 indexed round, address indexed trainer, uint128 amount);
    event FeePaid(uint64 indexed taskId, uint32 indexed round, address indexed verifier, uint96 amount);
    event RoundExpired(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    event SponsorWithdrew(uint64 indexed taskId, address indexed sponsor, uint96 amount);

    error NotModule(address caller);
    error UnknownTask(uint64 taskId);
    error ZeroAmount();
    error InsufficientBalance(uint64 taskId, uint96 balance, uint96 needed);
    error AlreadyClaimed(uint64 taskId, uint32 round, address trainer);
    error InvalidProof(bytes32 root, bytes32 leaf);
    /// @notice The leaves promise more than the settlement's total; the tree was wrong.
    error PotExhausted(uint64 taskId, uint32 round, uint96 remaining, uint128 asked);
    error NotExpired(uint64 taskId, uint32 round, uint64 expiresAt);
    error NotSponsor(uint64 taskId, address caller);
    /// @notice The sponsor's money is bound until the task is cancelled or its last round has ended.
    error TaskStillRunning(uint64 taskId);
    error MixedClaims(address token, address payee);

    /// @notice Add money to a task. Anyone may.
    function fund(uint64 taskId, uint96 amount) external;

    /// @notice Pay one trainer its reward of one round. Anyone may call; the money goes to the leaf's trainer.
    function claim(uint64 taskId, uint32 round, SettlementLeaf calldata leaf, bytes32[] calldata proof) external;

    /// @notice Pay several rewards of one trainer in one token (across rounds and tasks) in one transfer.
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
    function allocate(uint64 taskId, uint32 round, bytes32 root, uint96 payouts, uint96 fees, uint64 expiresAt) external;
    /// @notice Return the reserve of a round that ended without settlement.
    function returnReserve(uint64 taskId, uint32 round) external;
    /// @notice Pay at most what is left of the round's fees. @return paid 0 after the fees expired
    function payFee(uint64 taskId, uint32 round, address verifier, uint96 amount) external returns (uint96 paid);

    // Views.

    function accountOf(uint64 taskId) external view returns (Account memory);
    function potOf(uint64 taskId, uint32 round) external view returns (RoundPot memory);
    function hasClaimed(uint64 taskId, uint32 round, address trainer) external view returns (bool);
    function leafHash(SettlementLeaf calldata leaf) external pure returns (bytes32);
}
