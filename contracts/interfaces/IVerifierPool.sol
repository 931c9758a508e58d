// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {G1Point, QuorumProof, ScorePair} from "./Types.sol";

/// @title The verifiers of every task: enrolment, quorum, attestations, fees
interface IVerifierPool {
    /// @param index position in the task's list of verifiers, from 1; 0: never enrolled
    /// @param activeFrom first round they belong to the quorum of, 0 before their stake is active
    /// @param activeUntil last round they belong to the quorum of
    /// @param stake what the registry holds locked for this task, stake token
    /// @param weight what counts in the quorum, stake token: the stake when it became active
    /// @param priorFrom first round of a time in the quorum before the verifier stopped and came back, 0 without one
    /// @param priorUntil last round of that time
    /// @param activeAt when the stake may join the quorum (`activate`), seconds since the epoch; 0: not enrolled
    /// @param misses rounds in a row without an attestation
    struct Enrolment {
        uint32 index;
        uint32 activeFrom;
        uint32 activeUntil;
        uint96 stake;
        uint96 weight;
        uint32 priorFrom;
        uint32 priorUntil;
        uint64 activeAt;
        uint8 misses;
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
    /// @param attested weight of those who revealed an attestation, stake token
    struct Progress {
        uint32 round;
        uint32 expected;
        uint32 committed;
        uint32 revealed;
        uint32 version;
        uint96 attested;
    }

    /// @notice `Absent`: charged for a round without attestation. `Excluded`: punished for what it signed, earns nothing.
    enum AttestationState {
        None,
        Committed,
        Revealed,
        Absent,
        Excluded
    }

    /// @param state how far it came
    /// @param struckAttempt settlement attempt of the round (from 1) for which it was struck from the fees, 0 for none
    /// @param weight the verifier's stake at the commitment, stake token
    /// @param digest the sealed commitment, after the reveal the verdicts digest
    /// @param scoresRoot ordered tree over the `ScoreLeaf`s
    struct Attestation {
        AttestationState state;
        uint8 struckAttempt;
        uint96 weight;
        bytes32 digest;
        bytes32 scoresRoot;
    }

    /// @notice A verifier enrolled; its stake (the stake token's smallest unit) counts from a Unix time in seconds
    /// on.
    /// @param activeAt when the stake may join the quorum, seconds since the epoch
    event VerifierEnrolled(
        uint64 indexed taskId, address indexed verifier, uint32 index, uint96 stake, uint64 activeAt
    );
    /// @notice A verifier's stake counts as weight (the stake token's smallest unit) from a round on.
    /// @param activeFrom first round that the stake weighs in
    event VerifierActivated(uint64 indexed taskId, address indexed verifier, uint32 activeFrom, uint96 weight);
    /// @notice A verifier takes no part after a round.
    /// @param activeUntil last round that the stake weighs in
    event VerifierStopped(uint64 indexed taskId, address indexed verifier, uint32 activeUntil);
    /// @notice A verifier left and its stake is free, in the stake token's smallest unit.
    event VerifierReleased(uint64 indexed taskId, address indexed verifier, uint96 stake);
    /// @notice The next quorum changed; its weight is in the stake token's smallest unit.
    /// @param key sum of the members' keys
    /// @param weight sum of their stakes, stake token
    event VerifierSetChanged(uint64 indexed taskId, uint32 indexed version, G1Point key, uint96 weight, uint32 members);
    /// @notice A verifier paid for an attestation that did not come, in the stake token's smallest unit.
    /// @param misses rounds in a row without attestation, this one included
    /// @param amount what it lost, stake token
    event AbsenceCharged(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, uint8 misses, uint96 amount
    );
    /// @notice A verifier sealed what it found.
    event AttestationCommitted(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, bytes32 commitment
    );
    /// @notice A verifier showed what it found.
    event AttestationRevealed(
        uint64 indexed taskId,
        uint32 indexed round,
        address indexed verifier,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest
    );
    /// @notice The verifier has no part in the fees of the settlement that stands.
    event AttestationDisqualified(uint64 indexed taskId, uint32 indexed round, address indexed verifier);
    /// @notice A verifier lost stake for a round, in the stake token's smallest unit.
    /// @param amount stake token
    event VerifierSlashed(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, uint96 amount, address prover
    );

