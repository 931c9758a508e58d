// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../contracts/interfaces/IDisputeCourt.sol";
import {IStakeRegistry} from "../../contracts/interfaces/IStakeRegistry.sol";
import {ITaskManager} from "../../contracts/interfaces/ITaskManager.sol";
import {IVerifierPool} from "../../contracts/interfaces/IVerifierPool.sol";
import "../../contracts/interfaces/Types.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev Demands on verifiers, re-votes, equivocation.
contract CourtTest is World {
    uint64 private id;
    SettlementLeaf[] private leaves;

    function window() internal returns (SettlementLeaf[] memory settled) {
        id = startTask(3, 4);
        settled = playToWindow(id, 3, 4);
    }

    // Score demands.

    function test_demandScore_answered_challengerPays() public {
        SettlementLeaf[] memory settled = window();
        vm.prank(outsider);
        uint256 demand = court.demandScore(id, verifiers[0], trainers[1]);
        ScoreLeaf[] memory scores = scoreLeaves(settled);
        bytes32[] memory proof = proofOf(scoreHashes(scores), 1);
        bytes32[] memory other = proofOf(scoreHashes(scores), 0);
        vm.expectPartialRevert(IDisputeCourt.WrongAnswer.selector);
        court.answerScore(demand, scores[0], other);
        court.answerScore(demand, scores[1], proof);
        vm.assertEq(registry.creditOf(verifiers[0]), 5 * UNIT);
        finalize(id);
        verifierPool.claimFees(id, one(1), verifiers[0]);
    }

    function test_demandScore_silence_noFee() public {
        window();
        vm.prank(outsider);
        uint256 demand = court.demandScore(id, verifiers[0], trainers[1]);
        sleep(3_600);
        vm.expectPartialRevert(ITaskManager.DisputesOpen.selector);
        tasks.finalize(id);
        court.closeDemand(demand);
        tasks.finalize(id);
        vm.expectPartialRevert(IVerifierPool.NothingToClaim.selector);
        verifierPool.claimFees(id, one(1), verifiers[0]);
        verifierPool.claimFees(id, one(1), verifiers[1]);
        vm.assertEq(token.balanceOf(verifiers[1]), BUDGET / 30);
    }

    function test_demandScore_refusals() public {
        window();
        vm.startPrank(outsider);
        vm.expectPartialRevert(IDisputeCourt.NotAttested.selector);
        court.demandScore(id, trainers[0], trainers[1]);
        vm.expectPartialRevert(IDisputeCourt.NotCommittedWork.selector);
        court.demandScore(id, verifiers[0], trainers[4]);
        sleep(PHASE);
        vm.expectPartialRevert(IDisputeCourt.DisputesNotAccepted.selector);
        court.demandScore(id, verifiers[0], trainers[1]);
        vm.stopPrank();
    }

    // Re-votes.

    function openRevote() internal returns (uint256 revote) {
        vm.prank(outsider);
        revote = court.openRevote(id, "evidence");
        vm.assertFalse(court.drawCommittee(revote));
        vm.roll(vm.getBlockNumber() + 2);
        vm.assertTrue(court.drawCommittee(revote));
    }

    function vote(uint256 revote, address member, bool overturn) internal {
        bytes32 sealed_ = court.voteHash(revote, member, overturn, "salt");
        vm.prank(member);
        court.commitVote(revote, sealed_);
    }

    function show(uint256 revote, address member, bool overturn) internal {
        vm.prank(member);
        court.revealVote(revote, overturn, "salt");
    }

    function voteAll(uint256 revote, uint256 overturning) internal returns (address[] memory committee) {
        committee = court.committeeOf(revote);
        for (uint256 i = 0; i < committee.length; ++i) {
            vote(revote, committee[i], i < overturning);
        }
        for (uint256 i = 0; i < committee.length; ++i) {
            show(revote, committee[i], i < overturning);
        }
    }

    function assertResult(uint256 revote, IDisputeCourt.RevotePhase expected) internal view {
        vm.assertEq(uint256(court.revoteOf(revote).phase), uint256(expected), "result");
    }

    function test_revote_committee_differentMembers() public {
        window();
        uint256 revote = openRevote();
        address[] memory committee = court.committeeOf(revote);
        vm.assertEq(committee.length, 3);
        vm.assertTrue(committee[0] != committee[1] && committee[1] != committee[2] && committee[0] != committee[2]);
        vm.assertEq(court.revoteCount(), 1);
        vm.assertEq(court.maxDisputeSeconds(), 14_400);
        vm.assertEq(court.params().committeeSize, 3);
    }

    function test_revote_upheld_challengerPaysCommittee() public {
        SettlementLeaf[] memory settled = window();
        uint256 revote = openRevote();
        address[] memory committee = voteAll(revote, 1);
        assertResult(revote, IDisputeCourt.RevotePhase.Upheld);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 9_900 * UNIT);
        for (uint256 i = 1; i < 3; ++i) {
            court.claimCommitteePay(revote, committee[i]);
            vm.assertEq(registry.creditOf(committee[i]), 20 * UNIT);
            vm.expectPartialRevert(IDisputeCourt.NotPayable.selector);
            court.claimCommitteePay(revote, committee[i]);
        }
        vm.expectPartialRevert(IDisputeCourt.NotPayable.selector);
        court.claimCommitteePay(revote, committee[0]);
        vm.prank(outsider);
        vm.expectPartialRevert(IDisputeCourt.RevoteAlreadyOpen.selector);
        court.openRevote(id, "again");
        finalize(id);
        claim(id, 1, settled, 0);
    }

    function test_revote_overturned_signersPay() public {
        SettlementLeaf[] memory settled = window();
        bytes32 digest = tasks.settlementDigest(id, 1, settlementFor(id, settled));
        uint256 revote = openRevote();
        address[] memory committee = voteAll(revote, 2);
        assertResult(revote, IDisputeCourt.RevotePhase.Overturned);
        assertPhase(id, Phase.Settle);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).locked, 0);
        court.slashSigner(digest, verifiers[3], new address[](0));
        // 100 lost, 20 rewarded: 8 to the committee's majority, 12 to the challenger, 80 burned.
        vm.assertEq(registry.stakeOf(verifiers[3], Role.Verifier).total, 9_900 * UNIT);
        vm.assertEq(registry.creditOf(outsider), 12 * UNIT);
        court.claimCommitteePay(revote, committee[0]);
        vm.assertEq(registry.creditOf(committee[0]), 4 * UNIT);
        court.slashSigner(digest, verifiers[2], new address[](0));
        court.claimCommitteePay(revote, committee[0]);
        vm.assertEq(registry.creditOf(committee[0]), 8 * UNIT);
        vm.expectPartialRevert(IDisputeCourt.NotPayable.selector);
        court.claimCommitteePay(revote, committee[2]);
        vm.expectPartialRevert(IVerifierPool.AlreadyPenalised.selector);
        court.slashSigner(digest, verifiers[2], new address[](0));
        vm.expectPartialRevert(IVerifierPool.NotInQuorum.selector);
        court.slashSigner(digest, outsider, new address[](0));
    }

    function test_slashSigner_nonSignerIsSafe() public {
        id = startTask(3, 4);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory settled = honestLeaves(id, 3);
        attestAll(id, 4, settled);
        settle(id, settled, 4, 13); // verifier 1 does not sign
        bytes32 digest = tasks.settlementDigest(id, 1, settlementFor(id, settled));
        voteAll(openRevote(), 3);
        address[] memory absent = new address[](1);
        absent[0] = verifiers[1];
        vm.expectPartialRevert(IDisputeCourt.NotASigner.selector);
        court.slashSigner(digest, verifiers[1], absent);
        vm.expectPartialRevert(IDisputeCourt.NotASigner.selector);
        court.slashSigner(digest, verifiers[1], new address[](0));
        court.slashSigner(digest, verifiers[0], absent);
    }

    function test_revote_tooFewShow_settlementStands() public {
        window();
        uint256 revote = openRevote();
        address[] memory committee = court.committeeOf(revote);
        vote(revote, committee[0], true);
        vm.expectPartialRevert(IDisputeCourt.VoteStillOpen.selector);
        court.advanceRevote(revote);
        sleep(7_200);
        bytes32 sealed_ = court.voteHash(revote, committee[1], true, "salt");
        vm.prank(committee[1]);
        vm.expectPartialRevert(IDisputeCourt.VoteClosed.selector);
        court.commitVote(revote, sealed_);
        court.advanceRevote(revote);
        show(revote, committee[0], true);
        assertResult(revote, IDisputeCourt.RevotePhase.Undecided);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 10_000 * UNIT);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).locked, 0);
        tasks.finalize(id);
    }

    function test_revote_nobodyVotes_undecided() public {
        window();
        uint256 revote = openRevote();
        sleep(7_200);
        court.advanceRevote(revote);
        assertResult(revote, IDisputeCourt.RevotePhase.Undecided);
        vm.expectPartialRevert(IDisputeCourt.WrongRevotePhase.selector);
        court.advanceRevote(revote);
        vm.expectPartialRevert(IDisputeCourt.WrongRevotePhase.selector);
        court.drawCommittee(revote);
    }

    function test_revote_votes_refusals() public {
        window();
        uint256 revote = openRevote();
        address[] memory committee = court.committeeOf(revote);
        vm.prank(outsider);
        vm.expectPartialRevert(IDisputeCourt.NotCommitteeMember.selector);
        court.commitVote(revote, "v");
        vote(revote, committee[0], true);
        vm.prank(committee[0]);
        vm.expectPartialRevert(IDisputeCourt.AlreadyVoted.selector);
        court.commitVote(revote, "v");
        vm.prank(committee[0]);
        vm.expectPartialRevert(IDisputeCourt.WrongRevotePhase.selector);
        court.revealVote(revote, true, "salt");
        vote(revote, committee[1], true);
        vote(revote, committee[2], false);
        vm.prank(committee[0]);
        vm.expectPartialRevert(IDisputeCourt.VoteMismatch.selector);
        court.revealVote(revote, false, "salt");
        vm.prank(outsider);
        vm.expectPartialRevert(IDisputeCourt.NotCommitteeMember.selector);
        court.revealVote(revote, false, "salt");
        show(revote, committee[0], true);
        vm.prank(committee[0]);
        vm.expectPartialRevert(IDisputeCourt.NotCommitteeMember.selector);
        court.revealVote(revote, true, "salt");
        sleep(7_200);
        court.advanceRevote(revote);
        assertResult(revote, IDisputeCourt.RevotePhase.Undecided);
    }

    function test_revote_settlementVoidedMeanwhile_noSecondVoid() public {
        id = startTask(3, 4);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory wrong = honestLeaves(id, 3);
        attestAll(id, 4, wrong);
        wrong[0].payout += 1;
        wrong[1].payout -= 1;
        settle(id, wrong, 4, 15);
        uint256 revote = openRevote();
        faults.proveWrongSettlement(id, wrong);
        settle(id, honestLeaves(id, 3), 4, 15);
        voteAll(revote, 3);
        assertResult(revote, IDisputeCourt.RevotePhase.Overturned);
        assertPhase(id, Phase.Window);
        finalize(id);
        assertOutcome(id, 1, Outcome.Settled);
    }

    function test_revote_electorateShrinks_drawsTheRest() public {
        window();
        vm.prank(outsider);
        uint256 revote = court.openRevote(id, "evidence");
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(verifiers[i]);
            registry.requestUnbond(Role.Verifier, uint96(9_800 * UNIT));
        }
        vm.roll(vm.getBlockNumber() + 2);
        court.drawCommittee(revote);
        vm.assertEq(court.committeeOf(revote).length, 3, "200 of locked stake keep them active");
    }

    function test_openRevote_unbondedChallenger_refused() public {
        window();
        vm.prank(trainers[0]);
        vm.expectPartialRevert(IStakeRegistry.InsufficientFreeStake.selector);
        court.openRevote(id, "evidence");
    }

    // Equivocation.

    function sign(uint256 verifier, Settlement memory s) internal view returns (G1Point memory) {
        return blsSign(1 << verifier, Commitments.SETTLEMENT_DOMAIN, tasks.settlementDigest(id, 1, s));
    }

    function test_equivocation_twoVerdicts_slashedOnce() public {
        SettlementLeaf[] memory settled = window();
        Settlement memory a = settlementFor(id, settled);
        settled[0].verdict = uint8(Verdict.Rejected);
        Settlement memory b = settlementFor(id, settled);
        G1Point memory first = sign(2, a);
        G1Point memory second = sign(2, b);
        vm.expectPartialRevert(IDisputeCourt.InvalidSignature.selector);
        court.proveEquivocation(id, 1, verifiers[1], a, first, b, second);
        vm.expectRevert(IDisputeCourt.NoEquivocation.selector);
        court.proveEquivocation(id, 1, verifiers[2], a, first, a, first);
        court.proveEquivocation(id, 1, verifiers[2], a, first, b, second);
        vm.assertEq(registry.stakeOf(verifiers[2], Role.Verifier).total, 9_900 * UNIT);
        vm.assertEq(registry.creditOf(address(this)), 20 * UNIT);
        vm.expectPartialRevert(IVerifierPool.AlreadyPenalised.selector);
        court.proveEquivocation(id, 1, verifiers[2], a, first, b, second);
        vm.assertEq(verifierPool.enrolmentOf(id, verifiers[2]).stake, 100 * UNIT);
    }

    function test_equivocation_otherScoresSameVerdicts_noFault() public {
        SettlementLeaf[] memory settled = window();
        Settlement memory a = settlementFor(id, settled);
        settled[0].scoreNanos += 1;
        Settlement memory b = settlementFor(id, settled);
        G1Point memory first = sign(2, a);
        G1Point memory second = sign(2, b);
        vm.expectRevert(IDisputeCourt.NoEquivocation.selector);
        court.proveEquivocation(id, 1, verifiers[2], a, first, b, second);
    }

    // Deployment.

    function test_constructor_outOfRange_reverts() public {
        IDisputeCourt.CourtParams memory p = courtParams();
        p.winnerBps = 9_001;
        refuse(p);
        p = courtParams();
        p.committeeSize = 0;
        refuse(p);
        p = courtParams();
        p.voteSeconds = 4 days; // twice as long as stake takes to leave
        refuse(p);
    }

    function refuse(IDisputeCourt.CourtParams memory p) private {
        Modules memory set = court.modules();
        set.court = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        bytes memory arguments = abi.encode(set, p);
        vm.expectRevert();
        vm.deployCode("DisputeCourt.sol", arguments);
    }
}
