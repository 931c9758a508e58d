// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {ScoreLeaf, SettlementLeaf} from "../interfaces/Types.sol";

/// @title Trees in OpenZeppelin's form: sorted pairs of Keccak-256, leaves hashed twice
/// @dev Attack stopped by the double hash: an inner node (64 bytes) shown as a leaf. Python twin: protocol/leaftree.py.
library SettlementTree {
    function hash(SettlementLeaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(leaf))));
    }

    function hash(ScoreLeaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(leaf))));
    }

    /// @dev Leaf of a batch of commitments. The position is part of it, so that one bit per position records the reveal.
    function hashBatchEntry(uint256 position, address trainer, bytes32 commitment) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(position, trainer, commitment))));
    }

    function contains(bytes32 root, bytes32 leaf, bytes32[] calldata proof) internal pure returns (bool) {
        return MerkleProof.verifyCalldata(proof, root, leaf);
    }

    /// @notice Root over leaf hashes in their order: pairs level by level, an odd last node moves up unchanged. Zero
    /// without leaves. Overwrites the array.
    function rootInPlace(bytes32[] memory nodes) internal pure returns (bytes32) {
        uint256 count = nodes.length;
        if (count == 0) return bytes32(0);
        while (count > 1) {
            uint256 pairs = count / 2;
            for (uint256 i = 0; i < pairs; ++i) {
                nodes[i] = Hashes.commutativeKeccak256(nodes[2 * i], nodes[2 * i + 1]);
            }
            if (count % 2 == 1) nodes[pairs] = nodes[count - 1];
            count -= pairs;
        }
        return nodes[0];
    }
}
