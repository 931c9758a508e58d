// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommitmentRef, Component, Fault, RevealData} from "./Types.sol";

/// @title Faults of trainers that the chain can check by itself
/// @notice Every function takes the offending bytes, checks them against what was committed, and acts at once: no bond,
/// no vote. The trainer loses stake and its claim on the round; the settlement and everybody else's pay stay as they are.
/// From the opening phase on and as long as the stake is slashable. The caller gets the prover's share.
interface IFaultProver {
    /// @notice The work that a trainer committed in a round.
    struct Work {
        uint64 taskId;
        uint32 round;
        address trainer;
        RevealData data;
        CommitmentRef ref;
    }

    /// @notice A record with its place (`step`) in the transcript tree.
    struct RecordOpening {
        uint32 step;
        bytes record;
        bytes32[] proof;
    }

    /// @notice A chunk of one vector under a record. `proof`: to the component's root, two more to the state root
    /// unless the component is the gradient.
    struct VectorChunk {
        Component component;
        uint32 chunk;
        bytes data;
        bytes32[] proof;
    }

    /// @notice One optimiser step seen at one chunk.
    /// @param element index of the value in question, 0..P-1
    /// @param before record t
    /// @param afterwards record t+1
    /// @param beforeChunks theta, then (momentum) m, (Adam) m and v: the chunks of state t that hold the element
    /// @param gradient the chunk of gradient t that holds it
    /// @param afterChunks the same slots of state t+1
    /// @param constants the 64 bytes of row t of the constants table
    /// @param constantsProof its siblings in the table's tree
    struct StepEvidence {
        uint32 element;
        RecordOpening before;
        RecordOpening afterwards;
        VectorChunk[] beforeChunks;
        VectorChunk gradient;
        VectorChunk[] afterChunks;
        bytes constants;
        bytes32[] constantsProof;
    }

    /// @notice A trainer's fault is established.
    /// @param step record that shows it
    /// @param prover who gets the prover's part of the slash
    event FaultProven(
        uint64 indexed taskId, uint32 indexed round, address indexed trainer, Fault fault, uint32 step, address prover
    );
    /// @notice The trainer cannot be punished for this round now.
    error ProofsNotAccepted(uint64 taskId, uint32 round);
    /// @notice The work shown is not what the trainer committed to.
    error NotCommittedWork(address trainer);
    /// @notice The path from the opened part does not lead to the root.
    error InvalidOpening(bytes32 root, uint256 index);
    /// @notice An index is beyond what there is.
    error OutOfRange(uint256 index, uint256 length);
    /// @notice A list has another length than the rule needs.
    error WrongLength(uint256 expected, uint256 actual);
    /// @notice The proof opens another chunk than the one it is about.
    error WrongChunk(Component component, uint32 chunk);
    /// @notice What is shown is in order.
    error NoFault();

    /// @notice A committed value is NaN or infinite.
    /// @param element index of the value in the vector
    function proveNonFinite(
        Work calldata work,
        RecordOpening calldata record,
        VectorChunk calldata chunk,
        uint32 element
    ) external;

    /// @notice The optimiser's update of one element is not what float32 arithmetic gives.
    function proveWrongUpdate(Work calldata work, StepEvidence calldata evidence) external;

    /// @notice Record 0 does not start from the round's adapter.
    /// @param siblings the two siblings of `theta` in the state tree, from the component up, as record 0 has them
    /// @param theta component root of record 0's adapter
    function proveWrongStart(
        Work calldata work,
        RecordOpening calldata record,
        bytes32 theta,
        bytes32[2] calldata siblings
    ) external;

    /// @notice A moment of record 0 is neither zero nor minus zero.
    function proveWarmStart(
        Work calldata work,
        RecordOpening calldata record,
        VectorChunk calldata chunk,
        uint32 element
    ) external;

    /// @notice The revealed delta is not the adapter of the last record (codec `float32`).
    function proveWrongDelta(
        Work calldata work,
        RecordOpening calldata record,
        bytes32 theta,
        bytes32[2] calldata siblings
    ) external;

    /// @notice A record has another step number than its place, a clip scale outside (0, 1], a loss that is not finite,
    /// or is the last one and has a gradient.
    function proveMalformedRecord(Work calldata work, RecordOpening calldata record) external;
}
