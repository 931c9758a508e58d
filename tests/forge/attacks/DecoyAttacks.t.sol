// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJury} from "../../../contracts/interfaces/IJury.sol";
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

    /// @dev Whether the juror has a seat and its vote is taken.
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

    /// @dev How many jurors seal that the settlement is wrong.
    function sealAll(uint256 c) private returns (uint256 voted) {
        for (uint256 i = 0; i < jurors.length; ++i) {
            if (canVote(c, jurors[i], true)) ++voted;
        }
    }

    function show(uint256 c) private {
        uint8 level = jury.caseOf(c).level;
        jury.advanceCase(c);
        for (uint256 i = 0; i < jurors.length; ++i) {
            if (jury.voteOf(c, level, jurors[i]).ballot != IJury.Ballot.Sealed) continue;
            vm.prank(jurors[i]);
            jury.showVote(c, true, "salt");
        }
    }

    function bring(address challenger) private returns (uint256 c) {
        vm.startPrank(challenger);
        c = jury.openCase(id, posted(id), "mine");
        vm.stopPrank();
        drawn(c);
    }

    /// @dev Honest trainers 0 and 1 are called rejected, by a quorum that lies; `challenger` brings the case.
    function lie(uint256 members, address challenger) private returns (uint256 c) {
        id = startTask(3, members);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        (leaves[0].verdict, leaves[1].verdict) = (uint8(Verdict.Rejected), uint8(Verdict.Rejected));
        leaves = paid(id, leaves);
        attestAll(id, members, leaves);
        settle(id, leaves, members, (1 << members) - 1);
        return bring(challenger);
    }

    /// @dev The friend's case about a lie in a task with one trainer and one verifier: all jurors seal that it is one.
    function decoy() private returns (uint256 c) {
        id = startTask(1, 1);
        playToWindow(id, 1, 1);
        c = bring(friend);
        sealAll(c);
    }

    function lieIsJudged() private returns (uint256 c, uint256 voted) {
        c = lie(4, outsider);
        voted = sealAll(c);
        sleep(7_200);
        show(c);
    }

    function assertNothingBound() private view {
        for (uint256 i = 0; i < jurors.length; ++i) {
            vm.assertEq(registry.freeStakeOf(jurors[i], Role.Verifier), 2_000 * UNIT, "votes bind nothing");
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
        assertNothingBound();
        (uint256 c, uint256 voted) = lieIsJudged();
        vm.assertTrue(voted >= 8);
        vm.assertTrue(jury.caseOf(c).overturned);
        close(c);
        assertPhase(id, Phase.Settle);
    }

    /// @dev Whoever brings a decoy to the last level by lying there was wrong three times, and pays.
    function test_E37b_decoyAtTheLastLevel_costsItsBondsAndBindsNothing() public {
        manyJurors();
        uint256 c = decoy();
        sleep(7_200);
        show(c);
        for (uint8 level = 1; level < 4; ++level) {
            vm.assertTrue(jury.caseOf(c).overturned);
            appeal(c, friend);
            sealAll(c);
            assertNothingBound();
            sleep(7_200);
            show(c);
        }
        assertPhase(id, Phase.Settle);
        vm.assertEq(registry.stakeOf(friend, Role.Challenger).total, 8_600 * UNIT, "200 + 400 + 800 of bonds");
    }

    /// @dev Whoever is right at the last level pays nothing: a liar hides what it judged until then, so that silence upholds,
    /// its friend brings the case and appeals, and there it shows everything. Votes of the usual twentieth in four such
    /// cases would bind the free fifth of every honest juror, while the case that matters is at its last level.
    function test_E39_decoysOfWhoIsRight_takeNobodysVoteAtTheLastLevel() public {
        manyJurors();
        uint256[4] memory decoys;
        for (uint256 i = 0; i < decoys.length; ++i) {
            decoys[i] = lie(1, friend);
        }
        address liar = vm.addr(0x7002);
        equip(liar, Role.Challenger, uint96(1_400 * UNIT));
        uint256 c = lie(4, outsider);
        for (uint8 level = 0; level < 3; ++level) {
            sealAll(c);
            sleep(7_200);
            show(c);
            vm.assertTrue(jury.caseOf(c).overturned, "seen by all");
            for (uint256 i = 0; i < decoys.length; ++i) {
                show(decoys[i]);
                vm.assertFalse(jury.caseOf(decoys[i]).overturned, "nobody can judge it, and silence upholds");
                appeal(decoys[i], friend);
            }
            appeal(c, liar);
        }
        for (uint256 i = 0; i < decoys.length; ++i) {
            vm.assertEq(sealAll(decoys[i]), 10);
        }
        vm.assertEq(sealAll(c), 10, "votes in the case that matters");
        assertNothingBound();
        sleep(7_200);
        for (uint256 i = 0; i < decoys.length; ++i) {
            show(decoys[i]);
            vm.assertTrue(jury.caseOf(decoys[i]).overturned, "the decoys fall");
        }
        vm.assertEq(registry.stakeOf(friend, Role.Challenger).total, 10_000 * UNIT, "and cost nothing");
        show(c);
        assertPhase(id, Phase.Settle);
        vm.assertEq(registry.stakeOf(liar, Role.Challenger).total, 0);
    }

    /// @dev With all of its stake in tasks a juror votes at every level. Of that stake a wrong vote takes nothing.
    function test_E37c_jurorWithoutFreeStake_votesAtEveryLevel() public {
        settledAmongMany();
        vm.prank(address(verifierPool));
        registry.lock(jurors[0], Role.Verifier, uint96(10_000 * UNIT));
        uint256 c = open();
        for (uint8 level = 0; level < 4; ++level) {
            bool seated = jury.seatsOf(c, level, jurors[0]) != 0;
            vm.assertEq(canVote(c, jurors[0], false), seated);
            vm.assertTrue(seated || level < 3);
            for (uint256 i = 2; level == 3 && i < jurors.length; ++i) {
                vote(c, jurors[i], true);
            }
            sleep(7_200);
            jury.advanceCase(c);
            for (uint256 i = 0; i < jurors.length; ++i) {
                if (jury.voteOf(c, level, jurors[i]).ballot != IJury.Ballot.Sealed) continue;
                vm.prank(jurors[i]);
                jury.showVote(c, i != 0, "salt");
            }
            if (level < 3) appeal(c, outsider);
        }
        vm.assertTrue(jury.caseOf(c).overturned, "against its vote, and by more than half");
        jury.settleVote(c, 3, jurors[0], none);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 10_000 * UNIT);
    }
}
