// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IJury} from "../../../contracts/interfaces/IJury.sol";
import {IRewardVault} from "../../../contracts/interfaces/IRewardVault.sol";
import {ITaskTerms} from "../../../contracts/interfaces/ITaskTerms.sol";
import {IVerifierFees} from "../../../contracts/interfaces/IVerifierFees.sol";
import "../../../contracts/interfaces/Types.sol";
import {JuryWorld} from "../support/JuryWorld.sol";
import {vm} from "../support/Vm.sol";

/// @dev Attacks by waiting: what is right at one moment is asked for, charged or claimed at another.
contract TimingAttacksTest is JuryWorld {
    // Leaves that are shown on demand, and disputed after that.

    function demandLeaf(uint256 trainer) private returns (uint256) {
        bytes32 settlement = posted(id);
        vm.prank(outsider);
        return court.demandLeaf(id, settlement, trainers[trainer]);
    }

    /// @dev The window is two hours, the time to answer one.
    function liesInTwoHours() private returns (SettlementLeaf[] memory leaves) {
        TaskParams memory p = defaultParams();
        p.phases.window = 7_200;
        id = startTask(p, 3, 4);
        leaves = honestLeaves(id, 3);
        playToSettle(id, 3, 4, leaves);
        leaves[2].payout += 1; // the total is one short
        Settlement memory s = settlementFor(id, leaves);
        s.totalPayout -= 1;
        tasks.settle(id, s, quorumProof(id, s, 4, 15));
    }

    function test_E25_leafDemandedInTheFirstHalf_isShownWhileItCanBeDisputed() public {
        liesInTwoHours();
        uint256 early = demandLeaf(0);
        vm.assertEq(court.demandOf(early).deadline, vm.getBlockTimestamp() + 3_600, "the time to answer");
        sleep(3_600);
        uint256 late = demandLeaf(1);
        vm.assertEq(court.demandOf(late).deadline, vm.getBlockTimestamp() + 1_800, "half of what is left");
        sleep(1);
        bytes32 settlement = posted(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.DemandTooLate.selector, id, 1));
        court.demandLeaf(id, settlement, trainers[2]);
    }

    function test_E25b_liarShowsInTheLastSecond_theLieIsStillProven() public {
        SettlementLeaf[] memory leaves = liesInTwoHours();
        sleep(3_600);
        uint256 asked = demandLeaf(2);
        sleep(1_799);
        court.answerLeaf(asked, 2, leaves[2], proofOf(hashes(leaves), 2));
        uint256 check = settlements.openCheck(id);
        settlements.feedLeaves(check, leaves);
        assertPhase(id, Phase.Settle);
    }

    function test_E25c_liarDoesNotShow_theSettlementFalls() public {
        SettlementLeaf[] memory leaves = liesInTwoHours();
        sleep(3_600);
        uint256 asked = demandLeaf(2);
        sleep(1_800);
        bytes32[] memory proof = proofOf(hashes(leaves), 2);
        vm.expectPartialRevert(IDisputeCourt.AnswerTooLate.selector);
        court.answerLeaf(asked, 2, leaves[2], proof);
        court.closeDemand(asked);
        assertPhase(id, Phase.Settle);
    }

    // Faults that everybody knew.

    function acceptedFault(uint256 blocks) private returns (bytes32 digest) {
        id = startTask(3, 4);
        playToOpening(id, 3);
        vm.prank(address(court));
        trainerPool.punish(id, 1, trainers[2], Fault.OpeningWithheld, outsider);
        vm.roll(vm.getBlockNumber() + blocks);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 4, leaves);
        digest = digestOf(id, settlementFor(id, leaves));
        settle(id, leaves, 4, 15);
        settlements.proveWrongLeaf(id, 2, leaves[2], proofOf(hashes(leaves), 2));
    }

    function test_E26_faultThatIsFinal_whoeverAcceptsItPays() public {
        bytes32 digest = acceptedFault(65);
        court.slashSigner(digest, verifiers[0], none);
        vm.assertTrue(verifierPool.enrolmentOf(id, verifiers[0]).stake < 200 * UNIT);
    }

    function test_E26b_faultThatAReorganisationMayHaveMoved_costsNobody() public {
        bytes32 digest = acceptedFault(64);
        vm.expectPartialRevert(IDisputeCourt.NotCulpable.selector);
        court.slashSigner(digest, verifiers[0], none);
    }

    // Stake that was bound while votes were sealed, and fines.

    /// @dev Bound in a task while others voted, then given something: silence takes that, and nothing that a task holds.
    function test_E27_giftToWhoSlept_paysItsFineAndNothingElseDoes() public {
        for (uint256 i = 0; i < 10; ++i) {
            addJuror(i, 10_000);
        }
        sleep(2 days);
        registerKey(jurors[0], 3);
        uint64 other = createTask(defaultParams());
        id = startTask(3, 4);
        playToWindow(id, 3, 4);
        uint256 c = open();
        enrolVerifier(other, jurors[0], uint96(10_000 * UNIT));
        toTheLast(c);
        upheldFrom(c, 1);
        uint256 snapshot = vm.snapshotState();
        jury.settleVote(c, 3, jurors[0], none);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 10_000 * UNIT);
        vm.revertToState(snapshot);
        token.mint(address(this), UNIT);
        token.approve(address(registry), UNIT);
        registry.depositFor(jurors[0], Role.Verifier, uint96(UNIT));
        jury.settleVote(c, 3, jurors[0], none);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 10_000 * UNIT);
        vm.assertEq(verifierPool.enrolmentOf(other, jurors[0]).stake, 10_000 * UNIT);
    }

    // Pay that outlives its time, and absences that are charged together.

    /// @dev The time to answer is an hour; a demand in the last second of a round lasts as long.
    function test_E28_claimShorterThanTheTimeToAnswer_isNoTerm() public {
        TaskParams memory p = defaultParams();
        (p.phases.slash, p.phases.claim) = (600, 3_600);
        bytes32[] memory commitments = validationCommitments(p.training.rounds + 1);
        bytes32 field = "claim";
        vm.expectRevert(abi.encodeWithSelector(ITaskTerms.InvalidParameter.selector, field, 3_600));
        terms.createTask(p, commitments, 0);
        p.phases.claim = 3_601;
        id = startTask(p, 3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        RevealData memory data = workOf(id, trainers[0]);
        sleep(PHASE - 1);
        vm.prank(outsider);
        uint256 d = court.demandOpening(id, 1, trainers[0], data, direct(), 0, Component.Theta, 0);
        sleep(1);
        tasks.finalize(id);
        vm.warp(court.demandOf(d).deadline);
        vm.expectPartialRevert(IRewardVault.NotExpired.selector);
        vault.expire(id, 1);
        vm.prank(address(court)); // what an answer does
        vault.resume(id, 1, trainers[0]);
        claim(id, 1, leaves, 0);
    }

    function roundOfThe(uint256 attesting) private {
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        for (uint256 i = 0; i < attesting; ++i) {
            commitAttestation(id, verifiers[i], leaves);
        }
        if (phaseOf(id) == Phase.AttestCommit) expirePhase(id);
        for (uint256 i = 0; i < attesting; ++i) {
            revealAttestation(id, verifiers[i], leaves);
        }
        settle(id, leaves, 4, 15);
        finalize(id);
    }

    function charged(uint32 round) private returns (uint96) {
        uint96 before = verifierPool.enrolmentOf(id, verifiers[3]).stake;
        verifierPool.chargeAbsence(id, round, verifiers[3]);
        return before - verifierPool.enrolmentOf(id, verifiers[3]).stake;
    }

    function test_E29_absencesNotInARow_costOnceEachWhenChargedLate() public {
        TaskParams memory p = defaultParams();
        p.phases.slash = uint32(4 * PHASE + 3_600);
        p.phases.claim = p.phases.slash + 3_600;
        id = startTask(p, 3, 4);
        roundOfThe(3);
        roundOfThe(4);
        roundOfThe(3);
        uint96 stake = verifierPool.enrolmentOf(id, verifiers[3]).stake;
        vm.assertEq(charged(1), stake / 100);
        vm.assertEq(verifierPool.enrolmentOf(id, verifiers[3]).misses, 0, "not known to be in a row");
        vm.assertEq(charged(3), (stake - stake / 100) / 100);
        vm.assertEq(verifierPool.enrolmentOf(id, verifiers[3]).misses, 1);
    }

    // Lists of which somebody takes one before.

    function test_E30_claimOfOneBefore_leavesTheOthersOfTheList() public {
        id = startTask(3, 4);
        IRewardVault.Claim[] memory claims = new IRewardVault.Claim[](3);
        for (uint32 r = 1; r <= 3; ++r) {
            SettlementLeaf[] memory leaves = playRound(id, 3, 4);
            claims[r - 1] = IRewardVault.Claim(id, r, 0, 3, leaves[0], proofOf(hashes(leaves), 0));
        }
        IRewardVault.Claim memory first = claims[0];
        vm.prank(outsider);
        vault.claim(first.taskId, first.round, first.index, first.count, first.leaf, first.proof);
        uint256 before = token.balanceOf(trainers[0]);
        vault.claimBatch(claims);
        vm.assertEq(token.balanceOf(trainers[0]) - before, claims[1].leaf.payout + claims[2].leaf.payout);
        vm.expectPartialRevert(IRewardVault.AlreadyClaimed.selector);
        vault.claimBatch(claims);
    }

    function test_E30b_feesOfOneRoundBefore_leaveTheOthers() public {
        id = startTask(3, 4);
        playRound(id, 3, 4);
        playRound(id, 3, 4);
        fees.claimFees(id, one(1), verifiers[0]);
        uint256 before = token.balanceOf(verifiers[0]);
        uint32[] memory rounds = new uint32[](2);
        (rounds[0], rounds[1]) = (1, 2);
        fees.claimFees(id, rounds, verifiers[0]);
        vm.assertEq(token.balanceOf(verifiers[0]), 2 * before);
        vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
        fees.claimFees(id, rounds, verifiers[0]);
        vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
        fees.claimFees(id, new uint32[](0), verifiers[0]);
    }
}
