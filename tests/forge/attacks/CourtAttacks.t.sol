// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IRewardVault} from "../../../contracts/interfaces/IRewardVault.sol";
import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import {IVerifierFees} from "../../../contracts/interfaces/IVerifierFees.sol";
import {IVerifierPool} from "../../../contracts/interfaces/IVerifierPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {Commitments} from "../../../contracts/libraries/Commitments.sol";
import {OddToken} from "../support/OddToken.sol";
import {vm} from "../support/Vm.sol";
import {World} from "../support/World.sol";

/// @dev Demands that outlive what they ask about, penalties that meet each other, and money on its way out meanwhile.
contract CourtAttacksTest is World {
    uint64 internal id;
    address[] internal none;

    function demandScore(uint256 verifier, uint256 trainer) internal returns (uint256) {
        bytes32 settlement = posted(id);
        vm.prank(outsider);
        return court.demandScore(id, settlement, verifiers[verifier], trainers[trainer]);
    }

    function demandLeaf(uint256 trainer) internal returns (uint256) {
        bytes32 settlement = posted(id);
        vm.prank(outsider);
        return court.demandLeaf(id, settlement, trainers[trainer]);
    }

    /// @dev The settlement falls 3,600 seconds after it was posted, because nobody shows a leaf.
    function fall(uint256 demand) internal {
        sleep(3_600);
        court.closeDemand(demand);
        assertPhase(id, Phase.Settle);
    }

    function assertChallengerWhole() internal view {
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 10_000 * UNIT);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).locked, 0);
    }

    // Demands about a settlement that falls.

    /// @dev Its time to answer passes while no settlement stands; the next one is posted a second later.
    function test_E7_scoreDemandOfAFallenSettlement_strikesNobodyInTheNext() public {
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        uint256 hidden = demandLeaf(1);
        uint256 score = demandScore(0, 0);
        fall(hidden);
        ScorePair memory pair = pairOf(verifiers[0], scoreLeaves(leaves), leaves, 0);
        vm.expectPartialRevert(IDisputeCourt.AnswerTooLate.selector);
        court.answerScore(score, pair);
        settle(id, leaves, 4, 15);
        court.closeDemand(score);
        finalize(id);
        fees.claimFees(id, one(1), verifiers[0]);
        vm.assertEq(token.balanceOf(verifiers[0]), BUDGET / 40, "a quarter of the fee");
        assertChallengerWhole();
    }

    /// @dev With time left it cannot be answered for the next settlement either; who wants that asks again.
    function test_E7b_scoreDemandOfAFallenSettlement_lapsesAndMayBeAskedAgain() public {
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        uint256 hidden = demandLeaf(1);
        sleep(300);
        uint256 score = demandScore(0, 0);
        bytes32 settlement = posted(id);
        vm.prank(outsider);
        vm.expectPartialRevert(IDisputeCourt.DemandAlreadyOpen.selector);
        court.demandScore(id, settlement, verifiers[0], trainers[0]);
        sleep(3_300);
        court.closeDemand(hidden);
        ScorePair memory pair = pairOf(verifiers[0], scoreLeaves(leaves), leaves, 0);
        vm.expectPartialRevert(IDisputeCourt.DisputesNotAccepted.selector);
        court.answerScore(score, pair);
        settle(id, leaves, 4, 15);
        vm.expectPartialRevert(IDisputeCourt.DisputesNotAccepted.selector);
        court.answerScore(score, pair);
        uint256 again = demandScore(0, 0);
        court.answerScore(again, pair);
        sleep(600);
        court.closeDemand(score);
        tasks.finalize(id);
        fees.claimFees(id, one(1), verifiers[0]);
    }

    function test_E8_leafDemandOfAFallenSettlement_voidsNoOther() public {
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        uint256 first = demandLeaf(1);
        uint256 second = demandLeaf(2);
        fall(first);
        settle(id, leaves, 4, 15);
        court.closeDemand(second);
        assertPhase(id, Phase.Window);
        vm.assertEq(tasks.openDisputes(id), 0);
        finalize(id);
        assertChallengerWhole();
    }

    // Penalties that meet.

    function equivocate(uint32 round, uint256 verifier) internal {
        Settlement memory a;
        Settlement memory b;
        b.verdictsDigest = "other";
        bytes32 domain = Commitments.SETTLEMENT_DOMAIN;
        uint256 secret = 1 << verifier;
        G1Point memory sa = blsSign(secret, domain, tasks.settlementDigest(id, round, 0, a));
        G1Point memory sb = blsSign(secret, domain, tasks.settlementDigest(id, round, 0, b));
        court.proveEquivocation(id, round, 0, verifiers[verifier], a, sa, b, sb);
    }

    /// @dev A score was asked of somebody who is then thrown out: closing the demand still works, and the round ends.
    function test_E9_demandOnAnExcludedVerifier_doesNotStallTheRound() public {
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        uint256 score = demandScore(0, 0);
        equivocate(1, 0);
        ScorePair memory pair = pairOf(verifiers[0], scoreLeaves(leaves), leaves, 0);
        vm.expectPartialRevert(IVerifierPool.NotRevealed.selector);
        court.answerScore(score, pair);
        sleep(3_600);
        court.closeDemand(score);
        tasks.finalize(id);
        vm.assertEq(fees.feePotOf(id, 1).weight, 600 * UNIT, "left out once");
    }

    /// @dev Absent, then an equivocator: each costs once, in whichever order.
    function test_E10_absentAndEquivocator_eachCostsOnce() public {
        id = startTask(3, 4);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        for (uint256 i = 0; i < 3; ++i) {
            commitAttestation(id, verifiers[i], leaves);
        }
        expirePhase(id);
        for (uint256 i = 0; i < 3; ++i) {
            revealAttestation(id, verifiers[i], leaves);
        }
        uint256 snapshot = vm.snapshotState();
        verifierPool.chargeAbsence(id, 1, verifiers[3]);
        equivocate(1, 3);
        uint96 left = verifierPool.enrolmentOf(id, verifiers[3]).stake;
        vm.assertEq(left, 99 * UNIT, "one percent, then half");
        vm.expectPartialRevert(IVerifierPool.NotAbsent.selector);
        verifierPool.chargeAbsence(id, 1, verifiers[3]);
        vm.revertToState(snapshot);
        equivocate(1, 3);
        vm.expectPartialRevert(IVerifierPool.NotAbsent.selector);
        verifierPool.chargeAbsence(id, 1, verifiers[3]);
    }

    /// @dev Leaving and coming back hides nothing of what was signed before.
    function test_E11_rejoinedVerifier_answersForItsRoundsBefore() public {
        id = startTask(3, 4);
        playRound(id, 3, 4);
        vm.startPrank(verifiers[0]);
        verifierPool.resign(id);
        verifierPool.rejoin(id, 0);
        vm.stopPrank();
        vm.expectPartialRevert(IVerifierPool.StillBound.selector);
        verifierPool.release(id, verifiers[0]);
        equivocate(1, 0);
        vm.assertEq(registry.stakeOf(verifiers[0], Role.Verifier).total, 9_900 * UNIT);
        vm.assertFalse(verifierPool.inQuorum(id, 2, verifiers[0]), "and leaves the next quorum");
        vm.assertEq(verifierPool.checkpointOf(id, verifierPool.versionOf(id)).members, 3);
    }

    /// @dev Somebody else sends it away in the day that its stake has to wait, whenever it comes.
    function test_E22_verifierWhoWaits_isReleasedByItselfAlone() public {
        TaskParams memory p = defaultParams();
        p.phases.activation = 1 days;
        id = createTask(p);
        enrolVerifier(id, verifiers[0], uint96(200 * UNIT));
        vm.prank(outsider);
        vm.expectPartialRevert(IVerifierPool.NotActiveYet.selector);
        verifierPool.release(id, verifiers[0]);
        sleep(1 days);
        vm.prank(outsider);
        vm.expectPartialRevert(IVerifierPool.NotActiveYet.selector);
        verifierPool.release(id, verifiers[0]);
        uint256 snapshot = vm.snapshotState();
        vm.prank(verifiers[0]);
        verifierPool.release(id, verifiers[0]);
        vm.assertEq(registry.stakeOf(verifiers[0], Role.Verifier).locked, 0);
        vm.revertToState(snapshot);
        vm.prank(verifiers[0]);
        verifierPool.activate(id, verifiers[0]);
        vm.assertTrue(verifierPool.inQuorum(id, 1, verifiers[0]));
    }

    /// @dev Seated before anybody has let it into a private task, it would pay for rounds that it cannot judge.
    function test_E35_verifierWhoWaits_isSeatedByItselfAlone() public {
        TaskParams memory p = defaultParams();
        p.phases.activation = 1 days;
        id = createTask(p);
        enrolVerifier(id, verifiers[0], uint96(200 * UNIT));
        sleep(1 days);
        vm.startPrank(sponsor);
        vm.expectRevert(abi.encodeWithSelector(IVerifierPool.NotTheVerifier.selector, verifiers[0]));
        verifierPool.activate(id, verifiers[0]);
        vm.expectRevert(abi.encodeWithSelector(IVerifierPool.NotTheVerifier.selector, verifiers[0]));
        verifierPool.replace(id, verifiers[0], verifiers[1]);
        vm.stopPrank();
    }

    /// @dev Stopped, topped up and stopped again within a round: its stake stays bound to the work that it committed.
    function test_E12_trainerWhoComesAndGoes_staysBoundToItsRound() public {
        id = startTask(3, 4);
        playToOpening(id, 3);
        RevealData memory work = workOf(id, trainers[0]);
        vm.prank(outsider);
        uint256 d = court.demandOpening(id, 1, trainers[0], work, direct(), 0, Component.Theta, 0);
        vm.startPrank(trainers[0]);
        trainerPool.resign(id);
        trainerPool.topUp(id);
        trainerPool.resign(id);
        vm.stopPrank();
        vm.expectPartialRevert(ITrainerPool.StillBound.selector);
        trainerPool.release(id, trainers[0]);
        sleep(3_600);
        court.closeDemand(d);
        vm.assertEq(registry.stakeOf(trainers[0], Role.Trainer).total, 9_950 * UNIT);
        vm.assertTrue(trainerPool.workOf(id, 1, trainers[0]).slashed);
    }

    // Money on its way out.

    /// @dev A cancelled task: the sponsor gets what is left, and what the running round owes stays.
    function test_E13_cancelledInTheWindow_whatIsOwedStays() public {
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        vm.prank(sponsor);
        tasks.cancelTask(id);
        vm.prank(sponsor);
        vm.expectPartialRevert(IRewardVault.TaskStillRunning.selector);
        vault.withdraw(id);
        finalize(id);
        vm.prank(sponsor);
        vault.withdraw(id);
        for (uint256 i = 0; i < 3; ++i) {
            claim(id, 1, leaves, i);
            vm.assertEq(token.balanceOf(trainers[i]), leaves[i].payout);
        }
        for (uint256 i = 0; i < 4; ++i) {
            fees.claimFees(id, one(1), verifiers[i]);
        }
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    /// @dev Shares that do not divide: nobody gets more than its part, and the dust goes back to the task.
    function test_E14_feesThatDoNotDivide_neverOverdraw() public {
        TaskParams memory p = defaultParams();
        p.rewards.budgetPerRound = 1_000_003;
        id = createTask(p);
        for (uint256 i = 0; i < 2; ++i) {
            enrolTrainer(id, trainers[i]);
        }
        uint96[3] memory stakes = [uint96(200 * UNIT + 7), uint96(333 * UNIT + 1), uint96(777 * UNIT + 5)];
        for (uint256 i = 0; i < 3; ++i) {
            enrolVerifier(id, verifiers[i], stakes[i]);
        }
        playRound(id, 2, 3);
        uint96 before = vault.accountOf(id).balance;
        uint256 paidOut;
        for (uint256 i = 0; i < 3; ++i) {
            fees.claimFees(id, one(1), verifiers[i]);
            paidOut += token.balanceOf(verifiers[i]);
        }
        uint96 dust = vault.potOf(id, 1).fees;
        vm.assertEq(paidOut + dust, 100_000, "the fee");
        vm.assertTrue(dust != 0 && dust < 3);
        sleep(86_400);
        vault.expire(id, 1);
        vm.assertEq(vault.accountOf(id).balance, before + 1_000_003 + dust, "with the pay that nobody claimed");
    }

    /// @dev The latest demand that is accepted, answered in its last second, leaves the time to claim.
    function test_E15_claimHeldUntilTheLastMoment_isStillPaid() public {
        TaskParams memory p = defaultParams();
        p.phases.slash = 7_200;
        p.phases.claim = 7_201;
        id = startTask(p, 3, 4);
        RevealData[] memory work = new RevealData[](3);
        SettlementLeaf[] memory leaves = playRound(id, 3, 4);
        for (uint256 i = 0; i < 3; ++i) {
            work[i] = workOf(id, trainers[i]);
        }
        sleep(3_600);
        vm.prank(outsider);
        uint256 d = court.demandOpening(id, 1, trainers[0], work[0], direct(), 0, Component.Theta, 0);
        vm.expectPartialRevert(IRewardVault.ClaimIsClosed.selector);
        this.claimOut(1, leaves, 0);
        sleep(1);
        vm.prank(outsider);
        vm.expectPartialRevert(IDisputeCourt.DisputesNotAccepted.selector);
        court.demandOpening(id, 1, trainers[1], work[1], direct(), 0, Component.Theta, 0);
        vm.expectPartialRevert(IRewardVault.NotExpired.selector);
        vault.expire(id, 1);
        vm.assertEq(
            court.demandOf(d).deadline + 1,
            vault.potOf(id, 1).expiresAt,
            "a moment is left on test chains, a day on others"
        );
    }

    function claimOut(uint32 round, SettlementLeaf[] calldata leaves, uint256 i) external {
        claim(id, round, leaves, i);
    }

    /// @dev A reward token that calls back into every way out while it pays one.
    function test_E16_tokenThatCallsBack_isPaidOnce() public {
        OddToken odd = new OddToken();
        odd.mint(sponsor, 1e24);
        vm.prank(sponsor);
        odd.approve(address(vault), type(uint256).max);
        TaskParams memory p = defaultParams();
        p.token = address(odd);
        id = startTask(p, 2, 2);
        SettlementLeaf[] memory leaves = playRound(id, 2, 2);
        uint256 held = odd.balanceOf(address(vault));
        odd.setCallback(address(fees), abi.encodeCall(IVerifierFees.claimFees, (id, one(1), verifiers[0])));
        fees.claimFees(id, one(1), verifiers[0]);
        vm.assertFalse(odd.callbackSucceeded());
        IRewardVault.Claim[] memory batch = new IRewardVault.Claim[](1);
        batch[0] = IRewardVault.Claim(id, 1, 0, 2, leaves[0], proofOf(hashes(leaves), 0));
        odd.setCallback(address(vault), abi.encodeCall(IRewardVault.claimBatch, (batch)));
        claim(id, 1, leaves, 0);
        vm.assertFalse(odd.callbackSucceeded());
        sleep(86_400);
        odd.setCallback(address(vault), abi.encodeCall(IRewardVault.expire, (id, 1)));
        claim(id, 1, leaves, 1);
        vm.assertTrue(odd.callbackSucceeded(), "what is left goes back to the task");
        vm.assertEq(held - odd.balanceOf(address(vault)), leaves[0].payout + leaves[1].payout + BUDGET / 20);
        vm.assertEq(odd.balanceOf(address(vault)), vault.accountOf(id).balance);
    }
}
