// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What settled rounds owe to the verifiers who agreed with them
/// @notice The fee in the reward token, and the prover's part of what rejected trainers lose in the stake token, both shared
/// by stake.
interface IVerifierFees {
    /// @param fee reward token
    /// @param weight stake of those who agreed
    /// @param slashRewards everything credited so far, stake token
    /// @param slashRewardsPaid part of it that was paid or burned
    struct FeePot {
        uint96 fee;
        uint96 weight;
        uint96 slashRewards;
        uint96 slashRewardsPaid;
    }

    /// @notice A settled round's fee (the reward token's smallest unit) is for so much weight (the stake token's)
    /// that agreed.
    /// @param fee reward token
    /// @param agreeingWeight stake that shares it
    event FeesFixed(uint64 indexed taskId, uint32 indexed round, uint96 fee, uint96 agreeingWeight);
    /// @notice A slash is shared among the verifiers who agreed, in the stake token's smallest unit.
    /// @param amount stake token
    event SlashRewardsAdded(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    /// @notice Parts of slashes that nobody claimed were burned, in the stake token's smallest unit.
    /// @param amount stake token
    event SlashRewardsBurned(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    /// @notice A verifier was paid its fee (the reward token's smallest unit) and its part of slashes (the stake
    /// token's).
    /// @param fee reward token
    /// @param slashReward stake token
    event FeesClaimed(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, uint96 fee, uint96 slashReward
    );

    /// @notice Only another contract of the deployment may call this.
    error NotModule(address caller);
    /// @notice The verifier is owed nothing for this round, nor for any other that was named.
    error NothingToClaim(uint64 taskId, uint32 round, address verifier);
    /// @notice The round's rewards can still be claimed.
    error RoundNotFinal(uint64 taskId, uint32 round);

    /// @notice Pay a verifier its part of the fees and slash rewards of finished rounds. Anyone may call. Rounds that owe it
    /// nothing any more are left out; reverts if none is left.
    function claimFees(uint64 taskId, uint32[] calldata rounds, address verifier) external;

    /// @notice Pay the slash rewards alone, in case the reward token refuses the verifier. Anyone may call.
    function claimSlashReward(uint64 taskId, uint32 round, address verifier) external;

    /// @notice Burn the slash rewards of a round that nobody claimed before its rewards expired, rounding dust included.
    /// Anyone may call.
    function expireSlashRewards(uint64 taskId, uint32 round) external;

    // Modules only.

    /// @notice Fix the fee pot of a settled round. @return agreeingWeight stake that shares it; 0: nobody agreed
    function fixFees(uint64 taskId, uint32 round, bytes32 verdictsDigest, uint96 fee)
        external
        returns (uint96 agreeingWeight);

    /// @notice The slash of a rejected trainer credited this contract with `amount` for the verifiers of a round.
    function addSlashRewards(uint64 taskId, uint32 round, uint96 amount) external;

    // Views.

    /// @notice What a round owes to its verifiers.
    function feePotOf(uint64 taskId, uint32 round) external view returns (FeePot memory);
    /// @notice What `claimFees` would pay now.
    function claimableFees(uint64 taskId, uint32 round, address verifier)
        external
        view
        returns (uint96 fee, uint96 slashReward);
}
