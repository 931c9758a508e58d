// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeRegistry} from "../../contracts/interfaces/IStakeRegistry.sol";
import {ITaskManager} from "../../contracts/interfaces/ITaskManager.sol";
import {IVerifierFees} from "../../contracts/interfaces/IVerifierFees.sol";
import {IVerifierPool} from "../../contracts/interfaces/IVerifierPool.sol";
import "../../contracts/interfaces/Types.sol";
import {BN254} from "../../contracts/libraries/BN254.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {LeafTree} from "../../contracts/libraries/LeafTree.sol";
import {G2Multiples} from "./support/G2Multiples.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev Enrolment, quorum, attestations and fees of verifiers.
contract VerifiersTest is World {
    using BN254 for G1Point;

    // Enrolment and the sum of keys.

    function test_enrol_sumsKeysAndStakes() public {
        uint64 id = startTask(1, 4);
        IVerifierPool.Checkpoint memory set = verifierPool.checkpointOf(id, verifierPool.versionOf(id));
        G1Point memory expected = BN254.generator().multiply(15);
        vm.assertEq(set.key.x, expected.x);
        vm.assertEq(set.weight, 800 * UNIT);
        vm.assertEq(set.members, 4);
        vm.assertEq(verifierPool.verifierCount(id), 4);
        (address[] memory list, IVerifierPool.Enrolment[] memory enrolments) = verifierPool.verifiersOf(id, 2, 5);
        vm.assertEq(list.length, 2);
        vm.assertEq(list[0], verifiers[2]);
        vm.assertEq(enrolments[0].stake, 200 * UNIT);
        (list,) = verifierPool.verifiersOf(id, 7, 5);
        vm.assertEq(list.length, 0);
    }

    function test_enrol_refusals() public {
        uint64 id = startTask(1, 1);
        vm.startPrank(verifiers[0]);
        vm.expectPartialRevert(IVerifierPool.AlreadyEnrolled.selector);
        verifierPool.enrol(id, uint96(200 * UNIT));
        vm.stopPrank();
        vm.startPrank(verifiers[1]);
        vm.expectPartialRevert(IVerifierPool.StakeTooLow.selector);
        verifierPool.enrol(id, uint96(200 * UNIT - 1));
        vm.expectPartialRevert(IStakeRegistry.InsufficientFreeStake.selector);
        verifierPool.enrol(id, uint96(10_001 * UNIT));
        vm.stopPrank();
        vm.prank(trainers[0]);
        vm.expectPartialRevert(IStakeRegistry.NoKey.selector);
        verifierPool.enrol(id, uint96(200 * UNIT));
    }

    function test_resign_duringRound_staysInItsQuorum() public {
        uint64 id = startTask(1, 3);
        openRound(id);
        uint32 version = verifierPool.versionOf(id);
        vm.startPrank(verifiers[2]);
        verifierPool.resign(id);
        vm.expectPartialRevert(IVerifierPool.NotInQuorum.selector);
        verifierPool.resign(id);
        vm.stopPrank();
        enrolVerifier(id, verifiers[3], uint96(200 * UNIT));
        vm.assertEq(verifierPool.versionOf(id), version + 1, "the round's set is kept");
        vm.assertEq(verifierPool.quorumOf(id, 1).members, 3);
        vm.assertEq(verifierPool.checkpointOf(id, version + 1).members, 3);
        vm.assertTrue(verifierPool.inQuorum(id, 1, verifiers[2]));
        vm.assertFalse(verifierPool.inQuorum(id, 2, verifiers[2]));
        vm.assertFalse(verifierPool.inQuorum(id, 1, verifiers[3]));
        vm.expectPartialRevert(IVerifierPool.StillBound.selector);
        verifierPool.release(id, verifiers[2]);
        vm.expectPartialRevert(IVerifierPool.StillBound.selector);
        verifierPool.release(id, verifiers[0]);
        expirePhase(id);
        sleep(3_600);
        verifierPool.release(id, verifiers[2]);
        vm.assertEq(registry.stakeOf(verifiers[2], Role.Verifier).locked, 0);
        vm.expectPartialRevert(IVerifierPool.NotEnrolled.selector);
        verifierPool.release(id, verifiers[2]);
        enrolVerifier(id, verifiers[2], uint96(300 * UNIT));
        vm.assertEq(verifierPool.enrolmentOf(id, verifiers[2]).index, 3);
    }

    function test_resign_beforeFirstRound_releasesAtOnce() public {
        uint64 id = startTask(1, 2);
        vm.prank(verifiers[1]);
        verifierPool.resign(id);
        verifierPool.release(id, verifiers[1]);
        vm.assertEq(verifierPool.checkpointOf(id, 0).members, 1);
    }

    // Quorum.

    function toSettle(uint256 v, uint96[4] memory stakes) internal returns (uint64 id, SettlementLeaf[] memory leaves) {
        id = startTask(2, 0);
        for (uint256 i = 0; i < v; ++i) {
            enrolVerifier(id, verifiers[i], stakes[i]);
        }
        playToOpening(id, 2);
        expirePhase(id);
        leaves = honestLeaves(id, 2);
        attestAll(id, v, leaves);
    }

    function test_quorum_stakeDecides() public {
        uint96 unit = uint96(UNIT);
        (uint64 id, SettlementLeaf[] memory leaves) = toSettle(4, [500 * unit, 200 * unit, 200 * unit, 200 * unit]);
        Settlement memory s = settlementFor(id, leaves);
        // 600 of 1,100 staked, three of four heads.
        QuorumProof memory proof = quorumProof(id, s, 4, 14);
        vm.expectPartialRevert(IVerifierPool.QuorumNotReached.selector);
        tasks.settle(id, s, proof);
        // 900 of 1,100.
        proof = quorumProof(id, s, 4, 11);
        tasks.settle(id, s, proof);
    }

    function test_quorum_refusals() public {
        uint96 stake = uint96(200 * UNIT);
        (uint64 id, SettlementLeaf[] memory leaves) = toSettle(4, [stake, stake, stake, stake]);
        Settlement memory s = settlementFor(id, leaves);
        QuorumProof memory proof = quorumProof(id, s, 4, 7);
        address absent = proof.nonSigners[0];
        // One who is no member, one twice, and one who hides that somebody did not sign.
        proof.nonSigners[0] = outsider;
        vm.expectPartialRevert(IVerifierPool.NotInQuorum.selector);
        tasks.settle(id, s, proof);
        proof.nonSigners = new address[](2);
        (proof.nonSigners[0], proof.nonSigners[1]) = (absent, absent);
        vm.expectPartialRevert(IVerifierPool.NonSignersNotSorted.selector);
        tasks.settle(id, s, proof);
        proof.nonSigners = new address[](0);
        vm.expectPartialRevert(IVerifierPool.InvalidQuorumSignature.selector);
        tasks.settle(id, s, proof);
        // A key in G2 that is not the signers'.
        proof = quorumProof(id, s, 4, 7);
        proof.signersKey = G2Multiples.times(6);
        vm.expectPartialRevert(IVerifierPool.InvalidQuorumSignature.selector);
        tasks.settle(id, s, proof);
        // Nobody.
        proof = quorumProof(id, s, 4, 7);
        proof.nonSigners = new address[](4);
        for (uint256 i = 0; i < 4; ++i) {
            proof.nonSigners[i] = verifiers[i];
        }
        sort(proof.nonSigners);
        vm.expectPartialRevert(IVerifierPool.QuorumNotReached.selector);
        tasks.settle(id, s, proof);
    }

    function sort(address[] memory list) internal pure {
        for (uint256 i = 1; i < list.length; ++i) {
            for (uint256 j = i; j > 0 && list[j - 1] > list[j]; --j) {
                (list[j - 1], list[j]) = (list[j], list[j - 1]);
            }
        }
    }

    function test_hashToPoint_isOnTheCurve() public view {
        G1Point memory p = registry.hashToPoint("message");
        G1Point memory again = BN254.hashToPoint(Commitments.SETTLEMENT_DOMAIN, "message");
        vm.assertEq(p.y % 2, 0);
        vm.assertEq(p.x, again.x);
        vm.assertTrue(!p.add(p.negate()).isZero() == false);
    }

    // Attestations.

    function test_attestation_refusals() public {
        uint64 id = startTask(2, 3);
        playToOpening(id, 2);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        vm.prank(verifiers[0]);
        vm.expectPartialRevert(ITaskManager.WrongPhase.selector);
        verifierPool.commitAttestation(id, "c");
        expirePhase(id);
        vm.prank(outsider);
        vm.expectPartialRevert(IVerifierPool.NotInQuorum.selector);
        verifierPool.commitAttestation(id, "c");
        commitAttestation(id, verifiers[0], leaves);
        vm.prank(verifiers[0]);
        vm.expectPartialRevert(IVerifierPool.AlreadyCommitted.selector);
        verifierPool.commitAttestation(id, "c");
        // A copy of a colleague's commitment.
        IVerifierPool.Attestation memory copied = verifierPool.attestationOf(id, 1, verifiers[0]);
        vm.prank(verifiers[1]);
        verifierPool.commitAttestation(id, copied.digest);
        expirePhase(id);
        Settlement memory s = settlementFor(id, leaves);
        bytes32 root = LeafTree.rootInPlace(scoreHashes(scoreLeaves(leaves)));
        vm.prank(verifiers[1]);
        vm.expectPartialRevert(IVerifierPool.CommitmentMismatch.selector);
        verifierPool.revealAttestation(id, s.verdictsDigest, root, keccak256("artifact"), attestSalt(verifiers[0]));
        vm.prank(verifiers[2]);
        vm.expectPartialRevert(IVerifierPool.NotCommitted.selector);
        verifierPool.revealAttestation(id, s.verdictsDigest, root, keccak256("artifact"), attestSalt(verifiers[2]));
        revealAttestation(id, verifiers[0], leaves);
        vm.prank(verifiers[0]);
        vm.expectPartialRevert(IVerifierPool.NotCommitted.selector);
        verifierPool.revealAttestation(id, s.verdictsDigest, root, keccak256("artifact"), attestSalt(verifiers[0]));
        vm.assertEq(verifierPool.agreeingWeight(id, 1, s.verdictsDigest), 200 * UNIT);
    }

    // Fees.

    function test_claimFees_onlyThoseWhoAgree() public {
        uint64 id = startTask(2, 4);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        SettlementLeaf[] memory wrong = honestLeaves(id, 2);
        wrong[0].verdict = uint8(Verdict.Rejected);
        for (uint256 i = 0; i < 3; ++i) {
            commitAttestation(id, verifiers[i], i == 2 ? wrong : leaves);
        }
        expirePhase(id); // verifier 3 abstains
        for (uint256 i = 0; i < 3; ++i) {
            revealAttestation(id, verifiers[i], i == 2 ? wrong : leaves);
        }
        settle(id, leaves, 4, 11);
        vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
        fees.claimFees(id, one(1), verifiers[0]);
        finalize(id);
        for (uint256 i = 0; i < 2; ++i) {
            fees.claimFees(id, one(1), verifiers[i]);
            vm.assertEq(token.balanceOf(verifiers[i]), BUDGET / 20, "half of the fee each");
            vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
            fees.claimFees(id, one(1), verifiers[i]);
        }
        for (uint256 i = 2; i < 4; ++i) {
            vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
            fees.claimFees(id, one(1), verifiers[i]);
        }
        vm.assertEq(vault.potOf(id, 1).fees, 0);
    }

    function test_fixFees_nobodyAgrees_feeGoesBack() public {
        uint64 id = startTask(2, 1);
        uint96 before = vault.accountOf(id).balance;
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory wrong = honestLeaves(id, 2);
        wrong[0].verdict = uint8(Verdict.Rejected);
        attestAll(id, 1, wrong);
        settle(id, honestLeaves(id, 2), 1, 1);
        finalize(id);
        vm.assertEq(before - vault.accountOf(id).balance, BUDGET);
        vm.assertEq(fees.feePotOf(id, 1).weight, 0);
    }

    function test_contest_contradiction_losesTheFee() public {
        uint64 id = startTask(2, 3);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        SettlementLeaf[] memory sloppy = honestLeaves(id, 2);
        sloppy[1].scoreNanos += 1_001;
        for (uint256 i = 0; i < 3; ++i) {
            commitAttestation(id, verifiers[i], i == 2 ? sloppy : leaves);
        }
        for (uint256 i = 0; i < 3; ++i) {
            revealAttestation(id, verifiers[i], i == 2 ? sloppy : leaves);
        }
        settle(id, leaves, 3, 7);
        ScorePair memory pair = pairOf(verifiers[2], scoreLeaves(sloppy), leaves, 1);
        pair.verifier = verifiers[0];
        vm.expectPartialRevert(IVerifierPool.InvalidProof.selector);
        verifierPool.contestAttestation(id, pair);
        pair.verifier = verifiers[2];
        pair.index = 0;
        vm.expectPartialRevert(IVerifierPool.InvalidProof.selector);
        verifierPool.contestAttestation(id, pair);
        ScorePair memory agreeing = pairOf(verifiers[2], scoreLeaves(sloppy), leaves, 0);
        vm.expectPartialRevert(IVerifierPool.NoContradiction.selector);
        verifierPool.contestAttestation(id, agreeing);
        pair.index = 1;
        verifierPool.contestAttestation(id, pair);
        verifierPool.contestAttestation(id, pair);
        pair.verifier = verifiers[3];
        vm.expectPartialRevert(IVerifierPool.NotRevealed.selector);
        verifierPool.contestAttestation(id, pair);
        finalize(id);
        vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
        fees.claimFees(id, one(1), verifiers[2]);
        fees.claimFees(id, one(1), verifiers[0]);
        vm.assertEq(token.balanceOf(verifiers[0]), BUDGET / 20);
    }

    function test_contest_withinTolerance_refused() public {
        uint64 id = startTask(2, 1);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        SettlementLeaf[] memory near = honestLeaves(id, 2);
        near[0].scoreNanos -= 1_000;
        attestAll(id, 1, near);
        settle(id, leaves, 1, 1);
        ScorePair memory pair = pairOf(verifiers[0], scoreLeaves(near), leaves, 0);
        vm.expectPartialRevert(IVerifierPool.NoContradiction.selector);
        verifierPool.contestAttestation(id, pair);
    }

    function test_contest_verdictInLeaf_counts() public {
        uint64 id = startTask(1, 1);
        playToOpening(id, 1);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 1);
        // The verdicts digest agrees, the leaf under the scores root does not.
        ScoreLeaf[] memory scores = scoreLeaves(leaves);
        scores[0].verdict = Verdict.Withheld;
        bytes32 root = LeafTree.rootInPlace(scoreHashes(scores));
        bytes32 digest = settlementFor(id, leaves).verdictsDigest;
        bytes32 sealed_ = verifierPool.attestationHash(id, 1, verifiers[0], digest, root, 0, 0);
        vm.prank(verifiers[0]);
        verifierPool.commitAttestation(id, sealed_);
        vm.prank(verifiers[0]);
        verifierPool.revealAttestation(id, digest, root, 0, 0);
        settle(id, leaves, 1, 1);
        verifierPool.contestAttestation(id, pairOf(verifiers[0], scores, leaves, 0));
        finalize(id);
        vm.assertEq(fees.feePotOf(id, 1).fee, 0);
    }

    function test_expireSlashRewards_burnsTheRest() public {
        uint64 id = startTask(2, 3);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        leaves[1].verdict = uint8(Verdict.Rejected);
        leaves = paid(id, leaves);
        attestAll(id, 3, leaves);
        settle(id, leaves, 3, 7);
        finalize(id);
        slash(id, 1, leaves, 1);
        fees.claimFees(id, one(1), verifiers[0]);
        vm.expectPartialRevert(IVerifierFees.RoundNotFinal.selector);
        fees.expireSlashRewards(id, 1);
        sleep(86_400);
        vault.expire(id, 1);
        fees.expireSlashRewards(id, 1);
        vm.assertEq(registry.creditOf(address(fees)), 0);
        fees.expireSlashRewards(id, 1);
        vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
        fees.claimSlashReward(id, 1, verifiers[1]);
        uint256 before = token.balanceOf(verifiers[1]);
        fees.claimFees(id, one(1), verifiers[1]); // nothing is left to pay
        vm.assertEq(token.balanceOf(verifiers[1]), before);
    }

    /// @dev More stake takes the seat of less in a full quorum only; while there is room it sits down beside it.
    function test_replace_whileThereIsRoom_refused() public {
        TaskParams memory p = defaultParams();
        p.phases.activation = 100;
        uint64 id = startTask(p, 1, 2);
        enrolVerifier(id, verifiers[2], 2 * p.stakes.verifierStake);
        sleep(100);
        vm.prank(verifiers[0]);
        verifierPool.activate(id, verifiers[0]);
        vm.startPrank(verifiers[2]);
        vm.expectPartialRevert(IVerifierPool.NotWeaker.selector);
        verifierPool.replace(id, verifiers[2], verifiers[0]);
        verifierPool.activate(id, verifiers[2]);
        vm.stopPrank();
        vm.assertEq(verifierPool.checkpointOf(id, verifierPool.versionOf(id)).members, 2);
    }

    function test_modules_onlyTheirCallers() public {
        uint64 id = startTask(1, 1);
        vm.expectPartialRevert(IVerifierPool.NotModule.selector);
        verifierPool.openRound(id, 1);
        vm.expectPartialRevert(IVerifierFees.NotModule.selector);
        fees.fixFees(id, 1, 0, 0);
        vm.expectPartialRevert(IVerifierFees.NotModule.selector);
        fees.addSlashRewards(id, 1, 1);
        ScorePair memory pair;
        vm.expectPartialRevert(IVerifierPool.NotModule.selector);
        verifierPool.compareScore(id, 1, pair);
        vm.expectPartialRevert(IVerifierPool.NotModule.selector);
        verifierPool.disqualify(id, 1, verifiers[0]);
        vm.expectPartialRevert(IVerifierPool.NotModule.selector);
        verifierPool.punish(id, 1, verifiers[0], outsider);
        vm.prank(address(court));
        verifierPool.disqualify(id, 1, verifiers[0]); // no settlement stands: nothing happens
    }
}
