// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {G1Point, G2Point, QuorumProof, ScoreLeaf, SettlementLeaf} from "./Types.sol";

/// @title The verifiers of every task: enrolment, quorum, attestations, fees
interface IVerifierPool {
    /// @param index position in the task's list of verifiers, from 1; 0: never enrolled
    /// @param activeFrom first round they belong to the quorum of
    /// @param activeUntil last round they belong to the quorum of
    /// @param stake what the registry holds locked for this task, stake token
    struct Enrolment {
        uint32 index;
        uint32 activeFrom;
        uint32 activeUntil;
        uint96 stake;
    }

    /// @notice A version of a task's verifier set.
    /// @param key sum of the members' keys in G1
    /// @param weight sum of their stakes, stake token
    /// @param members their number
    struct Checkpoint {
        G1Point key;
        uint96 weight;
        uint32 members;
    }

    /// @notice Who acted in the current round, and which version of the set forms its quorum.
    struct Progress {
        uint32 round;
        uint32 expected;
        uint32 committed;
        uint32 revealed;
        uint32 version;
    }

    enum AttestationState {
        None,
        Committed,
        Revealed,
        Paid
    }

    /// @param state how far it came
    /// @param struckAttempt settlement attempt of the round (from 1) for which it was struck from the fees, 0 for none
    /// @param weight the verifier's stake at the commitment, stake token
    /// @param digest the sealed commitment, after the reveal the verdicts digest
    /// @param scoresRoot settlement-form tree over the `ScoreLeaf`s
    /// @param slashRewardPaid part of the round's slash pot already paid, stake token
    struct Attestation {
        AttestationState state;
        uint8 struckAttempt;
        uint96 weight;
        uint96 slashRewardPaid;
        bytes32 digest;
        bytes32 scoresRoot;
    }

    /// @notice What a settled round owes to the verifiers who agreed with it.
    /// @param fee reward token
    /// @param slashRewards everything credited so far, stake token
    /// @param slashRewardsPaid part of it that was paid or burned
    /// @param weight stake of those who agreed
    struct FeePot {
        uint96 fee;
        uint96 weight;
        uint96 slashRewards;
        uint96 slashRewardsPaid;
    }

