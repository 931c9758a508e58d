// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {VerifierQuorum} from "./VerifierQuorum.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {Modules, Phase, Role, ScoreLeaf, Settlement, SettlementLeaf, StakeTerms} from "./interfaces/Types.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {SettlementTree} from "./libraries/SettlementTree.sol";

/// @title The verifiers of every task: attestations, fees, penalties
/// @notice See `IVerifierPool`; enrolment and quorum are in `VerifierQuorum`.
contract VerifierPool is VerifierQuorum {
    mapping(uint64 taskId => mapping(uint32 round => mapping(address verifier => Attestation))) private _attestations;
    /// @dev Stake behind each verdicts digest among the revealed attestations.
    mapping(uint64 taskId => mapping(uint32 round => mapping(bytes32 verdictsDigest => uint96))) private _agreeing;
    /// @dev Stake that attested the posted verdicts but was struck, by settlement attempt.
    mapping(uint64 taskId => mapping(uint32 round => mapping(uint8 attempt => uint96))) private _struck;
    mapping(uint64 taskId => mapping(uint32 round => FeePot)) private _pots;
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
        _agreeing[taskId][round][verdictsDigest] += attestation.weight;
        emit AttestationRevealed(taskId, round, msg.sender, verdictsDigest, scoresRoot, artifactDigest);
        Progress storage progress = _progress[taskId];
        uint32 count = ++progress.revealed;
        if (count == progress.committed) TASKS.completePhase(taskId, Phase.AttestReveal);
    }

    /// @inheritdoc IVerifierPool
    function contestAttestation(
        uint64 taskId,
        address verifier,
        ScoreLeaf calldata attested,
        bytes32[] calldata attestedProof,
        SettlementLeaf calldata settled,
        bytes32[] calldata settledProof
    ) external {
        uint32 round = _openRound(taskId, Phase.Window);
        Attestation storage attestation = _attestations[taskId][round][verifier];
        require(attestation.state == AttestationState.Revealed, NotRevealed(taskId, round, verifier));
        bytes32 leaf = SettlementTree.hash(attested);
        bytes32 root = attestation.scoresRoot;
        require(SettlementTree.contains(root, leaf, attestedProof), InvalidProof(root, leaf));
        leaf = SettlementTree.hash(settled);
        root = TASKS.settlementOf(taskId, round).leavesRoot;
        require(SettlementTree.contains(root, leaf, settledProof), InvalidProof(root, leaf));
        uint64 tolerance = TASKS.quorumTerms(taskId).scoreToleranceNanos;
        require(_contradict(attested, settled, tolerance), NoContradiction(attested.trainer));
        _strike(taskId, round, verifier, attestation);
    }

    // Fees.

    /// @inheritdoc IVerifierPool
    // A reward token may call back from `payFee`: the round at hand is booked as paid by then, the next ones are untouched.
    // slither-disable-next-line reentrancy-no-eth
    function claimFees(uint64 taskId, uint32[] calldata rounds, address verifier) external {
        for (uint256 i = 0; i < rounds.length; ++i) {
            uint32 round = rounds[i];
            (uint96 fee, uint96 slashReward) = claimableFees(taskId, round, verifier);
            require(fee != 0 || slashReward != 0, NothingToClaim(taskId, round, verifier));
            Attestation storage attestation = _attestations[taskId][round][verifier];
            attestation.state = AttestationState.Paid;
            attestation.slashRewardPaid += slashReward;
            _pots[taskId][round].slashRewardsPaid += slashReward;
            if (slashReward != 0) REGISTRY.transferCredit(verifier, slashReward);
            fee = VAULT.payFee(taskId, round, verifier, fee);
            emit FeesClaimed(taskId, round, verifier, fee, slashReward);
        }
    }

    /// @inheritdoc IVerifierPool
    function expireSlashRewards(uint64 taskId, uint32 round) external {
        FeePot storage pot = _pots[taskId][round];
        uint64 expiresAt = VAULT.potOf(taskId, round).expiresAt;
        require(expiresAt != 0 && block.timestamp >= expiresAt, RoundNotFinal(taskId, round));
        uint96 rest = pot.slashRewards - pot.slashRewardsPaid;
        // INVARIANT: with nothing left to share, no later claim on this pot can succeed.
        pot.slashRewards = 0;
        pot.slashRewardsPaid = 0;
        emit SlashRewardsBurned(taskId, round, rest);
        if (rest != 0) REGISTRY.burnCredit(rest);
    }

    // Modules.

    /// @inheritdoc IVerifierPool
    function fixFees(uint64 taskId, uint32 round, bytes32 verdictsDigest, uint96 fee) external returns (uint96 weight) {
        require(msg.sender == address(TASKS), NotModule(msg.sender));
        uint8 attempt = TASKS.attemptsOf(taskId, round) + 1;
        weight = _agreeing[taskId][round][verdictsDigest] - _struck[taskId][round][attempt];
        if (weight == 0) fee = 0;
        _pots[taskId][round] = FeePot(fee, weight, 0, 0);
        emit FeesFixed(taskId, round, fee, weight);
    }

    /// @inheritdoc IVerifierPool
    function addSlashRewards(uint64 taskId, uint32 round, uint96 amount) external {
        require(msg.sender == address(TRAINERS), NotModule(msg.sender));
        _pots[taskId][round].slashRewards += amount;
        emit SlashRewardsAdded(taskId, round, amount);
    }

    /// @inheritdoc IVerifierPool
    function disqualify(uint64 taskId, uint32 round, address verifier) external {
        require(msg.sender == address(COURT), NotModule(msg.sender));
        (uint32 current, Phase phase,) = TASKS.currentPhase(taskId);
        if (current != round || phase != Phase.Window) return;
        _strike(taskId, round, verifier, _attestations[taskId][round][verifier]);
    }

    /// @inheritdoc IVerifierPool
    function punish(uint64 taskId, uint32 round, address verifier, address prover) external returns (uint96 reward) {
        require(msg.sender == address(COURT), NotModule(msg.sender));
        require(inQuorum(taskId, round, verifier), NotInQuorum(taskId, round, verifier));
        // INVARIANT: at most one slash per verifier and round.
        require(!_penalised[taskId][round][verifier], AlreadyPenalised(taskId, round, verifier));
        _penalised[taskId][round][verifier] = true;
        StakeTerms memory terms = TASKS.stakeTerms(taskId);
        uint96 amount = _takeStake(taskId, verifier, terms.slashBps);
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
        return _agreeing[taskId][round][verdictsDigest];
    }

    /// @inheritdoc IVerifierPool
    function feePotOf(uint64 taskId, uint32 round) external view returns (FeePot memory) {
        return _pots[taskId][round];
    }

    /// @inheritdoc IVerifierPool
    function claimableFees(uint64 taskId, uint32 round, address verifier)
        public
        view
        returns (uint96 fee, uint96 slashReward)
    {
        FeePot memory pot = _pots[taskId][round];
        if (pot.weight == 0) return (0, 0);
        Attestation memory attestation = _attestations[taskId][round][verifier];
        bool paid = attestation.state == AttestationState.Paid;
        if (!paid) {
            bool agrees = attestation.state == AttestationState.Revealed
                && attestation.digest == TASKS.settlementOf(taskId, round).verdictsDigest
                && attestation.struckAttempt != TASKS.attemptsOf(taskId, round) + 1;
            if (!agrees) return (0, 0);
            fee = uint96(uint256(pot.fee) * attestation.weight / pot.weight);
        }
        uint96 due = uint96(uint256(pot.slashRewards) * attestation.weight / pot.weight);
        if (due > attestation.slashRewardPaid) slashReward = due - attestation.slashRewardPaid;
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
    function _strike(uint64 taskId, uint32 round, address verifier, Attestation storage attestation) private {
        uint8 attempt = TASKS.attemptsOf(taskId, round) + 1;
        if (attestation.struckAttempt == attempt) return;
        attestation.struckAttempt = attempt;
        if (attestation.digest == TASKS.settlementOf(taskId, round).verdictsDigest) {
            _struck[taskId][round][attempt] += attestation.weight;
        }
        emit AttestationDisqualified(taskId, round, verifier);
    }

    function _contradict(ScoreLeaf calldata a, SettlementLeaf calldata b, uint64 tolerance)
        private
        pure
        returns (bool)
    {
        if (a.trainer != b.trainer) return false;
        if (uint8(a.verdict) != b.verdict) return true;
        int256 difference = int256(a.scoreNanos) - b.scoreNanos;
        return uint256(difference < 0 ? -difference : difference) > tolerance;
    }

    function _openRound(uint64 taskId, Phase required) private view returns (uint32 round) {
        Phase phase;
        uint64 deadline;
        (round, phase, deadline) = TASKS.currentPhase(taskId);
        require(phase == required, ITaskManager.WrongPhase(taskId, phase, required));
        require(block.timestamp < deadline, ITaskManager.PhaseClosed(taskId, phase, deadline));
    }
}
