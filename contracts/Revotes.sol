// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CourtStore} from "./CourtStore.sol";
import {IDisputeCourt} from "./interfaces/IDisputeCourt.sol";
import {Phase, Role} from "./interfaces/Types.sol";

/// @title A larger committee votes on a posted settlement
/// @notice One re-vote per settlement. Members are drawn from every active verifier of the registry by a seed that comes
/// after the request; votes are sealed, then shown. More than half of the committee must show its vote, and more than half
/// of those must want to overturn it; otherwise the settlement stands.
abstract contract Revotes is CourtStore {
    /// @inheritdoc IDisputeCourt
    // Only contracts of this deployment are called, and none of them calls back.
    // slither-disable-next-line reentrancy-no-eth
    function openRevote(uint64 taskId, bytes32 evidenceDigest) external returns (uint256 revoteId) {
        uint32 round = _disputable(taskId, Phase.Window);
        bytes32 settlement = TASKS.settlementDigest(taskId, round, TASKS.settlementOf(taskId, round));
        require(_revoteOn[settlement] == 0, RevoteAlreadyOpen(_revoteOn[settlement]));
        uint256 electorate = REGISTRY.activeVerifierCount();
        require(electorate != 0, NoCommitteeAvailable());
        revoteId = ++revoteCount;
        _revoteOn[settlement] = revoteId;
        _electorate[revoteId] = electorate;
        Revote storage revote = _revotes[revoteId];
        revote.phase = RevotePhase.Draw;
        revote.taskId = taskId;
        revote.round = round;
        revote.challenger = msg.sender;
        revote.settlement = settlement;
        revote.evidenceDigest = evidenceDigest;
        emit RevoteOpened(revoteId, taskId, round, msg.sender, settlement, evidenceDigest);
        REGISTRY.lock(msg.sender, Role.Challenger, _params.revoteBond);
        TASKS.countDispute(taskId, true);
        revote.seedRequest = BEACON.request();
    }

    /// @inheritdoc IDisputeCourt
    // Only contracts of this deployment are called, and none of them calls back.
    // slither-disable-next-line reentrancy-no-eth
    function drawCommittee(uint256 revoteId) external returns (bool drawn) {
        Revote storage revote = _inPhase(revoteId, RevotePhase.Draw);
        if (!BEACON.fulfil(revote.seedRequest)) return false;
        (bytes32 seed,) = BEACON.seedOf(revote.seedRequest);
        // Attack: register identities once the seed is known. Those who came after the request are not in the draw.
        uint256 current = REGISTRY.activeVerifierCount();
        uint256 electorate = _electorate[revoteId];
        if (current < electorate) electorate = current;
        uint256 size = _params.committeeSize < electorate ? _params.committeeSize : electorate;
        address[] memory committee = _draw(seed, electorate, size);
        for (uint256 i = 0; i < size; ++i) {
            _members[revoteId][committee[i]].ballot = Ballot.Drawn;
        }
        _committees[revoteId] = committee;
        revote.members = uint8(size);
        revote.phase = RevotePhase.Commit;
        revote.deadline = uint64(block.timestamp) + _params.voteSeconds;
        emit CommitteeDrawn(revoteId, committee, revote.deadline);
        if (size == 0) _close(revoteId, revote);
        return true;
    }

    /// @inheritdoc IDisputeCourt
    function commitVote(uint256 revoteId, bytes32 commitment) external {
        Revote storage revote = _inOpenPhase(revoteId, RevotePhase.Commit);
        Member storage member = _members[revoteId][msg.sender];
        require(member.ballot != Ballot.NoMember, NotCommitteeMember(revoteId, msg.sender));
        require(member.ballot == Ballot.Drawn, AlreadyVoted(revoteId, msg.sender));
        member.ballot = Ballot.Sealed;
        member.commitment = commitment;
        emit VoteCommitted(revoteId, msg.sender, commitment);
        if (++revote.committed == revote.members) _beginReveal(revoteId, revote);
    }

    /// @inheritdoc IDisputeCourt
    function revealVote(uint256 revoteId, bool overturn, bytes32 salt) external {
        Revote storage revote = _inOpenPhase(revoteId, RevotePhase.Reveal);
        Member storage member = _members[revoteId][msg.sender];
        require(member.ballot == Ballot.Sealed, NotCommitteeMember(revoteId, msg.sender));
        bytes32 revealed = voteHash(revoteId, msg.sender, overturn, salt);
        require(revealed == member.commitment, VoteMismatch(member.commitment, revealed));
        member.ballot = overturn ? Ballot.Overturn : Ballot.Uphold;
        if (overturn) ++revote.overturning;
        else ++revote.upholding;
        emit VoteRevealed(revoteId, msg.sender, overturn);
        if (revote.upholding + revote.overturning == revote.committed) _close(revoteId, revote);
    }

    /// @inheritdoc IDisputeCourt
    function advanceRevote(uint256 revoteId) external {
        Revote storage revote = _revotes[revoteId];
        RevotePhase phase = revote.phase;
        require(phase == RevotePhase.Commit || phase == RevotePhase.Reveal, WrongRevotePhase(revoteId, phase));
        require(block.timestamp >= revote.deadline, VoteStillOpen(revote.deadline));
        if (phase == RevotePhase.Commit && revote.committed != 0) _beginReveal(revoteId, revote);
        else _close(revoteId, revote);
    }

    /// @inheritdoc IDisputeCourt
    function claimCommitteePay(uint256 revoteId, address account) external {
        Member storage member = _members[revoteId][account];
        RevotePhase result = _revotes[revoteId].phase;
        bool inMajority = (result == RevotePhase.Upheld && member.ballot == Ballot.Uphold)
            || (result == RevotePhase.Overturned && member.ballot == Ballot.Overturn);
        uint96 due = inMajority ? _payEach[revoteId] - member.paid : 0;
        require(due != 0, NotPayable(revoteId, account));
        member.paid += due;
        emit CommitteePaid(revoteId, account, due);
        REGISTRY.transferCredit(account, due);
    }

    /// @dev The court was credited with the reward for a slashed signer of an overturned settlement.
    function _shareSlash(uint256 revoteId, uint96 reward) internal {
        uint96 toCommittee = uint96(uint256(reward) * _params.committeeBps / 10_000);
        _payCommittee(revoteId, toCommittee, _revotes[revoteId].overturning);
        if (reward != toCommittee) REGISTRY.transferCredit(_revotes[revoteId].challenger, reward - toCommittee);
    }

    function _close(uint256 revoteId, Revote storage revote) private {
        uint8 upholding = revote.upholding;
        uint8 overturning = revote.overturning;
        uint64 taskId = revote.taskId;
        bool decided = 2 * uint256(upholding + overturning) > revote.members && upholding != overturning;
        RevotePhase result =
            !decided ? RevotePhase.Undecided : upholding > overturning ? RevotePhase.Upheld : RevotePhase.Overturned;
        revote.phase = result;
        TASKS.countDispute(taskId, false);
        if (result == RevotePhase.Upheld) {
            uint96 reward = REGISTRY.slash(
                revote.challenger, Role.Challenger, _params.revoteBond, address(this), _params.committeeBps
            );
            _payCommittee(revoteId, reward, upholding);
        } else {
            REGISTRY.unlock(revote.challenger, Role.Challenger, _params.revoteBond);
        }
        if (result == RevotePhase.Overturned && _stands(revote)) {
            _overturnedBy[revote.settlement] = revoteId;
            TASKS.voidSettlement(taskId, true);
        }
        emit RevoteClosed(revoteId, result, upholding, overturning);
    }

    /// @dev In equal parts; what does not divide is burned, so that nothing stays behind.
    function _payCommittee(uint256 revoteId, uint96 amount, uint8 members) private {
        // The remainder of the division is wanted here.
        // slither-disable-next-line divide-before-multiply
        uint96 each = amount / members;
        _payEach[revoteId] += each;
        uint96 rest = amount - each * members;
        if (rest != 0) REGISTRY.burnCredit(rest);
    }

    /// @dev Whether the settlement in dispute is still the posted one; a fault proof may have voided it meanwhile.
    function _stands(Revote storage revote) private view returns (bool) {
        (, Phase phase,) = TASKS.currentPhase(revote.taskId);
        if (phase != Phase.Window) return false;
        bytes32 posted =
            TASKS.settlementDigest(revote.taskId, revote.round, TASKS.settlementOf(revote.taskId, revote.round));
        return posted == revote.settlement;
    }

    /// @dev `size` different members of the first `electorate` verifiers: a Fisher-Yates shuffle that stops early and
    /// remembers only the positions that it moved.
    function _draw(bytes32 seed, uint256 electorate, uint256 size) private view returns (address[] memory members) {
        members = new address[](size);
        uint256[] memory positions = new uint256[](size);
        uint256[] memory values = new uint256[](size);
        for (uint256 i = 0; i < size; ++i) {
            uint256 j = i + uint256(keccak256(abi.encode(seed, i))) % (electorate - i);
            members[i] = REGISTRY.activeVerifierAt(_valueAt(positions, values, i, j));
            (positions[i], values[i]) = (j, _valueAt(positions, values, i, i));
        }
    }

    /// @dev What stands at `position` after `moves` moves: the last one that went there, else the position itself.
    function _valueAt(uint256[] memory positions, uint256[] memory values, uint256 moves, uint256 position)
        private
        pure
        returns (uint256)
    {
        for (uint256 i = moves; i > 0; --i) {
            if (positions[i - 1] == position) return values[i - 1];
        }
        return position;
    }

    function _beginReveal(uint256 revoteId, Revote storage revote) private {
        revote.phase = RevotePhase.Reveal;
        revote.deadline = uint64(block.timestamp) + _params.voteSeconds;
        emit RevotePhaseStarted(revoteId, RevotePhase.Reveal, revote.deadline);
    }

    function _inPhase(uint256 revoteId, RevotePhase required) private view returns (Revote storage revote) {
        revote = _revotes[revoteId];
        require(revote.phase == required, WrongRevotePhase(revoteId, revote.phase));
    }

    function _inOpenPhase(uint256 revoteId, RevotePhase required) private view returns (Revote storage revote) {
        revote = _inPhase(revoteId, required);
        require(block.timestamp < revote.deadline, VoteClosed(revote.deadline));
    }
}
