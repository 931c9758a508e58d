// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "./interfaces/IBeacon.sol";

/// @title Seeds from the hash of a later block
/// @notice Nobody knows the hash at the time of the request. The proposer of the target block can throw its block away to
/// get another draw; docs/threat-model.md prices that. On chains where this is too cheap, deploy another `IBeacon`.
contract BlockhashBeacon is IBeacon {
    /// @notice Blocks between the request and the block that decides, at least 1.
    uint32 public immutable delayBlocks;

    struct Request {
        uint256 targetBlock;
        bytes32 seed;
    }

    uint256 public requestCount;
    mapping(uint256 id => Request) private _requests;

    error InvalidDelay(uint32 delayBlocks);

    constructor(uint32 delayBlocks_) {
        require(delayBlocks_ >= 1, InvalidDelay(delayBlocks_));
        delayBlocks = delayBlocks_;
    }

    /// @inheritdoc IBeacon
    function request() external returns (uint256 id) {
        id = ++requestCount;
        uint256 target = block.number + delayBlocks;
        _requests[id].targetBlock = target;
        emit SeedRequested(id, target);
    }

    /// @inheritdoc IBeacon
    function fulfil(uint256 id) external returns (bool fixed_) {
        Request storage wanted = _requests[id];
        uint256 target = wanted.targetBlock;
        require(target != 0, UnknownRequest(id));
        if (wanted.seed != 0) return true;
        if (block.number <= target) return false;
        bytes32 blockHash = blockhash(target);
        if (blockHash == 0) {
            // Out of reach: nobody called for 256 blocks. Attack: wait until a known hash suits. A block that nobody knows
            // yet decides instead, and whoever wants the first draw only has to call in time.
            target = block.number + delayBlocks;
            wanted.targetBlock = target;
            emit SeedRearmed(id, target);
            return false;
        }
        // INVARIANT: once fixed, a seed never changes; requests that share a block differ by their number.
        bytes32 seed = keccak256(abi.encode(blockHash, address(this), id));
        wanted.seed = seed;
        emit SeedFixed(id, seed);
        return true;
    }

    /// @inheritdoc IBeacon
    function seedOf(uint256 id) external view returns (bytes32 seed, bool fixed_) {
        require(_requests[id].targetBlock != 0, UnknownRequest(id));
        seed = _requests[id].seed;
        fixed_ = seed != 0;
    }

    /// @notice Block whose hash decides the request.
    function targetBlockOf(uint256 id) external view returns (uint256) {
        return _requests[id].targetBlock;
    }
}
