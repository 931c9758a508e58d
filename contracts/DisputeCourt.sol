// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
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
    ScorePair,
    Settlement,
    SettlementLeaf,
    TrainingTerms
} from "./interfaces/Types.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {LeafTree} from "./libraries/LeafTree.sol";
import {StateOpening} from "./libraries/StateOpening.sol";

/// @title Demands that need an answer, and verifiers' faults
/// @notice See `IDisputeCourt`.
/// @dev INVARIANT: every dispute that is counted in the task is closed by somebody's call after a known deadline, and
/// closing cannot revert, so no dispute keeps a round from ending. Demands on trainers are not counted at all: they hold
/// that trainer's claim and nothing else.
contract DisputeCourt is IDisputeCourt, ModuleSet {
    uint256 private constant MAX_SHARE_BPS = 9_000;

    CourtParams private _params;
    /// @inheritdoc IDisputeCourt
    uint256 public demandCount;
    /// @inheritdoc IDisputeCourt
    mapping(uint64 taskId => mapping(address trainer => uint32)) public openDemandsOn;
    mapping(uint256 demandId => Demand) private _demands;
    /// @dev By everything that a demand asks for. Attack: a friend's demand as a shield against all others; only the same
    /// question is refused twice.
    mapping(bytes32 question => uint256 demandId) private _asked;

    constructor(Modules memory set, CourtParams memory p) ModuleSet(set, set.court) {
        uint256 least = block.chainid == 31_337 || block.chainid == 1_337 ? 1 : 1 days;
        _within("demandBond", p.demandBond, 1, type(uint96).max);
        _within("winnerBps", p.winnerBps, 0, MAX_SHARE_BPS);
        _within("answerSeconds", p.answerSeconds, least, 30 days);
        _params = p;
        // INVARIANT: stake cannot leave faster than a demand ends.
        _within("unbondingSeconds", REGISTRY.unbondingSeconds(), p.answerSeconds, type(uint64).max);
    }

    // Demands.

    /// @inheritdoc IDisputeCourt
    function demandOpening(
        uint64 taskId,
        uint32 round,
        address trainer,
        RevealData calldata data,
        CommitmentRef calldata ref,
        uint32 step,
        Component component,
        uint32 chunk
    ) external returns (uint256 demandId) {
        require(_answerFits(taskId, round), DisputesNotAccepted(taskId, round));
        require(TRAINERS.isCommitted(taskId, round, trainer, data, ref), NotCommittedWork(trainer));
        TrainingTerms memory terms = TERMS.trainingTerms(taskId);
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
        demand.root = data.transcriptRoot;
        demand.held = VAULT.hold(taskId, round, trainer);
        ++openDemandsOn[taskId][trainer];
        return _open(taskId, round, demand);
    }

    /// @inheritdoc IDisputeCourt
    function answerOpening(uint256 demandId, ChunkOpening calldata opening) external {
        Demand storage demand = _answerable(demandId, DemandKind.Opening);
        TrainingTerms memory terms = TERMS.trainingTerms(demand.taskId);
        bool shown = StateOpening.inTranscript(
            demand.root, opening.record, demand.step, terms.steps, opening.recordProof
        )
        && StateOpening.inRecord(
            opening.record, demand.component, terms.parameters, demand.chunk, opening.chunkData, opening.chunkProof
        );
        require(shown, WrongAnswer(demandId));
        emit OpeningAnswered(demandId, opening);
        _close(demand);
        _payAnswer(demand, demand.respondent);
    }

    /// @inheritdoc IDisputeCourt
    function demandScore(uint64 taskId, bytes32 settlement, address verifier, address trainer)
        external
        returns (uint256 demandId)
    {
        (uint32 round,) = _inWindow(taskId, settlement);
        IVerifierPool.Attestation memory attestation = VERIFIERS.attestationOf(taskId, round, verifier);
        require(attestation.state == IVerifierPool.AttestationState.Revealed, NotAttested(verifier));
        require(TRAINERS.hasCommitted(taskId, round, trainer), NotCommittedWork(trainer));
        Demand memory demand;
        demand.kind = DemandKind.Score;
        demand.respondent = verifier;
        demand.subject = trainer;
        demand.root = settlement;
        return _open(taskId, round, demand);
    }

    /// @inheritdoc IDisputeCourt
    function answerScore(uint256 demandId, ScorePair calldata pair) external {
        Demand storage demand = _answerable(demandId, DemandKind.Score);
        bool asked = pair.settled.trainer == demand.subject && pair.verifier == demand.respondent;
        require(asked, WrongAnswer(demandId));
        require(_stands(demand), DisputesNotAccepted(demand.taskId, demand.round));
        bool struck = VERIFIERS.compareScore(demand.taskId, demand.round, pair);
        emit ScoreAnswered(demandId, pair.attested, struck);
        _close(demand);
        if (struck) REGISTRY.unlock(demand.challenger, Role.Challenger, _params.demandBond);
        else _payAnswer(demand, demand.respondent);
    }

    /// @inheritdoc IDisputeCourt
    function demandLeaf(uint64 taskId, bytes32 settlement, address trainer) external returns (uint256 demandId) {
        (uint32 round, uint64 left) = _inWindow(taskId, settlement);
        // Attack: keep leaves back, and show them on demand when the window is over and nobody can prove what is wrong with
        // them. Answers are due while at least a quarter of the window is left.
        require(2 * left >= TERMS.phaseSeconds(taskId).window, DemandTooLate(taskId, round));
        require(TRAINERS.hasCommitted(taskId, round, trainer), NotCommittedWork(trainer));
        Demand memory demand;
        demand.kind = DemandKind.Leaf;
        demand.subject = trainer;
        demand.root = settlement;
        demand.deadline = uint64(block.timestamp) + left / 2;
        return _open(taskId, round, demand);
    }

    /// @inheritdoc IDisputeCourt
    function answerLeaf(uint256 demandId, uint32 index, SettlementLeaf calldata leaf, bytes32[] calldata proof)
        external
    {
        Demand storage demand = _answerable(demandId, DemandKind.Leaf);
        require(_stands(demand), DisputesNotAccepted(demand.taskId, demand.round));
        Settlement memory settlement = TASKS.settlementOf(demand.taskId, demand.round);
        bool shown = leaf.trainer == demand.subject
            && LeafTree.contains(settlement.leavesRoot, LeafTree.hash(leaf), index, settlement.leafCount, proof);
        require(shown, WrongAnswer(demandId));
        emit LeafAnswered(demandId, leaf);
        _close(demand);
        _payAnswer(demand, msg.sender);
    }

    /// @inheritdoc IDisputeCourt
    function closeDemand(uint256 demandId) external {
        Demand storage demand = _openDemand(demandId);
        require(block.timestamp >= demand.deadline, AnswerStillPossible(demand.deadline));
        emit DemandUnanswered(demandId, demand.respondent);
        REGISTRY.unlock(demand.challenger, Role.Challenger, _params.demandBond);
        // The fault comes before the hold ends, so that the claim is never open in between.
        if (demand.kind == DemandKind.Opening) {
            TRAINERS.punish(demand.taskId, demand.round, demand.respondent, Fault.OpeningWithheld, demand.challenger);
        } else if (demand.kind == DemandKind.Score && _stands(demand)) {
            // Attack: ask about a settlement that falls, so that nobody can answer, and have the next one's fee struck.
            VERIFIERS.disqualify(demand.taskId, demand.round, demand.respondent);
        }
        bool hidden = demand.kind == DemandKind.Leaf && _stands(demand);
        _close(demand);
        // Attack: settle with leaves that nobody can see, or with one leaf in the place of another's.
        if (hidden) TASKS.voidSettlement(demand.taskId, false, demand.challenger);
    }

    // Verifiers' faults.

    /// @inheritdoc IDisputeCourt
    function proveEquivocation(
        uint64 taskId,
        uint32 round,
        uint8 attempt,
        address verifier,
        Settlement calldata first,
        G1Point calldata firstSignature,
        Settlement calldata second,
        G1Point calldata secondSignature
    ) external {
        require(first.verdictsDigest != second.verdictsDigest, NoEquivocation());
        bytes32 firstDigest = TASKS.settlementDigest(taskId, round, attempt, first);
        bytes32 secondDigest = TASKS.settlementDigest(taskId, round, attempt, second);
        bytes32 domain = Commitments.SETTLEMENT_DOMAIN;
        require(
            REGISTRY.isSignedBy(verifier, domain, firstDigest, firstSignature)
                && REGISTRY.isSignedBy(verifier, domain, secondDigest, secondSignature),
            InvalidSignature(verifier)
        );
        emit EquivocationProven(taskId, round, verifier, attempt, firstDigest, secondDigest);
        VERIFIERS.punish(taskId, round, verifier, msg.sender);
    }

    /// @inheritdoc IDisputeCourt
    function slashSigner(bytes32 digest, address verifier, address[] calldata nonSigners) external {
        (uint64 taskId, uint32 round, bool culpable, bytes32 nonSignersHash, address prover) =
            TASKS.voidedSettlement(digest);
        require(culpable, NotCulpable(digest));
        bytes32 listHash = nonSigners.length == 0 ? bytes32(0) : keccak256(abi.encode(nonSigners));
        require(listHash == nonSignersHash, NotASigner(verifier));
        for (uint256 i = 0; i < nonSigners.length; ++i) {
            require(nonSigners[i] != verifier, NotASigner(verifier));
        }
        emit SignerSlashed(taskId, round, verifier, digest);
        VERIFIERS.punish(taskId, round, verifier, prover);
    }

    // Views.

    /// @inheritdoc IDisputeCourt
    function params() external view returns (CourtParams memory) {
        return _params;
    }

    /// @inheritdoc IDisputeCourt
    function demandOf(uint256 demandId) external view returns (Demand memory) {
        return _demands[demandId];
    }

    function _open(uint64 taskId, uint32 round, Demand memory demand) private returns (uint256 demandId) {
        demand.taskId = taskId;
        demand.round = round;
        demand.challenger = msg.sender;
        uint64 deadline = uint64(block.timestamp) + _params.answerSeconds;
        if (demand.deadline == 0 || deadline < demand.deadline) demand.deadline = deadline;
        bytes32 question = _question(demand);
        require(_asked[question] == 0, DemandAlreadyOpen(_asked[question]));
        demandId = ++demandCount;
        _demands[demandId] = demand;
        _asked[question] = demandId;
        emit DemandOpened(demandId, taskId, round, demand);
        REGISTRY.lock(msg.sender, Role.Challenger, _params.demandBond);
        if (demand.kind != DemandKind.Opening) TASKS.countDispute(taskId, true);
    }

    function _close(Demand storage demand) private {
        demand.closed = true;
        delete _asked[_question(demand)];
        if (demand.kind != DemandKind.Opening) return TASKS.countDispute(demand.taskId, false);
        --openDemandsOn[demand.taskId][demand.respondent];
        if (demand.held) VAULT.resume(demand.taskId, demand.round, demand.respondent);
    }

    /// @dev The demand was needless: part of the bond pays for the answer, the rest is burned.
    function _payAnswer(Demand storage demand, address answerer) private {
        REGISTRY.slash(demand.challenger, Role.Challenger, _params.demandBond, answerer, _params.winnerBps);
    }

    function _question(Demand memory demand) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                demand.kind,
                demand.taskId,
                demand.round,
                demand.respondent,
                demand.subject,
                demand.step,
                demand.component,
                demand.chunk,
                demand.root
            )
        );
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

    /// @dev INVARIANT: whoever has to answer has all of the time to answer while its stake is slashable.
    function _answerFits(uint64 taskId, uint32 round) private view returns (bool) {
        uint64 ended = TASKS.endedAt(taskId, round);
        if (ended == 0) return TASKS.isPunishable(taskId, round);
        return block.timestamp + _params.answerSeconds <= ended + TERMS.phaseSeconds(taskId).slash;
    }

    /// @param left seconds of the window, at least 1
    function _inWindow(uint64 taskId, bytes32 settlement) private view returns (uint32 round, uint64 left) {
        Phase phase;
        uint64 deadline;
        (round, phase, deadline) = TASKS.currentPhase(taskId);
        // Attack: keep a round from ending with one dispute after another. A window that is over accepts none.
        require(phase == Phase.Window && block.timestamp < deadline, DisputesNotAccepted(taskId, round));
        left = deadline - uint64(block.timestamp);
        // Attack: let the settlement fall while a demand is on its way, so that its bond is lost on the next one.
        bytes32 posted = _postedDigest(taskId, round);
        require(posted == settlement, OtherSettlement(posted));
    }

    function _postedDigest(uint64 taskId, uint32 round) private view returns (bytes32) {
        return TASKS.settlementDigest(taskId, round, TASKS.attemptsOf(taskId, round), TASKS.settlementOf(taskId, round));
    }

    /// @dev Whether the settlement in dispute is still the posted one; it may have been voided meanwhile.
    function _stands(Demand storage demand) private view returns (bool) {
        (uint32 round, Phase phase,) = TASKS.currentPhase(demand.taskId);
        return round == demand.round && phase == Phase.Window && _postedDigest(demand.taskId, round) == demand.root;
    }

    function _within(bytes32 field, uint256 value, uint256 low, uint256 high) private pure {
        require(value >= low && value <= high, InvalidCourtParameter(field, value));
    }
}
