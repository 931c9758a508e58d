// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJury} from "../../../contracts/interfaces/IJury.sol";
import {IStakeRegistry} from "../../../contracts/interfaces/IStakeRegistry.sol";
import "../../../contracts/interfaces/Types.sol";
import {JuryWorld} from "../support/JuryWorld.sol";
import {vm} from "../support/Vm.sol";

/// @dev Cases about tasks of the liars' own, which are to take the votes of honest jurors from the case that matters.
contract DecoyAttacksTest is JuryWorld {
    address private friend = vm.addr(0x7001);

    function setUp() public override {
        super.setUp();
        equip(friend, Role.Challenger, uint96(10_000 * UNIT));
    }

    /// @dev Ten with 10,000 each of 140,000, of which they keep a fifth free, as agents do.
    function manyJurors() private {
        for (uint256 i = 0; i < 10; ++i) {
            address juror = addJuror(i, 10_000);
            vm.prank(address(verifierPool)); // in tasks of their own
            registry.lock(juror, Role.Verifier, uint96(8_000 * UNIT));
        }
        sleep(2 days);
    }

    /// @dev Whether the juror's free stake is enough for its vote.
    function canVote(uint256 c, address juror, bool overturn) private returns (bool) {
        uint8 level = jury.caseOf(c).level;
        if (jury.seatsOf(c, level, juror) == 0) return false;
        bytes32 sealed_ = jury.voteHash(c, level, juror, overturn, "salt");
        vm.prank(juror);
        try jury.sealVote(c, sealed_, none) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev The friend's case about a lie in a task with one trainer and one verifier: all jurors seal that it is one.
    function decoy() private returns (uint256 c) {
        uint64 task = startTask(1, 1);
        playToWindow(task, 1, 1);
        vm.startPrank(friend);
        c = jury.openCase(task, posted(task), "mine");
        vm.stopPrank();
        drawn(c);
        for (uint256 i = 0; i < jurors.length; ++i) {
            canVote(c, jurors[i], true);
        }
    }

    /// @dev Honest trainers 0 and 1 are called rejected, by a quorum of four that lies.
    function lieIsJudged() private returns (uint256 c, uint256 voted) {
        id = startTask(3, 4);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        (leaves[0].verdict, leaves[1].verdict) = (uint8(Verdict.Rejected), uint8(Verdict.Rejected));
        leaves = paid(id, leaves);
        attestAll(id, 4, leaves);
        settle(id, leaves, 4, 15);
        c = open();
        for (uint256 i = 0; i < jurors.length; ++i) {
            if (canVote(c, jurors[i], true)) ++voted;
        }
        show(c);
    }

    function show(uint256 c) private {
        uint8 level = jury.caseOf(c).level;
        sleep(7_200);
        jury.advanceCase(c);
        for (uint256 i = 0; i < jurors.length; ++i) {
            if (jury.voteOf(c, level, jurors[i]).ballot != IJury.Ballot.Sealed) continue;
            vm.prank(jurors[i]);
            jury.showVote(c, true, "salt");
        }
    }

    function test_E37_control_withoutDecoys_theLieFalls() public {
        manyJurors();
        (uint256 c, uint256 voted) = lieIsJudged();
        vm.assertTrue(voted >= 8);
        vm.assertTrue(jury.caseOf(c).overturned);
    }

    function test_E37_fiveDecoys_takeNobodysVote() public {
        manyJurors();
        for (uint256 i = 0; i < 5; ++i) {
            decoy();
        }
        for (uint256 i = 0; i < jurors.length; ++i) {
            vm.assertEq(registry.freeStakeOf(jurors[i], Role.Verifier), 2_000 * UNIT, "votes bind nothing");
        }
        (uint256 c, uint256 voted) = lieIsJudged();
        vm.assertTrue(voted >= 8);
        vm.assertTrue(jury.caseOf(c).overturned);
        close(c);
        assertPhase(id, Phase.Settle);
    }

    /// @dev A decoy that binds stake has to come to the last level: whoever brings it there was wrong three times, and pays.
    function test_E37b_decoyAtTheLastLevel_costsItsBonds() public {
        manyJurors();
        uint256 c = decoy();
        uint64 task = jury.caseOf(c).taskId;
        show(c);
        for (uint8 level = 1; level < 4; ++level) {
            vm.assertTrue(jury.caseOf(c).overturned);
            appeal(c, friend);
            for (uint256 i = 0; i < jurors.length; ++i) {
                canVote(c, jurors[i], true);
            }
            if (level == 3) {
                vm.assertEq(registry.freeStakeOf(jurors[0], Role.Verifier), 1_500 * UNIT, "a twentieth is bound");
            } else {
                vm.assertEq(registry.freeStakeOf(jurors[0], Role.Verifier), 2_000 * UNIT);
            }
            show(c);
        }
        assertPhase(task, Phase.Settle);
        vm.assertEq(registry.stakeOf(friend, Role.Challenger).total, 8_600 * UNIT, "200 + 400 + 800 of bonds");
    }

    /// @dev With all of its stake in tasks a juror votes below the last level, at no risk, and not at the last.
    function test_E37c_jurorWithoutFreeStake_votesBelowTheLastLevel() public {
        settledAmongMany();
        vm.prank(address(verifierPool));
        registry.lock(jurors[0], Role.Verifier, uint96(10_000 * UNIT));
        uint256 c = open();
        uint8 level;
        while (jury.seatsOf(c, level, jurors[0]) == 0) {
            sleep(7_200);
            jury.advanceCase(c);
            appeal(c, outsider);
            ++level;
        }
        vm.assertTrue(level < 3 && canVote(c, jurors[0], false));
        vm.assertEq(jury.voteOf(c, level, jurors[0]).locked, 0);
        sleep(7_200);
        jury.advanceCase(c);
        vm.prank(jurors[0]);
        jury.showVote(c, false, "salt");
        appeal(c, outsider);
        toTheLast(c);
        bytes32 sealed_ = jury.voteHash(c, 3, jurors[0], false, "salt");
        vm.prank(jurors[0]);
        vm.expectPartialRevert(IStakeRegistry.InsufficientFreeStake.selector);
        jury.sealVote(c, sealed_, none);
        for (uint256 i = 2; i < jurors.length; ++i) {
            vote(c, jurors[i], true);
        }
        show(c);
        vm.assertTrue(jury.caseOf(c).overturned, "against its vote, and by more than half");
        jury.settleVote(c, level, jurors[0], none);
        vm.expectPartialRevert(IJury.NothingToSettle.selector);
        jury.settleVote(c, 3, jurors[0], none);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 10_000 * UNIT);
    }
}
