// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "./interfaces/IBeacon.sol";

/// @title Seeds from the hash of a later block
/// @notice Nobody knows the hash at the time of the request. The proposer of the target block can throw its block away to
/// get another draw; docs/beacons.md prices that and says where `DrandBeacon` is worth its gas.
contract BlockhashBeacon is IBeacon {
    /// @notice Blocks between the request and the block that decides, at least 1.
    uint32 public immutable delayBlocks;

    struct Request {
        uint256 targetBlock;
        bytes32 seed;
    }

    /// @inheritdoc IBeacon
    uint256 public requestCount;
    mapping(uint256 id => Request) private _requests;

    /// @notice A delay, in blocks, is out of range.
    error InvalidDelay(uint32 delayBlocks);

    constructor(uint32 delayBlocks_) {
        require(delayBlocks_ >= 1, InvalidDelay(delayBlocks_));
        delayBlocks = delayBlocks_;
    }

    /// @inheritdoc IBeacon
    function request() external virtual returns (uint256 id) {
        id = ++requestCount;
        emit SeedRequested(id, _aim(id));
    }

    /// @inheritdoc IBeacon
    function fulfil(uint256 id) external virtual returns (bool fixed_) {
        if (_isFixed(id)) return true;
        return _fixByBlock(id);
    }

    /// @inheritdoc IBeacon
    function seedOf(uint256 id) external view returns (bytes32 seed, bool fixed_) {
        fixed_ = _isFixed(id);
        seed = _requests[id].seed;
    }

    /// @inheritdoc IBeacon
    function targetBlockOf(uint256 id) external view returns (uint256) {
        return _requests[id].targetBlock;
    }

    /// @dev Reverts for a request that was never made.
    function _isFixed(uint256 id) internal view returns (bool) {
        require(id != 0 && id <= requestCount, UnknownRequest(id));
        return _requests[id].seed != 0;
    }

    /// @dev From now on a block that nobody knows yet decides.
    function _aim(uint256 id) internal returns (uint256 target) {
        target = block.number + delayBlocks;
        _requests[id].targetBlock = target;
    }

    function _fixByBlock(uint256 id) internal returns (bool) {
        uint256 target = _requests[id].targetBlock;
        if (block.number <= target) return false;
        bytes32 blockHash = blockhash(target);
        if (blockHash == 0) {
            // Out of reach: nobody called for 256 blocks. Attack: wait until a known hash suits. A block that nobody knows
            // yet decides instead, and whoever wants the first draw only has to call in time.
            emit SeedRearmed(id, _aim(id));
            return false;
        }
        _fix(id, blockHash);
        return true;
    }

    /// @dev INVARIANT: once fixed, a seed never changes; requests that share their entropy differ by their number.
    function _fix(uint256 id, bytes32 entropy) internal {
        bytes32 seed = keccak256(abi.encode(entropy, address(this), id));
        _requests[id].seed = seed;
        emit SeedFixed(id, seed);
    }
}
