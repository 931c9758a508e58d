// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {VerifierQuorum} from "./VerifierQuorum.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {Modules, Outcome, Phase, Role, ScorePair, Settlement, StakeTerms} from "./interfaces/Types.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {LeafTree} from "./libraries/LeafTree.sol";

/// @title The verifiers of every task: attestations and penalties
/// @notice See `IVerifierPool`; enrolment and quorum are in `VerifierQuorum`, fees in `VerifierFees`.
contract VerifierPool is VerifierQuorum {
    mapping(uint64 taskId => mapping(uint32 round => mapping(address verifier => Attestation))) private _attestations;
    /// @dev Stake behind each verdicts digest among the revealed attestations.
    mapping(uint64 taskId => mapping(uint32 round => mapping(bytes32 verdictsDigest => uint96))) private _agreeing;
    /// @dev Stake that attested the posted verdicts but was struck, by settlement attempt.
    mapping(uint64 taskId => mapping(uint32 round => mapping(uint8 attempt => uint96))) private _struck;
    mapping(uint64 taskId => mapping(uint32 round => mapping(address verifier => bool))) private _penalised;

    constructor(Modules memory set) ModuleSet(set, set.verifiers) {}

    // A round.

    /// @inheritdoc IVerifierPool
    function commitAttestation(uint64 taskId, bytes32 commitment) external {
        uint32 round = _openRound(taskId, Phase.AttestCommit);
        uint96 weight = _requireInQuorum(taskId, round, msg.sender);
        Attestation storage attestation = _attestations[taskId][round][msg.sender];
        require(attestation.state == AttestationState.None, AlreadyCommitted(taskId, round, msg.sender));
        attestation.state = AttestationState.Committed;
        attestation.weight = weight;
        attestation.digest = commitment;
        emit AttestationCommitted(taskId, round, msg.sender, commitment);
        uint32 committed = ++_progress[taskId].committed;
        if (committed == _progress[taskId].expected) TASKS.completePhase(taskId, Phase.AttestCommit);
    }

    /// @inheritdoc IVerifierPool
    function revealAttestation(
        uint64 taskId,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest,
        bytes32 salt
    ) external {
        uint32 round = _openRound(taskId, Phase.AttestReveal);
        Attestation storage attestation = _attestations[taskId][round][msg.sender];
        require(attestation.state == AttestationState.Committed, NotCommitted(taskId, round, msg.sender));
        // Attack: copy a colleague. Its commitment names it, and its verdicts show only when commitments are closed.
        bytes32 revealed = attestationHash(taskId, round, msg.sender, verdictsDigest, scoresRoot, artifactDigest, salt);
        require(revealed == attestation.digest, CommitmentMismatch(attestation.digest, revealed));
        attestation.state = AttestationState.Revealed;
        attestation.digest = verdictsDigest;
        attestation.scoresRoot = scoresRoot;
        uint96 weight = attestation.weight;
        _agreeing[taskId][round][verdictsDigest] += weight;
        _clearMisses(taskId, msg.sender);
        emit AttestationRevealed(taskId, round, msg.sender, verdictsDigest, scoresRoot, artifactDigest);
        Progress storage progress = _progress[taskId];
        progress.attested += weight;
        uint32 count = ++progress.revealed;
        if (count == progress.committed) TASKS.completePhase(taskId, Phase.AttestReveal);
    }

    /// @inheritdoc IVerifierPool
    function contestAttestation(uint64 taskId, ScorePair calldata pair) external {
        uint32 round = _openRound(taskId, Phase.Window);
        require(_contradicts(taskId, round, pair), NoContradiction(pair.attested.trainer));
        _strike(taskId, round, pair.verifier);
    }

    /// @inheritdoc IVerifierPool
    function chargeAbsence(uint64 taskId, uint32 round, address verifier) external {
        require(inQuorum(taskId, round, verifier), NotInQuorum(taskId, round, verifier));
        Attestation storage attestation = _attestations[taskId][round][verifier];
        bool silent = attestation.state == AttestationState.None || attestation.state == AttestationState.Committed;
        require(silent && _attestingIsOver(taskId, round), NotAbsent(taskId, round, verifier));
        attestation.state = AttestationState.Absent;
        // Attack: flood the others with work, charge them all for one round, and be the quorum of the next. Where half or less
        // attested, who did is not the majority: absence has its price, but takes no seat.
        bool judged = _isJudged(taskId, round);
        // Attack: charge two misses together that were not in a row.
        (uint8 misses, uint256 bps) = _countMiss(taskId, verifier, !judged || round != _progress[taskId].round);
        uint96 amount = _takeStake(taskId, verifier, bps, judged);
        emit AbsenceCharged(taskId, round, verifier, misses, amount);
        uint16 proverBps = TERMS.stakeTerms(taskId).proverBps;
        if (amount != 0) REGISTRY.slash(verifier, Role.Verifier, amount, msg.sender, proverBps);
    }

    // Modules.

    /// @inheritdoc IVerifierPool
    function compareScore(uint64 taskId, uint32 round, ScorePair calldata pair) external returns (bool struck) {
        require(msg.sender == address(COURT), NotModule(msg.sender));
        // Attack: answer a demand with garbage when nobody may contest any more. The answer itself is compared.
        struck = _contradicts(taskId, round, pair);
        if (struck) _strike(taskId, round, pair.verifier);
    }

    /// @inheritdoc IVerifierPool
    function disqualify(uint64 taskId, uint32 round, address verifier) external {
        require(msg.sender == address(COURT), NotModule(msg.sender));
        _strike(taskId, round, verifier);
    }

    /// @inheritdoc IVerifierPool
    function punish(uint64 taskId, uint32 round, address verifier, address prover) external returns (uint96 reward) {
        require(msg.sender == address(COURT), NotModule(msg.sender));
        require(inQuorum(taskId, round, verifier), NotInQuorum(taskId, round, verifier));
        // INVARIANT: at most one slash per verifier and round.
        require(!_penalised[taskId][round][verifier], AlreadyPenalised(taskId, round, verifier));
        _penalised[taskId][round][verifier] = true;
        _exclude(taskId, round, verifier);
        StakeTerms memory terms = TERMS.stakeTerms(taskId);
        uint96 amount = _takeStake(taskId, verifier, terms.slashBps, true);
        emit VerifierSlashed(taskId, round, verifier, amount, prover);
        if (amount != 0) return REGISTRY.slash(verifier, Role.Verifier, amount, prover, terms.proverBps);
    }

    // Views.

    /// @inheritdoc IVerifierPool
    function attestationOf(uint64 taskId, uint32 round, address verifier) external view returns (Attestation memory) {
        return _attestations[taskId][round][verifier];
    }

    /// @inheritdoc IVerifierPool
    function agreeingWeight(uint64 taskId, uint32 round, bytes32 verdictsDigest) external view returns (uint96) {
        uint8 attempt = TASKS.attemptsOf(taskId, round) + 1;
        uint96 weight = _agreeing[taskId][round][verdictsDigest];
        if (!TASKS.isPosted(taskId, round, verdictsDigest)) return weight;
        return weight - _struck[taskId][round][attempt];
    }

    /// @inheritdoc IVerifierPool
    function attestationHash(
        uint64 taskId,
        uint32 round,
        address verifier,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest,
        bytes32 salt
    ) public view returns (bytes32) {
        return Commitments.attestation(
            address(TASKS), taskId, round, verifier, verdictsDigest, scoresRoot, artifactDigest, salt
        );
    }

    /// @dev Strike a verifier from the fees of the settlement that is posted now. A later attempt counts it again.
    function _strike(uint64 taskId, uint32 round, address verifier) private {
        Attestation storage attestation = _attestations[taskId][round][verifier];
        uint8 attempt = TASKS.attemptsOf(taskId, round) + 1;
        if (attestation.state != AttestationState.Revealed || attestation.struckAttempt == attempt) return;
        attestation.struckAttempt = attempt;
        if (attestation.digest == TASKS.settlementOf(taskId, round).verdictsDigest) {
            _struck[taskId][round][attempt] += attestation.weight;
        }
        emit AttestationDisqualified(taskId, round, verifier);
    }

    /// @dev Attack: equivocate and keep the fee. Whoever is punished has no part in it, in no attempt.
    function _exclude(uint64 taskId, uint32 round, address verifier) private {
        Attestation storage attestation = _attestations[taskId][round][verifier];
        AttestationState state = attestation.state;
        attestation.state = AttestationState.Excluded;
        if (state != AttestationState.Revealed || TASKS.endedAt(taskId, round) != 0) return;
        _agreeing[taskId][round][attestation.digest] -= attestation.weight;
        uint8 attempt = TASKS.attemptsOf(taskId, round) + 1;
        bool struck = attestation.struckAttempt == attempt
            && attestation.digest == TASKS.settlementOf(taskId, round).verdictsDigest;
        if (struck) _struck[taskId][round][attempt] -= attestation.weight;
    }

    /// @dev Both leaves stand where the trainer stands among those who committed.
    function _contradicts(uint64 taskId, uint32 round, ScorePair calldata pair) private view returns (bool) {
        Attestation storage attestation = _attestations[taskId][round][pair.verifier];
        require(attestation.state == AttestationState.Revealed, NotRevealed(taskId, round, pair.verifier));
        Settlement memory settlement = TASKS.settlementOf(taskId, round);
        // Attack: many leaves per trainer under one root, one for every settlement. A position has one leaf.
        _checkLeaf(
            attestation.scoresRoot, LeafTree.hash(pair.attested), pair.index, settlement.leafCount, pair.attestedProof
        );
        _checkLeaf(
            settlement.leavesRoot, LeafTree.hash(pair.settled), pair.index, settlement.leafCount, pair.settledProof
        );
        bool same =
            pair.attested.trainer == pair.settled.trainer && uint8(pair.attested.verdict) == pair.settled.verdict;
        if (!same) return true;
        int256 difference = int256(pair.attested.scoreNanos) - pair.settled.scoreNanos;
        uint64 tolerance = TERMS.quorumTerms(taskId).scoreToleranceNanos;
        return uint256(difference < 0 ? -difference : difference) > tolerance;
    }

    function _checkLeaf(bytes32 root, bytes32 leaf, uint32 index, uint32 count, bytes32[] calldata proof) private pure {
        require(LeafTree.contains(root, leaf, index, count, proof), InvalidProof(root, leaf));
    }

    function _attestingIsOver(uint64 taskId, uint32 round) private view returns (bool) {
        if (!TASKS.isPunishable(taskId, round)) return false;
        (uint32 current, Phase phase,) = TASKS.currentPhase(taskId);
        if (round == current && phase != Phase.Idle) return phase > Phase.AttestReveal;
        Outcome outcome = TASKS.roundOf(taskId, round).outcome;
        return outcome == Outcome.Settled || outcome == Outcome.NoQuorum || outcome == Outcome.NoAttestations;
    }

    function _openRound(uint64 taskId, Phase required) private view returns (uint32 round) {
        Phase phase;
        uint64 deadline;
        (round, phase, deadline) = TASKS.currentPhase(taskId);
        require(phase == required, ITaskManager.WrongPhase(taskId, phase, required));
        require(block.timestamp < deadline, ITaskManager.PhaseClosed(taskId, phase, deadline));
    }
}
