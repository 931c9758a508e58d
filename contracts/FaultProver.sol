// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {IFaultProver} from "./interfaces/IFaultProver.sol";
import {Component, Fault, Modules, TrainingTerms} from "./interfaces/Types.sol";
import {Float32} from "./libraries/Float32.sol";
import {OptimizerStep} from "./libraries/OptimizerStep.sol";
import {OrderedMerkle} from "./libraries/OrderedMerkle.sol";
import {StateOpening} from "./libraries/StateOpening.sol";

/// @title Faults of trainers that the chain can check by itself
/// @notice See `IFaultProver`. Every proof starts from bytes under the transcript root that the trainer itself committed,
/// so an honest trainer has nothing to fear from any input.
contract FaultProver is IFaultProver, ModuleSet {
    using Float32 for uint256;
    using StateOpening for bytes;

    uint64 private constant FLOAT64_EXPONENT = 0x7ff0000000000000;
    uint256 private constant MAGNITUDE = 0x7fffffff;

    constructor(Modules memory set) ModuleSet(set, set.faults) {}

    // Faults of a trainer.

    /// @inheritdoc IFaultProver
    function proveNonFinite(
        Work calldata work,
        RecordOpening calldata record,
        VectorChunk calldata chunk,
        uint32 element
    ) external {
        TrainingTerms memory terms = _checkWork(work);
        _checkRecord(work, terms, record);
        uint256 value = _checkedValue(record, chunk, terms, element);
        require(!value.isFinite(), NoFault());
        _punish(work, Fault.NonFiniteValue, record.step);
    }

    /// @inheritdoc IFaultProver
    function proveWrongUpdate(Work calldata work, StepEvidence calldata evidence) external {
        TrainingTerms memory terms = _checkWork(work);
        _checkRecord(work, terms, evidence.before);
        _checkRecord(work, terms, evidence.afterwards);
        uint32 step = evidence.before.step;
        require(evidence.afterwards.step == step + 1, OutOfRange(evidence.afterwards.step, step + 1));
        OptimizerStep.Element memory before = _element(evidence.before, evidence.beforeChunks, terms, evidence.element);
        OptimizerStep.Element memory committed =
            _element(evidence.afterwards, evidence.afterChunks, terms, evidence.element);
        require(evidence.gradient.component == Component.Gradient, WrongChunk(evidence.gradient.component, 0));
        uint256 gradient = _checkedValue(evidence.before, evidence.gradient, terms, evidence.element);
        OptimizerStep.Element memory computed = OptimizerStep.update(
            terms.optimizer,
            _checkedConstants(work.taskId, terms.steps, step, evidence),
            before,
            gradient,
            evidence.before.record.clipScaleOf()
        );
        bool same =
            _same(computed.theta, committed.theta) && _same(computed.m, committed.m) && _same(computed.v, committed.v);
        require(!same, NoFault());
        _punish(work, Fault.WrongUpdate, step);
    }

    /// @inheritdoc IFaultProver
    function proveWrongStart(
        Work calldata work,
        RecordOpening calldata record,
        bytes32 theta,
        bytes32[2] calldata siblings
    ) external {
        TrainingTerms memory terms = _checkWork(work);
        _checkRecord(work, terms, record);
        require(record.step == 0, OutOfRange(record.step, 1));
        _checkTheta(record, theta, siblings);
        require(theta != TASKS.roundOf(work.taskId, work.round).startDigest, NoFault());
        _punish(work, Fault.WrongStart, 0);
    }

    /// @inheritdoc IFaultProver
    function proveWarmStart(
        Work calldata work,
        RecordOpening calldata record,
        VectorChunk calldata chunk,
        uint32 element
    ) external {
        TrainingTerms memory terms = _checkWork(work);
        _checkRecord(work, terms, record);
        require(record.step == 0, OutOfRange(record.step, 1));
        bool moment = chunk.component == Component.FirstMoment || chunk.component == Component.SecondMoment;
        require(moment, WrongChunk(chunk.component, chunk.chunk));
        // Attack: call a minus zero warm. All bits but the sign have to be zero, no more.
        require(_checkedValue(record, chunk, terms, element) & MAGNITUDE != 0, NoFault());
        _punish(work, Fault.WrongStart, 0);
    }

    /// @inheritdoc IFaultProver
    function proveWrongDelta(
        Work calldata work,
        RecordOpening calldata record,
        bytes32 theta,
        bytes32[2] calldata siblings
    ) external {
        TrainingTerms memory terms = _checkWork(work);
        require(terms.float32Delta, NoFault());
        _checkRecord(work, terms, record);
        require(record.step == terms.steps, OutOfRange(record.step, terms.steps));
        _checkTheta(record, theta, siblings);
        require(theta != work.data.deltaDigest, NoFault());
        _punish(work, Fault.WrongDelta, record.step);
    }

    /// @inheritdoc IFaultProver
    function proveMalformedRecord(Work calldata work, RecordOpening calldata record) external {
        TrainingTerms memory terms = _checkWork(work);
        _checkRecord(work, terms, record);
        bytes calldata data = record.record;
        bool last = record.step == terms.steps;
        bool wellFormed = data.stepOf() == record.step && data.lossOf() & FLOAT64_EXPONENT != FLOAT64_EXPONENT
            // As bit patterns: 0 to 1. Negative numbers, infinity and NaN are all larger.
            && data.clipScaleOf() <= Float32.ONE;
        if (last) {
            wellFormed = wellFormed && data.gradientRootOf() == 0 && data.rowsRootOf() == 0 && data.clipScaleOf() == 0
                && data.lossOf() == 0;
        }
        require(!wellFormed, NoFault());
        _punish(work, Fault.MalformedRecord, record.step);
    }

    // What every proof needs.

    /// @dev The trainer committed this work, and the round is not past punishment.
    function _checkWork(Work calldata work) private view returns (TrainingTerms memory terms) {
        require(TASKS.isPunishable(work.taskId, work.round), ProofsNotAccepted(work.taskId, work.round));
        require(
            TRAINERS.isCommitted(work.taskId, work.round, work.trainer, work.data, work.ref),
            NotCommittedWork(work.trainer)
        );
        terms = TERMS.trainingTerms(work.taskId);
    }

    function _checkRecord(Work calldata work, TrainingTerms memory terms, RecordOpening calldata record) private pure {
        bytes32 root = work.data.transcriptRoot;
        require(
            StateOpening.inTranscript(root, record.record, record.step, terms.steps, record.proof),
            InvalidOpening(root, record.step)
        );
    }

    function _checkedValue(
        RecordOpening calldata record,
        VectorChunk calldata chunk,
        TrainingTerms memory terms,
        uint32 element
    ) private pure returns (uint256) {
        require(element < terms.parameters, OutOfRange(element, terms.parameters));
        require(chunk.chunk == element / StateOpening.CHUNK_VALUES, WrongChunk(chunk.component, chunk.chunk));
        require(
            StateOpening.inRecord(
                record.record, chunk.component, terms.parameters, chunk.chunk, chunk.data, chunk.proof
            ),
            InvalidOpening(record.record.stateRootOf(), chunk.chunk)
        );
        return chunk.data.valueAt(element % StateOpening.CHUNK_VALUES);
    }

    /// @dev `chunks` holds theta and the moments that the optimiser uses, in this order.
    function _element(
        RecordOpening calldata record,
        VectorChunk[] calldata chunks,
        TrainingTerms memory terms,
        uint32 element
    ) private pure returns (OptimizerStep.Element memory values) {
        uint256 count = 1 + OptimizerStep.moments(terms.optimizer);
        require(chunks.length == count, WrongLength(count, chunks.length));
        for (uint256 slot = 0; slot < count; ++slot) {
            require(uint256(chunks[slot].component) == slot, WrongChunk(chunks[slot].component, chunks[slot].chunk));
            uint256 value = _checkedValue(record, chunks[slot], terms, element);
            if (slot == 0) values.theta = value;
            else if (slot == 1) values.m = value;
            else values.v = value;
        }
    }

    function _checkedConstants(uint64 taskId, uint32 steps, uint32 step, StepEvidence calldata evidence)
        private
        view
        returns (OptimizerStep.Constants memory)
    {
        bytes calldata row = evidence.constants;
        require(row.length == OptimizerStep.ROW_BYTES, WrongLength(OptimizerStep.ROW_BYTES, row.length));
        bytes32 root = TERMS.constantsRootOf(taskId);
        require(
            OrderedMerkle.contains(root, OrderedMerkle.leaf(row), step, steps, evidence.constantsProof),
            InvalidOpening(root, step)
        );
        return OptimizerStep.Constants({
            lr: row.valueAt(0),
            beta1: row.valueAt(1),
            oneMinusBeta1: row.valueAt(2),
            beta2: row.valueAt(3),
            oneMinusBeta2: row.valueAt(4),
            ib1: row.valueAt(5),
            ib2: row.valueAt(6),
            eps: row.valueAt(7),
            l2: row.valueAt(8),
            decay: row.valueAt(9),
            momentum: row.valueAt(10)
        });
    }

    function _checkTheta(RecordOpening calldata record, bytes32 theta, bytes32[2] calldata siblings) private pure {
        bytes32 root = record.record.stateRootOf();
        require(StateOpening.stateRootFromTheta(theta, siblings) == root, InvalidOpening(root, 0));
    }

    /// @dev Bit for bit, but a NaN equals every NaN: its payload differs between machines, and it is a fault of its own.
    function _same(uint256 computed, uint256 committed) private pure returns (bool) {
        return computed == committed || (computed.isNaN() && committed.isNaN());
    }

    function _punish(Work calldata work, Fault fault, uint32 step) private {
        emit FaultProven(work.taskId, work.round, work.trainer, fault, step, msg.sender);
        TRAINERS.punish(work.taskId, work.round, work.trainer, fault, msg.sender);
    }
}
