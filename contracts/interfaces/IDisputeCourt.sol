// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    CommitmentRef,
    Component,
    G1Point,
    RevealData,
    ScoreLeaf,
    ScorePair,
    Settlement,
    SettlementLeaf
} from "./Types.sol";

/// @title Demands that need an answer, and verifiers' faults
/// @notice Demands: show an opening, a score, a settlement's leaf. Bonds come from the challenger's `Challenger` stake. What
/// a contract can decide at once is in `IFaultProver` and `ISettlementProver`, what it cannot decide in `IJury`.
interface IDisputeCourt {
    /// @param demandBond bond of a demand, stake token
    /// @param winnerBps of the bond of a needless demand, to the respondent; the rest is burned; at most 9,000
    /// @param answerSeconds time to answer a demand; a day at least, except on test chains
    struct CourtParams {
        uint96 demandBond;
        uint16 winnerBps;
        uint32 answerSeconds;
    }

    enum DemandKind {
        None,
        Opening,
        Score,
        Leaf
    }

    /// @param kind what is asked for
    /// @param taskId task of the round in dispute
    /// @param round round in dispute
    /// @param respondent who has to answer: a trainer (opening), a verifier (score), nobody in particular (leaf)
    /// @param challenger who asked and posted the bond
    /// @param deadline end of the time to answer, seconds since the epoch
    /// @param subject trainer whose score or leaf is asked for
    /// @param step record that is asked for (opening demands)
    /// @param component vector that is asked for (opening demands)
    /// @param chunk index of its 1 KiB chunk (opening demands)
    /// @param held whether the respondent's claim waits for the answer (opening demands)
    /// @param closed whether it was answered or timed out
    /// @param root what the answer must lie under: a transcript (opening), or the digest of the settlement (leaf)
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
        bool held;
        bool closed;
        bytes32 root;
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

    /// @notice Something was demanded; the demand's bond is in the stake token's smallest unit, its deadline a Unix
    /// time in seconds.
    event DemandOpened(uint256 indexed demandId, uint64 indexed taskId, uint32 indexed round, Demand demand);
    /// @notice The demanded opening was shown.
    event OpeningAnswered(uint256 indexed demandId, ChunkOpening opening);
    /// @notice The demanded score was shown, in nano-nats.
    /// @param struck whether the answer contradicts the settlement, so that the verifier earns no fee
    event ScoreAnswered(uint256 indexed demandId, ScoreLeaf leaf, bool struck);
    /// @notice The demanded leaf of a settlement was shown; its payout is in the reward token's smallest unit, its
    /// score in nano-nats.
    event LeafAnswered(uint256 indexed demandId, SettlementLeaf leaf);
    /// @notice No answer came in time.
    /// @param respondent who had to answer; zero: nobody in particular
    event DemandUnanswered(uint256 indexed demandId, address respondent);
    /// @notice A verifier signed two settlements of one attempt that give different verdicts.
    /// @param attempt settlements of the round that were voided before both
    /// @param first digest that the verifier signed
    /// @param second digest with other verdicts that it signed as well
    event EquivocationProven(
        uint64 indexed taskId,
        uint32 indexed round,
        address indexed verifier,
        uint8 attempt,
        bytes32 first,
        bytes32 second
    );
    /// @notice A signer of a wrong settlement lost stake.
    /// @param settlement digest of the voided settlement
    event SignerSlashed(uint64 indexed taskId, uint32 indexed round, address indexed verifier, bytes32 settlement);

