// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../../contracts/interfaces/IRewardVault.sol";
import "../../contracts/interfaces/Types.sol";
import {ExactTransfer} from "../../contracts/libraries/ExactTransfer.sol";
import {OddToken} from "./support/OddToken.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev Escrow, claims, expiry, odd tokens.
contract VaultTest is World {
    function test_claim_refusals() public {
        uint64 id = startTask(3, 2);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 2);
        bytes32[] memory proof = proofOf(hashes(leaves), 0);
        vm.expectPartialRevert(IRewardVault.InvalidProof.selector);
        vault.claim(id, 1, 0, uint32(leaves.length), leaves[0], proof); // not final
        finalize(id);
        SettlementLeaf memory forged = leaves[0];
        forged.payout += 1;
        vm.expectPartialRevert(IRewardVault.InvalidProof.selector);
        vault.claim(id, 1, 0, 3, forged, proof);
        forged.payout -= 1;
        vm.expectPartialRevert(IRewardVault.InvalidProof.selector);
        vault.claim(id, 2, 0, uint32(leaves.length), leaves[0], proof);
        vm.expectPartialRevert(IRewardVault.InvalidProof.selector);
        vault.claim(id + 1, 1, 0, uint32(leaves.length), leaves[0], proof);
        vault.claim(id, 1, 0, uint32(leaves.length), leaves[0], proof);
        vm.assertTrue(vault.hasClaimed(id, 1, leaves[0].trainer));
        vm.assertFalse(vault.hasClaimed(id, 1, leaves[1].trainer));
        vm.expectPartialRevert(IRewardVault.AlreadyClaimed.selector);
        vault.claim(id, 1, 0, uint32(leaves.length), leaves[0], proof);
    }

    function test_claim_zeroPayout_refused() public {
        uint64 id = startTask(2, 1);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        leaves[0].scoreNanos = -5;
        leaves = paid(id, leaves);
        vm.assertEq(leaves[0].payout, 0);
        attestAll(id, 1, leaves);
        settle(id, leaves, 1, 1);
        finalize(id);
        bytes32[] memory proof = proofOf(hashes(leaves), 0);
        vm.expectRevert(IRewardVault.ZeroAmount.selector);
        vault.claim(id, 1, 0, uint32(leaves.length), leaves[0], proof);
    }

    /// @dev A quorum signs leaves that add up to more than the total: the pot pays its total and no more.
    function test_claim_leavesOverTotal_neverOverdraws() public {
        uint64 id = startTask(2, 1);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        attestAll(id, 1, leaves);
        leaves[0].payout = BUDGET;
        leaves[1].payout = 1;
        Settlement memory s = settlementFor(id, leaves);
        s.totalPayout = BUDGET;
        tasks.settle(id, s, quorumProof(id, s, 1, 1));
        finalize(id);
        claim(id, 1, leaves, 0);
        bytes32[] memory proof = proofOf(hashes(leaves), 1);
        vm.expectPartialRevert(IRewardVault.PotExhausted.selector);
        vault.claim(id, 1, 1, uint32(leaves.length), leaves[1], proof);
    }

    function test_claimBatch_acrossRoundsAndTasks_onePayment() public {
        uint64 a = startTask(2, 2);
        uint64 b = startTask(2, 2);
        IRewardVault.Claim[] memory claims = new IRewardVault.Claim[](3);
        SettlementLeaf[] memory leaves = playRound(a, 2, 2);
        claims[0] = IRewardVault.Claim(a, 1, 0, 2, leaves[0], proofOf(hashes(leaves), 0));
        bytes32[] memory otherProof = proofOf(hashes(leaves), 1);
        SettlementLeaf memory other = leaves[1];
        leaves = playRound(a, 2, 2);
        claims[1] = IRewardVault.Claim(a, 2, 0, 2, leaves[0], proofOf(hashes(leaves), 0));
        leaves = playRound(b, 2, 2);
        claims[2] = IRewardVault.Claim(b, 1, 0, 2, leaves[0], proofOf(hashes(leaves), 0));
        uint256 before = token.balanceOf(trainers[0]);
        vault.claimBatch(claims);
        vm.assertEq(token.balanceOf(trainers[0]) - before, 3 * uint256(leaves[0].payout));
        vm.expectPartialRevert(IRewardVault.AlreadyClaimed.selector);
        vault.claimBatch(claims);
        IRewardVault.Claim[] memory mixed = new IRewardVault.Claim[](2);
        mixed[0] = IRewardVault.Claim(a, 1, 1, 2, other, otherProof);
        mixed[1] = mixed[0];
        before = token.balanceOf(trainers[1]);
        vault.claimBatch(mixed);
        vm.assertEq(token.balanceOf(trainers[1]) - before, other.payout, "once");
        IRewardVault.Claim[] memory none = new IRewardVault.Claim[](0);
        vm.expectRevert(IRewardVault.ZeroAmount.selector);
        vault.claimBatch(none);
    }

    function test_claimBatch_twoPayees_refused() public {
        uint64 id = startTask(2, 2);
        SettlementLeaf[] memory leaves = playRound(id, 2, 2);
        IRewardVault.Claim[] memory claims = new IRewardVault.Claim[](2);
        claims[0] = IRewardVault.Claim(id, 1, 0, 2, leaves[0], proofOf(hashes(leaves), 0));
        claims[1] = IRewardVault.Claim(id, 1, 1, 2, leaves[1], proofOf(hashes(leaves), 1));
        vm.expectPartialRevert(IRewardVault.MixedClaims.selector);
        vault.claimBatch(claims);
    }

    function test_expire_returnsUnclaimed() public {
        uint64 id = startTask(2, 2);
        SettlementLeaf[] memory leaves = playRound(id, 2, 2);
        claim(id, 1, leaves, 0);
        vm.expectPartialRevert(IRewardVault.NotExpired.selector);
        vault.expire(id, 1);
        vm.expectPartialRevert(IRewardVault.NotExpired.selector);
        vault.expire(id, 2);
        sleep(86_400);
        uint96 before = vault.accountOf(id).balance;
        vault.expire(id, 1);
        vm.assertEq(vault.accountOf(id).balance - before, leaves[1].payout + BUDGET / 10);
        vm.expectRevert(IRewardVault.ZeroAmount.selector);
        vault.expire(id, 1);
        bytes32[] memory proof = proofOf(hashes(leaves), 1);
        vm.expectPartialRevert(IRewardVault.PotExhausted.selector);
        vault.claim(id, 1, 1, uint32(leaves.length), leaves[1], proof);
        fees.claimFees(id, one(1), verifiers[0]);
        vm.assertEq(token.balanceOf(verifiers[0]), 0);
    }

    function test_fund_refusals() public {
        vm.startPrank(sponsor);
        vm.expectRevert(IRewardVault.ZeroAmount.selector);
        vault.fund(1, 0);
        vm.expectPartialRevert(IRewardVault.UnknownTask.selector);
        vault.fund(1, 5);
        vm.stopPrank();
        uint64 id = startTask(1, 1);
        vm.expectPartialRevert(IRewardVault.NotSponsor.selector);
        vault.withdraw(id);
    }

    function test_modules_onlyTheirCallers() public {
        bytes4 selector = IRewardVault.NotModule.selector;
        vm.expectPartialRevert(selector);
        vault.open(1, address(token), sponsor, 0);
        vm.expectPartialRevert(selector);
        vault.prepare(1, trainers[0]);
        vm.expectPartialRevert(selector);
        vault.reserve(1, 1, 1);
        vm.expectPartialRevert(selector);
        vault.allocate(1, 1, 0, 0, 0, 0);
        vm.expectPartialRevert(selector);
        vault.allocateBase(1, 1, 0, 0, 0);
        vm.expectPartialRevert(selector);
        vault.hold(1, 1, trainers[0]);
        vm.expectPartialRevert(selector);
        vault.resume(1, 1, trainers[0]);
        vm.expectPartialRevert(selector);
        vault.block_(1, 1, trainers[0]);
        vm.expectPartialRevert(selector);
        vault.payFee(1, 1, verifiers[0], 1);
    }

    // Odd tokens.

    function oddTask() internal returns (OddToken odd, uint64 id) {
        odd = new OddToken();
        odd.mint(sponsor, 1e30);
        vm.prank(sponsor);
        odd.approve(address(vault), type(uint256).max);
        TaskParams memory p = defaultParams();
        p.token = address(odd);
        id = startTask(p, 2, 2);
    }

    function test_fund_oddToken_refused() public {
        (OddToken odd, uint64 id) = oddTask();
        odd.setFee(1);
        vm.startPrank(sponsor);
        vm.expectPartialRevert(ExactTransfer.InexactTransfer.selector);
        vault.fund(id, 100);
        odd.setFee(0);
        odd.setSilentFailure(true);
        vm.expectRevert();
        vault.fund(id, 100);
        vm.stopPrank();
    }

    function test_claim_reentrantToken_harmless() public {
        (OddToken odd, uint64 id) = oddTask();
        SettlementLeaf[] memory leaves = playRound(id, 2, 2);
        bytes32[] memory proof = proofOf(hashes(leaves), 0);
        odd.setCallback(address(vault), abi.encodeCall(vault.claim, (id, 1, 0, 2, leaves[0], proof)));
        vault.claim(id, 1, 0, uint32(leaves.length), leaves[0], proof);
        vm.assertFalse(odd.callbackSucceeded());
        vm.assertEq(odd.balanceOf(trainers[0]), leaves[0].payout);
    }

    function test_claim_tokenRefuses_claimStaysOpen() public {
        (OddToken odd, uint64 id) = oddTask();
        SettlementLeaf[] memory leaves = playRound(id, 2, 2);
        bytes32[] memory proof = proofOf(hashes(leaves), 0);
        odd.setSilentFailure(true);
        vm.expectRevert();
        vault.claim(id, 1, 0, uint32(leaves.length), leaves[0], proof);
        odd.setSilentFailure(false);
        vault.claim(id, 1, 0, uint32(leaves.length), leaves[0], proof);
    }
}
