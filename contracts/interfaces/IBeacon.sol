// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Source of public randomness that nobody knows at the time of the request
/// @notice Implemented here by later block hashes; drand or a threshold beacon can take its place.
interface IBeacon {
    /// @param id the request
    /// @param targetBlock block whose hash decides
    event SeedRequested(uint256 indexed id, uint256 targetBlock);
    /// @notice Nobody fixed the seed within 256 blocks: a new block decides.
    event SeedRearmed(uint256 indexed id, uint256 targetBlock);
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

    /// @return seed the seed, zero before it is fixed
    /// @return fixed_ whether it is fixed
    function seedOf(uint256 id) external view returns (bytes32 seed, bool fixed_);
}
