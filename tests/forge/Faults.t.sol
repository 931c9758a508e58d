// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFaultProver} from "../../contracts/interfaces/IFaultProver.sol";
import {IDisputeCourt} from "../../contracts/interfaces/IDisputeCourt.sol";
import {ITaskManager} from "../../contracts/interfaces/ITaskManager.sol";
import "../../contracts/interfaces/Types.sol";
import {Transcript} from "./support/Transcript.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev Faults that the chain checks by itself. Trainer 0 commits a transcript that the test prepared.
contract FaultsTest is World, Transcript {
    bytes32 private deltaDigest;

    function setUp() public override {
        super.setUp();
        train();
    }

    function workOf(uint64 id, address trainer) internal view override returns (RevealData memory data) {
        data = super.workOf(id, trainer);
        if (trainer == trainers[0] && records.length != 0) {
            data.transcriptRoot = transcriptRoot();
            data.deltaDigest = deltaDigest;
        }
    }

    function work(uint64 id) internal view returns (IFaultProver.Work memory) {
        return IFaultProver.Work(id, 1, trainers[0], workOf(id, trainers[0]), direct());
    }

    /// @dev Commit what the vectors are now; the round is in its opening phase.
    function play() internal returns (uint64 id) {
        seal();
        return playSealed();
    }

    function playSealed() internal returns (uint64 id) {
        if (deltaDigest == 0) deltaDigest = rootOf(theta[STEPS]);
        TaskParams memory p = defaultParams();
        p.startDigest = rootOf(theta[0]);
        p.constantsRoot = constantsRoot();
        p.training.steps = STEPS;
        p.training.parameters = VALUES;
        id = startTask(p, 2, 2);
        playToOpening(id, 2);
    }

    function faultOf(uint64 id) internal view returns (Fault fault) {
        (fault,) = trainerPool.faultOf(id, 1, trainers[0]);
    }

    function assertPunished(uint64 id, Fault fault) internal view {
        vm.assertEq(uint256(faultOf(id)), uint256(fault), "fault");
        vm.assertEq(registry.stakeOf(trainers[0], Role.Trainer).total, 9_950 * UNIT, "half of the locked stake");
        vm.assertEq(registry.creditOf(address(this)), 10 * UNIT, "the prover's fifth");
    }

    // Wrong updates.

    function test_wrongUpdate_honest_noFault() public {
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        for (uint32 t = 0; t < STEPS; ++t) {
            IFaultProver.StepEvidence memory e = evidence(t, 17 + 256 * t);
            vm.expectRevert(IFaultProver.NoFault.selector);
            faults.proveWrongUpdate(w, e);
        }
    }

    function test_wrongUpdate_oneBitOfTheta_slashed() public {
        flip(theta, 2, 299);
        uint64 id = play();
        faults.proveWrongUpdate(work(id), evidence(1, 299));
        assertPunished(id, Fault.WrongUpdate);
        // Shown again: nothing more to take.
        faults.proveWrongUpdate(work(id), evidence(1, 299));
        assertPunished(id, Fault.WrongUpdate);
    }

    function test_wrongUpdate_firstMoment_slashed() public {
        flip(first, 1, 0);
        uint64 id = play();
        faults.proveWrongUpdate(work(id), evidence(0, 0));
        assertPunished(id, Fault.WrongUpdate);
    }

    function test_wrongUpdate_secondMoment_slashed() public {
        flip(second, 2, 3);
        uint64 id = play();
        faults.proveWrongUpdate(work(id), evidence(1, 3));
        assertPunished(id, Fault.WrongUpdate);
    }

    function flip(bytes[] storage vectors, uint256 t, uint256 element) private {
        bytes memory data = vectors[t];
        put(data, element, get(data, element) ^ 1);
        vectors[t] = data;
    }

    function test_wrongUpdate_forgedEvidence_refused() public {
        flip(theta, 2, 5);
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        IFaultProver.StepEvidence memory e = evidence(1, 5);
        e.element = 300;
        vm.expectPartialRevert(IFaultProver.OutOfRange.selector);
        faults.proveWrongUpdate(w, e);
        e = evidence(1, 5);
        e.beforeChunks[0].data[20] ^= 0x01;
        vm.expectPartialRevert(IFaultProver.InvalidOpening.selector);
        faults.proveWrongUpdate(w, e);
        e = evidence(1, 5);
        e.gradient = openChunk(1, Component.Gradient, 1);
        vm.expectPartialRevert(IFaultProver.WrongChunk.selector);
        faults.proveWrongUpdate(w, e);
        e.gradient = openChunk(1, Component.Theta, 0);
        vm.expectPartialRevert(IFaultProver.WrongChunk.selector);
        faults.proveWrongUpdate(w, e);
        e = evidence(1, 5);
        (e.afterChunks[0], e.afterChunks[1]) = (e.afterChunks[1], e.afterChunks[0]);
        vm.expectPartialRevert(IFaultProver.WrongChunk.selector);
        faults.proveWrongUpdate(w, e);
        e = evidence(1, 5);
        e.afterChunks = new IFaultProver.VectorChunk[](1);
        vm.expectPartialRevert(IFaultProver.WrongLength.selector);
        faults.proveWrongUpdate(w, e);
        e = evidence(1, 5);
        e.constants[0] ^= 0x01;
        vm.expectPartialRevert(IFaultProver.InvalidOpening.selector);
        faults.proveWrongUpdate(w, e);
        e.constants = new bytes(60);
        vm.expectPartialRevert(IFaultProver.WrongLength.selector);
        faults.proveWrongUpdate(w, e);
        e = evidence(1, 5);
        e.afterwards = openRecord(1);
        vm.expectPartialRevert(IFaultProver.OutOfRange.selector);
        faults.proveWrongUpdate(w, e);
        e.before.step = 2;
        vm.expectPartialRevert(IFaultProver.InvalidOpening.selector);
        faults.proveWrongUpdate(w, e);
        e = evidence(1, 5);
        w.data.salt = "other";
        vm.expectPartialRevert(IFaultProver.NotCommittedWork.selector);
        faults.proveWrongUpdate(w, e);
    }

    // Values.

    function test_nonFinite_slashed() public {
        bytes memory data = gradients[1];
        put(data, 260, 0x7fc00001);
        gradients[1] = data;
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        IFaultProver.RecordOpening memory r = openRecord(1);
        IFaultProver.VectorChunk memory chunk = openChunk(1, Component.Gradient, 1);
        vm.expectRevert(IFaultProver.NoFault.selector);
        faults.proveNonFinite(w, r, chunk, 261);
        vm.expectPartialRevert(IFaultProver.WrongChunk.selector);
        faults.proveNonFinite(w, r, chunk, 4);
        faults.proveNonFinite(w, r, chunk, 260);
        assertPunished(id, Fault.NonFiniteValue);
    }

    function test_wrongStart_slashed() public {
        bytes32 honest = rootOf(theta[0]);
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        (bytes32 a, bytes32 b) = siblings(0, Component.Theta);
        IFaultProver.RecordOpening memory r = openRecord(0);
        vm.expectRevert(IFaultProver.NoFault.selector);
        faults.proveWrongStart(w, r, honest, [a, b]);
        vm.expectPartialRevert(IFaultProver.InvalidOpening.selector);
        faults.proveWrongStart(w, r, "other", [a, b]);
        r = openRecord(1);
        vm.expectPartialRevert(IFaultProver.OutOfRange.selector);
        faults.proveWrongStart(w, r, honest, [a, b]);
    }

    function test_wrongStart_otherAdapter_slashed() public {
        seal();
        TaskParams memory p = defaultParams();
        p.constantsRoot = constantsRoot();
        p.training.steps = STEPS;
        p.training.parameters = VALUES;
        uint64 id = startTask(p, 2, 2); // starts from another adapter
        playToOpening(id, 2);
        (bytes32 a, bytes32 b) = siblings(0, Component.Theta);
        faults.proveWrongStart(work(id), openRecord(0), rootOf(theta[0]), [a, b]);
        assertPunished(id, Fault.WrongStart);
    }

    function test_warmStart_slashed() public {
        bytes memory data = second[0];
        put(data, 299, 1);
        second[0] = data;
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        IFaultProver.RecordOpening memory r = openRecord(0);
        IFaultProver.VectorChunk memory chunk = openChunk(0, Component.SecondMoment, 1);
        IFaultProver.VectorChunk memory thetaChunk = openChunk(0, Component.Theta, 1);
        vm.expectRevert(IFaultProver.NoFault.selector);
        faults.proveWarmStart(w, r, chunk, 298);
        vm.expectPartialRevert(IFaultProver.WrongChunk.selector);
        faults.proveWarmStart(w, r, thetaChunk, 298);
        faults.proveWarmStart(w, r, chunk, 299);
        assertPunished(id, Fault.WrongStart);
    }

    /// @dev The audit's C5: an optimiser that writes -0.0 into a cold moment did nothing wrong.
    function test_C5_momentOfMinusZero_isNoFault() public {
        bytes memory data = second[0];
        put(data, 299, 1 << 31);
        second[0] = data;
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        IFaultProver.RecordOpening memory r = openRecord(0);
        IFaultProver.VectorChunk memory chunk = openChunk(0, Component.SecondMoment, 1);
        vm.expectRevert(IFaultProver.NoFault.selector);
        faults.proveWarmStart(w, r, chunk, 299);
    }

    /// @dev The audit's C2: as long as stake is locked for a round, its faults cost it, however the round ended.
    function test_C2_faultAfterTheRound_isPunishedUntilTheStakeIsFree() public {
        flip(theta, 2, 299);
        uint64 id = play();
        expirePhase(id);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoAttestations);
        IFaultProver.Work memory w = work(id);
        IFaultProver.StepEvidence memory e = evidence(1, 299);
        uint256 ended = vm.snapshotState();
        sleep(defaultParams().phases.slash);
        vm.expectPartialRevert(IFaultProver.ProofsNotAccepted.selector);
        faults.proveWrongUpdate(w, e);
        vm.revertToState(ended);
        sleep(defaultParams().phases.slash - 1);
        faults.proveWrongUpdate(w, e);
        assertPunished(id, Fault.WrongUpdate);
    }

    function test_wrongDelta_slashed() public {
        deltaDigest = keccak256("backdoored adapter");
        uint64 id = play();
        (bytes32 a, bytes32 b) = siblings(STEPS, Component.Theta);
        faults.proveWrongDelta(work(id), openRecord(STEPS), rootOf(theta[STEPS]), [a, b]);
        assertPunished(id, Fault.WrongDelta);
    }

    function test_wrongDelta_honest_noFault() public {
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        bytes32 root = rootOf(theta[STEPS]);
        (bytes32 a, bytes32 b) = siblings(STEPS, Component.Theta);
        IFaultProver.RecordOpening memory r = openRecord(STEPS);
        vm.expectRevert(IFaultProver.NoFault.selector);
        faults.proveWrongDelta(w, r, root, [a, b]);
        r = openRecord(0);
        vm.expectPartialRevert(IFaultProver.OutOfRange.selector);
        faults.proveWrongDelta(w, r, root, [a, b]);
    }

    // Records.

    function malformed(uint256 t, uint256 position, bytes1 value) internal {
        seal();
        bytes memory record = records[t];
        record[position] = value;
        records[t] = record;
        uint64 id = playSealed();
        faults.proveMalformedRecord(work(id), openRecord(uint32(t)));
        assertPunished(id, Fault.MalformedRecord);
    }

    function test_malformedRecord_stepNumber_slashed() public {
        malformed(1, 3, 0x07);
    }

    function test_malformedRecord_negativeClipScale_slashed() public {
        malformed(1, 100, 0xbf);
    }

    function test_malformedRecord_infiniteLoss_slashed() public {
        malformed(0, 104, 0x7f);
    }

    function test_malformedRecord_lastWithGradient_slashed() public {
        malformed(2, 40, 0x01);
    }

    function test_malformedRecord_honest_noFault() public {
        uint64 id = play();
        IFaultProver.Work memory w = work(id);
        for (uint32 t = 0; t <= STEPS; ++t) {
            IFaultProver.RecordOpening memory r = openRecord(t);
            vm.expectRevert(IFaultProver.NoFault.selector);
            faults.proveMalformedRecord(w, r);
        }
    }

    function test_faults_beforeOpening_notAccepted() public {
        seal();
        deltaDigest = rootOf(theta[STEPS]);
        uint64 id = startTask(2, 2);
        openRound(id);
        commit(id, trainers[0]);
        IFaultProver.Work memory w = work(id);
        IFaultProver.RecordOpening memory r = openRecord(0);
        vm.expectPartialRevert(IFaultProver.ProofsNotAccepted.selector);
        faults.proveMalformedRecord(w, r);
    }

    // Demands.

    function answer(uint32 t, Component component, uint32 chunk)
        internal
        view
        returns (IDisputeCourt.ChunkOpening memory)
    {
        IFaultProver.RecordOpening memory r = openRecord(t);
        IFaultProver.VectorChunk memory c = openChunk(t, component, chunk);
        return IDisputeCourt.ChunkOpening(r.record, r.proof, c.data, c.proof);
    }

    function test_demandOpening_answered_challengerPays() public {
        uint64 id = play();
        RevealData memory data = workOf(id, trainers[0]);
        vm.startPrank(outsider);
        uint256 demand = court.demandOpening(id, 1, trainers[0], data, direct(), 1, Component.FirstMoment, 1);
        vm.expectPartialRevert(IDisputeCourt.DemandAlreadyOpen.selector);
        court.demandOpening(id, 1, trainers[0], data, direct(), 1, Component.FirstMoment, 1);
        vm.stopPrank();
        vm.assertEq(tasks.openDisputes(id), 0, "the round does not wait");
        vm.assertEq(court.openDemandsOn(id, trainers[0]), 1);
        vm.assertEq(vault.closureOf(id, 1, trainers[0]).holds, 1);
        vm.assertEq(court.demandOf(demand).chunk, 1);
        IDisputeCourt.ChunkOpening memory wrong = answer(1, Component.FirstMoment, 0);
        vm.expectPartialRevert(IDisputeCourt.WrongAnswer.selector);
        court.answerOpening(demand, wrong);
        ScorePair memory pair;
        vm.expectPartialRevert(IDisputeCourt.WrongAnswer.selector);
        court.answerScore(demand, pair);
        vm.expectPartialRevert(IDisputeCourt.AnswerStillPossible.selector);
        court.closeDemand(demand);
        court.answerOpening(demand, answer(1, Component.FirstMoment, 1));
        vm.assertEq(registry.creditOf(trainers[0]), 5 * UNIT);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 9_990 * UNIT);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).locked, 0);
        vm.assertEq(court.openDemandsOn(id, trainers[0]), 0);
        vm.assertEq(vault.closureOf(id, 1, trainers[0]).holds, 0);
        vm.expectPartialRevert(IDisputeCourt.DemandClosed.selector);
        court.closeDemand(demand);
        vm.expectPartialRevert(IDisputeCourt.UnknownDemand.selector);
        court.closeDemand(9);
    }

    function test_demandOpening_silence_slashed() public {
        uint64 id = play();
        RevealData memory data = workOf(id, trainers[0]);
        vm.prank(outsider);
        uint256 demand = court.demandOpening(id, 1, trainers[0], data, direct(), 2, Component.Theta, 0);
        sleep(3_600);
        IDisputeCourt.ChunkOpening memory late = answer(2, Component.Theta, 0);
        vm.expectPartialRevert(IDisputeCourt.AnswerTooLate.selector);
        court.answerOpening(demand, late);
        court.closeDemand(demand);
        vm.assertEq(uint256(faultOf(id)), uint256(Fault.OpeningWithheld));
        vm.assertEq(registry.creditOf(outsider), 10 * UNIT);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 10_000 * UNIT);
    }

    function test_demandOpening_impossible_refused() public {
        uint64 id = play();
        RevealData memory data = workOf(id, trainers[0]);
        vm.startPrank(outsider);
        vm.expectPartialRevert(IDisputeCourt.OutOfRange.selector);
        court.demandOpening(id, 1, trainers[0], data, direct(), STEPS, Component.Gradient, 0);
        vm.expectPartialRevert(IDisputeCourt.OutOfRange.selector);
        court.demandOpening(id, 1, trainers[0], data, direct(), STEPS + 1, Component.Theta, 0);
        vm.expectPartialRevert(IDisputeCourt.OutOfRange.selector);
        court.demandOpening(id, 1, trainers[0], data, direct(), 0, Component.ErrorMemory, 0);
        vm.expectPartialRevert(IDisputeCourt.OutOfRange.selector);
        court.demandOpening(id, 1, trainers[0], data, direct(), 0, Component.Theta, 2);
        data.salt = 0;
        vm.expectPartialRevert(IDisputeCourt.NotCommittedWork.selector);
        court.demandOpening(id, 1, trainers[0], data, direct(), 0, Component.Theta, 0);
        data = workOf(id, trainers[0]);
        vm.expectPartialRevert(IDisputeCourt.DisputesNotAccepted.selector);
        court.demandOpening(id, 2, trainers[0], data, direct(), 0, Component.Theta, 0);
        vm.stopPrank();
    }

    function test_round_doesNotWaitForADemand() public {
        uint64 id = play();
        expirePhase(id);
        RevealData memory data = workOf(id, trainers[0]);
        vm.prank(outsider);
        court.demandOpening(id, 1, trainers[0], data, direct(), 0, Component.Theta, 0);
        expirePhase(id);
        assertOutcome(id, 1, Outcome.NoAttestations);
    }
}
