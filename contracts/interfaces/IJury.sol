// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Votes on what no contract can decide: whether a posted settlement is right
/// @notice One case per settlement. Jurors are the verifiers of the whole registry, by the stake that they held when the
/// case was opened and `activationSeconds` before. Level 0 draws a part of that stake, every appeal draws twice as much for
/// twice the bond, and the last level asks everybody. A settlement falls if more than half of the drawn stake, and more
/// stake than signed it, votes against it; silence upholds. Only the last level makes anybody slashable.
interface IJury {
    /// @param bond of whoever opens a case, stake token; doubles with every appeal
    /// @param seats parts that level 0 divides the drawn stake into, at least 3
    /// @param jurorBps of a lost bond, to the jurors who voted with the outcome; the rest is burned; at most 9,000
    /// @param absenceBps of a juror's drawn stake, lost for not showing a vote at a level where more than half of the drawn stake
    /// spoke
    /// @param wrongVoteBps of a juror's stake, lost for a vote at the last level against more than half of everybody's
    /// @param voteSeconds time to seal votes, and again to show them
    /// @param appealSeconds time to appeal against the outcome of a level
    /// @param activationSeconds how long stake has to lie before it has a vote
    struct JuryParams {
        uint96 bond;
        uint16 seats;
        uint16 jurorBps;
        uint16 absenceBps;
        uint16 wrongVoteBps;
        uint32 voteSeconds;
        uint32 appealSeconds;
        uint32 activationSeconds;
    }

    /// @notice `Closed`: decided. `Moot`: its settlement fell otherwise, by a proof or because nobody showed a leaf.
    enum CasePhase {
        None,
        Draw,
        Seal,
        Show,
        Appeal,
        Closed,
        Moot
    }

    enum Ballot {
        None,
        Sealed,
        Uphold,
        Overturn,
        Settled
    }

    /// @param level votes that were held before, less one; from 0
    /// @param overturned outcome of the last level that was decided
    /// @param deadline end of the phase, seconds since the epoch; 0 while a seed is awaited
    /// @param openedAt when the case was opened, which fixes the electorate, seconds since the epoch
    /// @param electorate all stake with a vote, stake token
    /// @param quorumWeight stake that signed the settlement, stake token
    /// @param settlement digest of the settlement in dispute
    struct Case {
        CasePhase phase;
        uint8 level;
        bool overturned;
        uint64 taskId;
        uint32 round;
        uint64 deadline;
        uint64 openedAt;
        uint96 electorate;
        uint96 quorumWeight;
        bytes32 settlement;
    }

    /// @param appellant who posted the bond
    /// @param overturns whether it asks for the settlement to fall
    /// @param unit stake that one vote stands for, stake token; 1 at the last level
    /// @param upholding votes shown for the settlement
    /// @param overturning votes shown against it
    /// @param seedRequest beacon request that draws the seats
    struct Level {
        address appellant;
        bool overturns;
        uint96 unit;
        uint96 sealed_;
        uint96 upholding;
        uint96 overturning;
        uint256 seedRequest;
        bytes32 seed;
    }

    /// @param votes of the juror at that level
    struct Vote {
        Ballot ballot;
        uint96 votes;
        bytes32 commitment;
    }

    /// @notice A settlement is before a jury.
    /// @param evidence SHA-256 of what the artifact store holds about it
    event CaseOpened(
        uint256 indexed caseId,
        uint64 indexed taskId,
        uint32 indexed round,
        address challenger,
        bytes32 settlement,
        bytes32 evidence
    );
    /// @notice A level's seats were drawn; a seat stands for `unit` of weight, in the stake token's smallest unit.
    /// @param unit stake that one vote stands for
    event SeatsDrawn(uint256 indexed caseId, uint8 indexed level, bytes32 seed, uint96 unit);
    /// @notice A level's phase began and ends at `deadline`, Unix time in seconds.
    event CasePhaseStarted(uint256 indexed caseId, uint8 indexed level, CasePhase phase, uint64 deadline);
    /// @notice A vote was sealed; its weight is in the stake token's smallest unit.
    event VoteSealed(uint256 indexed caseId, uint8 indexed level, address indexed juror, uint96 votes);
    /// @notice A sealed vote was shown; its weight is in the stake token's smallest unit.
    event VoteShown(uint256 indexed caseId, uint8 indexed level, address indexed juror, bool overturn, uint96 votes);
    /// @notice A level decided; what stands for and against is weight in the stake token's smallest unit.
    event LevelDecided(
        uint256 indexed caseId, uint8 indexed level, bool overturned, uint96 upholding, uint96 overturning
    );
    /// @notice The case goes to the next level, at twice the seats and bond.
    event Appealed(uint256 indexed caseId, uint8 indexed level, address indexed appellant, bytes32 evidence);
    /// @notice The case is decided for good.
    event CaseClosed(uint256 indexed caseId, bool overturned, uint8 level);
    /// @notice The case is moot: its settlement fell otherwise. Bonds go back, and nobody is paid or fined.
    event CaseDropped(uint256 indexed caseId, uint8 level);
    /// @notice A vote was paid or fined, in the stake token's smallest unit.
    /// @param fine stake token, what the juror lost
    /// @param pay stake token, its part of the lost bonds
    event VoteSettled(uint256 indexed caseId, uint8 indexed level, address indexed juror, uint96 fine, uint96 pay);
    /// @notice Pay that no juror earned was burned, in the stake token's smallest unit.
    /// @param amount stake token
    event JurorPayBurned(uint256 indexed caseId, uint96 amount);

