// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {vm} from "../support/Vm.sol";
import {World} from "../support/World.sol";

/// @dev More names than verifiers can judge in time, or names that only keep others out.
contract FloodAttacksTest is World {
    uint64 private id;

    /// @dev Room for two; trainers 0 and 1 are in, and two verifiers.
    function fill() private {
        TaskParams memory p = defaultParams();
        p.quorum.maxTrainers = 2;
        id = startTask(p, 2, 2);
    }

    function vacate(address trainer) private {
        vm.prank(outsider);
        trainerPool.vacate(id, trainer);
    }

    function refused(address trainer) private {
        vm.expectRevert(abi.encodeWithSelector(ITrainerPool.NotVacant.selector, id, trainer));
        vacate(trainer);
    }

    function full() private {
        vm.expectRevert(abi.encodeWithSelector(ITrainerPool.TaskIsFull.selector, id, 2));
    }

    /// @dev Attack: enrol until no verifier can judge a round in its phase, so that all work is had for the base.
    function test_E38_namesBeyondWhatIsJudged_comeIn_no() public {
        fill();
        full();
        enrolTrainer(id, trainers[2]);
        playRound(id, 2, 2);
        vm.assertEq(trainerPool.progressOf(id).expected, 2);
        vm.prank(trainers[1]);
        trainerPool.resign(id);
        enrolTrainer(id, trainers[2]);
        vm.prank(trainers[1]);
        full();
        trainerPool.topUp(id);
    }

    /// @dev Attack: take every seat with names that never work.
    function test_E38b_namesThatNeverWork_keepWhoWouldOut_forARoundOnly() public {
        fill();
        refused(trainers[1]);
        playRound(id, 1, 2);
        full();
        enrolTrainer(id, trainers[2]);
        refused(trainers[0]);
        vacate(trainers[1]);
        enrolTrainer(id, trainers[2]);
        vm.assertEq(trainerPool.enrolmentOf(id, trainers[1]).stake, defaultParams().stakes.trainerStake, "stake stays");
        refused(trainers[2]);

        openRound(id);
        commit(id, trainers[0]);
        commit(id, trainers[2]);
        vm.expectRevert();
        this.commitOf(trainers[1]);
        assertPhase(id, Phase.Reveal);
    }

    /// @dev Attack: put somebody out who works, while its round runs, or while there is room.
    function test_E38c_whoWorks_orCameLate_orIsInNobodysWay_isPutOut_no() public {
        fill();
        openRound(id);
        commit(id, trainers[0]);
        expirePhase(id);
        refused(trainers[0]);
        refused(trainers[1]);
        reveal(id, trainers[0]);
        expirePhase(id);
        if (phaseOf(id) == Phase.Challenge) draw(id);
        while (phaseOf(id) != Phase.Idle) {
            expirePhase(id);
        }
        vm.prank(trainers[0]);
        trainerPool.resign(id);
        refused(trainers[1]);
        enrolTrainer(id, trainers[2]);
        refused(trainers[2]);
        vacate(trainers[1]);
    }

    /// @dev Attack: keep a seat without work, by leaving it and coming back in every round.
    function test_E38d_whoStopsAndComesBackInEveryRound_keepsItsSeat_no() public {
        fill();
        openRound(id);
        vm.startPrank(trainers[1]);
        trainerPool.resign(id);
        trainerPool.topUp(id);
        vm.stopPrank();
        commit(id, trainers[0]);
        endRound();
        vm.startPrank(trainers[1]);
        trainerPool.resign(id);
        trainerPool.topUp(id);
        vm.stopPrank();
        vacate(trainers[1]);
        enrolTrainer(id, trainers[2]);
    }

    /// @dev Attack: have one round in which nobody can work, or may want to, and take the seats of all who would.
    function test_E38e_whoWorkedBefore_isPutOutAfterOneMissedRound_no() public {
        fill();
        playRound(id, 2, 2);
        openRound(id);
        expirePhase(id);
        assertPhase(id, Phase.Idle);
        refused(trainers[0]);
        refused(trainers[1]);
        openRound(id);
        commit(id, trainers[0]);
        endRound();
        refused(trainers[0]);
        vacate(trainers[1]);
    }

    /// @dev What is left: twice as many names as seats, of which each takes the other's in the block that ends a round.
    function test_E38f_twoNamesForASeat_keepItWithoutWork() public {
        fill();
        enrolOther();
        for (uint256 i = 0; i < 2; ++i) {
            openRound(id);
            commit(id, trainers[0]);
            endRound();
            (address there, address away) = i == 0 ? (trainers[2], trainers[1]) : (trainers[1], trainers[2]);
            vm.prank(there);
            trainerPool.resign(id);
            vm.prank(away);
            trainerPool.topUp(id);
            refused(away);
        }
    }

    function enrolOther() private {
        vm.prank(trainers[1]);
        trainerPool.resign(id);
        enrolTrainer(id, trainers[2]);
    }

    function endRound() private {
        while (phaseOf(id) != Phase.Idle) {
            if (phaseOf(id) == Phase.Reveal && trainerPool.progressOf(id).revealed == 0) reveal(id, trainers[0]);
            else if (phaseOf(id) == Phase.Challenge) draw(id);
            else expirePhase(id);
        }
    }

    function commitOf(address trainer) external {
        commit(id, trainer);
    }
}
