// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title The ordered SHA-256 Merkle tree of docs/protocol.md, section 1
/// @notice Depth ceil(log2(n)) over n leaves, missing leaves are zero. Python twin: deltaproof/protocol/wire/merkle.py.
/// @dev Attack stopped by the prefixes: a node of one kind shown as another. Attack stopped by the exact depth: a tree of
/// another shape with the same root.
library OrderedMerkle {
    function leaf(bytes memory data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), data));
    }

    function recordLeaf(bytes memory record) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x02), record));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    function depth(uint256 count) internal pure returns (uint256) {
        return Math.log2(count, Math.Rounding.Ceil);
    }

    /// @notice The root that a node at `index` leads to through siblings `from` to `to` (exclusive) of the proof.
    function pathRoot(bytes32 start, uint256 index, bytes32[] calldata proof, uint256 from, uint256 to)
        internal
        pure
        returns (bytes32 root)
    {
        root = start;
        for (uint256 i = from; i < to; ++i) {
            root = index & 1 == 0 ? node(root, proof[i]) : node(proof[i], root);
            index >>= 1;
        }
    }

    /// @notice Whether `start` is leaf `index` of a tree over `count` leaves with this root.
    function contains(bytes32 root, bytes32 start, uint256 index, uint256 count, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        return index < count && proof.length == depth(count) && pathRoot(start, index, proof, 0, proof.length) == root;
    }
}