    /// @notice Only another contract of the deployment may call this.
    error NotModule(address caller);
    /// @notice The account is enrolled.
    error AlreadyEnrolled(uint64 taskId, address verifier);
    /// @notice The account is not enrolled, or has left.
    error NotEnrolled(uint64 taskId, address verifier);
    /// @notice The task asks for more stake, in the stake token's smallest unit.
    error StakeTooLow(uint96 stake, uint96 minimum);
    /// @notice The verifier is not in the round's quorum.
    error NotInQuorum(uint64 taskId, uint32 round, address verifier);
    /// @notice The verifier's stake counts from this Unix time in seconds on.
    /// @param activeAt when the stake may join, seconds since the epoch
    error NotActiveYet(uint64 taskId, address verifier, uint64 activeAt);
    /// @notice The next quorum has as many members as a settlement can name in one transaction.
    error QuorumIsFull(uint64 taskId);
    /// @notice The quorum has room, or the account is no member of it with less weight and at most the mean.
    error NotWeaker(uint64 taskId, address verifier);
    /// @notice The verifier is no stopped member whose last round is over.
    error NotStopped(uint64 taskId, address verifier);
    /// @notice The verifier attested, or the round had no time to attest in that is over, or is past punishment.
    error NotAbsent(uint64 taskId, uint32 round, address verifier);
    /// @notice The signers' keys cancel out, so that no signature would be needed.
    error EmptyKey();
    /// @notice Non-signers stand in ascending order of their addresses.
    error NonSignersNotSorted(address previous, address next);
    /// @notice Too little weight signed, in the stake token's smallest unit.
    error QuorumNotReached(uint96 signed, uint96 total, uint16 quorumBps);
    /// @notice The signature is not that of everybody but the non-signers.
    error InvalidQuorumSignature(bytes32 message);
    /// @notice The verifier committed in this round before.
    error AlreadyCommitted(uint64 taskId, uint32 round, address verifier);
    /// @notice The verifier has no sealed attestation in this round.
    error NotCommitted(uint64 taskId, uint32 round, address verifier);
    /// @notice The attestation shown is not what was committed.
    error CommitmentMismatch(bytes32 committed, bytes32 revealed);
    /// @notice The verifier revealed no attestation in this round.
    error NotRevealed(uint64 taskId, uint32 round, address verifier);
    /// @notice The leaf has no place under the root.
    error InvalidProof(bytes32 root, bytes32 leaf);
    /// @notice The two leaves are of different trainers, or agree within the task's tolerance.
    error NoContradiction(address trainer);
    /// @notice The stake vouches for a round until this Unix time in seconds; 2^64-1: for the running one.
    error StillBound(uint64 taskId, address verifier, uint64 until);
    /// @notice The verifier was slashed for this round before.
    error AlreadyPenalised(uint64 taskId, uint32 round, address verifier);
    /// @notice The verifier's stake for this task is gone.
    error NothingAtStake(uint64 taskId, address verifier);

    /// @notice A verifier takes a seat by its own call alone.
    error NotTheVerifier(address verifier);

    // Verifiers.

    /// @notice Lock `stake`, which becomes the voting weight: after the task's `activation` seconds `activate` brings it
    /// into the quorum of the next round (at once where that time is 0). Needs a key.
    function enrol(uint64 taskId, uint96 stake) external;

    /// @notice Bring a verifier whose stake has waited into the quorum from the next round on. For itself alone.
    function activate(uint64 taskId, address verifier) external;

    /// @notice The same where the quorum is full: a member with less weight, and at most the mean of all, leaves for it.
    function replace(uint64 taskId, address verifier, address weaker) external;

    /// @notice Come back after being stopped by an absence, a slash or a resignation; waits like newly locked stake.
    /// @param added stake to lock on top of what is left, stake token
    function rejoin(uint64 taskId, uint96 added) external;

    /// @notice Charge a verifier of a round's quorum for not attesting in it. Anyone may call; the caller gets the prover's
    /// part. It is out of the next quorum if more than half of the round's weight attested; else it keeps its seat, and the
    /// miss does not count as one in a row.
    function chargeAbsence(uint64 taskId, uint32 round, address verifier) external;

    /// @notice Take no part in later rounds.
    function resign(uint64 taskId) external;

    /// @notice Unlock the stake of a verifier who left, `slash` seconds after its last round. Anyone may call; for stake that
    /// waits for its seat, its owner alone.
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
    function contestAttestation(uint64 taskId, ScorePair calldata pair) external;

    // Modules only.

    /// @notice Fix the quorum of a round.
    function openRound(uint64 taskId, uint32 round) external returns (uint32 verifiers, uint32 version);

    /// @notice Compare a verifier's attested score with that of the settlement that stands, and strike it if they contradict.
    /// @return struck whether they contradict
    function compareScore(uint64 taskId, uint32 round, ScorePair calldata pair) external returns (bool struck);

    /// @notice Strike a verifier's revealed attestation from the fees of the settlement that stands. Does nothing if it was
    /// struck before.
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

    /// @notice A verifier's enrolment; its stake is in the stake token's smallest unit.
    function enrolmentOf(uint64 taskId, address verifier) external view returns (Enrolment memory);
    /// @notice How far the running round is.
    function progressOf(uint64 taskId) external view returns (Progress memory);
    /// @notice How many verifiers ever enrolled in the task.
    function verifierCount(uint64 taskId) external view returns (uint256);
    /// @notice Verifiers who ever enrolled, in order of enrolment, `limit` of them from `offset` on.
    function verifiersOf(uint64 taskId, uint256 offset, uint256 limit)
        external
        view
        returns (address[] memory verifiers, Enrolment[] memory enrolments);
    /// @notice Whether the verifier belongs to the quorum of a round (current or last).
    function inQuorum(uint64 taskId, uint32 round, address verifier) external view returns (bool);
    /// @notice The newest version of the task's quorum.
    function versionOf(uint64 taskId) external view returns (uint32);
    /// @notice A version of the task's quorum: the sum of its keys and weights.
    function checkpointOf(uint64 taskId, uint32 version) external view returns (Checkpoint memory);
    /// @notice The set that forms the quorum of a round.
    function quorumOf(uint64 taskId, uint32 round) external view returns (Checkpoint memory);
    /// @notice A verifier's attestation of a round.
    function attestationOf(uint64 taskId, uint32 round, address verifier) external view returns (Attestation memory);
    /// @notice Stake whose revealed attestations of the round carry this verdicts digest, less what was struck or excluded.
    function agreeingWeight(uint64 taskId, uint32 round, bytes32 verdictsDigest) external view returns (uint96);
    /// @notice What a verifier commits to.
    function attestationHash(
        uint64 taskId,
        uint32 round,
        address verifier,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest,
        bytes32 salt
    ) external view returns (bytes32);
}
