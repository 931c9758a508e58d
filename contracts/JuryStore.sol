// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {IJury} from "./interfaces/IJury.sol";
import {Commitments} from "./libraries/Commitments.sol";

/// @title What is stored of cases, the electorate, and the views
abstract contract JuryStore is IJury, ModuleSet {
    uint256 internal constant BPS = 10_000;
    /// @dev Levels 0 to 3; the last one asks everybody.
    uint8 internal constant LAST_LEVEL = 3;

    JuryParams internal _params;
    /// @inheritdoc IJury
    uint256 public caseCount;
    mapping(uint256 caseId => Case) internal _cases;
    mapping(uint256 caseId => mapping(uint8 level => Level)) internal _levels;
    mapping(uint256 caseId => mapping(uint8 level => mapping(address juror => Vote))) internal _votes;
    mapping(bytes32 settlementDigest => uint256 caseId) internal _caseOn;
    /// @dev Hash of the settlement's list of non-signers, zero if everyone signed.
    mapping(uint256 caseId => bytes32) internal _nonSignersHash;
    /// @dev For the jurors who voted with the outcome at the last level held, and what of it was paid, stake token.
    mapping(uint256 caseId => uint96) internal _pot;
    mapping(uint256 caseId => uint96) internal _paid;

    constructor(JuryParams memory p) {
        bool test = block.chainid == 31_337 || block.chainid == 1_337;
        _within("bond", p.bond, 1, type(uint88).max);
        _within("seats", p.seats, 3, 1_000);
        _within("jurorBps", p.jurorBps, 0, 9_000);
        _within("absenceBps", p.absenceBps, 0, 1_000);
        _within("wrongVoteBps", p.wrongVoteBps, p.absenceBps, BPS);
        _within("voteSeconds", p.voteSeconds, test ? 1 : 6 hours, 30 days);
        _within("appealSeconds", p.appealSeconds, test ? 1 : 6 hours, 30 days);
        _within("activationSeconds", p.activationSeconds, test ? 1 : 1 days, 90 days);
        _params = p;
        // INVARIANT: stake cannot leave faster than a case ends.
        _within("unbondingSeconds", REGISTRY.unbondingSeconds(), maxCaseSeconds(), type(uint64).max);
    }

    /// @inheritdoc IJury
    function params() external view returns (JuryParams memory) {
        return _params;
    }

    /// @inheritdoc IJury
    function caseOf(uint256 caseId) external view returns (Case memory) {
        return _cases[caseId];
    }

    /// @inheritdoc IJury
    function levelOf(uint256 caseId, uint8 level) external view returns (Level memory) {
        return _levels[caseId][level];
    }

    /// @inheritdoc IJury
    function voteOf(uint256 caseId, uint8 level, address juror) external view returns (Vote memory) {
        return _votes[caseId][level][juror];
    }

    /// @inheritdoc IJury
    function voteHash(uint256 caseId, uint8 level, address juror, bool overturn, bytes32 salt)
        public
        view
        returns (bytes32)
    {
        return Commitments.vote(address(this), caseId, level, juror, overturn, salt);
    }

    /// @inheritdoc IJury
    function maxCaseSeconds() public view returns (uint64) {
        return (LAST_LEVEL + 1) * (2 * uint64(_params.voteSeconds) + _params.appealSeconds);
    }

    /// @inheritdoc IJury
    function seatsOf(uint256 caseId, uint8 level, address account) public view returns (uint96) {
        Level storage drawn = _levels[caseId][level];
        if (drawn.unit == 0 || drawn.seed == 0) return 0;
        uint96 weight = _weightOf(account, _cases[caseId].openedAt);
        if (drawn.unit == 1) return weight;
        // Votes in proportion to stake, rounded at random: the expected number does not change by splitting stake over
        // identities, and nobody's coming or going after the request moves a seat.
        uint256 lot = uint256(keccak256(abi.encode(drawn.seed, account))) % drawn.unit;
        return uint96((uint256(weight) + lot) / drawn.unit);
    }

    /// @dev Attack: stake that comes for one vote. What counts is the lesser of the stake just before the case was opened and
    /// the stake `activationSeconds` earlier.
    function _weightOf(address account, uint64 openedAt) internal view returns (uint96) {
        uint96 recent = REGISTRY.verifierStakeAt(account, openedAt - 1);
        uint96 earlier = REGISTRY.verifierStakeAt(account, openedAt - 1 - _params.activationSeconds);
        return recent < earlier ? recent : earlier;
    }

    function _electorateAt(uint64 openedAt) internal view returns (uint96) {
        uint96 recent = REGISTRY.totalVerifierStakeAt(openedAt - 1);
        uint96 earlier = REGISTRY.totalVerifierStakeAt(openedAt - 1 - _params.activationSeconds);
        return recent < earlier ? recent : earlier;
    }

    /// @dev What `votes` at a level put at risk under a rate, stake token.
    function _part(uint96 votes, uint96 unit, uint16 bps) internal pure returns (uint96) {
        return uint96(uint256(votes) * unit * bps / BPS);
    }

    /// @dev Attack: who signed a settlement judges it. Members of the quorum vote only if they are on the list of those who
    /// did not sign.
    function _isParty(uint256 caseId, address account, address[] calldata nonSigners) internal view returns (bool) {
        Case storage case_ = _cases[caseId];
        if (!VERIFIERS.inQuorum(case_.taskId, case_.round, account)) return false;
        bytes32 listHash = nonSigners.length == 0 ? bytes32(0) : keccak256(abi.encode(nonSigners));
        if (listHash != _nonSignersHash[caseId]) return true;
        for (uint256 i = 0; i < nonSigners.length; ++i) {
            if (nonSigners[i] == account) return false;
        }
        return true;
    }

    function _bond(uint8 level) internal view returns (uint96) {
        return _params.bond << level;
    }

    function _inPhase(uint256 caseId, CasePhase required) internal view returns (Case storage case_) {
        case_ = _cases[caseId];
        require(case_.phase == required, WrongCasePhase(caseId, case_.phase));
    }

    function _inOpenPhase(uint256 caseId, CasePhase required) internal view returns (Case storage case_) {
        case_ = _inPhase(caseId, required);
        require(block.timestamp < case_.deadline, TooLate(case_.deadline));
    }

    function _within(bytes32 field, uint256 value, uint256 low, uint256 high) private pure {
        require(value >= low && value <= high, InvalidJuryParameter(field, value));
    }
}
