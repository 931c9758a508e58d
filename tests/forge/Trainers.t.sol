// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITaskManager} from "../../contracts/interfaces/ITaskManager.sol";
import {ITaskTerms} from "../../contracts/interfaces/ITaskTerms.sol";
import {ITrainerPool} from "../../contracts/interfaces/ITrainerPool.sol";
import {IStakeRegistry} from "../../contracts/interfaces/IStakeRegistry.sol";
import "../../contracts/interfaces/Types.sol";
import {LeafTree} from "../../contracts/libraries/LeafTree.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev Enrolment, commitments, batches, reveals and penalties of trainers.
contract TrainersTest is World {
    // Enrolment.

    function test_enrol_locksStakeAndStartsNextRound() public {
        uint64 id = startTask(1, 1);
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainers[0]);
        vm.assertEq(e.index, 1);
        vm.assertEq(e.activeFrom, 1);
        vm.assertEq(e.stake, 100 * UNIT);
        vm.assertEq(registry.stakeOf(trainers[0], Role.Trainer).locked, 100 * UNIT);
        openRound(id);
        enrolTrainer(id, trainers[1]);
        vm.assertEq(trainerPool.enrolmentOf(id, trainers[1]).activeFrom, 2);
        vm.prank(trainers[1]);
        vm.expectPartialRevert(ITrainerPool.NotActive.selector);
        trainerPool.commit(id, "c");
    }

    function test_enrol_refusals() public {
        uint64 id = startTask(1, 1);
        vm.startPrank(trainers[0]);
        vm.expectPartialRevert(ITrainerPool.AlreadyEnrolled.selector);
        trainerPool.enrol(id, "root", 1);
        vm.expectPartialRevert(ITrainerPool.InvalidShard.selector);
        trainerPool.enrol(id, 0, 1);
        vm.expectPartialRevert(ITrainerPool.InvalidShard.selector);
        trainerPool.enrol(id, "root", 0);
        vm.stopPrank();
        vm.prank(outsider);
        vm.expectPartialRevert(IStakeRegistry.InsufficientFreeStake.selector);
        trainerPool.enrol(id, "root", 1);
        vm.expectPartialRevert(ITaskTerms.UnknownTask.selector);
        trainerPool.enrol(99, "root", 1);
    }

    function test_resign_releaseAndReturn() public {
        uint64 id = startTask(2, 1);
        vm.startPrank(trainers[1]);
        trainerPool.resign(id);
        vm.expectPartialRevert(ITrainerPool.NotActive.selector);
        trainerPool.resign(id);
        vm.stopPrank();
        trainerPool.release(id, trainers[1]);
        vm.assertEq(registry.stakeOf(trainers[1], Role.Trainer).locked, 0);
        vm.expectPartialRevert(ITrainerPool.NotEnrolled.selector);
        trainerPool.release(id, trainers[1]);
        enrolTrainer(id, trainers[1]);
        vm.assertEq(trainerPool.enrolmentOf(id, trainers[1]).index, 2, "keeps its place");
        vm.assertEq(trainerPool.trainerCount(id), 2);
    }

    function test_release_onlyAfterSlashTime() public {
        uint64 id = startTask(2, 2);
        vm.expectPartialRevert(ITrainerPool.StillBound.selector);
        trainerPool.release(id, trainers[0]);
        openRound(id);
        vm.prank(trainers[0]);
        trainerPool.resign(id);
        commit(id, trainers[0]);
        vm.expectPartialRevert(ITrainerPool.StillBound.selector);
        trainerPool.release(id, trainers[0]);
        expirePhase(id);
        expirePhase(id);
        assertPhase(id, Phase.Idle);
        sleep(3_599);
        vm.expectPartialRevert(ITrainerPool.StillBound.selector);
        trainerPool.release(id, trainers[0]);
        sleep(1);
        trainerPool.release(id, trainers[0]);
    }

    function test_trainersOf_pages() public {
        uint64 id = startTask(4, 0);
        (address[] memory list, ITrainerPool.Enrolment[] memory enrolments) = trainerPool.trainersOf(id, 1, 2);
        vm.assertEq(list.length, 2);
        vm.assertEq(list[0], trainers[1]);
        vm.assertEq(enrolments[1].dataRoot, keccak256(abi.encode("data", trainers[2])));
        (list,) = trainerPool.trainersOf(id, 3, 10);
        vm.assertEq(list.length, 1);
        (list,) = trainerPool.trainersOf(id, 9, 10);
        vm.assertEq(list.length, 0);
    }

    // Commit and reveal.

    function test_commit_refusals() public {
        uint64 id = startTask(2, 1);
        vm.prank(trainers[0]);
        vm.expectPartialRevert(ITaskManager.WrongPhase.selector);
        trainerPool.commit(id, "c");
        openRound(id);
        vm.startPrank(trainers[0]);
        vm.expectRevert(ITrainerPool.ZeroCommitment.selector);
        trainerPool.commit(id, 0);
        trainerPool.commit(id, "c");
        vm.expectPartialRevert(ITrainerPool.AlreadyCommitted.selector);
        trainerPool.commit(id, "d");
        vm.stopPrank();
        vm.prank(outsider);
        vm.expectPartialRevert(ITrainerPool.NotActive.selector);
        trainerPool.commit(id, "c");
        vm.assertEq(trainerPool.commitmentOf(id, 1, trainers[0]), "c");
        vm.assertEq(trainerPool.commitmentOf(id, 2, trainers[0]), 0);
    }

    function test_reveal_copiedCommitment_cannotBeOpened() public {
        uint64 id = startTask(2, 1);
        openRound(id);
        RevealData memory data = workOf(id, trainers[0]);
        bytes32 sealed_ = trainerPool.commitmentHash(id, 1, trainers[0], data);
        commit(id, trainers[0]);
        vm.prank(trainers[1]);
        trainerPool.commit(id, sealed_);
        reveal(id, trainers[0]);
        vm.prank(trainers[1]);
        vm.expectPartialRevert(ITrainerPool.CommitmentMismatch.selector);
        trainerPool.reveal(id, data.deltaDigest, data.transcriptRoot, data.salt);
        vm.assertTrue(trainerPool.isCommitted(id, 1, trainers[0], data, direct()));
        vm.assertFalse(trainerPool.isCommitted(id, 1, trainers[1], data, direct()));
        vm.assertFalse(trainerPool.isCommitted(id, 2, trainers[0], data, direct()));
    }

    function test_reveal_refusals() public {
        uint64 id = startTask(3, 1);
        openRound(id);
        commit(id, trainers[0]);
        commit(id, trainers[1]);
        RevealData memory data = workOf(id, trainers[0]);
        vm.prank(trainers[0]);
        vm.expectPartialRevert(ITaskManager.WrongPhase.selector);
        trainerPool.reveal(id, data.deltaDigest, data.transcriptRoot, data.salt);
        expirePhase(id);
        reveal(id, trainers[0]);
        vm.startPrank(trainers[0]);
        vm.expectPartialRevert(ITrainerPool.AlreadyRevealed.selector);
        trainerPool.reveal(id, data.deltaDigest, data.transcriptRoot, data.salt);
        vm.stopPrank();
        vm.prank(trainers[2]);
        vm.expectPartialRevert(ITrainerPool.NotCommitted.selector);
        trainerPool.reveal(id, data.deltaDigest, data.transcriptRoot, data.salt);
    }

    function test_openingsPublished_onlyRevealedAndOnce() public {
        uint64 id = startTask(2, 1);
        openRound(id);
        commit(id, trainers[0]);
        commit(id, trainers[1]);
        reveal(id, trainers[0]);
        expirePhase(id);
        draw(id);
        revealValidation(id);
        vm.prank(trainers[1]);
        vm.expectPartialRevert(ITrainerPool.NotRevealed.selector);
        trainerPool.openingsPublished(id);
        publish(id, trainers[0]);
        assertPhase(id, Phase.AttestCommit);
        vm.prank(trainers[0]);
        vm.expectPartialRevert(ITaskManager.WrongPhase.selector);
        trainerPool.openingsPublished(id);
    }

    function test_openingsPublished_twice_reverts() public {
        uint64 id = startTask(2, 1);
        playToOpening(id, 2);
        publish(id, trainers[0]);
        vm.prank(trainers[0]);
        vm.expectPartialRevert(ITrainerPool.AlreadyOpened.selector);
        trainerPool.openingsPublished(id);
    }

    // The bond.

    /// @dev Enrolled, but without a commitment.
    function outsiderTrainer(uint64 id) internal returns (address trainer) {
        trainer = trainers[4];
        enrolTrainer(id, trainer);
    }

    function test_forfeitBond_unrevealed_burnsOnceAndStops() public {
        uint64 id = startTask(2, 1);
        openRound(id);
        commit(id, trainers[0]);
        commit(id, trainers[1]);
        vm.expectPartialRevert(ITrainerPool.RevealStillOpen.selector);
        trainerPool.forfeitBond(id, 1, trainers[1]);
        reveal(id, trainers[0]);
        expirePhase(id);
        vm.expectPartialRevert(ITrainerPool.AlreadyRevealed.selector);
        trainerPool.forfeitBond(id, 1, trainers[0]);
        vm.expectPartialRevert(ITrainerPool.RevealStillOpen.selector);
        trainerPool.forfeitBond(id, 2, trainers[1]);
        trainerPool.forfeitBond(id, 1, trainers[1]);
        vm.assertTrue(trainerPool.workOf(id, 1, trainers[1]).forfeited);
        vm.assertTrue(trainerPool.hasCommitted(id, 1, trainers[1]), "its leaf still belongs to the settlement");
        vm.expectPartialRevert(ITrainerPool.AlreadyPenalised.selector);
        trainerPool.forfeitBond(id, 1, trainers[1]);
        address idle = outsiderTrainer(id);
        vm.expectPartialRevert(ITrainerPool.NotCommitted.selector);
        trainerPool.forfeitBond(id, 1, idle);
        vm.assertEq(registry.stakeOf(trainers[1], Role.Trainer).total, 9_990 * UNIT);
        vm.assertEq(token.balanceOf(registry.BURN_ADDRESS()), 10 * UNIT);
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainers[1]);
        vm.assertEq(e.stake, 90 * UNIT);
        vm.assertEq(e.activeUntil, 1, "too little stake for later rounds");
    }

    /// @dev Nothing is overwritten, so a bond stays burnable, and committing again does not save it.
    function test_commit_afterUnrevealedRound_bondStillBurns() public {
        uint64 id = startTask(2, 1);
        openRound(id);
        commit(id, trainers[0]);
        expirePhase(id);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoReveals);
        openRound(id);
        trainerPool.forfeitBond(id, 1, trainers[0]);
        vm.assertEq(
            trainerPool.enrolmentOf(id, trainers[0]).activeUntil, 2, "takes part to the end of the running round"
        );
        commit(id, trainers[0]);
        expirePhase(id);
        expirePhase(id);
        openRound(id);
        vm.prank(trainers[0]);
        vm.expectPartialRevert(ITrainerPool.NotActive.selector);
        trainerPool.commit(id, "again");
        vm.prank(trainers[0]);
        trainerPool.topUp(id);
        vm.prank(trainers[0]);
        vm.expectPartialRevert(ITrainerPool.AlreadyEnrolled.selector);
        trainerPool.topUp(id);
        vm.assertEq(trainerPool.enrolmentOf(id, trainers[0]).stake, 100 * UNIT);
        vm.assertEq(trainerPool.enrolmentOf(id, trainers[0]).activeFrom, 4);
    }

    // Slashes by a final settlement.

    function rejectedRound(uint64 id, Verdict verdict) internal returns (SettlementLeaf[] memory leaves) {
        playToOpening(id, 2);
        expirePhase(id);
        leaves = honestLeaves(id, 2);
        leaves[1].verdict = uint8(verdict);
        leaves = paid(id, leaves);
        attestAll(id, 2, leaves);
        settle(id, leaves, 2, 3);
    }

    function test_slash_rejected_halfLostAndVerifiersPaid() public {
        uint64 id = startTask(2, 2);
        SettlementLeaf[] memory leaves = rejectedRound(id, Verdict.Rejected);
        bytes32[] memory proof = proofOf(hashes(leaves), 1);
        bytes32[] memory other = proofOf(hashes(leaves), 0);
        vm.expectPartialRevert(ITrainerPool.NotPunishable.selector);
        trainerPool.slash(id, 1, 1, leaves[1], proof);
        finalize(id);
        vm.expectPartialRevert(ITrainerPool.InvalidProof.selector);
        trainerPool.slash(id, 1, 1, leaves[1], other);
        vm.expectPartialRevert(ITrainerPool.NotPunishable.selector);
        trainerPool.slash(id, 1, 0, leaves[0], other);
        trainerPool.slash(id, 1, 1, leaves[1], proof);
        vm.expectPartialRevert(ITrainerPool.AlreadyPenalised.selector);
        trainerPool.slash(id, 1, 1, leaves[1], proof);
        vm.assertEq(registry.stakeOf(trainers[1], Role.Trainer).total, 9_950 * UNIT);
        vm.assertEq(token.balanceOf(registry.BURN_ADDRESS()), 40 * UNIT);
        for (uint256 i = 0; i < 2; ++i) {
            fees.claimFees(id, one(1), verifiers[i]);
            vm.assertEq(registry.creditOf(verifiers[i]), 5 * UNIT);
        }
    }

    function test_slash_lateRewardStillShared() public {
        uint64 id = startTask(2, 2);
        SettlementLeaf[] memory leaves = rejectedRound(id, Verdict.Withheld);
        finalize(id);
        fees.claimFees(id, one(1), verifiers[0]);
        slash(id, 1, leaves, 1);
        fees.claimFees(id, one(1), verifiers[0]);
        fees.claimFees(id, one(1), verifiers[1]);
        vm.assertEq(registry.creditOf(verifiers[0]), registry.creditOf(verifiers[1]));
    }

    function test_slash_releasedTrainer_nothingAtStake() public {
        uint64 id = startTask(2, 2);
        SettlementLeaf[] memory leaves = rejectedRound(id, Verdict.Rejected);
        finalize(id);
        vm.prank(trainers[1]);
        trainerPool.resign(id);
        sleep(3_600);
        trainerPool.release(id, trainers[1]);
        bytes32[] memory proof = proofOf(hashes(leaves), 1);
        vm.expectPartialRevert(ITrainerPool.NothingAtStake.selector);
        trainerPool.slash(id, 1, 1, leaves[1], proof);
    }

    function test_modules_onlyTheirCallers() public {
        uint64 id = startTask(1, 1);
        vm.expectPartialRevert(ITrainerPool.NotModule.selector);
        trainerPool.openRound(id, 1);
        vm.expectPartialRevert(ITrainerPool.NotModule.selector);
        trainerPool.punish(id, 1, trainers[0], Fault.WrongDelta, outsider);
    }

    // Batches.

    function signed(uint64 id, uint32 round, uint256 i) internal view returns (ITrainerPool.SignedCommit memory c) {
        c.commitment = trainerPool.commitmentHash(id, round, trainers[i], workOf(id, trainers[i]));
        bytes32 hash = keccak256(abi.encode(trainerPool.COMMIT_TYPEHASH(), id, round, c.commitment));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", trainerPool.domainSeparator(), hash));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(trainerKeys[i], digest);
        (c.r, c.vs) = (r, bytes32(uint256(s) | uint256(v - 27) << 255));
    }

    function batch(uint64 id, uint256 from, uint256 to)
        internal
        view
        returns (ITrainerPool.SignedCommit[] memory commits)
    {
        commits = new ITrainerPool.SignedCommit[](to - from);
        for (uint256 i = from; i < to; ++i) {
            commits[i - from] = signed(id, roundOf(id), i);
        }
    }

    function entries(uint64 id, uint256 from, uint256 to)
        internal
        view
        returns (ITrainerPool.BatchReveal[] memory list)
    {
        list = new ITrainerPool.BatchReveal[](to - from);
        for (uint256 i = from; i < to; ++i) {
            RevealData memory d = workOf(id, trainers[i]);
            list[i - from] =
                ITrainerPool.BatchReveal(uint32(i + 1), trainers[i], d.deltaDigest, d.transcriptRoot, d.salt);
        }
    }

    /// @dev Place of trainer `i` in the batch of trainers `from` to `to`.
    function batchRef(uint64 id, uint256 from, uint256 to, uint256 i) internal view returns (CommitmentRef memory) {
        bytes32[] memory nodes = new bytes32[](to - from);
        for (uint256 j = from; j < to; ++j) {
            bytes32 sealed_ = trainerPool.commitmentHash(id, roundOf(id), trainers[j], workOf(id, trainers[j]));
            nodes[j - from] = LeafTree.hashBatchEntry(j + 1, trainers[j], sealed_);
        }
        return CommitmentRef(1, uint32(i + 1), uint16(i - from), uint16(to - from), proofOf(nodes, i - from));
    }

    function test_batch_wholeRound() public {
        uint64 id = startTask(4, 1);
        openRound(id);
        commit(id, trainers[0]);
        trainerPool.commitBatch(id, batch(id, 1, 4));
        assertPhase(id, Phase.Reveal);
        vm.assertTrue(trainerPool.hasCommitted(id, 1, trainers[3]));
        vm.assertFalse(trainerPool.hasCommitted(id, 1, outsider));
        vm.assertTrue(trainerPool.batchRootOf(id, 1, 1) != 0);
        trainerPool.revealBatch(id, 1, entries(id, 1, 4));
        assertPhase(id, Phase.Reveal);
        reveal(id, trainers[0]);
        assertPhase(id, Phase.Challenge);
        draw(id);
        CommitmentRef memory ref = batchRef(id, 1, 4, 2);
        RevealData memory data = workOf(id, trainers[2]);
        vm.assertTrue(trainerPool.isCommitted(id, 1, trainers[2], data, ref));
        vm.assertFalse(trainerPool.isCommitted(id, 1, trainers[3], data, ref));
        publish(id, trainers[2]);
        vm.assertEq(trainerPool.progressOf(id).opened, 1);
        vm.assertTrue(trainerPool.hasOpened(id, 1, trainers[2]));
        vm.assertFalse(trainerPool.hasOpened(id, 1, trainers[3]));
    }

    function test_batch_relayerGone_trainerRevealsAlone() public {
        uint64 id = startTask(3, 1);
        openRound(id);
        trainerPool.commitBatch(id, batch(id, 0, 3));
        CommitmentRef memory ref = batchRef(id, 0, 3, 1);
        RevealData memory data = workOf(id, trainers[1]);
        trainerPool.revealFromBatch(id, trainers[1], data, ref);
        vm.expectPartialRevert(ITrainerPool.AlreadyRevealed.selector);
        trainerPool.revealFromBatch(id, trainers[1], data, ref);
        vm.expectPartialRevert(ITrainerPool.NotCommitted.selector);
        trainerPool.revealFromBatch(id, trainers[2], data, ref);
        ref.batchId = 7;
        vm.expectPartialRevert(ITrainerPool.NotCommitted.selector);
        trainerPool.revealFromBatch(id, trainers[1], data, ref);
        // The rest later, partly unrevealed; the one already revealed is not counted twice.
        ITrainerPool.BatchReveal[] memory list = entries(id, 0, 3);
        bytes32 bare = trainerPool.commitmentHash(id, 1, trainers[2], workOf(id, trainers[2]));
        list[2] = ITrainerPool.BatchReveal(3, trainers[2], 0, bare, 0);
        trainerPool.revealBatch(id, 1, list);
        vm.assertEq(trainerPool.progressOf(id).revealed, 2);
        expirePhase(id);
        trainerPool.forfeitBond(id, 1, trainers[2]);
        vm.expectPartialRevert(ITrainerPool.AlreadyPenalised.selector);
        trainerPool.forfeitBond(id, 1, trainers[2]);
        vm.expectPartialRevert(ITrainerPool.AlreadyRevealed.selector);
        trainerPool.forfeitBond(id, 1, trainers[1]);
        vm.assertEq(trainerPool.enrolmentOf(id, trainers[2]).stake, 90 * UNIT);
    }

    function test_commitBatch_refusals() public {
        uint64 id = startTask(4, 1);
        openRound(id);
        ITrainerPool.SignedCommit[] memory none = new ITrainerPool.SignedCommit[](0);
        vm.expectPartialRevert(ITrainerPool.InvalidBatch.selector);
        trainerPool.commitBatch(id, none);
        ITrainerPool.SignedCommit[] memory list = batch(id, 0, 2);
        (list[0], list[1]) = (list[1], list[0]);
        vm.expectPartialRevert(ITrainerPool.BatchNotSorted.selector);
        trainerPool.commitBatch(id, list);
        list[1] = list[0];
        vm.expectPartialRevert(ITrainerPool.BatchNotSorted.selector);
        trainerPool.commitBatch(id, list);
        list = batch(id, 0, 2);
        list[1].commitment = "another"; // recovers to somebody unknown
        vm.assertEq(trainerPool.commitBatch(id, list), 1, "trainer 0 alone");
        list[1].commitment = 0;
        vm.expectRevert(ITrainerPool.ZeroCommitment.selector);
        trainerPool.commitBatch(id, list);
        list = batch(id, 0, 2);
        list[1].r = 0; // no signature at all
        vm.expectPartialRevert(ITrainerPool.InvalidSignature.selector);
        trainerPool.commitBatch(id, list);
        list = batch(id, 2, 3);
        vm.assertEq(trainerPool.commitBatch(id, list), 2);
        vm.assertEq(trainerPool.commitBatch(id, list), 0, "nobody is left");
        vm.assertEq(trainerPool.progressOf(id).committed, 2);
        vm.prank(trainers[2]);
        vm.expectPartialRevert(ITrainerPool.AlreadyCommitted.selector);
        trainerPool.commit(id, "twice");
    }

    function test_revealBatch_refusals() public {
        uint64 id = startTask(3, 1);
        openRound(id);
        trainerPool.commitBatch(id, batch(id, 0, 3));
        ITrainerPool.BatchReveal[] memory list = entries(id, 0, 3);
        vm.expectPartialRevert(ITrainerPool.UnknownBatch.selector);
        trainerPool.revealBatch(id, 2, list);
        list[1].salt = "wrong";
        vm.expectPartialRevert(ITrainerPool.BatchRootMismatch.selector);
        trainerPool.revealBatch(id, 1, list);
        list = entries(id, 0, 2);
        vm.expectPartialRevert(ITrainerPool.BatchRootMismatch.selector);
        trainerPool.revealBatch(id, 1, list);
    }
}
