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
        vm.prank(trainers[1]);
        trainerPool.topUp(id);
        refused(trainers[1]);
    }

    function commitOf(address trainer) external {
        commit(id, trainer);
    }
}