    /// @notice A parameter of the deployment is out of range.
    error InvalidJuryParameter(bytes32 field, uint256 value);
    /// @notice The round has no settlement that a case could be about now.
    error CasesNotAccepted(uint64 taskId, uint32 round);
    /// @notice Another settlement is posted than the one in question.
    error OtherSettlement(bytes32 posted);
    /// @notice Another level was held last than the one that is appealed against.
    error OtherLevel(uint8 level);
    /// @notice The settlement is before a jury already.
    error CaseAlreadyOpen(uint256 caseId);
    /// @notice No stake is old enough to vote.
    error NoElectorate();
    /// @notice The case is in another phase.
    error WrongCasePhase(uint256 caseId, CasePhase current);
    /// @notice The level ends at this Unix time in seconds.
    error StillOpen(uint64 deadline);
    /// @notice The level ended at this Unix time in seconds.
    error TooLate(uint64 deadline);
    /// @notice Every stake has voted: there is nobody to appeal to.
    error LastLevel(uint256 caseId);
    /// @notice The account has no seat at this level, or signed the settlement.
    error NoSeat(uint256 caseId, address account);
    /// @notice The voter sealed a vote at this level before.
    error AlreadyVoted(uint256 caseId, address account);
    /// @notice The vote shown is not the one that was sealed.
    error VoteMismatch(bytes32 committed, bytes32 shown);
    /// @notice The vote is settled, or there was none.
    error NothingToSettle(uint256 caseId, uint8 level, address account);

    /// @notice Ask whether the posted settlement is right. During its dispute window; the round waits for the outcome.
    /// @param settlement digest of the settlement in question, which has to be the posted one
    /// @param evidence SHA-256 of the evidence in the artifact store
    function openCase(uint64 taskId, bytes32 settlement, bytes32 evidence) external returns (uint256 caseId);

    /// @notice Draw the seats once the beacon has decided; returns false before that. Anyone may call.
    function drawSeats(uint256 caseId) external returns (bool drawn);

    /// @notice Seal a vote. It needs no free stake, and locks none.
    /// @param commitment `voteHash(caseId, level, caller, overturn, salt)`
    /// @param nonSigners the list that was posted with the settlement; only looked at for members of its quorum
    function sealVote(uint256 caseId, bytes32 commitment, address[] calldata nonSigners) external;

    /// @notice Show a sealed vote, in the level's second phase.
    function showVote(uint256 caseId, bool overturn, bytes32 salt) external;

    /// @notice Ask twice the stake about the outcome of a level, whichever it was. Anyone may, for twice the bond.
    /// @param level whose outcome is appealed against, which has to be the last one held
    function appeal(uint256 caseId, uint8 level, bytes32 evidence) external;

    /// @notice Move on from a phase that is over, or close the case; at any time if its settlement fell otherwise. Anyone may
    /// call.
    function advanceCase(uint256 caseId) external;

    /// @notice After the case: pay or fine a juror for one level. Anyone may call. Fines come from verifier stake that no task
    /// holds, also what is on its way out, and are at most what there is of it. Who did not vote is fined for as long after the
    /// case as the task's stakes stay slashable.
    /// @param nonSigners the list that was posted with the settlement; only looked at for members of its quorum
    function settleVote(uint256 caseId, uint8 level, address juror, address[] calldata nonSigners) external;

    /// @notice Burn what jurors have not collected 30 days after the case. Anyone may call.
    function burnJurorPay(uint256 caseId) external;

    /// @notice What the deployment fixed; amounts in the stake token's smallest unit, times in seconds.
    function params() external view returns (JuryParams memory);
    /// @notice How many cases were opened; the last one's number.
    function caseCount() external view returns (uint256);
    /// @notice A case by its number.
    function caseOf(uint256 caseId) external view returns (Case memory);
    /// @notice A level of a case.
    function levelOf(uint256 caseId, uint8 level) external view returns (Level memory);
    /// @notice A vote by case, level and voter.
    function voteOf(uint256 caseId, uint8 level, address juror) external view returns (Vote memory);
    /// @notice Votes that the account has at a level whose seats are drawn, its part in the settlement aside.
    function seatsOf(uint256 caseId, uint8 level, address account) external view returns (uint96);
    /// @notice What a voter seals.
    function voteHash(uint256 caseId, uint8 level, address juror, bool overturn, bytes32 salt)
        external
        view
        returns (bytes32);
    /// @notice Longest time that a case can keep a round from ending, seconds, beacon delays aside.
    function maxCaseSeconds() external view returns (uint64);
}
