// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JuryStore} from "./JuryStore.sol";
import {ModuleSet} from "./ModuleSet.sol";
import {IJury} from "./interfaces/IJury.sol";
import {Modules, Phase, Role} from "./interfaces/Types.sol";

/// @title Votes on what no contract can decide
/// @notice See `IJury`. Only contracts of this deployment are called, and none of them calls back.
/// @dev INVARIANT: the electorate is fixed before the seed is asked for. INVARIANT: a vote binds no stake; below the last
/// level none takes any but bonds and the small price of absence. INVARIANT: a case about a settlement that fell otherwise
/// takes nobody's stake or bond.
contract Jury is JuryStore {
    /// @dev A case in which less than a quarter of the drawn stake spoke costs its losers a tenth of their bonds.
    uint256 private constant TURNOUT_DIVISOR = 4;
    uint96 private constant SILENT_DIVISOR = 10;
    uint64 private constant COLLECT_SECONDS = 30 days;

    constructor(Modules memory set, JuryParams memory params_) ModuleSet(set, set.jury) JuryStore(params_) {}

    /// @inheritdoc IJury
    // slither-disable-next-line reentrancy-no-eth
    function openCase(uint64 taskId, bytes32 settlement, bytes32 evidence) external returns (uint256 caseId) {
        (uint32 round, Phase phase, uint64 deadline) = TASKS.currentPhase(taskId);
        require(phase == Phase.Window && block.timestamp < deadline, CasesNotAccepted(taskId, round));
        // Attack: let a lie fall and post what is right while the challenge is on its way, and share its bond.
        bytes32 posted = _postedDigest(taskId, round);
        require(posted == settlement, OtherSettlement(posted));
        require(_caseOn[settlement] == 0, CaseAlreadyOpen(_caseOn[settlement]));
        uint64 openedAt = uint64(block.timestamp);
        uint96 electorate = _electorateAt(openedAt);
        require(electorate != 0, NoElectorate());
        caseId = ++caseCount;
        _caseOn[settlement] = caseId;
        _nonSignersHash[caseId] = TASKS.nonSignersHashOf(taskId, round);
        _cases[caseId] = Case({
            phase: CasePhase.Draw,
            level: 0,
            overturned: false,
            taskId: taskId,
            round: round,
            deadline: 0,
            openedAt: openedAt,
            electorate: electorate,
            quorumWeight: TASKS.signedWeightOf(taskId, round),
            settlement: settlement
        });
        emit CaseOpened(caseId, taskId, round, msg.sender, settlement, evidence);
        TASKS.countDispute(taskId, true);
        _beginLevel(caseId, 0, true);
    }

    /// @inheritdoc IJury
    // slither-disable-next-line reentrancy-no-eth
    function drawSeats(uint256 caseId) external returns (bool drawn) {
        Case storage case_ = _inPhase(caseId, CasePhase.Draw);
        uint8 number = case_.level;
        Level storage level = _levels[caseId][number];
        if (!BEACON.fulfil(level.seedRequest)) return false;
        (bytes32 seed,) = BEACON.seedOf(level.seedRequest);
        uint256 seats = uint256(_params.seats) << number;
        uint96 unit = uint96(case_.electorate / seats);
        // A small electorate votes as a whole at once; `unit` 1 says so.
        if (number == LAST_LEVEL || unit == 0) unit = 1;
        (level.seed, level.unit) = (seed, unit);
        emit SeatsDrawn(caseId, number, seed, unit);
        _begin(caseId, case_, CasePhase.Seal, _params.voteSeconds);
        return true;
    }

    /// @inheritdoc IJury
    function sealVote(uint256 caseId, bytes32 commitment, address[] calldata nonSigners) external {
        Case storage case_ = _inOpenPhase(caseId, CasePhase.Seal);
        uint8 number = case_.level;
        Vote storage vote = _votes[caseId][number][msg.sender];
        require(vote.ballot == Ballot.None, AlreadyVoted(caseId, msg.sender));
        uint96 votes = seatsOf(caseId, number, msg.sender);
        require(votes != 0 && !_isParty(caseId, msg.sender, nonSigners), NoSeat(caseId, msg.sender));
        // Attack: bring cases of one's own, whose votes bind the stake of honest jurors where nothing can be taken from it,
        // until they have none left for the case that matters. A vote binds nothing.
        _votes[caseId][number][msg.sender] = Vote(Ballot.Sealed, votes, commitment);
        _levels[caseId][number].sealed_ += votes;
        emit VoteSealed(caseId, number, msg.sender, votes);
    }

    /// @inheritdoc IJury
    function showVote(uint256 caseId, bool overturn, bytes32 salt) external {
        Case storage case_ = _inOpenPhase(caseId, CasePhase.Show);
        uint8 number = case_.level;
        Vote storage vote = _votes[caseId][number][msg.sender];
        require(vote.ballot == Ballot.Sealed, NoSeat(caseId, msg.sender));
        bytes32 shown = voteHash(caseId, number, msg.sender, overturn, salt);
        require(shown == vote.commitment, VoteMismatch(vote.commitment, shown));
        vote.ballot = overturn ? Ballot.Overturn : Ballot.Uphold;
        Level storage level = _levels[caseId][number];
        if (overturn) level.overturning += vote.votes;
        else level.upholding += vote.votes;
        emit VoteShown(caseId, number, msg.sender, overturn, vote.votes);
        if (level.upholding + level.overturning == level.sealed_) _decide(caseId, case_, level);
    }

    /// @inheritdoc IJury
    // slither-disable-next-line reentrancy-no-eth
    function appeal(uint256 caseId, uint8 level, bytes32 evidence) external {
        Case storage case_ = _inOpenPhase(caseId, CasePhase.Appeal);
        // Attack: appeal first, so that somebody else's appeal asks a level later, for the other side.
        require(case_.level == level, OtherLevel(case_.level));
        require(!_isLast(caseId, case_), LastLevel(caseId));
        uint8 number = ++case_.level;
        case_.phase = CasePhase.Draw;
        case_.deadline = 0;
        emit Appealed(caseId, number, msg.sender, evidence);
        _beginLevel(caseId, number, !case_.overturned);
    }

    /// @inheritdoc IJury
    function advanceCase(uint256 caseId) external {
        Case storage case_ = _cases[caseId];
        CasePhase phase = case_.phase;
        bool running = phase != CasePhase.None && phase < CasePhase.Closed;
        if (running && !_stands(case_)) return _conclude(caseId, case_);
        require(running && phase != CasePhase.Draw, WrongCasePhase(caseId, phase));
        require(block.timestamp >= case_.deadline, StillOpen(case_.deadline));
        Level storage level = _levels[caseId][case_.level];
        if (phase == CasePhase.Appeal) {
            _conclude(caseId, case_);
        } else if (phase == CasePhase.Seal && level.sealed_ != 0) {
            _begin(caseId, case_, CasePhase.Show, _params.voteSeconds);
        } else {
            _decide(caseId, case_, level);
        }
    }

    /// @inheritdoc IJury
    function settleVote(uint256 caseId, uint8 number, address juror, address[] calldata nonSigners) external {
        Case storage case_ = _cases[caseId];
        bool moot = case_.phase == CasePhase.Moot;
        require(moot || case_.phase == CasePhase.Closed, WrongCasePhase(caseId, case_.phase));
        Vote memory vote = _votes[caseId][number][juror];
        if (vote.ballot == Ballot.None) vote.votes = _missedBy(caseId, number, juror);
        bool due = number <= case_.level && vote.ballot != Ballot.Settled && vote.votes != 0;
        require(due && !_isParty(caseId, juror, nonSigners), NothingToSettle(caseId, number, juror));
        _votes[caseId][number][juror].ballot = Ballot.Settled;
        bool shown = vote.ballot == Ballot.Uphold || vote.ballot == Ballot.Overturn;
        bool right = shown && (vote.ballot == Ballot.Overturn) == case_.overturned;
        uint96 fine = moot || right ? 0 : _fine(caseId, number, juror, vote.votes, shown);
        uint96 pay = !moot && right && number == case_.level ? _payFor(caseId, case_, vote.votes) : 0;
        emit VoteSettled(caseId, number, juror, fine, pay);
        if (pay != 0) REGISTRY.transferCredit(juror, pay);
    }

    /// @inheritdoc IJury
    function burnJurorPay(uint256 caseId) external {
        Case storage case_ = _inPhase(caseId, CasePhase.Closed);
        require(block.timestamp >= case_.deadline + COLLECT_SECONDS, StillOpen(case_.deadline + COLLECT_SECONDS));
        uint96 rest = _pot[caseId] - _paid[caseId];
        // INVARIANT: with nothing left to share, no later claim on this pot pays.
        (_pot[caseId], _paid[caseId]) = (0, 0);
        emit JurorPayBurned(caseId, rest);
        if (rest != 0) REGISTRY.burnCredit(rest);
    }

    /// @dev Votes that a juror could have cast at a level and did not; none where absence costs nothing.
    function _missedBy(uint256 caseId, uint8 number, address juror) private view returns (uint96) {
        Case storage case_ = _cases[caseId];
        // Attack: charge a signer, who had no seat, when its stake is released and nothing shows any more that it signed.
        if (block.timestamp >= case_.deadline + TERMS.phaseSeconds(case_.taskId).slash) return 0;
        // Attack: a case that nobody can judge, so that everybody pays for silence; friends who vote in it change nothing while
        // they are no majority.
        if (2 * _spokenAt(_levels[caseId][number]) <= case_.electorate) return 0;
        return seatsOf(caseId, number, juror);
    }

    /// @dev For a vote that was not shown, or that everybody's says is wrong, from what no module holds.
    function _fine(uint256 caseId, uint8 number, address juror, uint96 votes, bool shown) private returns (uint96) {
        Case storage case_ = _cases[caseId];
        bool decided = number == case_.level && _isDecided(caseId, case_);
        uint16 rate = !shown ? _params.absenceBps : decided ? _params.wrongVoteBps : 0;
        uint96 fine = _part(votes, _levels[caseId][number].unit, rate);
        return fine == 0 ? 0 : REGISTRY.fine(juror, Role.Verifier, fine);
    }

    function _payFor(uint256 caseId, Case storage case_, uint96 votes) private returns (uint96 pay) {
        Level storage level = _levels[caseId][case_.level];
        pay = uint96(uint256(_pot[caseId]) * votes / (case_.overturned ? level.overturning : level.upholding));
        _paid[caseId] += pay;
    }

    function _beginLevel(uint256 caseId, uint8 number, bool overturns) private {
        Level storage level = _levels[caseId][number];
        level.appellant = msg.sender;
        level.overturns = overturns;
        emit CasePhaseStarted(caseId, number, CasePhase.Draw, 0);
        REGISTRY.lock(msg.sender, Role.Challenger, _bond(number));
        level.seedRequest = BEACON.request();
    }

    function _begin(uint256 caseId, Case storage case_, CasePhase phase, uint32 length) private {
        case_.phase = phase;
        case_.deadline = uint64(block.timestamp) + length;
        emit CasePhaseStarted(caseId, case_.level, phase, case_.deadline);
    }

    /// @dev Attack: cheap identities outvote those who have more at stake. Against a settlement counts only more than half of
    /// all drawn stake, silent and excluded stake included, that is also more than signed. Attack: hide behind the stake of
    /// those in the quorum who did not sign.
    function _decide(uint256 caseId, Case storage case_, Level storage level) private {
        uint256 against = uint256(level.overturning) * level.unit;
        bool overturned = 2 * against > case_.electorate && against > case_.quorumWeight;
        case_.overturned = overturned;
        emit LevelDecided(caseId, case_.level, overturned, level.upholding, level.overturning);
        if (_isLast(caseId, case_)) _conclude(caseId, case_);
        else _begin(caseId, case_, CasePhase.Appeal, _params.appealSeconds);
    }

    /// @dev Attack: let a settlement fall otherwise while a case about it runs, so that nobody finds its leaves and its
    /// challenger loses the bond to those who say that it was right. Such a case is moot.
    function _conclude(uint256 caseId, Case storage case_) private {
        bool overturned = case_.overturned;
        bool moot = !_stands(case_);
        case_.phase = moot ? CasePhase.Moot : CasePhase.Closed;
        case_.deadline = uint64(block.timestamp);
        if (moot) emit CaseDropped(caseId, case_.level);
        else emit CaseClosed(caseId, overturned, case_.level);
        TASKS.countDispute(case_.taskId, false);
        _settleBonds(caseId, case_, moot);
        if (overturned && !moot) {
            TASKS.voidSettlement(case_.taskId, _isLast(caseId, case_), _levels[caseId][0].appellant);
        }
    }

    /// @dev Whoever asked for what came out gets its bond back. The others' pay the jurors who said so, and are burned.
    function _settleBonds(uint256 caseId, Case storage case_, bool moot) private {
        Level storage last = _levels[caseId][case_.level];
        bool outvoted = !case_.overturned && last.upholding <= last.overturning;
        bool silent = outvoted || TURNOUT_DIVISOR * _spokenAt(last) < case_.electorate;
        address payee = _hasMajority(case_, last) ? address(this) : address(0);
        for (uint8 number = 0; number <= case_.level; ++number) {
            Level storage level = _levels[caseId][number];
            uint96 bond = _bond(number);
            uint96 lost = moot || level.overturns == case_.overturned ? 0 : silent ? bond / SILENT_DIVISOR : bond;
            if (lost != 0) {
                _pot[caseId] += REGISTRY.slash(level.appellant, Role.Challenger, lost, payee, _params.jurorBps);
            }
            if (lost != bond) REGISTRY.unlock(level.appellant, Role.Challenger, bond - lost);
        }
    }

    function _spokenAt(Level storage level) private view returns (uint256) {
        return (uint256(level.upholding) + level.overturning) * level.unit;
    }

    /// @dev Whether more than half of the drawn stake stands behind the outcome. Attack: a settlement that stands because most
    /// jurors sleep, and bonds of those who were right that pay the few who were not.
    function _hasMajority(Case storage case_, Level storage last) private view returns (bool) {
        return case_.overturned || 2 * uint256(last.upholding) * last.unit > case_.electorate;
    }

    /// @dev Nobody is slashed by a part of the stake. A vote is wrong only if more than half of everybody's stake said so; a
    /// settlement that stands because too few spoke makes no vote wrong.
    function _isDecided(uint256 caseId, Case storage case_) private view returns (bool) {
        return _isLast(caseId, case_) && _hasMajority(case_, _levels[caseId][case_.level]);
    }

    function _isLast(uint256 caseId, Case storage case_) private view returns (bool) {
        return _levels[caseId][case_.level].unit == 1;
    }

    function _postedDigest(uint64 taskId, uint32 round) private view returns (bytes32) {
        return TASKS.settlementDigest(taskId, round, TASKS.attemptsOf(taskId, round), TASKS.settlementOf(taskId, round));
    }

    /// @dev Whether the settlement in dispute is still the posted one; a proof may have voided it meanwhile.
    function _stands(Case storage case_) private view returns (bool) {
        (uint32 round, Phase phase,) = TASKS.currentPhase(case_.taskId);
        return round == case_.round && phase == Phase.Window && _postedDigest(case_.taskId, round) == case_.settlement;
    }
}
