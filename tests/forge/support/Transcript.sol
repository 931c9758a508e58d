// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFaultProver} from "../../../contracts/interfaces/IFaultProver.sol";
import "../../../contracts/interfaces/Types.sol";
import {OptimizerStep} from "../../../contracts/libraries/OptimizerStep.sol";
import {OrderedMerkle} from "../../../contracts/libraries/OrderedMerkle.sol";

/// @dev An honest Adam transcript of a few values, which a test then corrupts and commits.
contract Transcript {
    uint32 internal constant STEPS = 2;
    uint32 internal constant VALUES = 300;
    uint256 internal constant CHUNKS = 2;

    /// @dev Padded little-endian vectors, by record.
    bytes[] internal theta;
    bytes[] internal first;
    bytes[] internal second;
    bytes[] internal gradients;
    bytes[] internal records;
    bytes[] internal constantRows;

    function train() internal {
        bytes memory zero = new bytes(1024 * CHUNKS);
        theta.push(vector("theta"));
        first.push(zero);
        second.push(zero);
        for (uint256 t = 0; t < STEPS; ++t) {
            gradients.push(vector(t));
            constantRows.push(row(t));
            theta.push(zero);
            first.push(zero);
            second.push(zero);
            step(t);
        }
        gradients.push(zero);
    }

    /// @dev Values around 1 with varied mantissas.
    function vector(bytes32 seed) private pure returns (bytes memory data) {
        return vectorFrom(uint256(seed));
    }

    function vector(uint256 seed) private pure returns (bytes memory data) {
        return vectorFrom(seed + 1);
    }

    function vectorFrom(uint256 seed) private pure returns (bytes memory data) {
        data = new bytes(1024 * CHUNKS);
        for (uint256 i = 0; i < VALUES; ++i) {
            uint256 noise = uint256(keccak256(abi.encode(seed, i)));
            put(data, i, (noise & 0x80000000) | ((115 + noise % 13) << 23) | (noise >> 40 & 0x7fffff));
        }
    }

    /// @dev lr, betas and their complements, bias corrections, eps, l2, decay.
    function row(uint256 t) private pure returns (bytes memory data) {
        data = new bytes(64);
        uint32[10] memory k = [
            uint32(0x3a83126f),
            0x3f666666,
            0x3dcccccd,
            0x3f7fbe77,
            0x3a83126f,
            t == 0 ? 0x41200000 : 0x40a86bca,
            t == 0 ? 0x447a0000 : 0x43fa2004,
            0x322bcc77,
            0,
            0x3f7fff58
        ];
        for (uint256 i = 0; i < 10; ++i) {
            put(data, i, k[i]);
        }
    }

    function step(uint256 t) private {
        OptimizerStep.Constants memory k = constantsOf(constantRows[t]);
        bytes[4] memory old = [theta[t], first[t], second[t], gradients[t]];
        bytes[3] memory next = [theta[t + 1], first[t + 1], second[t + 1]];
        for (uint256 i = 0; i < VALUES; ++i) {
            OptimizerStep.Element memory state = OptimizerStep.Element(get(old[0], i), get(old[1], i), get(old[2], i));
            state = OptimizerStep.update(Optimizer.Adam, k, state, get(old[3], i), 0x3f800000);
            put(next[0], i, state.theta);
            put(next[1], i, state.m);
            put(next[2], i, state.v);
        }
        theta[t + 1] = next[0];
        first[t + 1] = next[1];
        second[t + 1] = next[2];
    }

    function constantsOf(bytes memory data) private pure returns (OptimizerStep.Constants memory) {
        return OptimizerStep.Constants(
            get(data, 0),
            get(data, 1),
            get(data, 2),
            get(data, 3),
            get(data, 4),
            get(data, 5),
            get(data, 6),
            get(data, 7),
            get(data, 8),
            get(data, 9),
            get(data, 10)
        );
    }

    /// @dev Encode all records from the vectors as they are now.
    function seal() internal {
        delete records;
        for (uint256 t = 0; t <= STEPS; ++t) {
            bytes32 gradientRoot = t == STEPS ? bytes32(0) : rootOf(gradients[t]);
            bytes32 rows = t == STEPS ? bytes32(0) : keccak256(abi.encode("rows", t));
            uint32 scale = t == STEPS ? 0 : 0x3f800000;
            uint64 loss = t == STEPS ? 0 : 0x3ff0000000000000;
            records.push(abi.encodePacked(uint32(t), stateRoot(t), gradientRoot, rows, scale, loss));
        }
    }

    function stateRoot(uint256 t) internal view returns (bytes32) {
        return OrderedMerkle.node(
            OrderedMerkle.node(rootOf(theta[t]), rootOf(first[t])), OrderedMerkle.node(rootOf(second[t]), 0)
        );
    }

    function transcriptRoot() internal view returns (bytes32) {
        return tree(recordLeaves(), 0).root;
    }

    function constantsRoot() internal view returns (bytes32) {
        return tree(constantLeaves(), 0).root;
    }

    // Openings.

    function openRecord(uint32 t) internal view returns (IFaultProver.RecordOpening memory) {
        return IFaultProver.RecordOpening(t, records[t], tree(recordLeaves(), t).proof);
    }

    function openChunk(uint32 t, Component component, uint32 index)
        internal
        view
        returns (IFaultProver.VectorChunk memory opened)
    {
        bytes memory data = componentOf(t, component);
        bytes32[] memory inside = tree(chunkLeaves(data), index).proof;
        opened.component = component;
        opened.chunk = index;
        opened.data = chunkOf(data, index);
        if (component == Component.Gradient) {
            opened.proof = inside;
            return opened;
        }
        opened.proof = new bytes32[](inside.length + 2);
        for (uint256 i = 0; i < inside.length; ++i) {
            opened.proof[i] = inside[i];
        }
        (bytes32 a, bytes32 b) = siblings(t, component);
        (opened.proof[inside.length], opened.proof[inside.length + 1]) = (a, b);
    }

    function siblings(uint32 t, Component component) internal view returns (bytes32, bytes32) {
        bytes32 left = OrderedMerkle.node(rootOf(theta[t]), rootOf(first[t]));
        bytes32 right = OrderedMerkle.node(rootOf(second[t]), 0);
        if (component == Component.Theta) return (rootOf(first[t]), right);
        if (component == Component.FirstMoment) return (rootOf(theta[t]), right);
        return (bytes32(0), left);
    }

    function evidence(uint32 t, uint32 element) internal view returns (IFaultProver.StepEvidence memory e) {
        uint32 chunk = element / 256;
        e.element = element;
        e.before = openRecord(t);
        e.afterwards = openRecord(t + 1);
        e.beforeChunks = new IFaultProver.VectorChunk[](3);
        e.afterChunks = new IFaultProver.VectorChunk[](3);
        for (uint256 slot = 0; slot < 3; ++slot) {
            e.beforeChunks[slot] = openChunk(t, Component(slot), chunk);
            e.afterChunks[slot] = openChunk(t + 1, Component(slot), chunk);
        }
        e.gradient = openChunk(t, Component.Gradient, chunk);
        e.constants = constantRows[t];
        e.constantsProof = tree(constantLeaves(), t).proof;
    }

    function componentOf(uint32 t, Component component) internal view returns (bytes memory) {
        if (component == Component.Theta) return theta[t];
        if (component == Component.FirstMoment) return first[t];
        if (component == Component.SecondMoment) return second[t];
        return gradients[t];
    }

    // Trees and bytes.

    struct Tree {
        bytes32 root;
        bytes32[] proof;
    }

    /// @dev Ordered SHA-256 tree with the proof of leaf `index`.
    function tree(bytes32[] memory nodes, uint256 index) internal pure returns (Tree memory t) {
        uint256 depth = OrderedMerkle.depth(nodes.length);
        t.proof = new bytes32[](depth);
        bytes32[] memory level = new bytes32[](1 << depth);
        for (uint256 i = 0; i < nodes.length; ++i) {
            level[i] = nodes[i];
        }
        for (uint256 h = 0; h < depth; ++h) {
            t.proof[h] = level[index ^ 1];
            for (uint256 i = 0; i < level.length >> (h + 1); ++i) {
                level[i] = OrderedMerkle.node(level[2 * i], level[2 * i + 1]);
            }
            index >>= 1;
        }
        t.root = level[0];
    }

    function rootOf(bytes memory data) internal pure returns (bytes32) {
        return tree(chunkLeaves(data), 0).root;
    }

    function chunkLeaves(bytes memory data) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](CHUNKS);
        for (uint256 i = 0; i < CHUNKS; ++i) {
            nodes[i] = OrderedMerkle.leaf(chunkOf(data, i));
        }
    }

    function recordLeaves() internal view returns (bytes32[] memory nodes) {
        nodes = new bytes32[](records.length);
        for (uint256 i = 0; i < records.length; ++i) {
            nodes[i] = OrderedMerkle.recordLeaf(records[i]);
        }
    }

    function constantLeaves() internal view returns (bytes32[] memory nodes) {
        nodes = new bytes32[](constantRows.length);
        for (uint256 i = 0; i < constantRows.length; ++i) {
            nodes[i] = OrderedMerkle.leaf(constantRows[i]);
        }
    }

    function chunkOf(bytes memory data, uint256 index) internal pure returns (bytes memory chunk) {
        chunk = new bytes(1024);
        for (uint256 i = 0; i < 32; ++i) {
            assembly ("memory-safe") {
                let offset := add(0x20, mul(i, 0x20))
                mstore(add(chunk, offset), mload(add(data, add(offset, mul(index, 1024)))))
            }
        }
    }

    function put(bytes memory data, uint256 index, uint256 value) internal pure {
        for (uint256 i = 0; i < 4; ++i) {
            data[4 * index + i] = bytes1(uint8(value >> (8 * i)));
        }
    }

    function get(bytes memory data, uint256 index) internal pure returns (uint256 value) {
        for (uint256 i = 0; i < 4; ++i) {
            value |= uint256(uint8(data[4 * index + i])) << (8 * i);
        }
    }
}
