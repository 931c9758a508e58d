// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IJury} from "../../../contracts/interfaces/IJury.sol";
import {ITaskManager} from "../../../contracts/interfaces/ITaskManager.sol";
import {IStakeRegistry} from "../../../contracts/interfaces/IStakeRegistry.sol";
import "../../../contracts/interfaces/Types.sol";
import {JuryWorld} from "../support/JuryWorld.sol";
import {vm} from "../support/Vm.sol";

/// @dev Votes about settlements, and the audit's attacks on the committees that they replace (A14, A18, A19, B1, D3, D4).
contract JuryAttacksTest is JuryWorld {
    function test_B1_cheapIdentities_cannotOutvoteMoreStake() public {
        for (uint256 i = 0; i < 11; ++i) {
            addJuror(i, 100);
        }
        sleep(2 days);
        id = startTask(3, 4);
        SettlementLeaf[] memory leaves = playToWindow(id, 3, 4);
        bytes32 digest = digestOf(id, settlementFor(id, leaves));
        uint256 c = open();
        for (uint8 level = 0; level < 4; ++level) {
            voteAll(c, 0, 11);
            vm.assertFalse(jury.caseOf(c).overturned, "1,100 of 41,100");
            if (jury.caseOf(c).phase == IJury.CasePhase.Closed) break;
            appeal(c, outsider);
        }
        assertPhase(id, Phase.Window);
        vm.expectPartialRevert(IDisputeCourt.NotCulpable.selector);
        court.slashSigner(digest, verifiers[0], none);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 9_850 * UNIT, "a tenth of 1,500, as few spoke");
        for (uint256 i = 0; i < 11; ++i) {
            jury.settleVote(c, 3, jurors[i], none);
            vm.assertEq(registry.stakeOf(jurors[i], Role.Verifier).total, 100 * UNIT, "nothing won, nothing decided");
        }
        tasks.finalize(id);
        assertOutcome(id, 1, Outcome.Settled);
    }

    function test_smallCommittee_voidsButSlashesNobody() public {
        SettlementLeaf[] memory leaves = settledAmongMany();
        bytes32 digest = digestOf(id, settlementFor(id, leaves));
        uint256 c = open();
        voteAll(c, 0, 10);
        vm.assertTrue(jury.caseOf(c).overturned);
        close(c);
        assertPhase(id, Phase.Settle);
        vm.expectPartialRevert(IDisputeCourt.NotCulpable.selector);
        court.slashSigner(digest, verifiers[0], none);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 10_000 * UNIT, "the challenger was right");
        settle(id, leaves, 4, 15);
        finalize(id);
    }

    function appealed() internal returns (uint256 c, bytes32 digest) {
        SettlementLeaf[] memory leaves = settledAmongMany();
        digest = digestOf(id, settlementFor(id, leaves));
        address friend = vm.addr(0x7001);
        equip(friend, Role.Challenger, uint96(10_000 * UNIT));
        c = open();
        voteAll(c, 0, 2); // too few against it
        vm.assertFalse(jury.caseOf(c).overturned);
        appeal(c, outsider);
        voteAll(c, 0, 10);
        vm.assertTrue(jury.caseOf(c).overturned);
        appeal(c, friend); // who wants the settlement to stand
        voteAll(c, 0, 10);
        appeal(c, friend);
        voteAll(c, 0, 9); // everybody
        vm.assertEq(uint256(jury.caseOf(c).phase), uint256(IJury.CasePhase.Closed), "nobody is left to appeal to");
    }

    function test_everybody_overturns_signersAndWrongVotesPay() public {
        (uint256 c, bytes32 digest) = appealed();
        assertPhase(id, Phase.Settle);
        court.slashSigner(digest, verifiers[3], none);
        vm.assertEq(registry.stakeOf(verifiers[3], Role.Verifier).total, 9_900 * UNIT);
        vm.assertEq(registry.creditOf(outsider), 20 * UNIT, "to who opened the case");
        address friend = vm.addr(0x7001);
        vm.assertEq(registry.stakeOf(friend, Role.Challenger).total, 8_800 * UNIT, "400 + 800 of bonds");
        vm.assertEq(registry.stakeOf(friend, Role.Challenger).locked, 0);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 10_000 * UNIT);
        // The tenth voted for it at the last level: 5 % of what its vote stood for. The others share the bonds' part.
        jury.settleVote(c, 3, jurors[9], none);
        vm.assertEq(registry.stakeOf(jurors[9], Role.Verifier).total, 9_500 * UNIT);
        vm.expectPartialRevert(IJury.NothingToSettle.selector);
        jury.settleVote(c, 3, jurors[9], none);
        jury.settleVote(c, 3, jurors[0], none);
        vm.assertEq(registry.creditOf(jurors[0]), 480 ether / uint256(9), "a ninth of 40 % of 1,200");
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 10_000 * UNIT);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).locked, 0, "nothing is bound");
        // The fifth voted for the settlement at the lowest level: everybody says that it was wrong, and it costs nothing.
        vm.assertEq(uint256(jury.voteOf(c, 0, jurors[5]).ballot), uint256(IJury.Ballot.Uphold));
        for (uint8 level = 0; level < 3; ++level) {
            for (uint256 i = 0; i < 10; ++i) {
                if (jury.voteOf(c, level, jurors[i]).votes != 0) jury.settleVote(c, level, jurors[i], none);
            }
        }
        vm.assertEq(registry.stakeOf(jurors[5], Role.Verifier).total, 10_000 * UNIT);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 10_000 * UNIT, "always right");
        vm.expectPartialRevert(IJury.StillOpen.selector);
        jury.burnJurorPay(c);
        sleep(30 days);
        jury.burnJurorPay(c);
        vm.assertEq(registry.creditOf(address(jury)), 0);
    }

    function test_absentJurors_payALittle_alsoWhenTheyUnbond() public {
        settledAmongMany();
        uint256 c = open();
        vm.prank(jurors[0]);
        registry.requestUnbond(Role.Verifier, uint96(10_000 * UNIT));
        upheldFrom(c, 1); // the others slept
        vm.assertFalse(jury.caseOf(c).overturned);
        for (uint256 i = 0; i < 1; ++i) {
            uint96 seats = jury.seatsOf(c, 0, jurors[i]);
            if (seats == 0) continue;
            jury.settleVote(c, 0, jurors[i], none);
            uint256 fine = uint256(seats) * jury.levelOf(c, 0).unit / 1_000;
            vm.assertEq(registry.stakeOf(jurors[i], Role.Verifier).total, 10_000 * UNIT - fine);
        }
        vm.expectPartialRevert(IJury.NothingToSettle.selector);
        jury.settleVote(c, 0, verifiers[0], none);
    }

    function test_D3_signersHaveNoSeat() public {
        settledAmongMany();
        uint256 c = open();
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(verifiers[i]);
            vm.expectPartialRevert(IJury.NoSeat.selector);
            jury.sealVote(c, "v", none);
        }
        vm.prank(trainers[0]);
        vm.expectPartialRevert(IJury.NoSeat.selector);
        jury.sealVote(c, "v", none);
    }

    /// @dev A member of the quorum who did not sign is no party, and shows the list that says so.
    function test_D3b_nonSigner_mayVote() public {
        id = startTask(3, 4);
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        attestAll(id, 4, leaves);
        settle(id, leaves, 4, 13); // verifier 1 does not sign
        uint256 c = open();
        address[] memory absent = new address[](1);
        absent[0] = verifiers[1];
        vm.prank(verifiers[0]);
        vm.expectPartialRevert(IJury.NoSeat.selector);
        jury.sealVote(c, "v", absent);
        if (jury.seatsOf(c, 0, verifiers[1]) == 0) return;
        vm.startPrank(verifiers[1]);
        vm.expectPartialRevert(IJury.NoSeat.selector);
        jury.sealVote(c, "v", none);
        jury.sealVote(c, "v", absent);
        vm.expectPartialRevert(IJury.AlreadyVoted.selector);
        jury.sealVote(c, "v", absent);
        vm.stopPrank();
    }

    function test_D4_delay_costsTheBond() public {
        settledAmongMany();
        uint256 c = open();
        sleep(PHASE);
        vm.expectPartialRevert(ITaskManager.DisputesOpen.selector);
        tasks.finalize(id);
        vm.expectPartialRevert(IJury.StillOpen.selector);
        jury.advanceCase(c);
        sleep(7_200);
        jury.advanceCase(c);
        close(c);
        tasks.finalize(id);
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).total, 9_990 * UNIT, "a tenth where nobody spoke");
        vm.assertEq(jury.maxCaseSeconds(), 4 * (2 * 7_200 + 3_600));
    }

    function test_A14_firstCaseWithEmptyEvidence_anybodyAppeals() public {
        settledAmongMany();
        address friend = vm.addr(0x7001);
        equip(friend, Role.Challenger, uint96(100 * UNIT));
        vm.startPrank(friend);
        uint256 c = jury.openCase(id, posted(id), bytes32(0));
        vm.stopPrank();
        bytes32 settlement = posted(id);
        vm.prank(outsider);
        vm.expectPartialRevert(IJury.CaseAlreadyOpen.selector);
        jury.openCase(id, settlement, "the real evidence");
        drawn(c);
        sleep(7_200);
        jury.advanceCase(c); // nobody voted
        appeal(c, outsider); // with the real evidence
        voteAll(c, 0, 10);
        vm.assertTrue(jury.caseOf(c).overturned);
        close(c);
        assertPhase(id, Phase.Settle);
        vm.assertEq(registry.freeStakeOf(friend, Role.Challenger), 100 * UNIT, "asked for the same");
    }

    /// @dev Leaving, joining or splitting after the request moves no seat.
    function test_A18_comingAndGoingAfterTheSeed_movesNoSeat() public {
        settledAmongMany();
        vm.startPrank(outsider);
        uint256 c = jury.openCase(id, posted(id), "e");
        vm.stopPrank();
        vm.roll(vm.getBlockNumber() + 2);
        beacon.fulfil(jury.levelOf(c, 0).seedRequest); // the seed is public now
        uint256 snapshot = vm.snapshotState();
        jury.drawSeats(c);
        uint96[] memory seats = new uint96[](10);
        for (uint256 i = 0; i < 10; ++i) {
            seats[i] = jury.seatsOf(c, 0, jurors[i]);
        }
        vm.revertToState(snapshot);
        for (uint256 i = 0; i < 5; ++i) {
            vm.prank(jurors[i]);
            registry.requestUnbond(Role.Verifier, uint96(10_000 * UNIT));
        }
        address late = addJuror(77, 500_000);
        sleep(1);
        jury.drawSeats(c);
        for (uint256 i = 0; i < 10; ++i) {
            vm.assertEq(jury.seatsOf(c, 0, jurors[i]), seats[i]);
        }
        vm.assertEq(jury.seatsOf(c, 0, late), 0);
    }

    function test_A19_stakeOfToday_hasNoVoteToday() public {
        for (uint256 i = 0; i < 10; ++i) {
            addJuror(i, 10_000);
        }
        sleep(2 days);
        id = startTask(3, 4);
        playToWindow(id, 3, 4);
        address late = addJuror(77, 500_000);
        sleep(100);
        uint256 c = open();
        vm.assertEq(jury.seatsOf(c, 0, late), 0);
        vm.assertEq(jury.caseOf(c).electorate, 140_000 * UNIT);
    }

    /// @dev Seats follow stake: the mean over many seeds of one account's votes is its part of the stake.
    function test_seats_areProportionalToStake() public {
        settledAmongMany();
        address[] memory small = new address[](10);
        uint256 sum;
        uint256 splitSum;
        for (uint256 i = 0; i < 10; ++i) {
            small[i] = vm.addr(0xa000 + i);
        }
        for (uint256 i = 0; i < 10; ++i) {
            equip(small[i], Role.Verifier, uint96(1_000 * UNIT));
        }
        sleep(2 days);
        uint256 runs = 40;
        for (uint256 r = 0; r < runs; ++r) {
            uint64 task = startTask(1, 4);
            id = task;
            playToWindow(id, 1, 4);
            uint256 c = open();
            sum += jury.seatsOf(c, 0, jurors[0]);
            for (uint256 i = 0; i < 10; ++i) {
                splitSum += jury.seatsOf(c, 0, small[i]);
            }
        }
        // 21 seats over 150,000 staked: 10,000 have 1.4 on average, in one piece or in ten.
        vm.assertTrue(sum >= runs && sum < runs * 9 / 5, "one piece");
        vm.assertTrue(splitSum >= runs && splitSum < runs * 9 / 5, "ten pieces");
    }

    function test_refusals() public {
        settledAmongMany();
        bytes32 settlement = posted(id);
        vm.prank(trainers[0]);
        vm.expectPartialRevert(IStakeRegistry.InsufficientFreeStake.selector);
        jury.openCase(id, settlement, "no bond");
        uint256 c = open();
        vm.expectPartialRevert(IJury.WrongCasePhase.selector);
        jury.drawSeats(c);
        vm.expectPartialRevert(IJury.WrongCasePhase.selector);
        jury.appeal(c, 0, "early");
        address juror;
        for (uint256 i = 0; i < 10; ++i) {
            if (jury.seatsOf(c, 0, jurors[i]) != 0) juror = jurors[i];
        }
        vote(c, juror, true);
        vm.prank(juror);
        vm.expectPartialRevert(IJury.WrongCasePhase.selector);
        jury.showVote(c, true, "salt");
        sleep(7_200);
        bytes32 sealed_ = jury.voteHash(c, 0, juror, true, "salt");
        vm.prank(juror);
        vm.expectPartialRevert(IJury.TooLate.selector);
        jury.sealVote(c, sealed_, none);
        jury.advanceCase(c);
        vm.prank(juror);
        vm.expectPartialRevert(IJury.VoteMismatch.selector);
        jury.showVote(c, false, "salt");
        vm.prank(outsider);
        vm.expectPartialRevert(IJury.NoSeat.selector);
        jury.showVote(c, false, "salt");
        sleep(7_200);
        vm.prank(juror);
        vm.expectPartialRevert(IJury.TooLate.selector);
        jury.showVote(c, true, "salt");
        jury.advanceCase(c);
        close(c);
        jury.settleVote(c, 0, juror, none); // sealed, never shown: the price of absence, from free stake
        vm.assertEq(registry.stakeOf(juror, Role.Verifier).locked, 0);
        vm.assertTrue(registry.stakeOf(juror, Role.Verifier).total < 10_000 * UNIT);
        tasks.finalize(id);
        vm.prank(outsider);
        vm.expectPartialRevert(IJury.CasesNotAccepted.selector);
        jury.openCase(id, settlement, "late");
    }

    function test_constructor_outOfRange_reverts() public {
        IJury.JuryParams memory p = juryParams();
        p.seats = 2;
        refuse(p);
        p = juryParams();
        p.jurorBps = 9_001;
        refuse(p);
        p = juryParams();
        p.voteSeconds = 4 days; // longer than stake takes to leave
        refuse(p);
    }

    function refuse(IJury.JuryParams memory p) private {
        Modules memory set = tasks.modules();
        set.jury = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        bytes memory arguments = abi.encode(set, p);
        vm.expectRevert();
        vm.deployCode("Jury.sol", arguments);
    }
}
