// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Component} from "../interfaces/Types.sol";
import {OrderedMerkle} from "./OrderedMerkle.sol";

/// @title Records of a transcript and chunks of the vectors that they commit to
/// @notice Layout of docs/protocol.md, section 2. Python twins: deltaproof/protocol/evidence/transcript.py and deltaproof/protocol/evidence/state.py.
library StateOpening {
    uint256 internal constant RECORD_BYTES = 112;
    uint256 internal constant CHUNK_BYTES = 1024;
    uint256 internal constant CHUNK_VALUES = 256;

    function stepOf(bytes calldata record) internal pure returns (uint32) {
        return uint32(bytes4(record[:4]));
    }

    function stateRootOf(bytes calldata record) internal pure returns (bytes32) {
        return bytes32(record[4:36]);
    }

    function gradientRootOf(bytes calldata record) internal pure returns (bytes32) {
        return bytes32(record[36:68]);
    }

    function rowsRootOf(bytes calldata record) internal pure returns (bytes32) {
        return bytes32(record[68:100]);
    }

    /// @return float32 bit pattern
    function clipScaleOf(bytes calldata record) internal pure returns (uint32) {
        return uint32(bytes4(record[100:104]));
    }

    /// @return float64 bit pattern
    function lossOf(bytes calldata record) internal pure returns (uint64) {
        return uint64(bytes8(record[104:112]));
    }

    /// @notice Whether `record` is record `step` of a transcript of `steps` steps (records 0 to `steps`).
    function inTranscript(
        bytes32 transcriptRoot,
        bytes calldata record,
        uint32 step,
        uint32 steps,
        bytes32[] calldata proof
    ) internal pure returns (bool) {
        return record.length == RECORD_BYTES
            && OrderedMerkle.contains(transcriptRoot, OrderedMerkle.recordLeaf(record), step, uint256(steps) + 1, proof);
    }

    /// @notice Whether `data` is chunk `chunk` of a vector of `parameters` values that the record commits to.
    function inRecord(
        bytes calldata record,
        Component component,
        uint32 parameters,
        uint32 chunk,
        bytes calldata data,
        bytes32[] calldata proof
    ) internal pure returns (bool) {
        uint256 chunks = chunkCount(parameters);
        uint256 inside = OrderedMerkle.depth(chunks);
        uint256 above = component == Component.Gradient ? 0 : 2;
        if (data.length != CHUNK_BYTES || chunk >= chunks || proof.length != inside + above) return false;
        bytes32 root = OrderedMerkle.pathRoot(OrderedMerkle.leaf(data), chunk, proof, 0, inside);
        if (above == 0) return root == gradientRootOf(record);
        return OrderedMerkle.pathRoot(root, uint256(component), proof, inside, inside + 2) == stateRootOf(record);
    }

    /// @notice State root of an adapter root and its two siblings in the state tree.
    function stateRootFromTheta(bytes32 theta, bytes32[2] calldata siblings) internal pure returns (bytes32) {
        return OrderedMerkle.node(OrderedMerkle.node(theta, siblings[0]), siblings[1]);
    }

    function chunkCount(uint256 parameters) internal pure returns (uint256) {
        return (parameters + CHUNK_VALUES - 1) / CHUNK_VALUES;
    }

    /// @notice Little-endian float32 at position `index` of a byte string, as a bit pattern.
    function valueAt(bytes calldata data, uint256 index) internal pure returns (uint256) {
        uint256 start = 4 * index;
        return uint256(uint8(data[start])) | uint256(uint8(data[start + 1])) << 8 | uint256(uint8(data[start + 2]))
            << 16 | uint256(uint8(data[start + 3])) << 24;
    }
}
