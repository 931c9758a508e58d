// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IRewardVault} from "../../../contracts/interfaces/IRewardVault.sol";
import {ISettlementProver} from "../../../contracts/interfaces/ISettlementProver.sol";
import {IStakeRegistry} from "../../../contracts/interfaces/IStakeRegistry.sol";
import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import {IVerifierFees} from "../../../contracts/interfaces/IVerifierFees.sol";
import {IVerifierPool} from "../../../contracts/interfaces/IVerifierPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {BN254} from "../../../contracts/libraries/BN254.sol";
import {Commitments} from "../../../contracts/libraries/Commitments.sol";
import {LeafTree} from "../../../contracts/libraries/LeafTree.sol";
import {RefusingToken} from "../support/OddToken.sol";
import {vm} from "../support/Vm.sol";
import {World} from "../support/World.sol";

/// @dev Attacks by lazy, absent, colluding and late verifiers. Names as in the audit.
contract VerifierAttacksTest is World {
    using BN254 for G1Point;

    uint64 internal id;

    function commitRaw(address verifier, bytes32 digest, bytes32 root) internal {
        bytes32 sealed_ = verifierPool.attestationHash(
            id, roundOf(id), verifier, digest, root, keccak256("none"), attestSalt(verifier)
        );
        vm.prank(verifier);
        verifierPool.commitAttestation(id, sealed_);
    }

    function revealRaw(address verifier, bytes32 digest, bytes32 root) internal {
        vm.prank(verifier);
        verifierPool.revealAttestation(id, digest, root, keccak256("none"), attestSalt(verifier));
    }

    /// @dev verifiers[0] guesses "all accepted" and seals `root`; the other three are honest.
    function roundWithLazy(bytes32 root) internal returns (SettlementLeaf[] memory leaves) {
        playToOpening(id, 3);
        expirePhase(id);
        leaves = honestLeaves(id, 3);
        bytes32 digest = settlementFor(id, leaves).verdictsDigest; // public: who committed is known
        commitRaw(verifiers[0], digest, root);
        for (uint256 i = 1; i < 4; ++i) {
            commitAttestation(id, verifiers[i], leaves);
        }
        revealRaw(verifiers[0], digest, root);
        for (uint256 i = 1; i < 4; ++i) {
            revealAttestation(id, verifiers[i], leaves);
        }
        settle(id, leaves, 4, 14); // the three honest ones sign
    }

    function assertNoFee(address verifier) internal {
        vm.expectPartialRevert(IVerifierFees.NothingToClaim.selector);
        fees.claimFees(id, one(1), verifier);
    }

    function test_A4_silentVerifiersStruck_othersShareTheirPart() public {
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        vm.startPrank(outsider);
        uint256 silent = court.demandScore(id, posted(id), verifiers[0], trainers[0]);
        uint256 answered = court.demandScore(id, posted(id), verifiers[1], trainers[0]);
        vm.stopPrank();
        court.answerScore(answered, pairOf(verifiers[1], scoreLeaves(leaves), leaves, 0));
        vm.assertEq(registry.creditOf(verifiers[1]), 5 * UNIT, "a needless demand pays for its answer");
        sleep(3_600);
        court.closeDemand(silent);
        tasks.finalize(id);
        assertNoFee(verifiers[0]);
        fees.claimFees(id, one(1), verifiers[1]);
        vm.assertEq(token.balanceOf(verifiers[1]), BUDGET / 30);
    }

    function test_A5_garbageAnsweredLate_isComparedAndStruck() public {
        id = startTask(3, 4);
        ScoreLeaf[] memory garbage = new ScoreLeaf[](3);
        for (uint256 i = 0; i < 3; ++i) {
            garbage[i] = ScoreLeaf(trainers[i], Verdict.Accepted, -777_777_777);
        }
        SettlementLeaf[] memory leaves = roundWithLazy(LeafTree.rootInPlace(scoreHashes(garbage)));
        vm.startPrank(outsider);
        uint256 d = court.demandScore(id, posted(id), verifiers[0], trainers[1]); // in the first second of the window
        vm.stopPrank();
        sleep(PHASE); // nobody may contest any more
        court.answerScore(d, pairOf(verifiers[0], garbage, leaves, 1));
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 10_000 * UNIT, "the bond comes back");
        vm.assertEq(registry.creditOf(verifiers[0]), 0);
        tasks.finalize(id);
        assertNoFee(verifiers[0]);
    }

    function test_A6_manyLeavesPerTrainer_noneHasTheRightPlace() public {
        id = startTask(3, 4);
        uint256 grid = 64; // scores -31..32 times twice the tolerance, for each of 3 trainers
        ScoreLeaf[] memory all = new ScoreLeaf[](3 * grid);
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 g = 0; g < grid; ++g) {
                all[i * grid + g] = ScoreLeaf(trainers[i], Verdict.Accepted, (int64(int256(g)) - 31) * 2_000);
            }
        }
        SettlementLeaf[] memory leaves = roundWithLazy(LeafTree.rootInPlace(scoreHashes(all)));
        vm.startPrank(outsider);
        uint256 d = court.demandScore(id, posted(id), verifiers[0], trainers[1]);
        vm.stopPrank();
        uint256 near = grid + uint256(int256((leaves[1].scoreNanos + 999) / 2_000)) + 31;
        ScorePair memory pair = ScorePair(
            verifiers[0], 1, all[near], proofOf(scoreHashes(all), near), leaves[1], proofOf(hashes(leaves), 1)
        );
        vm.expectPartialRevert(IVerifierPool.InvalidProof.selector);
        court.answerScore(d, pair);
        sleep(3_600);
        court.closeDemand(d);
        tasks.finalize(id);
        assertNoFee(verifiers[0]);
    }

    /// @dev A tree of the right size with the trainers in the wrong places answers for nobody.
    function test_A6b_leavesInOtherPlaces_areContradictions() public {
        id = startTask(3, 4);
        ScoreLeaf[] memory moved = new ScoreLeaf[](3);
        for (uint256 i = 0; i < 3; ++i) {
            moved[i] = ScoreLeaf(trainers[(i + 1) % 3], Verdict.Accepted, int64(int256(1_000 * ((i + 1) % 3 + 1))));
        }
        SettlementLeaf[] memory leaves = roundWithLazy(LeafTree.rootInPlace(scoreHashes(moved)));
        verifierPool.contestAttestation(id, pairOf(verifiers[0], moved, leaves, 1));
        finalize(id);
        assertNoFee(verifiers[0]);
    }

    function test_A8_hiddenLeaves_payAndSlashNobodyWhoHadNoPart() public {
        TaskParams memory p = defaultParams();
        p.stakes.slashBps = 10_000;
        p.stakes.proverBps = 5_000;
        id = startTask(p, 3, 2); // trainers[2] never commits
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = new SettlementLeaf[](2);
        leaves[0] = SettlementLeaf(outsider, uint8(Verdict.Accepted), 1, 0, 0, BUDGET);
        leaves[1] = SettlementLeaf(trainers[2], uint8(Verdict.Rejected), 0, 0, 0, 0);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id); // nobody saw the leaves
        bytes32[] memory proof = proofOf(hashes(leaves), 0);
        vm.expectPartialRevert(IRewardVault.NotEntitled.selector);
        vault.claim(id, 1, 0, 2, leaves[0], proof);
        proof = proofOf(hashes(leaves), 1);
        vm.expectPartialRevert(ITrainerPool.NotRevealed.selector);
        trainerPool.slash(id, 1, 1, leaves[1], proof);
        enrolTrainer(id, trainers[3]); // joins after the round
        leaves[1].trainer = trainers[3];
        vm.expectPartialRevert(ITrainerPool.InvalidProof.selector);
        trainerPool.slash(id, 1, 1, leaves[1], proof);
    }

    /// @dev Three leaves under a count of two: the third has no place.
    function test_A8b_moreLeavesThanTrainers_haveNoPlace() public {
        id = startTask(2, 2);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        attestAll(id, 2, leaves);
        SettlementLeaf[] memory more = new SettlementLeaf[](3);
        (more[0], more[1], more[2]) = (leaves[0], leaves[1], honestLeaves(id, 2)[1]);
        more[2].payout = BUDGET;
        Settlement memory s = settlementFor(id, leaves);
        s.leavesRoot = LeafTree.rootInPlace(hashes(more));
        tasks.settle(id, s, quorumProof(id, s, 2, 3));
        finalize(id);
        // The third is leaf 1 of 2 beside a hidden one (A8c). No number of leaves makes room for the first two.
        for (uint256 k = 0; k < 2; ++k) {
            bytes32[] memory proof = proofOf(hashes(more), k);
            for (uint32 count = 1; count < 5; ++count) {
                for (uint32 index = 0; index < count; ++index) {
                    vm.expectPartialRevert(IRewardVault.InvalidProof.selector);
                    vault.claim(id, 1, index, count, more[k], proof);
                }
            }
        }
    }

    /// @dev A settlement whose leaves nobody shows does not become final.
    function test_A8c_hiddenLeaf_demandedAndVoid() public {
        id = startTask(2, 2);
        SettlementLeaf[] memory leaves = playToWindow(id, 2, 2);
        vm.startPrank(outsider);
        uint256 shown = court.demandLeaf(id, posted(id), trainers[0]);
        uint256 hidden = court.demandLeaf(id, posted(id), trainers[1]);
        vm.stopPrank();
        bytes32[] memory proof = proofOf(hashes(leaves), 1);
        vm.expectPartialRevert(IDisputeCourt.WrongAnswer.selector);
        court.answerLeaf(shown, 1, leaves[1], proof);
        vm.prank(verifiers[0]);
        court.answerLeaf(shown, 0, leaves[0], proofOf(hashes(leaves), 0));
        vm.assertEq(registry.creditOf(verifiers[0]), 5 * UNIT, "whoever shows it is paid");
        bytes32 digest = digestOf(id, settlementFor(id, leaves));
        sleep(3_600);
        court.closeDemand(hidden);
        assertPhase(id, Phase.Settle);
        vm.expectPartialRevert(IDisputeCourt.NotCulpable.selector);
        court.slashSigner(digest, verifiers[0], new address[](0));
    }

    function blockedRound(uint32 round) internal {
        playToOpening(id, 3);
        for (uint256 i = 0; i < 3; ++i) {
            publish(id, trainers[i]);
        }
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        for (uint256 i = 0; i < 3; ++i) {
            commitAttestation(id, verifiers[i], leaves);
        }
        if (phaseOf(id) == Phase.AttestCommit) expirePhase(id);
        for (uint256 i = 0; i < 3; ++i) {
            revealAttestation(id, verifiers[i], leaves);
        }
        Settlement memory s = settlementFor(id, leaves);
        if (verifierPool.inQuorum(id, round, verifiers[3])) {
            QuorumProof memory proof = quorumProof(id, s, 4, 7);
            vm.expectPartialRevert(IVerifierPool.QuorumNotReached.selector);
            tasks.settle(id, s, proof);
            expirePhase(id); // a majority is enough from here on
            tasks.settle(id, s, quorumProof(id, s, 4, 7));
        } else {
            settle(id, leaves, 3, 7);
        }
        finalize(id);
        assertOutcome(id, round, Outcome.Settled);
        claim(id, round, leaves, 0);
    }

    function sponsorsBlock() internal {
        id = createTask(defaultParams());
        for (uint256 i = 0; i < 3; ++i) {
            enrolTrainer(id, trainers[i]);
        }
        for (uint256 i = 0; i < 3; ++i) {
            enrolVerifier(id, verifiers[i], uint96(200 * UNIT));
        }
        enrolVerifier(id, verifiers[3], uint96(310 * UNIT)); // the sponsor's, 34 %
    }

    function test_A9_blockingThirdStaysAway_everyRoundPaysAndItLosesItsSeat() public {
        sponsorsBlock();
        blockedRound(1);
        vm.prank(outsider);
        verifierPool.chargeAbsence(id, 1, verifiers[3]);
        vm.assertEq(verifierPool.enrolmentOf(id, verifiers[3]).stake, 306.9 ether, "one percent");
        vm.expectPartialRevert(IVerifierPool.NotAbsent.selector);
        verifierPool.chargeAbsence(id, 1, verifiers[3]);
        vm.expectPartialRevert(IVerifierPool.NotAbsent.selector);
        verifierPool.chargeAbsence(id, 1, verifiers[0]);
        blockedRound(2); // the quorum is full without it
        vm.assertFalse(verifierPool.inQuorum(id, 2, verifiers[3]));
    }

    function test_A9b_absenceInARow_costsTwiceEachTime() public {
        sponsorsBlock();
        uint96 before = 310 ether;
        uint256 bps = 100;
        for (uint32 r = 1; r <= 3; ++r) {
            blockedRound(r);
            verifierPool.chargeAbsence(id, r, verifiers[3]);
            uint96 left = verifierPool.enrolmentOf(id, verifiers[3]).stake;
            vm.assertEq(before - left, uint256(before) * bps / 10_000);
            (before, bps) = (left, 2 * bps);
            if (r == 3) break;
            sleep(3_600);
            vm.prank(verifiers[3]);
            verifierPool.rejoin(id, 0);
            vm.assertTrue(verifierPool.inQuorum(id, r, verifiers[3]), "still answers for the rounds before");
        }
    }

    /// @dev With all verifiers silent (a sponsor who runs them all) the work is paid the base.
    function test_A9c_noVerifierActs_workIsPaidTheBase() public {
        id = startTask(3, 4);
        playToOpening(id, 3);
        for (uint256 i = 0; i < 3; ++i) {
            publish(id, trainers[i]);
        }
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoAttestations);
        for (uint256 i = 0; i < 3; ++i) {
            vault.claimBase(id, 1, trainers[i]);
            vm.assertEq(token.balanceOf(trainers[i]), BUDGET / 15);
        }
        for (uint256 i = 0; i < 4; ++i) {
            verifierPool.chargeAbsence(id, 1, verifiers[i]);
        }
        vm.assertEq(
            verifierPool.checkpointOf(id, verifierPool.versionOf(id)).members, 4, "no majority sends nobody away"
        );
    }

    function test_A10_stakeJustBeforeTheRound_weighsNothing() public {
        TaskParams memory p = defaultParams();
        p.phases.activation = 1 days;
        id = createTask(p);
        for (uint256 i = 0; i < 2; ++i) {
            enrolTrainer(id, trainers[i]);
        }
        for (uint256 i = 0; i < 3; ++i) {
            enrolVerifier(id, verifiers[i], uint96(200 * UNIT));
        }
        sleep(1 days);
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(verifiers[i]);
            verifierPool.activate(id, verifiers[i]);
        }
        enrolVerifier(id, verifiers[3], uint96(1_300 * UNIT));
        vm.prank(verifiers[3]);
        vm.expectPartialRevert(IVerifierPool.NotActiveYet.selector);
        verifierPool.activate(id, verifiers[3]);
        openRound(id);
        vm.assertEq(verifierPool.quorumOf(id, 1).weight, 600 * UNIT);
        sleep(1 days);
        vm.prank(verifiers[3]);
        verifierPool.activate(id, verifiers[3]);
        vm.assertFalse(verifierPool.inQuorum(id, 1, verifiers[3]), "from the next round on");
        vm.prank(verifiers[3]);
        vm.expectPartialRevert(IVerifierPool.AlreadyEnrolled.selector);
        verifierPool.activate(id, verifiers[3]);
    }

    function test_A15_keysThatCancel_cannotBothRegister() public {
        address twin = vm.addr(0x7002);
        equip(twin, Role.Verifier, uint96(1_000 * UNIT));
        uint256 secret = BN254.R - 1; // the negative of verifier 0's
        G1Point memory possession = blsSign(secret, Commitments.POSSESSION_DOMAIN, registry.possessionDigest(twin));
        G1Point memory key = BN254.generator().multiply(secret);
        G2Point memory g2 = BN254.negativeGeneratorG2();
        vm.prank(twin);
        vm.expectPartialRevert(IStakeRegistry.KeyAlreadyUsed.selector);
        registry.registerKey(key, g2, possession);
    }

    function test_A17_blockedQuorum_rejectedTrainerStillSlashed() public {
        sponsorsBlock();
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        leaves[1].verdict = uint8(Verdict.Rejected);
        leaves = paid(id, leaves);
        for (uint256 i = 0; i < 3; ++i) {
            commitAttestation(id, verifiers[i], leaves);
        }
        expirePhase(id);
        for (uint256 i = 0; i < 3; ++i) {
            revealAttestation(id, verifiers[i], leaves);
        }
        expirePhase(id);
        settle(id, leaves, 4, 7);
        finalize(id);
        slash(id, 1, leaves, 1);
        vm.assertEq(registry.stakeOf(trainers[1], Role.Trainer).total, 9_950 * UNIT);
    }

    function equivocate(uint256 round, SettlementLeaf[] memory leaves) internal {
        Settlement memory a = settlementFor(id, leaves);
        Settlement memory b = settlementFor(id, leaves);
        b.verdictsDigest = "other";
        bytes32 domain = Commitments.SETTLEMENT_DOMAIN;
        G1Point memory sa = blsSign(1, domain, tasks.settlementDigest(id, uint32(round), 0, a));
        G1Point memory sb = blsSign(1, domain, tasks.settlementDigest(id, uint32(round), 0, b));
        vm.expectRevert(IDisputeCourt.NoEquivocation.selector);
        court.proveEquivocation(id, uint32(round), 0, verifiers[0], a, sa, a, sa);
        court.proveEquivocation(id, uint32(round), 0, verifiers[0], a, sa, b, sb);
        vm.assertEq(registry.stakeOf(verifiers[0], Role.Verifier).total, 9_900 * UNIT);
        vm.expectPartialRevert(IVerifierPool.AlreadyPenalised.selector);
        court.proveEquivocation(id, uint32(round), 0, verifiers[0], a, sa, b, sb);
    }

    function test_C6_equivocatorLosesItsFee_beforeTheEnd() public {
        id = startTask(2, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 2, 4);
        equivocate(1, leaves);
        finalize(id);
        assertNoFee(verifiers[0]);
        fees.claimFees(id, one(1), verifiers[1]);
        vm.assertEq(token.balanceOf(verifiers[1]), BUDGET / 30, "the others share it");
    }

    function test_C6b_equivocatorLosesItsFee_afterTheEnd() public {
        id = startTask(2, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 2, 4);
        finalize(id);
        equivocate(1, leaves);
        assertNoFee(verifiers[0]);
    }

    function test_C6c_struckThenExcluded_countedOnce() public {
        id = startTask(2, 4);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        SettlementLeaf[] memory sloppy = honestLeaves(id, 2);
        sloppy[1].scoreNanos += 5_000;
        for (uint256 i = 0; i < 4; ++i) {
            commitAttestation(id, verifiers[i], i == 0 ? sloppy : leaves);
        }
        for (uint256 i = 0; i < 4; ++i) {
            revealAttestation(id, verifiers[i], i == 0 ? sloppy : leaves);
        }
        settle(id, leaves, 4, 15);
        verifierPool.contestAttestation(id, pairOf(verifiers[0], scoreLeaves(sloppy), leaves, 1));
        equivocate(1, leaves);
        finalize(id);
        vm.assertEq(fees.feePotOf(id, 1).weight, 600 * UNIT);
    }

    function test_C10_refusingRewardToken_stakeRewardIsClaimedAlone() public {
        RefusingToken evil = new RefusingToken();
        evil.mint(sponsor, 1e24);
        vm.prank(sponsor);
        evil.approve(address(vault), type(uint256).max);
        TaskParams memory p = defaultParams();
        p.token = address(evil);
        id = startTask(p, 2, 2);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        leaves[1].verdict = uint8(Verdict.Rejected);
        leaves = paid(id, leaves);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id);
        slash(id, 1, leaves, 1);
        evil.refuse(verifiers[0]);
        vm.expectRevert();
        fees.claimFees(id, one(1), verifiers[0]);
        fees.claimSlashReward(id, 1, verifiers[0]);
        vm.assertEq(registry.creditOf(verifiers[0]), 5 * UNIT);
    }

    function test_D2_unrevealedAccepted_isProvable() public {
        id = startTaskWithASilentThird();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3); // all accepted
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        bytes32[] memory proof = proofOf(hashes(leaves), 0);
        vm.expectRevert(ISettlementProver.NoFault.selector);
        settlements.proveWrongLeaf(id, 0, leaves[0], proof);
        settlements.proveWrongLeaf(id, 2, leaves[2], proofOf(hashes(leaves), 2));
        assertPhase(id, Phase.Settle);
    }

    /// @dev Even if nobody proves it, nothing is paid for work that was not revealed.
    function test_D2b_unrevealedAccepted_isNotPaid() public {
        id = startTaskWithASilentThird();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id);
        bytes32[] memory proof = proofOf(hashes(leaves), 2);
        vm.expectPartialRevert(IRewardVault.NotEntitled.selector);
        vault.claim(id, 1, 2, 3, leaves[2], proof);
    }

    /// @dev Whoever could not reveal loses its bond, and no more by what a quorum says.
    function test_E24_unrevealedCalledRejected_losesItsBondAlone() public {
        id = startTaskWithASilentThird();
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        leaves[2].verdict = uint8(Verdict.Rejected);
        leaves = paid(id, leaves);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id);
        bytes32[] memory proof = proofOf(hashes(leaves), 2);
        vm.expectPartialRevert(ITrainerPool.NotRevealed.selector);
        trainerPool.slash(id, 1, 2, leaves[2], proof);
        trainerPool.forfeitBond(id, 1, trainers[2]);
        vm.assertEq(trainerPool.enrolmentOf(id, trainers[2]).stake, 90 * UNIT);
    }

    function test_D2c_revealedCalledUnrevealed_isProvable() public {
        id = startTask(3, 2);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        leaves[1].verdict = uint8(Verdict.Unrevealed);
        leaves = paid(id, leaves);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        settlements.proveWrongLeaf(id, 1, leaves[1], proofOf(hashes(leaves), 1));
        assertPhase(id, Phase.Settle);
    }
}
