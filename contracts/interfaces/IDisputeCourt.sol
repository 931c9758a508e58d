// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommitmentRef, Component, G1Point, RevealData, ScoreLeaf, Settlement, SettlementLeaf} from "./Types.sol";

/// @title Disputes that need an answer, a vote, or both
/// @notice Demands (show an opening, show a score) and re-votes by a committee drawn from all active verifiers. Bonds
/// come from the challenger's `Challenger` stake. A round is not final while a dispute over it is open. What a contract
/// can decide at once is in `IFaultProver`.
interface IDisputeCourt {
    /// @param demandBond bond of a demand, stake token
    /// @param revoteBond bond of a re-vote, stake token
    /// @param winnerBps of the loser's bond or slash, to the winner; the rest is burned; at most 9,000
    /// @param committeeBps of the loser's bond, to the committee's majority
    /// @param committeeSize members drawn for a re-vote; all active verifiers if there are fewer
    /// @param answerSeconds time to answer a demand
    /// @param voteSeconds time to commit votes, and again to reveal them
    struct CourtParams {
        uint96 demandBond;
        uint96 revoteBond;
        uint16 winnerBps;
        uint16 committeeBps;
        uint8 committeeSize;
        uint32 answerSeconds;
        uint32 voteSeconds;
    }

    enum DemandKind {
        None,
        Opening,
        Score
    }

    /// @param kind what is asked for
    /// @param taskId task of the round in dispute
    /// @param round round in dispute
    /// @param respondent who has to answer: a trainer (opening) or a verifier (score)
    /// @param challenger who asked and posted the bond
    /// @param deadline end of the time to answer, seconds since the epoch
    /// @param subject trainer whose score is asked for (score demands)
    /// @param step record that is asked for (opening demands)
    /// @param component vector that is asked for (opening demands)
    /// @param chunk index of its 1 KiB chunk (opening demands)
    /// @param transcriptRoot what the answer must lie under (opening demands)
    /// @param closed whether it was answered or timed out
    struct Demand {
        DemandKind kind;
        uint64 taskId;
        uint32 round;
        address respondent;
        address challenger;
        uint64 deadline;
        address subject;
        uint32 step;
        Component component;
        uint32 chunk;
        bytes32 transcriptRoot;
        bool closed;
    }

    enum RevotePhase {
        None,
        Draw,
        Commit,
        Reveal,
        Upheld,
        Overturned,
        Undecided
    }

    /// @param phase where the vote stands or how it ended
    /// @param members committee size
    /// @param committed sealed votes
    /// @param upholding revealed votes for the settlement
    /// @param overturning revealed votes against it
    /// @param seedRequest beacon request that draws the committee
    /// @param settlement digest of the settlement in dispute
    struct Revote {
        RevotePhase phase;
        uint64 taskId;
        uint32 round;
        address challenger;
        uint64 deadline;
        uint8 members;
        uint8 committed;
        uint8 upholding;
        uint8 overturning;
        uint256 seedRequest;
        bytes32 settlement;
        bytes32 evidenceDigest;
    }

    /// @notice A record of a transcript with its place in the tree, and one chunk of one of its vectors.
    /// @param record the 112 bytes of the record
    /// @param recordProof siblings of the record in the transcript tree
    /// @param chunkData the 1,024 bytes of the chunk, little-endian float32
    /// @param chunkProof siblings from the chunk to the component's root; two more to the state root unless `Gradient`
    struct ChunkOpening {
        bytes record;
        bytes32[] recordProof;
        bytes chunkData;
        bytes32[] chunkProof;
    }

    event DemandOpened(uint256 indexed demandId, uint64 indexed taskId, uint32 indexed round, Demand demand);
    event OpeningAnswered(uint256 indexed demandId, ChunkOpening opening);
    event ScoreAnswered(uint256 indexed demandId, ScoreLeaf leaf);
    event DemandUnanswered(uint256 indexed demandId, address respondent);
    event RevoteOpened(
        uint256 indexed revoteId,
        uint64 indexed taskId,
        uint32 indexed round,
        address challenger,
        bytes32 settlement,
        bytes32 evidenceDigest
    );
    event CommitteeDrawn(uint256 indexed revoteId, address[] members, uint64 commitDeadline);
    event VoteCommitted(uint256 indexed revoteId, address indexed member, bytes32 commitment);
    event RevotePhaseStarted(uint256 indexed revoteId, RevotePhase phase, uint64 deadline);
    event VoteRevealed(uint256 indexed revoteId, address indexed member, bool overturn);
    event RevoteClosed(uint256 indexed revoteId, RevotePhase result, uint8 upholding, uint8 overturning);
    event CommitteePaid(uint256 indexed revoteId, address indexed member, uint96 amount);
    event EquivocationProven(
        uint64 indexed taskId, uint32 indexed round, address indexed verifier, bytes32 first, bytes32 second
    );
    event SignerSlashed(uint64 indexed taskId, uint32 indexed round, address indexed verifier, bytes32 settlement);

