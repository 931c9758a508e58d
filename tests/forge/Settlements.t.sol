// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../contracts/interfaces/IDisputeCourt.sol";
import {ISettlementProver} from "../../contracts/interfaces/ISettlementProver.sol";
import {ITaskManager} from "../../contracts/interfaces/ITaskManager.sol";
import "../../contracts/interfaces/Types.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev What the chain can see to be wrong with a settlement, leaf by leaf and in two passes.
contract SettlementsTest is World {
    uint64 private id;

    /// @dev A round of three trainers and two verifiers that waits for its settlement.
    function toSettle() internal {
        id = startTask(3, 2);
        playToOpening(id, 3);
        expirePhase(id);
        attestAll(id, 2, honestLeaves(id, 3));
    }

    function wrongLeaf(SettlementLeaf[] memory leaves, uint256 index) internal {
        settlements.proveWrongLeaf(id, uint32(index), leaves[index], proofOf(hashes(leaves), index));
    }

    function test_allLeaves_payout_voidedAndSignersSlashed() public {
        id = startTask(3, 3);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 3, leaves);
        leaves[0].payout += 5;
        leaves[1].payout -= 5;
        bytes32 digest = digestOf(id, settlementFor(id, leaves));
        settle(id, leaves, 3, 7);
        checkSettlement(id, leaves);
        assertPhase(id, Phase.Settle);
        vm.assertEq(tasks.roundOf(id, 1).attempts, 1);
        vm.prank(outsider);
        court.slashSigner(digest, verifiers[1], new address[](0));
        vm.assertEq(registry.stakeOf(verifiers[1], Role.Verifier).total, 9_900 * UNIT);
        vm.assertEq(registry.creditOf(address(this)), 20 * UNIT, "to who proved it, not to who called");
        vm.expectPartialRevert(IDisputeCourt.NotASigner.selector);
        court.slashSigner(digest, verifiers[0], new address[](1));
        vm.assertFalse(verifierPool.inQuorum(id, 2, verifiers[1]));
        // The quorum of this round is the snapshot, so the others can still settle it with her signature or without.
        settle(id, honestLeaves(id, 3), 3, 7);
        finalize(id);
    }

    function test_allLeaves_inParts_honest_noFault() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        settle(id, leaves, 2, 3);
        uint256 check = settlements.openCheck(id);
        SettlementLeaf[] memory part = new SettlementLeaf[](2);
        (part[0], part[1]) = (leaves[0], leaves[1]);
        SettlementLeaf[] memory rest = new SettlementLeaf[](1);
        rest[0] = leaves[2];
        settlements.feedLeaves(check, part);
        vm.expectPartialRevert(ISettlementProver.WrongPass.selector);
        settlements.reviewLeaves(check, part, 0, 0);
        settlements.feedLeaves(check, rest);
        vm.assertTrue(settlements.checkOf(check).reviewing);
        (, uint256 threshold, uint256 topUp) = this.solvePayouts(tasks.payoutTermsOf(id, 1e9), leaves);
        vm.expectPartialRevert(ISettlementProver.WrongPlan.selector);
        settlements.reviewLeaves(check, leaves, threshold - 1, topUp + 1);
        vm.expectPartialRevert(ISettlementProver.WrongPlan.selector);
        settlements.reviewLeaves(check, leaves, 0, topUp);
        settlements.reviewLeaves(check, rest, threshold, topUp);
        vm.expectPartialRevert(ISettlementProver.OtherLeaves.selector);
        settlements.reviewLeaves(check, part, threshold, topUp);
        vm.expectPartialRevert(ISettlementProver.WrongPlan.selector);
        settlements.reviewLeaves(check, part, threshold + 1, topUp);
        vm.prank(outsider);
        vm.expectPartialRevert(ISettlementProver.NotYourCheck.selector);
        settlements.reviewLeaves(check, part, threshold, topUp);
        check = settlements.openCheck(id);
        settlements.feedLeaves(check, leaves);
        vm.expectRevert(ISettlementProver.NoFault.selector);
        settlements.reviewLeaves(check, leaves, threshold, topUp);
    }

    function test_allLeaves_otherLeavesOrNumber_refused() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        settle(id, leaves, 2, 3);
        uint256 check = settlements.openCheck(id);
        leaves[0].stderrNanos = 8;
        vm.expectPartialRevert(ISettlementProver.InvalidOpening.selector);
        settlements.feedLeaves(check, leaves);
        SettlementLeaf[] memory more = new SettlementLeaf[](4);
        vm.expectPartialRevert(ISettlementProver.WrongLength.selector);
        settlements.feedLeaves(check, more);
    }

    function test_allLeaves_totals_voidedUntilRoundEnds() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        Settlement memory s = settlementFor(id, leaves);
        s.totalPayout -= 1;
        tasks.settle(id, s, quorumProof(id, s, 2, 3));
        checkSettlement(id, leaves);
        assertPhase(id, Phase.Settle);
        s = settlementFor(id, leaves);
        s.verdictsDigest = "other";
        tasks.settle(id, s, quorumProof(id, s, 2, 3));
        checkSettlement(id, leaves);
        assertPhase(id, Phase.Settle);
        leaves[0].payout += 1;
        leaves[1].payout -= 1;
        settle(id, leaves, 2, 3);
        checkSettlement(id, leaves);
        // The third attempt was the last one.
        s = settlementFor(id, honestLeaves(id, 3));
        QuorumProof memory proof = quorumProof(id, s, 2, 3);
        vm.expectPartialRevert(ITaskManager.PhaseClosed.selector);
        tasks.settle(id, s, proof);
        tasks.advance(id);
        assertOutcome(id, 1, Outcome.NoQuorum);
        vm.assertEq(vault.accountOf(id).reserved, 0);
    }

    function test_wrongOrder_neighboursSwapped_voided() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        settle(id, leaves, 2, 3);
        bytes32[] memory first = proofOf(hashes(leaves), 0);
        bytes32[] memory second = proofOf(hashes(leaves), 1);
        vm.expectRevert(ISettlementProver.NoFault.selector);
        settlements.proveWrongOrder(id, 0, leaves[0], first, leaves[1], second);
        vm.expectPartialRevert(ISettlementProver.InvalidOpening.selector);
        settlements.proveWrongOrder(id, 0, leaves[1], second, leaves[0], first);
    }

    function test_wrongOrder_twiceTheSame_voided() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        leaves[1] = leaves[0];
        settle(id, leaves, 2, 3);
        bytes32[] memory first = proofOf(hashes(leaves), 0);
        settlements.proveWrongOrder(id, 0, leaves[0], first, leaves[1], proofOf(hashes(leaves), 1));
        assertPhase(id, Phase.Settle);
    }

    function test_wrongLeaf_codesAndStrangers_voided() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        leaves[2].verdict = 9;
        settle(id, leaves, 2, 3);
        bytes32[] memory other = proofOf(hashes(leaves), 1);
        vm.expectRevert(ISettlementProver.NoFault.selector);
        settlements.proveWrongLeaf(id, 1, leaves[1], other);
        vm.expectPartialRevert(ISettlementProver.InvalidOpening.selector);
        settlements.proveWrongLeaf(id, 2, leaves[2], other);
        wrongLeaf(leaves, 2);
        leaves = honestLeaves(id, 3);
        leaves[2].trainer = address(type(uint160).max);
        settle(id, leaves, 2, 3);
        wrongLeaf(leaves, 2);
        leaves = honestLeaves(id, 3);
        leaves[0].discountBps = 10_001;
        settle(id, leaves, 2, 3);
        wrongLeaf(leaves, 0);
        vm.assertEq(tasks.roundOf(id, 1).attempts, 3);
    }

    function test_wrongLeaf_payForRejectedOrRevealedCalledUnrevealed_voided() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        leaves[0].verdict = uint8(Verdict.Rejected);
        settle(id, leaves, 2, 3);
        wrongLeaf(leaves, 0);
        leaves[0].verdict = uint8(Verdict.Unrevealed);
        leaves[0].payout = 0;
        settle(id, leaves, 2, 3);
        wrongLeaf(leaves, 0);
        assertPhase(id, Phase.Settle);
    }

    /// @dev Burning an unrevealed bond must not make the leaf of its trainer look like one without a commitment.
    function test_wrongLeaf_afterForfeit_honestSettlementStands() public {
        id = startTaskWithASilentThird();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        leaves[2].verdict = uint8(Verdict.Unrevealed);
        leaves = paid(id, leaves);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        trainerPool.forfeitBond(id, 1, trainers[2]);
        bytes32[] memory proof = proofOf(hashes(leaves), 2);
        vm.expectRevert(ISettlementProver.NoFault.selector);
        settlements.proveWrongLeaf(id, 2, leaves[2], proof);
    }

    function test_outsideWindow_notAccepted() public {
        toSettle();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        vm.expectPartialRevert(ISettlementProver.ProofsNotAccepted.selector);
        settlements.openCheck(id);
        settle(id, leaves, 2, 3);
        uint256 check = settlements.openCheck(id);
        sleep(PHASE);
        vm.expectPartialRevert(ISettlementProver.ProofsNotAccepted.selector);
        settlements.feedLeaves(check, leaves);
    }
}
