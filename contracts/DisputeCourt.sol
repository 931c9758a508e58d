// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CourtStore} from "./CourtStore.sol";
import {ModuleSet} from "./ModuleSet.sol";
import {Revotes} from "./Revotes.sol";
import {IDisputeCourt} from "./interfaces/IDisputeCourt.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {
    CommitmentRef,
    Component,
    Fault,
    G1Point,
    Modules,
    Phase,
    RevealData,
    Role,
    ScoreLeaf,
    Settlement,
    TrainingTerms
} from "./interfaces/Types.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {SettlementTree} from "./libraries/SettlementTree.sol";
import {StateOpening} from "./libraries/StateOpening.sol";

/// @title Disputes that need an answer, a vote, or both
/// @notice See `IDisputeCourt`; re-votes are in `Revotes`.
/// @dev INVARIANT: every dispute that is counted in the task is closed by somebody's call after a known deadline, and
/// closing cannot revert, so no dispute keeps a round from ending.
contract DisputeCourt is Revotes {
    constructor(Modules memory set, CourtParams memory params_) ModuleSet(set, set.court) CourtStore(params_) {}

    // Demands.

    /// @inheritdoc IDisputeCourt
    function demandOpening(
        uint64 taskId,
        address trainer,
        RevealData calldata data,
        CommitmentRef calldata ref,
        uint32 step,
        Component component,
        uint32 chunk
    ) external returns (uint256 demandId) {
        uint32 round = _disputable(taskId, Phase.Opening);
        require(TRAINERS.isCommitted(taskId, round, trainer, data, ref), NotCommittedWork(trainer));
        TrainingTerms memory terms = TASKS.trainingTerms(taskId);
        // Attack: demand what an honest trainer cannot have. The last record has no gradient, and slots that the optimiser
        // does not use are empty.
        uint256 steps = uint256(terms.steps) + (component == Component.Gradient ? 0 : 1);
        require(step < steps, OutOfRange(step, steps));
        uint256 slots = 1 + uint256(terms.optimizer);
        require(component == Component.Gradient || uint256(component) < slots, OutOfRange(uint256(component), slots));
        uint256 chunks = StateOpening.chunkCount(terms.parameters);
        require(chunk < chunks, OutOfRange(chunk, chunks));
        Demand memory demand;
        demand.kind = DemandKind.Opening;
        demand.respondent = trainer;
        demand.step = step;
        demand.component = component;
        demand.chunk = chunk;
        demand.transcriptRoot = data.transcriptRoot;
        return _open(taskId, round, demand);
    }

    /// @inheritdoc IDisputeCourt
    function answerOpening(uint256 demandId, ChunkOpening calldata opening) external {
        Demand storage demand = _answerable(demandId, DemandKind.Opening);
        TrainingTerms memory terms = TASKS.trainingTerms(demand.taskId);
        bool shown = StateOpening.inTranscript(
            demand.transcriptRoot, opening.record, demand.step, terms.steps, opening.recordProof
        )
        && StateOpening.inRecord(
            opening.record, demand.component, terms.parameters, demand.chunk, opening.chunkData, opening.chunkProof
        );
        require(shown, WrongAnswer(demandId));
        emit OpeningAnswered(demandId, opening);
        _payRespondent(demand);
    }

    /// @inheritdoc IDisputeCourt
    function demandScore(uint64 taskId, address verifier, address trainer) external returns (uint256 demandId) {
        uint32 round = _disputable(taskId, Phase.Window);
        IVerifierPool.Attestation memory attestation = VERIFIERS.attestationOf(taskId, round, verifier);
        require(attestation.state == IVerifierPool.AttestationState.Revealed, NotAttested(verifier));
        require(TRAINERS.hasCommitted(taskId, round, trainer), NotCommittedWork(trainer));
        Demand memory demand;
        demand.kind = DemandKind.Score;
        demand.respondent = verifier;
        demand.subject = trainer;
        return _open(taskId, round, demand);
    }

    /// @inheritdoc IDisputeCourt
    function answerScore(uint256 demandId, ScoreLeaf calldata leaf, bytes32[] calldata proof) external {
        Demand storage demand = _answerable(demandId, DemandKind.Score);
        bytes32 root = VERIFIERS.attestationOf(demand.taskId, demand.round, demand.respondent).scoresRoot;
        bool shown = leaf.trainer == demand.subject && SettlementTree.contains(root, SettlementTree.hash(leaf), proof);
        require(shown, WrongAnswer(demandId));
        emit ScoreAnswered(demandId, leaf);
        _payRespondent(demand);
    }

    /// @inheritdoc IDisputeCourt
    function closeDemand(uint256 demandId) external {
        Demand storage demand = _openDemand(demandId);
        require(block.timestamp >= demand.deadline, AnswerStillPossible(demand.deadline));
        _close(demand);
        emit DemandUnanswered(demandId, demand.respondent);
        REGISTRY.unlock(demand.challenger, Role.Challenger, _params.demandBond);
        if (demand.kind == DemandKind.Opening) {
            TRAINERS.punish(demand.taskId, demand.round, demand.respondent, Fault.OpeningWithheld, demand.challenger);
        } else {
            VERIFIERS.disqualify(demand.taskId, demand.round, demand.respondent);
        }
    }

    // Verifiers' faults.

    /// @inheritdoc IDisputeCourt
    function proveEquivocation(
        uint64 taskId,
        uint32 round,
        address verifier,
        Settlement calldata first,
        G1Point calldata firstSignature,
        Settlement calldata second,
        G1Point calldata secondSignature
    ) external {
        require(first.verdictsDigest != second.verdictsDigest, NoEquivocation());
        bytes32 firstDigest = TASKS.settlementDigest(taskId, round, first);
        bytes32 secondDigest = TASKS.settlementDigest(taskId, round, second);
        bytes32 domain = Commitments.SETTLEMENT_DOMAIN;
        require(
            REGISTRY.isSignedBy(verifier, domain, firstDigest, firstSignature)
                && REGISTRY.isSignedBy(verifier, domain, secondDigest, secondSignature),
            InvalidSignature(verifier)
        );
        emit EquivocationProven(taskId, round, verifier, firstDigest, secondDigest);
        VERIFIERS.punish(taskId, round, verifier, msg.sender);
    }

    /// @inheritdoc IDisputeCourt
    function slashSigner(bytes32 digest, address verifier, address[] calldata nonSigners) external {
        (uint64 taskId, uint32 round, bool culpable, bytes32 nonSignersHash) = TASKS.voidedSettlement(digest);
        require(culpable, NotCulpable(digest));
        bytes32 listHash = nonSigners.length == 0 ? bytes32(0) : keccak256(abi.encode(nonSigners));
        require(listHash == nonSignersHash, NotASigner(verifier));
        for (uint256 i = 0; i < nonSigners.length; ++i) {
            require(nonSigners[i] != verifier, NotASigner(verifier));
        }
        emit SignerSlashed(taskId, round, verifier, digest);
        uint256 revoteId = _overturnedBy[digest];
        if (revoteId == 0) VERIFIERS.punish(taskId, round, verifier, msg.sender);
        else _shareSlash(revoteId, VERIFIERS.punish(taskId, round, verifier, address(this)));
    }

    function _open(uint64 taskId, uint32 round, Demand memory demand) private returns (uint256 demandId) {
        uint256 open = _openDemandOf[taskId][demand.respondent];
        require(open == 0, DemandAlreadyOpen(open));
        demand.taskId = taskId;
        demand.round = round;
        demand.challenger = msg.sender;
        demand.deadline = uint64(block.timestamp) + _params.answerSeconds;
        demandId = ++demandCount;
        _demands[demandId] = demand;
        _openDemandOf[taskId][demand.respondent] = demandId;
        emit DemandOpened(demandId, taskId, round, demand);
        REGISTRY.lock(msg.sender, Role.Challenger, _params.demandBond);
        TASKS.countDispute(taskId, true);
    }

    function _answerable(uint256 demandId, DemandKind kind) private view returns (Demand storage demand) {
        demand = _openDemand(demandId);
        require(demand.kind == kind, WrongAnswer(demandId));
        require(block.timestamp < demand.deadline, AnswerTooLate(demand.deadline));
    }

    function _openDemand(uint256 demandId) private view returns (Demand storage demand) {
        demand = _demands[demandId];
        require(demand.kind != DemandKind.None, UnknownDemand(demandId));
        require(!demand.closed, DemandClosed(demandId));
    }

    /// @dev The demand was needless: part of the bond pays for the answer, the rest is burned.
    function _payRespondent(Demand storage demand) private {
        _close(demand);
        REGISTRY.slash(demand.challenger, Role.Challenger, _params.demandBond, demand.respondent, _params.winnerBps);
    }

    function _close(Demand storage demand) private {
        demand.closed = true;
        _openDemandOf[demand.taskId][demand.respondent] = 0;
        TASKS.countDispute(demand.taskId, false);
    }
}