    /// @notice A parameter of the deployment is out of range.
    error InvalidCourtParameter(bytes32 field, uint256 value);
    /// @notice The round takes no demands of this kind now.
    error DisputesNotAccepted(uint64 taskId, uint32 round);
    /// @notice Another settlement is posted than the one in question.
    error OtherSettlement(bytes32 posted);
    /// @notice Leaves are demanded in the first half of the dispute window, so that what is shown can still be disputed.
    error DemandTooLate(uint64 taskId, uint32 round);
    /// @notice The work shown is not what the trainer committed to.
    error NotCommittedWork(address trainer);
    /// @notice The verifier revealed no attestation in the round.
    error NotAttested(address verifier);
    /// @notice An index is beyond what there is.
    error OutOfRange(uint256 index, uint256 length);
    /// @notice The same thing is demanded already.
    error DemandAlreadyOpen(uint256 demandId);
    /// @notice No demand has this number.
    error UnknownDemand(uint256 demandId);
    /// @notice The demand was answered or closed before.
    error DemandClosed(uint256 demandId);
    /// @notice The time to answer ended at this Unix time in seconds.
    error AnswerTooLate(uint64 deadline);
    /// @notice The respondent may still answer, until this Unix time in seconds.
    error AnswerStillPossible(uint64 deadline);
    /// @notice The answer is not of the kind that the demand asks for.
    error WrongAnswer(uint256 demandId);
    /// @notice The two settlements give the same verdicts, so signing both is no fault.
    error NoEquivocation();
    /// @notice The signature is not this verifier's.
    error InvalidSignature(address verifier);
    /// @notice The settlement was not voided, or voided by something that its signers could not know.
    error NotCulpable(bytes32 settlement);
    /// @notice The verifier did not sign the settlement.
    error NotASigner(address verifier);

    /// @notice Demand that a trainer shows one chunk of its committed work on chain, from the opening phase on and as long
    /// as the answer is due while the stake is slashable. The trainer's claim on the round waits for the answer; nothing of
    /// anybody else does.
    function demandOpening(
        uint64 taskId,
        uint32 round,
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

    /// @notice Demand that a verifier shows its attested score of one trainer. During the dispute window; the round waits.
    /// @param settlement digest of the settlement in question, which has to be the posted one
    function demandScore(uint64 taskId, bytes32 settlement, address verifier, address trainer)
        external
        returns (uint256 demandId);

    /// @notice Answer with the leaves of the attestation and of the settlement at the trainer's position. If they contradict,
    /// the verifier is struck from the fees and the bond goes back.
    function answerScore(uint256 demandId, ScorePair calldata pair) external;

    /// @notice Demand that somebody shows a trainer's leaf of the posted settlement. In the first half of the dispute window;
    /// the answer is due after `answerSeconds`, or half of what is left of the window if that is less. Without an answer the
    /// settlement is void, and nobody is slashed for it.
    /// @param settlement digest of the settlement in question, which has to be the posted one
    function demandLeaf(uint64 taskId, bytes32 settlement, address trainer) external returns (uint256 demandId);

    /// @notice Answer with the trainer's leaf. Anyone may answer, and gets most of the bond.
    function answerLeaf(uint256 demandId, uint32 index, SettlementLeaf calldata leaf, bytes32[] calldata proof) external;

    /// @notice Close a demand that nobody answered in time.
    function closeDemand(uint256 demandId) external;

    /// @notice Slash a verifier who signed two settlements of one attempt with different verdicts.
    /// @param attempt settlements of the round that were voided before both
    function proveEquivocation(
        uint64 taskId,
        uint32 round,
        uint8 attempt,
        address verifier,
        Settlement calldata first,
        G1Point calldata firstSignature,
        Settlement calldata second,
        G1Point calldata secondSignature
    ) external;

    /// @notice Slash a signer of a settlement that was voided as culpable. The prover's part goes to who proved it.
    /// @param nonSigners the list that was posted with the settlement
    function slashSigner(bytes32 settlementDigest, address verifier, address[] calldata nonSigners) external;

    /// @notice What the deployment fixed; amounts in the stake token's smallest unit, times in seconds.
    function params() external view returns (CourtParams memory);
    /// @notice How many demands were made; the last one's number.
    function demandCount() external view returns (uint256);
    /// @notice A demand by its number.
    function demandOf(uint256 demandId) external view returns (Demand memory);
    /// @notice Openings of the task that the trainer has been asked for and has not shown.
    function openDemandsOn(uint64 taskId, address trainer) external view returns (uint32);
}
