// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ScoreLeaf, SettlementLeaf} from "../interfaces/Types.sol";

/// @title Trees in OpenZeppelin's form: sorted pairs of Keccak-256, leaves hashed twice
/// @dev Attack stopped by the double hash: an inner node (64 bytes) shown as a leaf. Python twin: deltaproof/protocol/wire/leaftree.py.
library SettlementTree {
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

    /// @dev Leaf of a batch of commitments: `abi.encode(position, trainer, commitment)`, hashed twice. The position is
    /// part of it, so that one bit per position records the reveal.
    function hashBatchEntry(uint256 position, address trainer, bytes32 commitment)
        internal
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, position)
            mstore(add(free, 0x20), and(trainer, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(free, 0x40), commitment)
            mstore(0x00, keccak256(free, 0x60))
            result := keccak256(0x00, 0x20)
        }
    }

    /// @dev What OpenZeppelin's `MerkleProof.verifyCalldata` computes, with a shorter loop: claims spend most of their own
    /// gas here. `tests/forge/Vectors.t.sol` holds both together.
    function contains(bytes32 root, bytes32 leaf, bytes32[] calldata proof) internal pure returns (bool held) {
        assembly ("memory-safe") {
            let node := leaf
            let end := add(proof.offset, shl(5, proof.length))
            for { let at_ := proof.offset } lt(at_, end) { at_ := add(at_, 0x20) } {
                let sibling := calldataload(at_)
                // The smaller one first: its place is 0x00 or 0x20.
                let place := shl(5, gt(node, sibling))
                mstore(place, node)
                mstore(xor(place, 0x20), sibling)
                node := keccak256(0x00, 0x40)
            }
            held := eq(node, root)
        }
    }

    /// @notice Root over leaf hashes in their order: pairs level by level, an odd last node moves up unchanged. Zero
    /// without leaves. Overwrites the array.
    function rootInPlace(bytes32[] memory nodes) internal pure returns (bytes32) {
        uint256 count = nodes.length;
        if (count == 0) return bytes32(0);
        while (count > 1) {
            uint256 pairs = count / 2;
            assembly ("memory-safe") {
                let target := add(nodes, 0x20)
                let source := target
                for { let end := add(target, shl(5, pairs)) } lt(target, end) { target := add(target, 0x20) } {
                    let left := mload(source)
                    let right := mload(add(source, 0x20))
                    let place := shl(5, gt(left, right))
                    mstore(place, left)
                    mstore(xor(place, 0x20), right)
                    mstore(target, keccak256(0x00, 0x40))
                    source := add(source, 0x40)
                }
            }
            if (count % 2 == 1) nodes[pairs] = nodes[count - 1];
            count -= pairs;
        }
        return nodes[0];
    }
}
