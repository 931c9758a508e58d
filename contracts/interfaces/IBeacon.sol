// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Source of public randomness that nobody knows at the time of the request
/// @notice Implemented by `BlockhashBeacon` (the hash of a later block) and `DrandBeacon` (a later round of drand).
/// A seed is `keccak256(abi.encode(entropy, beacon, id))`, where entropy is that block's hash or that round's randomness.
interface IBeacon {
    /// @notice A seed was asked for; `target` decides it.
    /// @param id the request
    /// @param target what decides: the number of a block, or of a round of drand
    event SeedRequested(uint256 indexed id, uint256 target);
    /// @notice Nobody fixed the seed in time, and another block decides.
    /// @param id the request
    /// @param targetBlock the block whose hash decides from now on, whatever decided before
    event SeedRearmed(uint256 indexed id, uint256 targetBlock);
    /// @notice A seed is decided and never changes.
    /// @param id the request
    /// @param seed the seed, which never changes again
    event SeedFixed(uint256 indexed id, bytes32 seed);

    /// @notice There is no such request.
    error UnknownRequest(uint256 id);

    /// @notice Ask for a seed that is decided after this transaction.
    /// @return id number of the request, from 1
    function request() external returns (uint256 id);

    /// @notice Fix the seed if it is decided. Anyone may call; does nothing (and does not revert) before that, so a
    /// chain that mines one block per transaction moves on by calling it.
    /// @return fixed_ whether the seed is fixed now
    function fulfil(uint256 id) external returns (bool fixed_);

    /// @notice Number of requests so far.
    function requestCount() external view returns (uint256);

    /// @notice The seed of a request, and whether it can be decided now.
    /// @return seed the seed, zero before it is fixed
    /// @return fixed_ whether it is fixed
    function seedOf(uint256 id) external view returns (bytes32 seed, bool fixed_);

    /// @notice Block whose hash decides the request, 0 while it is a round of drand that decides.
    function targetBlockOf(uint256 id) external view returns (uint256);
}
