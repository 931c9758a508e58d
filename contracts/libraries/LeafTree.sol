// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ScoreLeaf, SettlementLeaf} from "../interfaces/Types.sol";

/// @title Ordered trees of Keccak-256 with a known number of leaves
/// @notice Leaves are hashed twice; pairs are hashed in order, level by level, and an odd last node moves up unchanged.
/// Python twin: deltaproof/protocol/wire/leaftree.py.
/// @dev Attack stopped by the double hash: an inner node (64 bytes) shown as a leaf. Attack stopped by order and count: a
/// tree with a second leaf for somebody, or with more leaves than participants. Whoever checks a leaf says where it stands
/// among how many, so a tree over n leaves answers for n positions and nothing else.
library LeafTree {
    function hash(SettlementLeaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(leaf))));
    }

    function hash(ScoreLeaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(leaf))));
    }

    /// @dev The same for a leaf in call data, as it lies there: the six words of its encoding.
    function hashCalldata(SettlementLeaf calldata leaf) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, leaf, 0xc0)
            mstore(0x00, keccak256(free, 0xc0))
            result := keccak256(0x00, 0x20)
        }
    }

    /// @dev Leaf of a batch of commitments: `abi.encode(index, trainer, commitment)`, hashed twice. The trainer's index is
    /// part of it, so that a reveal needs no lookup to know which bit records it.
    function hashBatchEntry(uint256 index, address trainer, bytes32 commitment) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, index)
            mstore(add(free, 0x20), and(trainer, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(free, 0x40), commitment)
            mstore(0x00, keccak256(free, 0x60))
            result := keccak256(0x00, 0x20)
        }
    }

    /// @notice Whether `leaf` is leaf `index` of the tree over `count` leaves with this root.
    function contains(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        (bytes32 reached, bool fits) = _climb(leaf, index, count, proof);
        return fits && reached == root;
    }

    /// @notice The same for a root that names its count (`counted`).
    function containsCounted(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        (bytes32 reached, bool fits) = _climb(leaf, index, count, proof);
        return fits && counted(reached, count) == root;
    }

    /// @notice Root over leaf hashes in their order. Zero without leaves. Overwrites the array.
    function rootInPlace(bytes32[] memory nodes) internal pure returns (bytes32) {
        uint256 count = nodes.length;
        if (count == 0) return bytes32(0);
        while (count > 1) {
            uint256 pairs = count / 2;
            assembly ("memory-safe") {
                let target := add(nodes, 0x20)
                let source := target
                for { let end := add(target, shl(5, pairs)) } lt(target, end) { target := add(target, 0x20) } {
                    mstore(target, keccak256(source, 0x40))
                    source := add(source, 0x40)
                }
            }
            if (count % 2 == 1) nodes[pairs] = nodes[count - 1];
            count -= pairs;
        }
        return nodes[0];
    }

    /// @notice A root together with the number of its leaves: `keccak256(abi.encode(count, root))`.
    function counted(bytes32 root, uint256 count) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            mstore(0x00, count)
            mstore(0x20, root)
            result := keccak256(0x00, 0x40)
        }
    }

    /// @notice One more link of a verdicts digest.
    function chain(bytes32 digest, address trainer, uint8 verdict) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(digest, trainer, verdict));
    }

    /// @dev `fits`: the index exists and the proof has exactly the siblings that its path has.
    function _climb(bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof)
        private
        pure
        returns (bytes32 node, bool fits)
    {
        if (index >= count) return (leaf, false);
        assembly ("memory-safe") {
            node := leaf
            let at_ := proof.offset
            let end := add(at_, shl(5, proof.length))
            let last := sub(count, 1)
            for {} last {} {
                // The last node of a level with an odd number of nodes has no sibling.
                if or(and(index, 1), lt(index, last)) {
                    // A proof that is too short ends beyond `end`, and does not fit.
                    let place := shl(5, and(index, 1))
                    mstore(place, node)
                    mstore(xor(place, 0x20), calldataload(at_))
                    node := keccak256(0x00, 0x40)
                    at_ := add(at_, 0x20)
                }
                index := shr(1, index)
                last := shr(1, last)
            }
            fits := eq(at_, end)
        }
    }
}
