// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IRewardVault} from "../../../contracts/interfaces/IRewardVault.sol";
import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {Commitments} from "../../../contracts/libraries/Commitments.sol";
import {vm} from "../support/Vm.sol";
import {World} from "../support/World.sol";

/// @dev Attacks that use a trainer's own fault, or somebody's silence, against others. Names are those of the audit's proofs
/// of concept (A1 to D4), which all succeeded on the first version of the contracts; letters behind them are variants.
contract FaultAttacksTest is World {
    uint64 internal id;

    function longWindow() internal view returns (TaskParams memory p) {
        p = defaultParams();
        p.phases.window = 7_200;
        p.phases.slash = 20_000;
    }

    function demand(address respondent) internal returns (uint256) {
        RevealData memory data = workOf(id, respondent);
        vm.prank(outsider);
        return court.demandOpening(id, 1, respondent, data, direct(), 0, Component.Theta, 0);
    }

    function silence(address respondent) internal {
        uint256 d = demand(respondent);
        sleep(3_600);
        court.closeDemand(d);
    }

    function lost(address account, Role role) internal view returns (uint256) {
        return 10_000 * UNIT - registry.stakeOf(account, role).total;
    }

    function finish() internal {
        sleep(7_200);
        tasks.finalize(id);
    }

    function assertHonestWhole(SettlementLeaf[] memory leaves, uint256 cheat) internal {
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (i == cheat) continue;
            claim(id, 1, leaves, i);
            vm.assertEq(token.balanceOf(trainers[i]), leaves[i].payout, "earned pay");
            vm.assertEq(lost(trainers[i], Role.Trainer), 0, "stake");
        }
        for (uint256 i = 0; i < 4; ++i) {
            fees.claimFees(id, one(1), verifiers[i]);
            vm.assertEq(token.balanceOf(verifiers[i]), BUDGET / 40, "fee");
            vm.assertEq(lost(verifiers[i], Role.Verifier), 0, "stake");
        }
    }

    function test_A1_ownFaultShown_settlementStandsAndNobodyElseLoses() public {
        id = startTask(longWindow(), 3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        silence(trainers[2]);
        assertPhase(id, Phase.Window);
        vm.assertEq(tasks.roundOf(id, 1).attempts, 0, "no attempt is lost");
        finish();
        assertHonestWhole(leaves, 2);
        bytes32[] memory proof = proofOf(hashes(leaves), 2);
        vm.expectPartialRevert(IRewardVault.ClaimIsClosed.selector);
        vault.claim(id, 1, 2, 3, leaves[2], proof);
        uint96 before = vault.accountOf(id).balance;
        vault.returnBlocked(id, 1, 2, 3, leaves[2], proof);
        vm.assertEq(vault.accountOf(id).balance - before, leaves[2].payout, "the blocked pay is the task's");
        vm.expectPartialRevert(IRewardVault.NotBlocked.selector);
        vault.returnBlocked(id, 1, 2, 3, leaves[2], proof);
        vm.expectPartialRevert(IRewardVault.NotBlocked.selector);
        vault.returnBlocked(id, 1, 0, 3, leaves[0], proof);
    }

    /// @dev Whoever signs what follows in the next attempt signs another digest, and is no equivocator.
    function test_A1b_signedAgainAfterAVoid_noEquivocation() public {
        id = startTask(longWindow(), 3, 4);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 4, leaves);
        SettlementLeaf[] memory wrong = honestLeaves(id, 3);
        wrong[0].payout += 1;
        wrong[1].payout -= 1;
        Settlement memory first = settlementFor(id, wrong);
        G1Point memory old = blsSign(1, Commitments.SETTLEMENT_DOMAIN, digestOf(id, first));
        settle(id, wrong, 4, 15);
        checkSettlement(id, wrong);
        leaves[2].verdict = uint8(Verdict.Rejected);
        leaves = paid(id, leaves);
        Settlement memory second = settlementFor(id, leaves);
        G1Point memory again = blsSign(1, Commitments.SETTLEMENT_DOMAIN, digestOf(id, second));
        for (uint8 attempt = 0; attempt < 3; ++attempt) {
            vm.expectPartialRevert(IDisputeCourt.InvalidSignature.selector);
            court.proveEquivocation(id, 1, attempt, verifiers[0], first, old, second, again);
        }
    }

    /// @dev A fault shown between attestations and settlement does not make honest attestations disagree with it.
    function test_A1c_faultShownAfterAttestations_feesStay() public {
        id = startTask(longWindow(), 3, 4);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 4, leaves);
        vm.prank(address(court));
        trainerPool.punish(id, 1, trainers[2], Fault.OpeningWithheld, outsider);
        settle(id, leaves, 4, 15);
        bytes32[] memory proof = proofOf(hashes(leaves), 2);
        vm.expectRevert();
        settlements.proveWrongLeaf(id, 2, leaves[2], proof);
        finish();
        assertHonestWhole(leaves, 2);
    }

    function test_A2_threeFaults_roundStillPays() public {
        id = startTask(longWindow(), 5, 4); // trainers 2, 3, 4 belong to the attacker
        SettlementLeaf[] memory leaves = playToWindow(id, 5, 4);
        uint256[3] memory demands;
        for (uint256 i = 2; i < 5; ++i) {
            demands[i - 2] = demand(trainers[i]);
        }
        sleep(3_600);
        for (uint256 i = 0; i < 3; ++i) {
            court.closeDemand(demands[i]);
        }
        finish();
        assertOutcome(id, 1, Outcome.Settled);
        claim(id, 1, leaves, 0);
        claim(id, 1, leaves, 1);
        uint256 cost;
        for (uint256 i = 2; i < 5; ++i) {
            cost += lost(trainers[i], Role.Trainer);
        }
        vm.assertTrue(registry.creditOf(outsider) < cost, "three stakes burned for nothing");
    }

    /// @dev Silence costs the silent trainer alone; who answers is paid for it, and claims.
    function test_A3_demandAnswered_claimOpensAgain() public {
        id = startTask(longWindow(), 3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        demand(trainers[0]);
        finish();
        bytes32[] memory proof = proofOf(hashes(leaves), 0);
        vm.expectPartialRevert(IRewardVault.ClaimIsClosed.selector);
        vault.claim(id, 1, 0, 3, leaves[0], proof);
        vm.prank(address(court));
        vault.resume(id, 1, trainers[0]);
        vault.claim(id, 1, 0, 3, leaves[0], proof);
        vm.assertTrue(vault.hasClaimed(id, 1, trainers[0]));
    }

    function test_A7_faultEstablishedAfterTheWindow_blocksThePay() public {
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        uint256 d = demand(trainers[2]);
        finalize(id); // the round does not wait
        bytes32[] memory proof = proofOf(hashes(leaves), 2);
        vm.expectPartialRevert(IRewardVault.ClaimIsClosed.selector);
        vault.claim(id, 1, 2, 3, leaves[2], proof);
        sleep(3_600);
        court.closeDemand(d);
        vm.expectPartialRevert(IRewardVault.ClaimIsClosed.selector);
        vault.claim(id, 1, 2, 3, leaves[2], proof);
        vm.assertEq(token.balanceOf(trainers[2]), 0);
        claim(id, 1, leaves, 0);
    }

    /// @dev Stake cannot leave while a demand waits, even after the time to slash.
    function test_A7b_releaseBeforeTheDemandIsClosed_refused() public {
        TaskParams memory p = defaultParams();
        p.phases.slash = 3_600;
        id = startTask(p, 3, 4);
        playToWindow(id, 3, 4);
        finalize(id);
        vm.prank(trainers[2]);
        trainerPool.resign(id);
        uint256 d = demand(trainers[2]);
        sleep(3_600);
        vm.expectPartialRevert(ITrainerPool.DemandsOpen.selector);
        trainerPool.release(id, trainers[2]);
        court.closeDemand(d);
        vm.assertEq(lost(trainers[2], Role.Trainer), 50 * UNIT);
    }

    /// @dev A demand whose answer would be due after the stake is free is not accepted at all.
    function test_A7c_demandTooLate_refused() public {
        id = startTask(longWindow(), 3, 4);
        playToWindow(id, 3, 4);
        finish();
        sleep(16_401);
        RevealData memory data = workOf(id, trainers[2]);
        vm.prank(outsider);
        vm.expectPartialRevert(IDisputeCourt.DisputesNotAccepted.selector);
        court.demandOpening(id, 1, trainers[2], data, direct(), 0, Component.Theta, 0);
    }

    /// @dev A hold cannot outlive the time to claim: the last demand is due before.
    function test_A7d_paidTrainer_isNotHeldAgain() public {
        id = startTask(longWindow(), 3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        finish();
        claim(id, 1, leaves, 1);
        uint256 d = demand(trainers[1]);
        vm.assertFalse(court.demandOf(d).held);
        vm.assertTrue(vault.hasClaimed(id, 1, trainers[1]));
        sleep(3_600);
        court.closeDemand(d);
        vm.assertTrue(vault.hasClaimed(id, 1, trainers[1]), "paid is paid; the stake is what can be taken");
        vm.assertEq(lost(trainers[1], Role.Trainer), 50 * UNIT);
    }

    function test_A13_friendsDemand_isNoShield() public {
        id = startTask(longWindow(), 3, 4);
        playToWindow(id, 3, 4);
        address friend = vm.addr(0x7001);
        equip(friend, Role.Challenger, uint96(100 * UNIT));
        RevealData memory data = workOf(id, trainers[2]);
        vm.prank(friend);
        court.demandOpening(id, 1, trainers[2], data, direct(), 0, Component.Theta, 0);
        vm.startPrank(outsider);
        court.demandOpening(id, 1, trainers[2], data, direct(), 2, Component.Theta, 0);
        vm.stopPrank();
        vm.startPrank(friend);
        court.demandScore(id, posted(id), verifiers[0], trainers[0]);
        vm.stopPrank();
        vm.startPrank(outsider);
        court.demandScore(id, posted(id), verifiers[0], trainers[1]);
        vm.stopPrank();
        vm.assertEq(vault.closureOf(id, 1, trainers[2]).holds, 2);
    }

    function test_C11_zeroStakeTask_isNoTask() public {
        TaskParams memory p = defaultParams();
        p.stakes.trainerStake = 0;
        p.stakes.commitBond = 0;
        vm.expectRevert();
        terms.createTask(p, validationCommitments(4), 0);
    }

    /// @dev The chain knows of a fault before verifiers attest: a settlement that accepts the trainer is void, without blame.
    function test_D1_faultKnownBeforeAttesting_acceptanceIsVoid() public {
        id = startTask(longWindow(), 3, 4);
        playToOpening(id, 3);
        vm.prank(address(court));
        trainerPool.punish(id, 1, trainers[2], Fault.OpeningWithheld, outsider);
        nextBlock();
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        SettlementLeaf[] memory right = honestLeaves(id, 3);
        right[2].verdict = uint8(Verdict.Rejected);
        right = paid(id, right);
        attestAll(id, 4, right);
        bytes32 digest = digestOf(id, settlementFor(id, leaves));
        settle(id, leaves, 4, 15);
        settlements.proveWrongLeaf(id, 2, leaves[2], proofOf(hashes(leaves), 2));
        vm.expectPartialRevert(IDisputeCourt.NotCulpable.selector);
        court.slashSigner(digest, verifiers[0], new address[](0));
        settle(id, right, 4, 15);
        finish();
        for (uint256 i = 0; i < 4; ++i) {
            fees.claimFees(id, one(1), verifiers[i]);
            vm.assertEq(token.balanceOf(verifiers[i]), BUDGET / 40, "the corrected settlement pays its verifiers");
        }
    }
}
