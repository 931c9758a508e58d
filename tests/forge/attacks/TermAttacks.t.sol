// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITaskManager} from "../../../contracts/interfaces/ITaskManager.sol";
import {ITaskTerms} from "../../../contracts/interfaces/ITaskTerms.sol";
import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {vm} from "../support/Vm.sol";
import {World} from "../support/World.sol";

/// @dev Attacks by a sponsor's terms, by relayers, and by whoever holds the office of guardian. Names as in the audit.
contract TermAttacksTest is World {
    uint64 internal id;

    function refuse(TaskParams memory p, bytes32 field, uint256 value) internal {
        bytes32[] memory commitments = validationCommitments(p.training.rounds + 1);
        vm.expectRevert(abi.encodeWithSelector(ITaskTerms.InvalidParameter.selector, field, value));
        terms.createTask(p, commitments, 0);
    }

    function mainnetParams() internal view returns (TaskParams memory p) {
        p = defaultParams();
        p.phases = PhaseSeconds(600, 600, 600, 600, 600, 600, 1 days, 1 days, 2 days, 1 days);
    }

    function test_A11_timesOfSeconds_onlyOnTestChains() public {
        vm.chainId(1);
        vm.assertFalse(terms.isTestChain());
        TaskParams memory p = mainnetParams();
        terms.createTask(p, validationCommitments(4), 0);
        p.phases.claim = 2 days - 1;
        refuse(p, "claim", 2 days - 1);
        p = mainnetParams();
        p.phases.window = 1 days - 1;
        refuse(p, "window", 1 days - 1);
        p = mainnetParams();
        p.phases.slash = 1 days - 1;
        refuse(p, "slash", 1 days - 1);
        p = mainnetParams();
        p.phases.activation = 1 days - 1;
        refuse(p, "activation", 1 days - 1);
        p = mainnetParams();
        p.phases.attestReveal = 599;
        refuse(p, "attestReveal", 599);
        vm.chainId(31_337);
        p.phases.attestReveal = 1;
        terms.createTask(p, validationCommitments(4), 0);
    }

    function test_A12_worthlessValidationSet_acceptedWorkIsPaidTheBase() public {
        id = startTask(3, 2);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        for (uint256 i = 0; i < 3; ++i) {
            leaves[i].scoreNanos = -5;
        }
        leaves = paid(id, leaves);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        finalize(id);
        for (uint256 i = 0; i < 3; ++i) {
            claim(id, 1, leaves, i);
            vm.assertEq(token.balanceOf(trainers[i]), BUDGET / 15, "a third of a fifth");
        }
    }

    /// @dev A target that nobody reaches releases nothing, a cap of nothing lets nobody earn: the base is paid all the same.
    function test_A12b_targetOutOfReachAndCapOfNothing_baseIsPaid() public {
        TaskParams memory p = defaultParams();
        p.rewards.targetNanos = uint64(type(int64).max);
        p.rewards.capBps = 1;
        id = startTask(p, 3, 2);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
        vm.assertGe(tasks.settlementOf(id, 1).totalPayout, BUDGET / 5 - 3, "a fifth of the budget");
    }

    function signedBatch() internal view returns (ITrainerPool.SignedCommit[] memory list) {
        list = new ITrainerPool.SignedCommit[](4);
        for (uint256 i = 0; i < 4; ++i) {
            list[i].commitment = trainerPool.commitmentHash(id, 1, trainers[i], workOf(id, trainers[i]));
            bytes32 hash = keccak256(abi.encode(trainerPool.COMMIT_TYPEHASH(), id, uint32(1), list[i].commitment));
            bytes32 digest = keccak256(abi.encodePacked("\x19\x01", trainerPool.domainSeparator(), hash));
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(trainerKeys[i], digest);
            (list[i].r, list[i].vs) = (r, bytes32(uint256(s) | uint256(v - 27) << 255));
        }
    }

    function test_A16_directCommitBeforeABatch_leavesTheOthersIn() public {
        id = startTask(4, 1);
        openRound(id);
        ITrainerPool.SignedCommit[] memory list = signedBatch();
        commit(id, trainers[1]); // front-run
        trainerPool.commitBatch(id, list);
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertTrue(trainerPool.hasCommitted(id, 1, trainers[i]));
        }
        vm.assertEq(trainerPool.progressOf(id).committed, 4);
        ITrainerPool.BatchReveal[] memory entries = new ITrainerPool.BatchReveal[](3);
        uint256 next;
        for (uint32 i = 0; i < 4; ++i) {
            if (i == 1) continue;
            RevealData memory d = workOf(id, trainers[i]);
            entries[next++] = ITrainerPool.BatchReveal(i + 1, trainers[i], d.deltaDigest, d.transcriptRoot, d.salt);
        }
        trainerPool.revealBatch(id, 1, entries);
        vm.assertEq(trainerPool.progressOf(id).revealed, 3);
    }

    /// @dev Nor does a trainer who was stopped meanwhile.
    function test_A16b_stoppedTrainerInABatch_isLeftOut() public {
        id = startTask(4, 1);
        vm.prank(trainers[3]);
        trainerPool.resign(id);
        openRound(id);
        trainerPool.commitBatch(id, signedBatch());
        vm.assertEq(trainerPool.progressOf(id).committed, 3);
        vm.assertFalse(trainerPool.hasCommitted(id, 1, trainers[3]));
    }

    function test_dataRows_2to32_refused() public {
        id = startTask(1, 1);
        vm.prank(trainers[1]);
        vm.expectPartialRevert(ITrainerPool.InvalidShard.selector);
        trainerPool.enrol(id, "root", type(uint32).max);
        vm.prank(trainers[1]);
        trainerPool.enrol(id, "root", 1 << 22);
    }

    /// @dev Best of k deltas after a look at the validation set: it is shown when revealing is over.
    function test_validationSet_isShownAfterTheReveals() public {
        id = startTask(2, 1);
        openRound(id);
        commit(id, trainers[0]);
        commit(id, trainers[1]);
        vm.expectPartialRevert(ITaskManager.WrongPhase.selector);
        tasks.revealValidation(id, validationDigest(0), validationSalt(0));
        reveal(id, trainers[0]);
        expirePhase(id);
        vm.expectPartialRevert(ITaskManager.WrongPhase.selector);
        tasks.revealValidation(id, validationDigest(0), validationSalt(0));
        draw(id);
        revealValidation(id);
        RevealData memory data = workOf(id, trainers[1]);
        vm.prank(trainers[1]);
        vm.expectPartialRevert(ITaskManager.WrongPhase.selector);
        trainerPool.reveal(id, data.deltaDigest, data.transcriptRoot, data.salt);
    }

    // Incidents.

    function test_pauseNewRounds_endsByItselfAndNotTwiceInARow() public {
        id = startTask(2, 2);
        SettlementLeaf[] memory leaves = playToWindow(id, 2, 2);
        vm.expectPartialRevert(ITaskTerms.NotGuardian.selector);
        terms.pauseNewRounds();
        vm.startPrank(guardian);
        terms.pauseNewRounds();
        vm.expectPartialRevert(ITaskTerms.PauseTooSoon.selector);
        terms.pauseNewRounds();
        vm.stopPrank();
        finalize(id); // the running round ends, and earned money and free stake leave
        claim(id, 1, leaves, 0);
        fees.claimFees(id, one(1), verifiers[0]);
        vm.prank(trainers[0]);
        registry.requestUnbond(Role.Trainer, uint96(9_900 * UNIT));
        vm.prank(sponsor);
        vm.expectPartialRevert(ITaskManager.NewRoundsArePaused.selector);
        tasks.openRound(id);
        sleep(7 days);
        vm.prank(trainers[0]);
        registry.withdraw(Role.Trainer);
        vm.prank(sponsor);
        tasks.openRound(id);
        vm.prank(guardian);
        vm.expectPartialRevert(ITaskTerms.PauseTooSoon.selector);
        terms.pauseNewRounds();
        sleep(28 days);
        vm.startPrank(guardian);
        terms.pauseNewRounds();
        terms.resumeNewRounds();
        vm.stopPrank();
        vm.assertEq(terms.newRoundsPausedUntil(), vm.getBlockTimestamp());
    }

    function test_guardian_changesAfterTwoDays_orResignsForEver() public {
        vm.prank(guardian);
        terms.proposeGuardian(outsider);
        vm.prank(outsider);
        vm.expectPartialRevert(ITaskTerms.HandoverTooSoon.selector);
        terms.acceptGuardian();
        sleep(2 days);
        vm.expectPartialRevert(ITaskTerms.NotGuardian.selector);
        terms.acceptGuardian();
        vm.prank(outsider);
        terms.acceptGuardian();
        vm.assertEq(terms.guardian(), outsider);
        vm.prank(outsider);
        vm.expectPartialRevert(ITaskTerms.NotGuardian.selector);
        terms.acceptGuardian();
        vm.prank(outsider);
        terms.proposeGuardian(address(0));
        sleep(2 days);
        terms.acceptGuardian();
        vm.assertEq(terms.guardian(), address(0));
    }
}
