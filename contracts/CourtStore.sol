// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {IDisputeCourt} from "./interfaces/IDisputeCourt.sol";
import {Phase} from "./interfaces/Types.sol";
import {Commitments} from "./libraries/Commitments.sol";

/// @title What is stored of disputes, and the views on it
abstract contract CourtStore is IDisputeCourt, ModuleSet {
    uint256 private constant MAX_SHARE_BPS = 9_000;
    uint256 private constant MAX_COMMITTEE = 101;

    enum Ballot {
        NoMember,
        Drawn,
        Sealed,
        Uphold,
        Overturn
    }

    /// @param paid part of the committee's pay that the member already has, stake token
    struct Member {
        Ballot ballot;
        uint96 paid;
        bytes32 commitment;
    }

    CourtParams internal _params;
    /// @inheritdoc IDisputeCourt
    uint256 public demandCount;
    /// @inheritdoc IDisputeCourt
    uint256 public revoteCount;
    mapping(uint256 demandId => Demand) internal _demands;
    mapping(uint64 taskId => mapping(address respondent => uint256 demandId)) internal _openDemandOf;
    mapping(uint256 revoteId => Revote) internal _revotes;
    mapping(bytes32 settlementDigest => uint256 revoteId) internal _revoteOn;
    mapping(bytes32 settlementDigest => uint256 revoteId) internal _overturnedBy;
    mapping(uint256 revoteId => address[]) internal _committees;
    mapping(uint256 revoteId => mapping(address member => Member)) internal _members;
    /// @dev Verifiers in the registry when the re-vote was asked for.
    mapping(uint256 revoteId => uint256) internal _electorate;
    /// @dev Pay per member of the majority, stake token.
    mapping(uint256 revoteId => uint96) internal _payEach;

    constructor(CourtParams memory p) {
        _within("winnerBps", p.winnerBps, 0, MAX_SHARE_BPS);
        _within("committeeBps", p.committeeBps, 0, MAX_SHARE_BPS);
        _within("committeeSize", p.committeeSize, 1, MAX_COMMITTEE);
        _within("answerSeconds", p.answerSeconds, 1, 30 days);
        _within("voteSeconds", p.voteSeconds, 1, 30 days);
        _params = p;
        // INVARIANT: stake cannot leave faster than a dispute ends.
        _within("unbondingSeconds", REGISTRY.unbondingSeconds(), maxDisputeSeconds(), type(uint64).max);
    }

    /// @inheritdoc IDisputeCourt
    function params() external view returns (CourtParams memory) {
        return _params;
    }

    /// @inheritdoc IDisputeCourt
    function demandOf(uint256 demandId) external view returns (Demand memory) {
        return _demands[demandId];
    }

    /// @inheritdoc IDisputeCourt
    function revoteOf(uint256 revoteId) external view returns (Revote memory) {
        return _revotes[revoteId];
    }

    /// @inheritdoc IDisputeCourt
    function committeeOf(uint256 revoteId) external view returns (address[] memory) {
        return _committees[revoteId];
    }

    /// @inheritdoc IDisputeCourt
    function voteHash(uint256 revoteId, address member, bool overturn, bytes32 salt) public view returns (bytes32) {
        return Commitments.vote(address(this), revoteId, member, overturn, salt);
    }

    /// @inheritdoc IDisputeCourt
    function maxDisputeSeconds() public view returns (uint64) {
        uint64 vote = 2 * uint64(_params.voteSeconds);
        return vote > _params.answerSeconds ? vote : _params.answerSeconds;
    }

    /// @dev Disputes are accepted from the opening phase on, `earliest` or later, while the phase lasts.
    function _disputable(uint64 taskId, Phase earliest) internal view returns (uint32 round) {
        Phase phase;
        uint64 deadline;
        (round, phase, deadline) = TASKS.currentPhase(taskId);
        // Attack: keep a round from ending with one dispute after another. Phases that are over accept none.
        require(phase >= earliest && block.timestamp < deadline, DisputesNotAccepted(taskId, round));
    }

    function _within(bytes32 field, uint256 value, uint256 low, uint256 high) private pure {
        require(value >= low && value <= high, InvalidCourtParameter(field, value));
    }
}
