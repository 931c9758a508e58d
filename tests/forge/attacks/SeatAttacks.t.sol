// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITaskManager} from "../../../contracts/interfaces/ITaskManager.sol";
import {IVerifierPool} from "../../../contracts/interfaces/IVerifierPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {vm} from "../support/Vm.sol";
import {World} from "../support/World.sol";

/// @dev Few become the whole quorum of a round: by opening it before others have a seat, or by taking the others' seats.
contract SeatAttacksTest is World {
    uint64 private id;

    function activate(address verifier) private {
        vm.prank(verifier);
        verifierPool.activate(id, verifier);
    }

    /// @dev Verifiers 0 to 2 with `honest` each and number 3, the liar, with 200; all have their seats.
    function seated(uint256 honest) private {
        TaskParams memory p = defaultParams();
        p.phases.activation = 1 days;
        id = createTask(p);
        for (uint256 i = 0; i < 3; ++i) {
            enrolVerifier(id, verifiers[i], uint96(honest * UNIT));
            enrolTrainer(id, trainers[i]);
        }
        enrolVerifier(id, verifiers[3], uint96(200 * UNIT));
        sleep(1 days);
        for (uint256 i = 0; i < 4; ++i) {
            activate(verifiers[i]);
        }
    }

    /// @dev All work is opened, and verifiers `from` to 3 are the only ones who attest.
    function attestedFrom(uint256 from) private {
        playToOpening(id, 3);
        for (uint256 i = 0; i < 3; ++i) {
            publish(id, trainers[i]);
        }
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        for (uint256 i = from; i < 4; ++i) {
            commitAttestation(id, verifiers[i], leaves);
        }
        expirePhase(id);
        for (uint256 i = from; i < 4; ++i) {
            revealAttestation(id, verifiers[i], leaves);
        }
        assertPhase(id, Phase.Settle);
    }

    function endUnsettled() private {
        expirePhase(id);
        expirePhase(id);
        assertOutcome(id, roundOf(id), Outcome.NoQuorum);
    }

    function charge(uint32 round, uint256 i) private returns (uint256 cost) {
        uint96 before = verifierPool.enrolmentOf(id, verifiers[i]).stake;
        vm.prank(verifiers[3]);
        verifierPool.chargeAbsence(id, round, verifiers[i]);
        return before - verifierPool.enrolmentOf(id, verifiers[i]).stake;
    }

    function isNext(uint256 i) private view returns (bool) {
        return verifierPool.inQuorum(id, roundOf(id) + 1, verifiers[i]);
    }

    /// @dev Three identities with 200 each are active ten minutes before an honest verifier with 9,800. They cannot open the
    /// round, and the sponsor waits.
    function test_E36_firstComers_openNoRound() public {
        TaskParams memory p = defaultParams();
        p.phases.activation = 1 days;
        p.quorum.minVerifiers = 3;
        id = createTask(p);
        for (uint256 i = 0; i < 3; ++i) {
            enrolVerifier(id, verifiers[i], uint96(200 * UNIT));
            enrolTrainer(id, trainers[i]);
        }
        sleep(600);
        enrolVerifier(id, verifiers[3], uint96(9_800 * UNIT));
        sleep(1 days - 600);
        for (uint256 i = 0; i < 3; ++i) {
            activate(verifiers[i]);
        }
        vm.prank(verifiers[0]);
        vm.expectRevert(abi.encodeWithSelector(ITaskManager.NotSponsor.selector, id, verifiers[0]));
        tasks.openRound(id);
        sleep(600);
        activate(verifiers[3]);
        playToOpening(id, 3);
        vm.assertEq(verifierPool.quorumOf(id, 1).weight, 10_400 * UNIT);
        expirePhase(id);
        SettlementLeaf[] memory lie = honestLeaves(id, 3);
        lie[0].verdict = uint8(Verdict.Rejected);
        lie = paid(id, lie);
        attestAll(id, 4, lie);
        Settlement memory s = settlementFor(id, lie);
        QuorumProof memory proof = quorumProof(id, s, 4, 7);
        vm.expectPartialRevert(IVerifierPool.QuorumNotReached.selector);
        tasks.settle(id, s, proof);
    }

    /// @dev A lone trainer has the round for itself: opened by itself before others enrol, or in the transaction that ends
    /// the round before, while an honest verifier waits for its seat.
    function test_E36b_whoIsAlone_opensNoRound() public {
        id = createTask(defaultParams());
        enrolTrainer(id, trainers[0]);
        enrolVerifier(id, verifiers[0], uint96(200 * UNIT));
        vm.prank(trainers[0]);
        vm.expectPartialRevert(ITaskManager.NotSponsor.selector);
        tasks.openRound(id);
        playRound(id, 1, 1);
        vm.prank(verifiers[0]);
        vm.expectPartialRevert(ITaskManager.NotSponsor.selector);
        tasks.openRound(id);
    }

    /// @dev Honest verifiers with 9,000 miss a round (trainers under many names gave them more than they can replay). A liar
    /// with 200 attests and charges them: it is not the next quorum.
    function test_E36c_oneMissedRound_makesNoMinorityTheNextQuorum() public {
        seated(3_000);
        attestedFrom(3);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(charge(1, i), 30 * UNIT, "it has its price");
            vm.assertTrue(isNext(i), "but takes no seat");
        }
        endUnsettled();
        playToOpening(id, 3);
        vm.assertEq(verifierPool.quorumOf(id, 2).weight, 9_200 * UNIT);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 4, leaves);
        settle(id, leaves, 4, 7);
        finalize(id);
        claim(id, 2, leaves, 0);
        vm.assertEq(token.balanceOf(trainers[0]), leaves[0].payout);
    }

    /// @dev Nor if it charges them when the next round runs already, and nothing of the first is in progress any more.
    function test_E36d_chargedARoundLater_takesNoSeatEither() public {
        seated(3_000);
        attestedFrom(3);
        endUnsettled();
        openRound(id);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(charge(1, i), 30 * UNIT);
            vm.assertTrue(isNext(i));
        }
    }

    /// @dev Half is no majority; one unit of stake more is.
    function test_E36e_half_takesNoSeat() public {
        seated(200); // 400 attest, 400 do not
        attestedFrom(2);
        charge(1, 0);
        vm.assertTrue(isNext(0));
        endUnsettled();
        vm.prank(verifiers[2]);
        verifierPool.resign(id);
        sleep(3_600);
        vm.prank(verifiers[2]);
        verifierPool.rejoin(id, 1);
        sleep(1 days);
        activate(verifiers[2]);
        attestedFrom(2);
        vm.assertEq(charge(2, 0), 1.98 ether);
        vm.assertFalse(isNext(0));
        endUnsettled();
        openRound(id);
        vm.assertTrue(verifierPool.inQuorum(id, 3, verifiers[1]));
        charge(2, 1); // late
        vm.assertFalse(isNext(1));
    }

    /// @dev An honest majority that is offline for three rounds pays the same for each: a lone liar that charges it does not
    /// double the price.
    function test_E36f_majorityThatIsAway_paysForEachRoundAlone() public {
        seated(3_000);
        uint256 stake = 3_000 * UNIT;
        for (uint32 round = 1; round <= 3; ++round) {
            attestedFrom(3);
            vm.assertEq(charge(round, 0), stake / 100);
            stake -= stake / 100;
            vm.assertEq(verifierPool.enrolmentOf(id, verifiers[0]).misses, 0);
            endUnsettled();
        }
    }
}