    event VerifierEnrolled(
        uint64 indexed taskId, address indexed verifier, uint32 index, uint32 activeFrom, uint96 stake
    );
    event VerifierStopped(uint64 indexed taskId, address indexed verifier, uint32 activeUntil);
    event VerifierReleased(uint64 indexed taskId, address indexed verifier, uint96 stake);
    event VerifierSetChanged(uint64 indexed taskId, uint32 indexed version, G1Point key, uint96 weight, uint32 members);
    event AttestationCommitted(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, bytes32 commitment
    );
    event AttestationRevealed(
        uint64 indexed taskId,
        uint32 indexed round,
        address indexed verifier,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest
    );
    event AttestationDisqualified(uint64 indexed taskId, uint32 indexed round, address indexed verifier);
    event SlashRewardsBurned(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    event FeesFixed(uint64 indexed taskId, uint32 indexed round, uint96 fee, uint96 agreeingWeight);
    event SlashRewardsAdded(uint64 indexed taskId, uint32 indexed round, uint96 amount);
    event FeesClaimed(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, uint96 fee, uint96 slashReward
    );
    event VerifierSlashed(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, uint96 amount, address prover
    );

    error NotModule(address caller);
    error AlreadyEnrolled(uint64 taskId, address verifier);
    error NotEnrolled(uint64 taskId, address verifier);
    error StakeTooLow(uint96 stake, uint96 minimum);
    error NotInQuorum(uint64 taskId, uint32 round, address verifier);
    error NonSignersNotSorted(address previous, address next);
    error QuorumNotReached(uint96 signed, uint96 total, uint16 quorumBps);
    error InvalidQuorumSignature(bytes32 message);
    error AlreadyCommitted(uint64 taskId, uint32 round, address verifier);
    error NotCommitted(uint64 taskId, uint32 round, address verifier);
    error CommitmentMismatch(bytes32 committed, bytes32 revealed);
    error NotRevealed(uint64 taskId, uint32 round, address verifier);
    error InvalidProof(bytes32 root, bytes32 leaf);
    /// @notice The two leaves are of different trainers, or agree within the task's tolerance.
    error NoContradiction(address trainer);
    error NothingToClaim(uint64 taskId, uint32 round, address verifier);
    error StillBound(uint64 taskId, address verifier, uint64 until);
    error AlreadyPenalised(uint64 taskId, uint32 round, address verifier);
    error NothingAtStake(uint64 taskId, address verifier);
    error RoundNotFinal(uint64 taskId, uint32 round);

    // Verifiers.

    /// @notice Join a task's quorum from its next round on; locks `stake`, which is also the voting weight. Needs a key.
    function enrol(uint64 taskId, uint96 stake) external;

    /// @notice Take no part in later rounds.
    function resign(uint64 taskId) external;

    /// @notice Unlock the stake of a verifier who left, `slash` seconds after its last round. Anyone may call.
    function release(uint64 taskId, address verifier) external;

    /// @notice Seal this round's verdicts and scores.
    /// @param commitment `attestationHash(taskId, round, caller, ...)`
    function commitAttestation(uint64 taskId, bytes32 commitment) external;

    /// @notice Open the sealed attestation.
    /// @param verdictsDigest `keccak256(trainer_0 ‖ verdict_0 ‖ ...)`, trainers who committed, by ascending address
    /// @param scoresRoot settlement-form tree over the `ScoreLeaf`s in the same order
    /// @param artifactDigest SHA-256 of the attestation document in the store
    function revealAttestation(
        uint64 taskId,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest,
        bytes32 salt
    ) external;

    /// @notice Show during the dispute window that a verifier's revealed score or verdict of a trainer contradicts the
    /// settlement: the verifier earns nothing in this round. Anyone may call.
    function contestAttestation(
        uint64 taskId,
        address verifier,
        ScoreLeaf calldata attested,
        bytes32[] calldata attestedProof,
        SettlementLeaf calldata settled,
        bytes32[] calldata settledProof
    ) external;

    /// @notice Burn the slash rewards of a round that nobody claimed before its rewards expired, rounding dust included.
    /// Anyone may call.
    function expireSlashRewards(uint64 taskId, uint32 round) external;

    /// @notice Pay a verifier its part of the fees and slash rewards of finished rounds. Anyone may call.
    function claimFees(uint64 taskId, uint32[] calldata rounds, address verifier) external;

    // Modules only.

    /// @notice Fix the quorum of a round.
    function openRound(uint64 taskId, uint32 round) external returns (uint32 verifiers, uint32 version);

    /// @notice Fix the fee pot of a settled round. @return agreeingWeight stake that shares it; 0: nobody agreed
    function fixFees(uint64 taskId, uint32 round, bytes32 verdictsDigest, uint96 fee)
        external
        returns (uint96 agreeingWeight);

    /// @notice The slash of a rejected trainer credited this contract with `amount` for the verifiers of a round.
    function addSlashRewards(uint64 taskId, uint32 round, uint96 amount) external;

    /// @notice Strike a verifier's revealed attestation from the fees of the settlement that stands in the current round. Does
    /// nothing if there is none or it was struck before.
    function disqualify(uint64 taskId, uint32 round, address verifier) external;

    /// @notice Slash a verifier's locked stake once per round for a proven fault.
    /// @return reward what the prover was credited
    function punish(uint64 taskId, uint32 round, address verifier, address prover) external returns (uint96 reward);

    // Views.

    /// @notice Check a quorum's signature over `message`. Reverts unless it holds.
    /// @return signedWeight stake of the signers
    function checkQuorum(uint64 taskId, uint32 round, uint16 quorumBps, bytes32 message, QuorumProof calldata proof)
        external
        view
        returns (uint96 signedWeight);

    function enrolmentOf(uint64 taskId, address verifier) external view returns (Enrolment memory);
    function progressOf(uint64 taskId) external view returns (Progress memory);
    function verifierCount(uint64 taskId) external view returns (uint256);
    /// @notice Verifiers who ever enrolled, in order of enrolment, `limit` of them from `offset` on.
    function verifiersOf(uint64 taskId, uint256 offset, uint256 limit)
        external
        view
        returns (address[] memory verifiers, Enrolment[] memory enrolments);
    /// @notice Whether the verifier belongs to the quorum of a round (current or last).
    function inQuorum(uint64 taskId, uint32 round, address verifier) external view returns (bool);
    function versionOf(uint64 taskId) external view returns (uint32);
    function checkpointOf(uint64 taskId, uint32 version) external view returns (Checkpoint memory);
    /// @notice The set that forms the quorum of a round.
    function quorumOf(uint64 taskId, uint32 round) external view returns (Checkpoint memory);
    function attestationOf(uint64 taskId, uint32 round, address verifier) external view returns (Attestation memory);
    /// @notice Stake whose revealed attestations of the round carry this verdicts digest.
    function agreeingWeight(uint64 taskId, uint32 round, bytes32 verdictsDigest) external view returns (uint96);
    function feePotOf(uint64 taskId, uint32 round) external view returns (FeePot memory);
    /// @notice What `claimFees` would pay now.
    function claimableFees(uint64 taskId, uint32 round, address verifier)
        external
        view
        returns (uint96 fee, uint96 slashReward);
    function attestationHash(
        uint64 taskId,
        uint32 round,
        address verifier,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest,
        bytes32 salt
    ) external view returns (bytes32);
    /// @notice Where `message` lands in G1 in the settlement domain.
    function hashToPoint(bytes32 message) external view returns (G1Point memory);
}
