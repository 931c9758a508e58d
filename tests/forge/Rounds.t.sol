// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "../../contracts/interfaces/IBeacon.sol";
import {IRewardVault} from "../../contracts/interfaces/IRewardVault.sol";
import {ITaskManager} from "../../contracts/interfaces/ITaskManager.sol";
import {ITaskTerms} from "../../contracts/interfaces/ITaskTerms.sol";
import {IVerifierPool} from "../../contracts/interfaces/IVerifierPool.sol";
import "../../contracts/interfaces/Types.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev Tasks, rounds, phases and the beacon.
contract RoundsTest is World {
    function expectTaskRevert(bytes4 selector) internal {
        vm.expectPartialRevert(selector);
    }

    // A whole life.

    function test_round_honest_paysByTheRule() public {
        uint64 id = startTask(3, 3);
        SettlementLeaf[] memory leaves = playRound(id, 3, 3);
        assertOutcome(id, 1, Outcome.Settled);
        vm.assertEq(tasks.taskOf(id).adapterDigest, tasks.settlementOf(id, 1).nextStartDigest);
        for (uint256 i = 0; i < 3; ++i) {
            uint256 before = token.balanceOf(trainers[i]);
            claim(id, 1, leaves, i);
            vm.assertEq(token.balanceOf(trainers[i]) - before, leaves[i].payout);
        }
        vm.assertEq(vault.potOf(id, 1).remaining, 0);
    }

    function test_task_threeRounds_endsAndReturnsNothingElse() public {
        uint64 id = startTask(2, 2);
        for (uint32 r = 1; r <= 3; ++r) {
            SettlementLeaf[] memory leaves = playRound(id, 2, 2);
            for (uint256 i = 0; i < 2; ++i) {
                claim(id, r, leaves, i);
                fees.claimFees(id, one(r), verifiers[i]);
            }
        }
        vm.assertTrue(tasks.isEnded(id));
        vm.prank(sponsor);
        expectTaskRevert(ITaskManager.NoRoundLeft.selector);
        tasks.openRound(id);
        tasks.revealHeldOut(id, validationDigest(3), validationSalt(3));
        vm.assertEq(token.balanceOf(address(vault)), 0, "everything paid");
    }

    function test_roundView_settled_showsEverything() public {
        uint64 id = startTask(2, 2);
        SettlementLeaf[] memory leaves = playRound(id, 2, 2);
        RoundView memory r = tasks.roundOf(id, 1);
        vm.assertTrue(r.validationRevealed);
        vm.assertEq(r.validationDigest, validationDigest(0));
        vm.assertTrue(r.orderSeed != 0 && r.challengeSeed != 0 && r.orderSeed != r.challengeSeed);
        vm.assertEq(r.startDigest, keccak256("start"));
        vm.assertEq(r.endedAt, vm.getBlockTimestamp());
        vm.assertEq(r.settlement.leafCount, leaves.length);
        vm.assertEq(tasks.endedAt(id, 1), r.endedAt);
        vm.assertEq(tasks.seedRequestOf(id), 0);
        vm.assertEq(tasks.openDisputes(id), 0);
        vm.assertEq(terms.validationCommitmentsOf(id).length, 4);
        vm.assertEq(uint256(terms.rewardTerms(id).budgetPerRound), BUDGET);
        expectTaskRevert(ITaskManager.UnknownRound.selector);
        tasks.roundOf(id, 2);
        expectTaskRevert(ITaskTerms.UnknownTask.selector);
        tasks.taskOf(id + 1);
        vm.assertTrue(tasks.isSettled(id, 1));
        vm.assertEq(tasks.attestingBlock(id, 1), r.attestingBlock);
        vm.assertEq(tasks.nonSignersHashOf(id, 1), 0);
    }

    // Endings without pay.

    function test_advance_nobodyCommits_endsAndReturnsBudget() public {
        uint64 id = startTask(2, 2);
        uint96 before = vault.accountOf(id).balance;
        openRound(id);
        vm.assertEq(vault.accountOf(id).balance + vault.accountOf(id).reserved, before);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoCommitments);
        vm.assertEq(vault.accountOf(id).balance, before);
        vm.assertEq(tasks.taskOf(id).adapterDigest, keccak256("start"));
    }

    function test_advance_nobodyReveals_endsAndReturnsBudget() public {
        uint64 id = startTask(2, 2);
        uint96 before = vault.accountOf(id).balance;
        openRound(id);
        commit(id, trainers[0]);
        expirePhase(id);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoReveals);
        vm.assertEq(vault.accountOf(id).balance, before);
    }

    function test_advance_nobodyAttestsNorOpens_returnsBudget() public {
        uint64 id = startTask(2, 2);
        uint96 before = vault.accountOf(id).balance;
        playToOpening(id, 2);
        expirePhase(id);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoAttestations);
        vm.assertEq(vault.accountOf(id).balance, before);
    }

    function test_advance_nobodyAttests_openedTrainersGetTheBase() public {
        uint64 id = startTask(2, 2);
        uint96 before = vault.accountOf(id).balance;
        playToOpening(id, 2);
        publish(id, trainers[1]);
        expirePhase(id);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoAttestations);
        vm.assertEq(before - vault.accountOf(id).balance, BUDGET / 5);
        expectTaskRevert(IRewardVault.NotEntitled.selector);
        vault.claimBase(id, 1, trainers[0]);
        vault.claimBase(id, 1, trainers[1]);
        vm.assertEq(token.balanceOf(trainers[1]), BUDGET / 5);
        expectTaskRevert(IRewardVault.AlreadyClaimed.selector);
        vault.claimBase(id, 1, trainers[1]);
        expectTaskRevert(IRewardVault.ZeroAmount.selector);
        vault.claimBase(id, 2, trainers[1]);
    }

    function test_advance_nobodyRevealsAttestation_endsAndReturnsBudget() public {
        uint64 id = startTask(2, 2);
        playToOpening(id, 2);
        expirePhase(id);
        commitAttestation(id, verifiers[0], honestLeaves(id, 2));
        expirePhase(id);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoAttestations);
        vm.assertEq(vault.accountOf(id).reserved, 0);
    }

    function test_advance_noQuorum_endsAndNextRoundRuns() public {
        uint64 id = startTask(2, 2);
        playToOpening(id, 2);
        expirePhase(id);
        attestAll(id, 2, honestLeaves(id, 2));
        expirePhase(id);
        assertPhase(id, Phase.Settle);
        vm.assertTrue(tasks.roundOf(id, 1).late);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoQuorum);
        vm.assertEq(vault.accountOf(id).reserved, 0);
        expectTaskRevert(ITaskManager.NotSettled.selector);
        tasks.settlementOf(id, 1);
        playRound(id, 2, 2);
        assertOutcome(id, 2, Outcome.Settled);
    }

    function test_round_nobodyAccepted_paysNothing() public {
        uint64 id = startTask(2, 2);
        uint96 before = vault.accountOf(id).balance;
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        leaves[0].verdict = leaves[1].verdict = uint8(Verdict.Rejected);
        leaves = paid(id, leaves);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id);
        vm.assertEq(tasks.settlementOf(id, 1).totalPayout, 0);
        vm.assertEq(before - vault.accountOf(id).balance, BUDGET / 10, "only the verifiers' fee is paid");
    }

    function test_round_validationWithheld_unscoredSplit() public {
        uint64 id = startTask(3, 2);
        openRound(id);
        for (uint256 i = 0; i < 3; ++i) {
            commit(id, trainers[i]);
        }
        for (uint256 i = 0; i < 3; ++i) {
            reveal(id, trainers[i]);
        }
        draw(id);
        for (uint256 i = 0; i < 3; ++i) {
            publish(id, trainers[i]);
        }
        assertPhase(id, Phase.Opening);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        vm.assertEq(leaves[0].payout, BUDGET / 3 + 1);
        vm.assertEq(leaves[2].payout, BUDGET / 3);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id);
    }

    // Refusals.

    function test_openRound_refusals() public {
        TaskParams memory p = defaultParams();
        p.quorum.minTrainers = 2;
        uint64 id = startTask(p, 1, 1);
        vm.prank(outsider);
        expectTaskRevert(ITaskManager.NotSponsor.selector);
        tasks.openRound(id);
        vm.prank(sponsor);
        expectTaskRevert(ITaskManager.TooFewEnrolled.selector);
        tasks.openRound(id);
        enrolTrainer(id, trainers[1]);
        vm.prank(sponsor);
        tasks.openRound(id);
        vm.prank(sponsor);
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.openRound(id);
    }

    /// @dev At once before the first round, else `slash` seconds after the last one.
    function test_openRound_neverComes_everybodyLeaves() public {
        uint64 id = startTask(1, 1);
        everybodyLeaves(id, 1);
        id = startTask(2, 2);
        playRound(id, 2, 2);
        enrolTrainer(id, trainers[2]);
        enrolVerifier(id, verifiers[2], uint96(200 * UNIT));
        sleep(defaultParams().phases.slash);
        everybodyLeaves(id, 3);
    }

    function everybodyLeaves(uint64 id, uint256 count) private {
        for (uint256 i = 0; i < count; ++i) {
            vm.prank(trainers[i]);
            trainerPool.resign(id);
            trainerPool.release(id, trainers[i]);
            vm.prank(verifiers[i]);
            verifierPool.resign(id);
            verifierPool.release(id, verifiers[i]);
            vm.assertEq(registry.stakeOf(trainers[i], Role.Trainer).locked, 0);
            vm.assertEq(registry.stakeOf(verifiers[i], Role.Verifier).locked, 0);
        }
    }

    function test_openRound_unfunded_reverts() public {
        TaskParams memory p = defaultParams();
        vm.prank(sponsor);
        uint64 id = terms.createTask(p, validationCommitments(4), BUDGET);
        enrolTrainer(id, trainers[0]);
        enrolVerifier(id, verifiers[0], p.stakes.verifierStake);
        vm.prank(sponsor);
        expectTaskRevert(IRewardVault.InsufficientBalance.selector);
        tasks.openRound(id);
        vm.prank(sponsor);
        vault.fund(id, BUDGET / 10);
        vm.prank(sponsor);
        tasks.openRound(id);
        assertPhase(id, Phase.Draw);
    }

    function test_cancel_betweenRounds_endsAtOnce() public {
        uint64 id = startTask(1, 1);
        expectTaskRevert(ITaskManager.NotSponsor.selector);
        tasks.cancelTask(id);
        vm.startPrank(sponsor);
        expectTaskRevert(IRewardVault.TaskStillRunning.selector);
        vault.withdraw(id);
        tasks.cancelTask(id);
        expectTaskRevert(ITaskManager.TaskIsCancelled.selector);
        tasks.cancelTask(id);
        vault.withdraw(id);
        expectTaskRevert(IRewardVault.ZeroAmount.selector);
        vault.withdraw(id);
        vm.stopPrank();
        vm.prank(sponsor);
        expectTaskRevert(ITaskManager.TaskIsCancelled.selector);
        tasks.openRound(id);
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    function test_cancel_duringRound_roundStillPays() public {
        uint64 id = startTask(2, 2);
        openRound(id);
        vm.startPrank(sponsor);
        tasks.cancelTask(id);
        expectTaskRevert(IRewardVault.TaskStillRunning.selector);
        vault.withdraw(id);
        vm.stopPrank();
        for (uint256 i = 0; i < 2; ++i) {
            commit(id, trainers[i]);
        }
        for (uint256 i = 0; i < 2; ++i) {
            reveal(id, trainers[i]);
        }
        draw(id);
        revealValidation(id);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id);
        claim(id, 1, leaves, 0);
        vm.prank(sponsor);
        vault.withdraw(id);
    }

    function test_advance_beforeDeadline_reverts() public {
        uint64 id = startTask(2, 2);
        expectTaskRevert(ITaskManager.NotDue.selector);
        tasks.advance(id);
        openRound(id);
        expectTaskRevert(ITaskManager.NotDue.selector);
        tasks.advance(id);
        (,, uint64 deadline, bool due) = tasks.phaseOf(id);
        vm.assertFalse(due);
        vm.warp(deadline);
        (,,, due) = tasks.phaseOf(id);
        vm.assertTrue(due);
        vm.prank(trainers[0]);
        expectTaskRevert(ITaskManager.PhaseClosed.selector);
        trainerPool.commit(id, keccak256("late"));
    }

    function test_phaseOf_drawing_dueWhenSeedIsFixed() public {
        uint64 id = startTask(1, 1);
        vm.prank(sponsor);
        tasks.openRound(id);
        (,,, bool due) = tasks.phaseOf(id);
        vm.assertFalse(due);
        vm.roll(vm.getBlockNumber() + 2);
        beacon.fulfil(tasks.seedRequestOf(id));
        (,,, due) = tasks.phaseOf(id);
        vm.assertTrue(due);
    }

    function test_revealValidation_refusals() public {
        uint64 id = startTask(1, 1);
        openRound(id);
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.revealValidation(id, validationDigest(0), validationSalt(0));
        commit(id, trainers[0]);
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.revealValidation(id, validationDigest(0), validationSalt(0));
        reveal(id, trainers[0]);
        draw(id);
        expectTaskRevert(ITaskTerms.ValidationMismatch.selector);
        tasks.revealValidation(id, validationDigest(0), validationSalt(1));
        revealValidation(id);
        expectTaskRevert(ITaskManager.AlreadyRevealed.selector);
        tasks.revealValidation(id, validationDigest(0), validationSalt(0));
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.revealHeldOut(id, validationDigest(3), validationSalt(3));
    }

    function test_revealValidation_last_movesOn() public {
        uint64 id = startTask(1, 1);
        openRound(id);
        commit(id, trainers[0]);
        reveal(id, trainers[0]);
        draw(id);
        publish(id, trainers[0]);
        assertPhase(id, Phase.Opening);
        revealValidation(id);
        assertPhase(id, Phase.AttestCommit);
    }

    function test_settle_refusals() public {
        uint64 id = startTask(2, 3);
        playToOpening(id, 2);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 2);
        Settlement memory s = settlementFor(id, leaves);
        QuorumProof memory proof = quorumProof(id, s, 3, 7);
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.settle(id, s, proof);
        attestAll(id, 3, leaves);
        s.leafCount = 3;
        expectTaskRevert(ITaskManager.LeafCountMismatch.selector);
        tasks.settle(id, s, proof);
        s.leafCount = 2;
        s.totalPayout = BUDGET + 1;
        expectTaskRevert(ITaskManager.PayoutOverBudget.selector);
        tasks.settle(id, s, proof);
        s.totalPayout = BUDGET - 1;
        expectTaskRevert(IVerifierPool.InvalidQuorumSignature.selector);
        tasks.settle(id, s, proof);
        s.totalPayout = BUDGET;
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.finalize(id);
        tasks.settle(id, s, proof);
        expectTaskRevert(ITaskManager.NotDue.selector);
        tasks.finalize(id);
        expirePhase(id); // `advance` finalises as well
        assertPhase(id, Phase.Idle);
    }

    function test_settle_targetNotReached_releasesPart() public {
        TaskParams memory p = defaultParams();
        p.rewards.targetNanos = 4e9;
        uint64 id = startTask(p, 1, 1);
        playToOpening(id, 1);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 1);
        vm.assertEq(leaves[0].payout, BUDGET / 4);
        attestAll(id, 1, leaves);
        leaves[0].payout += 1;
        Settlement memory s = settlementFor(id, leaves);
        QuorumProof memory proof = quorumProof(id, s, 1, 1);
        expectTaskRevert(ITaskManager.PayoutOverBudget.selector);
        tasks.settle(id, s, proof);
        leaves[0].payout -= 1;
        settle(id, leaves, 1, 1);
    }

    function test_modules_onlyTheirCallers() public {
        uint64 id = startTask(1, 1);
        expectTaskRevert(ITaskManager.NotModule.selector);
        tasks.completePhase(id, Phase.Commit);
        expectTaskRevert(ITaskManager.NotModule.selector);
        tasks.countDispute(id, true);
        expectTaskRevert(ITaskManager.NotModule.selector);
        tasks.voidSettlement(id, true, outsider);
        vm.prank(address(court));
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.voidSettlement(id, true, outsider);
        vm.prank(address(trainerPool));
        expectTaskRevert(ITaskManager.WrongPhase.selector);
        tasks.completePhase(id, Phase.Commit);
    }

    function test_pause_stopsNewTasksOnly() public {
        uint64 id = startTask(1, 1);
        expectTaskRevert(ITaskTerms.NotGuardian.selector);
        terms.setNewTasksPaused(true);
        vm.prank(guardian);
        terms.setNewTasksPaused(true);
        TaskParams memory p = defaultParams();
        vm.prank(sponsor);
        expectTaskRevert(ITaskTerms.NewTasksArePaused.selector);
        terms.createTask(p, validationCommitments(4), 0);
        playRound(id, 1, 1);
        vm.prank(guardian);
        terms.setNewTasksPaused(false);
        createTask(p);
    }

    function test_createTask_outOfRange_namesTheField() public {
        TaskParams memory p = defaultParams();
        expectInvalid(p, 3, "validationCommitments", 3);
        p.token = outsider;
        expectInvalid(p, 4, "token", uint160(outsider));
        p = defaultParams();
        p.specHash = 0;
        expectInvalid(p, 4, "specHash", 0);
        p = defaultParams();
        p.startDigest = 0;
        expectInvalid(p, 4, "startDigest", 0);
        p = defaultParams();
        p.constantsRoot = 0;
        expectInvalid(p, 4, "constantsRoot", 0);
        p = defaultParams();
        p.rewards.budgetPerRound = 0;
        expectInvalid(p, 4, "budgetPerRound", 0);
        p = defaultParams();
        p.rewards.capBps = 0;
        expectInvalid(p, 4, "capBps", 0);
        p = defaultParams();
        p.stakes.commitBond = p.stakes.trainerStake + 1;
        expectInvalid(p, 4, "commitBond", p.stakes.commitBond);
        p = defaultParams();
        p.stakes.trainerStake = p.stakes.commitBond = 0;
        expectInvalid(p, 4, "trainerStake", 0);
        p = defaultParams();
        p.stakes.slashBps = 0;
        expectInvalid(p, 4, "slashBps", 0);
        p = defaultParams();
        p.stakes.absenceBps = 0;
        expectInvalid(p, 4, "absenceBps", 0);
        p = defaultParams();
        p.rewards.baseBps = 499;
        expectInvalid(p, 4, "baseBps", 499);
        p = defaultParams();
        p.phases.claim = p.phases.slash;
        expectInvalid(p, 4, "claim", p.phases.slash);
        p = defaultParams();
        p.stakes.proverBps = 5_001;
        expectInvalid(p, 4, "proverBps", 5_001);
        p = defaultParams();
        p.quorum.quorumBps = 5_000;
        expectInvalid(p, 4, "quorumBps", 5_000);
        p = defaultParams();
        p.training.rounds = 0;
        expectInvalid(p, 1, "rounds", 0);
        p = defaultParams();
        p.training.parameters = 2 ** 30 + 1;
        expectInvalid(p, 4, "parameters", 2 ** 30 + 1);
        p = defaultParams();
        p.phases.window = 0;
        expectInvalid(p, 4, "window", 0);
    }

    function expectInvalid(TaskParams memory p, uint256 commitments, bytes32 field, uint256 value) internal {
        vm.expectRevert(abi.encodeWithSelector(ITaskTerms.InvalidParameter.selector, field, value));
        vm.prank(sponsor);
        terms.createTask(p, validationCommitments(commitments), 0);
    }

    // Beacon.

    function test_beacon_delayZero_reverts() public {
        vm.expectRevert();
        vm.deployCode("BlockhashBeacon.sol", abi.encode(uint32(0)));
    }

    function test_beacon_unknownRequest_reverts() public {
        expectTaskRevert(IBeacon.UnknownRequest.selector);
        beacon.fulfil(1);
        expectTaskRevert(IBeacon.UnknownRequest.selector);
        beacon.seedOf(1);
    }

    function test_beacon_nobodyCalls256Blocks_rearms() public {
        uint256 id = beacon.request();
        uint256 target = beacon.targetBlockOf(id);
        vm.roll(target + 257);
        vm.assertFalse(beacon.fulfil(id));
        vm.assertEq(beacon.targetBlockOf(id), target + 258);
        vm.roll(target + 259);
        vm.assertTrue(beacon.fulfil(id));
        (bytes32 seed, bool fixed_) = beacon.seedOf(id);
        vm.assertTrue(fixed_ && seed != 0);
        vm.roll(target + 1000);
        vm.assertTrue(beacon.fulfil(id));
        (bytes32 later,) = beacon.seedOf(id);
        vm.assertEq(later, seed, "a fixed seed never changes");
    }

    function test_beacon_sameBlock_seedsDiffer() public {
        uint256 a = beacon.request();
        uint256 b = beacon.request();
        vm.roll(vm.getBlockNumber() + 2);
        beacon.fulfil(a);
        beacon.fulfil(b);
        (bytes32 first,) = beacon.seedOf(a);
        (bytes32 second,) = beacon.seedOf(b);
        vm.assertTrue(first != second);
    }

    function test_constructor_wrongPlace_reverts() public {
        Modules memory set = tasks.modules();
        vm.assertEq(keccak256(abi.encode(set)), registry.modulesHash());
        vm.assertEq(registry.modulesHash(), jury.modulesHash());
        vm.assertEq(tasks.VERSION(), 2);
        vm.expectRevert();
        vm.deployCode("TaskManager.sol", abi.encode(set));
    }
}