    error InvalidCourtParameter(bytes32 field, uint256 value);
    error DisputesNotAccepted(uint64 taskId, uint32 round);
    error NotCommittedWork(address trainer);
    error NotAttested(address verifier);
    error OutOfRange(uint256 index, uint256 length);
    error DemandAlreadyOpen(uint256 demandId);
    error UnknownDemand(uint256 demandId);
    error DemandClosed(uint256 demandId);
    error AnswerTooLate(uint64 deadline);
    error AnswerStillPossible(uint64 deadline);
    error WrongAnswer(uint256 demandId);
    error RevoteAlreadyOpen(uint256 revoteId);
    error NoCommitteeAvailable();
    error WrongRevotePhase(uint256 revoteId, RevotePhase current);
    error VoteStillOpen(uint64 deadline);
    error VoteClosed(uint64 deadline);
    error NotCommitteeMember(uint256 revoteId, address account);
    error AlreadyVoted(uint256 revoteId, address account);
    error VoteMismatch(bytes32 committed, bytes32 revealed);
    error NotPayable(uint256 revoteId, address account);
    error NoEquivocation();
    error InvalidSignature(address verifier);
    error NotCulpable(bytes32 settlement);
    error NotASigner(address verifier);

    /// @notice Demand that a trainer shows one chunk of its committed work on chain. From the opening phase to the end
    /// of the dispute window; one open demand per trainer.
    function demandOpening(
        uint64 taskId,
        address trainer,
        RevealData calldata data,
        CommitmentRef calldata ref,
        uint32 step,
        Component component,
        uint32 chunk
    ) external returns (uint256 demandId);

    /// @notice Answer with a chunk that lies under the committed transcript root. Anyone may answer; most of the bond
    /// goes to the trainer.
    function answerOpening(uint256 demandId, ChunkOpening calldata opening) external;

    /// @notice Demand that a verifier shows its attested score of one trainer. During the dispute window.
    function demandScore(uint64 taskId, address verifier, address trainer) external returns (uint256 demandId);

    /// @notice Answer with a leaf that lies under the attested scores root.
    function answerScore(uint256 demandId, ScoreLeaf calldata leaf, bytes32[] calldata proof) external;

    /// @notice Close a demand that nobody answered in time: a trainer is slashed, a verifier's attestation disqualified.
    function closeDemand(uint256 demandId) external;

    /// @notice Ask a larger committee whether the posted settlement is right.
    /// @param evidenceDigest SHA-256 of the evidence in the artifact store
    function openRevote(uint64 taskId, bytes32 evidenceDigest) external returns (uint256 revoteId);

    /// @notice Draw the committee once the beacon has decided; returns false before that. Anyone may call.
    function drawCommittee(uint256 revoteId) external returns (bool drawn);

    /// @param commitment `voteHash(revoteId, caller, overturn, salt)`
    function commitVote(uint256 revoteId, bytes32 commitment) external;
    function revealVote(uint256 revoteId, bool overturn, bytes32 salt) external;

    /// @notice Move on from an expired voting phase, or close the vote. Anyone may call.
    function advanceRevote(uint256 revoteId) external;

    /// @notice Pay a member of the majority its part of the loser's bond. Anyone may call.
    function claimCommitteePay(uint256 revoteId, address member) external;

    /// @notice Slash a verifier who signed two settlements of one round with different verdicts.
    function proveEquivocation(
        uint64 taskId,
        uint32 round,
        address verifier,
        Settlement calldata first,
        G1Point calldata firstSignature,
        Settlement calldata second,
        G1Point calldata secondSignature
    ) external;

    /// @notice Slash a signer of a settlement that was voided as culpable.
    /// @param nonSigners the list that was posted with the settlement
    function slashSigner(bytes32 settlementDigest, address verifier, address[] calldata nonSigners) external;

    function params() external view returns (CourtParams memory);
    function demandCount() external view returns (uint256);
    function demandOf(uint256 demandId) external view returns (Demand memory);
    function revoteCount() external view returns (uint256);
    function revoteOf(uint256 revoteId) external view returns (Revote memory);
    function committeeOf(uint256 revoteId) external view returns (address[] memory);
    function voteHash(uint256 revoteId, address member, bool overturn, bytes32 salt) external view returns (bytes32);
    /// @notice Longest time that a dispute can keep a round from ending, seconds, beacon delays aside.
    function maxDisputeSeconds() external view returns (uint64);
}
