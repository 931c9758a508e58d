// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IJury} from "../../../contracts/interfaces/IJury.sol";
import {IStakeRegistry} from "../../../contracts/interfaces/IStakeRegistry.sol";
import {ITaskManager} from "../../../contracts/interfaces/ITaskManager.sol";
import "../../../contracts/interfaces/Types.sol";
import {JuryWorld} from "../support/JuryWorld.sol";
import {vm} from "../support/Vm.sol";

/// @dev What goes on around a case: settlements that fall otherwise, stake that is bound or gone, the edges of its phases.
contract CaseAttacksTest is JuryWorld {
    address internal accomplice = vm.addr(0x7001);

    function setUp() public override {
        super.setUp();
        equip(accomplice, Role.Challenger, uint96(10_000 * UNIT));
    }

    function assertCase(uint256 c, IJury.CasePhase expected) internal view {
        vm.assertEq(uint256(jury.caseOf(c).phase), uint256(expected), "phase of the case");
    }

    function assertWhole(address account, Role role) internal view {
        IStakeRegistry.StakeAccount memory stake = registry.stakeOf(account, role);
        vm.assertEq(stake.total, 10_000 * UNIT, "stake");
        vm.assertEq(stake.locked, 0, "locked stake");
    }

    function sealAll(uint256 c, bool overturn) internal {
        for (uint256 i = 0; i < 10; ++i) {
            vote(c, jurors[i], overturn);
        }
    }

    function settleAll(uint256 c) internal {
        for (uint8 level = 0; level <= jury.caseOf(c).level; ++level) {
            for (uint256 i = 0; i < 10; ++i) {
                if (jury.seatsOf(c, level, jurors[i]) != 0) jury.settleVote(c, level, jurors[i], none);
            }
        }
    }

    // A settlement that falls while a case about it runs.

    /// @dev A case, and a demand for a leaf that nobody shows: the settlement falls when it is closed.
    function openDoomed() internal returns (uint256 c, uint256 demand, SettlementLeaf[] memory leaves) {
        leaves = settledAmongMany();
        vm.startPrank(accomplice);
        demand = court.demandLeaf(id, posted(id), trainers[1]);
        vm.stopPrank();
        c = open();
    }

    /// @dev The quorum's friends vote for it, and nobody else sees a settlement any more. Its challenger was right.
    function test_E1_settlementFallsOtherwise_nobodyIsPaidOrFined() public {
        (uint256 c, uint256 demand,) = openDoomed();
        sealAll(c, false);
        sleep(7_200);
        court.closeDemand(demand);
        assertPhase(id, Phase.Settle);
        jury.advanceCase(c);
        assertCase(c, IJury.CasePhase.Moot);
        assertWhole(outsider, Role.Challenger);
        settleAll(c);
        for (uint256 i = 0; i < 10; ++i) {
            assertWhole(jurors[i], Role.Verifier);
        }
        vm.assertEq(registry.creditOf(address(jury)), 0, "no bond was lost");
        vm.expectPartialRevert(IJury.WrongCasePhase.selector);
        jury.advanceCase(c);
    }

    /// @dev In any phase, before its end: nothing of the old case keeps the next settlement waiting.
    function test_E1b_mootCase_closesAtOnceAndTheRoundGoesOn() public {
        (uint256 c, uint256 demand, SettlementLeaf[] memory leaves) = openDoomed();
        sealAll(c, true);
        sleep(7_200);
        jury.advanceCase(c);
        assertCase(c, IJury.CasePhase.Show);
        court.closeDemand(demand);
        settle(id, leaves, 4, 15);
        vm.assertEq(tasks.openDisputes(id), 1);
        jury.advanceCase(c);
        vm.assertEq(tasks.openDisputes(id), 0);
        finalize(id);
        assertOutcome(id, 1, Outcome.Settled);
    }

    function test_E1c_mootWhileSeatsAreDrawn_closesAtOnce() public {
        settledAmongMany();
        vm.startPrank(accomplice);
        uint256 demand = court.demandLeaf(id, posted(id), trainers[1]);
        uint256 c = jury.openCase(id, posted(id), "e");
        vm.stopPrank();
        vm.expectPartialRevert(IJury.WrongCasePhase.selector);
        jury.advanceCase(c);
        sleep(3_600);
        court.closeDemand(demand);
        jury.advanceCase(c);
        assertCase(c, IJury.CasePhase.Moot);
        assertWhole(accomplice, Role.Challenger);
    }

    /// @dev Everybody's vote comes too late: it voids no later settlement, slashes no signer and no juror.
    function test_E1d_everybodysVoteOnAFallenSettlement_touchesNoOther() public {
        (uint256 c, uint256 demand, SettlementLeaf[] memory leaves) = openDoomed();
        bytes32 old = digestOf(id, settlementFor(id, leaves));
        for (uint8 level = 0; level < 3; ++level) {
            voteAll(c, 0, 10);
            appeal(c, level == 1 ? outsider : accomplice);
        }
        for (uint256 i = 0; i < 10; ++i) {
            vote(c, jurors[i], i < 9);
        }
        sleep(7_200);
        jury.advanceCase(c);
        court.closeDemand(demand);
        settle(id, leaves, 4, 15);
        for (uint256 i = 0; i < 10; ++i) {
            vm.prank(jurors[i]);
            jury.showVote(c, i < 9, "salt");
        }
        assertCase(c, IJury.CasePhase.Moot);
        assertPhase(id, Phase.Window);
        vm.expectPartialRevert(IDisputeCourt.NotCulpable.selector);
        court.slashSigner(old, verifiers[0], none);
        settleAll(c);
        assertWhole(jurors[9], Role.Verifier);
        assertWhole(outsider, Role.Challenger);
        assertWhole(accomplice, Role.Challenger);
        finalize(id);
    }

    /// @dev Two of four settle alone in the late phase. Their colleagues did not sign, and judge with a juror of more stake than
    /// the two have: the stake of those who did not sign is no shield for those who did.
    function test_E21_liarsInTheQuorum_doNotHideBehindThoseWhoDidNotSign() public {
        addJuror(0, 10_000);
        sleep(2 days);
        id = createTask(defaultParams());
        for (uint256 i = 0; i < 3; ++i) {
            enrolTrainer(id, trainers[i]);
        }
        for (uint256 i = 0; i < 4; ++i) {
            enrolVerifier(id, verifiers[i], uint96((i < 2 ? 9_500 : 9_000) * UNIT));
        }
        SettlementLeaf[] memory leaves;
        playToOpening(id, 3);
        expirePhase(id);
        leaves = honestLeaves(id, 3);
        attestAll(id, 4, leaves);
        expirePhase(id); // no quorum came
        settle(id, leaves, 4, 3);
        uint256 c = open();
        address[] memory absent = quorumProof(id, settlementFor(id, leaves), 4, 3).nonSigners;
        address[3] memory honest = [verifiers[2], verifiers[3], jurors[0]];
        for (uint256 i = 0; i < 3; ++i) {
            bytes32 sealed_ = jury.voteHash(c, 0, honest[i], true, "salt");
            vm.prank(honest[i]);
            jury.sealVote(c, sealed_, absent);
        }
        sleep(7_200);
        jury.advanceCase(c);
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(honest[i]);
            jury.showVote(c, true, "salt");
        }
        vm.assertEq(jury.caseOf(c).quorumWeight, 19_000 * UNIT, "what signed");
        vm.assertTrue(jury.caseOf(c).overturned, "30,000 of 50,000");
        close(c);
        assertPhase(id, Phase.Settle);
    }

    // Who pays for a seat without a vote.

    /// @dev Enough speak for silence to cost.
    function silentCase() internal returns (uint256 c) {
        settledAmongMany();
        c = open();
        upheldFrom(c, 1);
    }

    /// @dev A signer has no seat. When its stake is released nothing shows any more that it signed.
    function test_E2_signerWhoLeft_isNotChargedForAVote() public {
        uint256 c = silentCase();
        tasks.finalize(id);
        vm.assertTrue(jury.seatsOf(c, 0, verifiers[0]) != 0, "it would have had a seat");
        vm.expectPartialRevert(IJury.NothingToSettle.selector);
        jury.settleVote(c, 0, verifiers[0], none);
        vm.prank(verifiers[0]);
        verifierPool.resign(id);
        sleep(3_600);
        verifierPool.release(id, verifiers[0]);
        vm.expectPartialRevert(IJury.NothingToSettle.selector);
        jury.settleVote(c, 0, verifiers[0], none);
        assertWhole(verifiers[0], Role.Verifier);
    }

    /// @dev Nor with a list of those who did not sign that somebody made up.
    function test_E2b_inventedListOfNonSigners_chargesNobody() public {
        uint256 c = silentCase();
        address[] memory invented = new address[](1);
        invented[0] = verifiers[0];
        vm.expectPartialRevert(IJury.NothingToSettle.selector);
        jury.settleVote(c, 0, verifiers[0], invented);
    }

    /// @dev All its stake but four tokens works in a task, which is what stake is for. Silence at the last level costs ten.
    function test_E3_jurorWhoseStakeIsBound_paysForSilenceFromWhatIsFreeAlone() public {
        for (uint256 i = 0; i < 10; ++i) {
            addJuror(i, 10_000);
        }
        sleep(2 days);
        registerKey(jurors[0], 3);
        uint64 other = createTask(defaultParams());
        enrolVerifier(other, jurors[0], uint96(9_996 * UNIT));
        id = startTask(3, 4);
        playToWindow(id, 3, 4);
        uint256 c = open();
        toTheLast(c);
        vm.assertTrue(jury.seatsOf(c, 3, jurors[0]) != 0);
        upheldFrom(c, 1);
        jury.settleVote(c, 3, jurors[0], none);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 9_996 * UNIT);
        vm.assertEq(verifierPool.enrolmentOf(other, jurors[0]).stake, 9_996 * UNIT);
    }

    // The edges of its phases.

    function test_E4_lastSecondOfAnAppeal_countsAndTheNextDoesNot() public {
        settledAmongMany();
        uint256 c = open();
        sleep(7_200);
        jury.advanceCase(c);
        sleep(3_599);
        vm.expectPartialRevert(IJury.StillOpen.selector);
        jury.advanceCase(c);
        uint256 snapshot = vm.snapshotState();
        appeal(c, accomplice);
        assertCase(c, IJury.CasePhase.Seal);
        vm.revertToState(snapshot);
        sleep(1);
        vm.prank(accomplice);
        vm.expectPartialRevert(IJury.TooLate.selector);
        jury.appeal(c, 0, "late");
        jury.advanceCase(c);
        assertCase(c, IJury.CasePhase.Closed);
        bytes32 settlement = posted(id);
        vm.prank(accomplice);
        vm.expectPartialRevert(IJury.CasesNotAccepted.selector);
        jury.openCase(id, settlement, "once more, after the window");
    }

    /// @dev The last second of the window is soon enough, and the round then waits for the case and for nothing else.
    function test_E4b_caseInTheLastSecondOfTheWindow_endsByAKnownTime() public {
        settledAmongMany();
        sleep(PHASE - 1);
        vm.startPrank(accomplice);
        uint256 c = jury.openCase(id, posted(id), "e");
        vm.stopPrank();
        sleep(1);
        vm.expectPartialRevert(ITaskManager.DisputesOpen.selector);
        tasks.finalize(id);
        bytes32 settlement = posted(id);
        vm.prank(outsider);
        vm.expectPartialRevert(IDisputeCourt.DisputesNotAccepted.selector);
        court.demandLeaf(id, settlement, trainers[0]);
        drawn(c);
        sleep(7_200);
        jury.advanceCase(c);
        close(c);
        tasks.finalize(id);
        assertOutcome(id, 1, Outcome.Settled);
    }

    /// @dev Pay that nobody collected is gone after a month; the voters' stake is not.
    function test_E5_votesSettledAfterTheMonth_arePaidAndFinedNothing() public {
        settledAmongMany();
        uint256 c = open();
        voteAll(c, 0, 0);
        close(c);
        vm.assertTrue(registry.creditOf(address(jury)) != 0, "a lost bond");
        sleep(30 days);
        jury.burnJurorPay(c);
        for (uint256 i = 0; i < 10; ++i) {
            if (jury.voteOf(c, 0, jurors[i]).votes != 0) jury.settleVote(c, 0, jurors[i], none);
            assertWhole(jurors[i], Role.Verifier);
            vm.assertEq(registry.creditOf(jurors[i]), 0);
        }
        vm.assertEq(registry.creditOf(address(jury)), 0);
    }

    /// @dev Nine of ten jurors, with 90,000 of 140,000, say at the last level that it is wrong; juror 0 is for it.
    function wrongAtTheLast(uint256 c) internal {
        toTheLast(c);
        voteAll(c, 1, 10);
        vm.assertTrue(jury.caseOf(c).overturned);
        assertCase(c, IJury.CasePhase.Closed);
    }

    function unbond(address juror) internal {
        vm.prank(juror);
        registry.requestUnbond(Role.Verifier, uint96(10_000 * UNIT));
    }

    /// @dev A vote binds nothing, and what is on its way out pays for it. It cannot be out before the case ends.
    function test_E6_stakeOnItsWayOut_paysForAWrongVote() public {
        settledAmongMany();
        uint256 c = open();
        unbond(jurors[0]); // in the second in which the case was opened, which is the first that leaves it a vote
        wrongAtTheLast(c);
        vm.prank(jurors[0]);
        vm.expectPartialRevert(IStakeRegistry.StillUnbonding.selector);
        registry.withdraw(Role.Verifier);
        jury.settleVote(c, 3, jurors[0], none);
        sleep(7 days);
        vm.prank(jurors[0]);
        vm.assertEq(registry.withdraw(Role.Verifier), 9_500 * UNIT, "5 %");
        vm.expectPartialRevert(IJury.NothingToSettle.selector);
        jury.settleVote(c, 3, jurors[0], none);
    }

    function test_E6b_stakeThatLeftBefore_hasNoVote() public {
        settledAmongMany();
        unbond(jurors[0]);
        sleep(1);
        uint256 c = open();
        toTheLast(c);
        vm.assertEq(jury.seatsOf(c, 3, jurors[0]), 0);
        bytes32 sealed_ = jury.voteHash(c, 3, jurors[0], false, "salt");
        vm.prank(jurors[0]);
        vm.expectPartialRevert(IJury.NoSeat.selector);
        jury.sealVote(c, sealed_, none);
    }

    /// @dev Each vote is sealed, shown and fined once, though nothing is bound by the first.
    function test_E6c_oneVoteAJurorAndLevel() public {
        settledAmongMany();
        uint256 c = open();
        toTheLast(c);
        vote(c, jurors[0], true);
        bytes32 other = jury.voteHash(c, 3, jurors[0], false, "salt");
        vm.prank(jurors[0]);
        vm.expectPartialRevert(IJury.AlreadyVoted.selector);
        jury.sealVote(c, other, none);
        sleep(7_200);
        jury.advanceCase(c);
        vm.prank(jurors[0]);
        jury.showVote(c, true, "salt");
        vm.prank(jurors[0]);
        vm.expectPartialRevert(IJury.WrongCasePhase.selector);
        jury.showVote(c, true, "salt");
        jury.settleVote(c, 3, jurors[0], none);
        vm.assertEq(
            registry.stakeOf(jurors[0], Role.Verifier).total, 10_000 * UNIT, "a part of the stake slashes nobody"
        );
    }

    /// @dev The price of votes that bind nothing: of two wrong ones, both are fined as far as there is something.
    function test_E6d_twoWrongVotes_payFromTheSameStake() public {
        settledAmongMany();
        vm.prank(address(verifierPool));
        registry.lock(jurors[0], Role.Verifier, uint96(9_200 * UNIT));
        uint256 first = open();
        wrongAtTheLast(first);
        id = startTask(3, 4);
        playToWindow(id, 3, 4);
        uint256 second = open();
        wrongAtTheLast(second);
        jury.settleVote(first, 3, jurors[0], none);
        jury.settleVote(second, 3, jurors[0], none);
        vm.assertEq(registry.stakeOf(jurors[0], Role.Verifier).total, 9_200 * UNIT, "500 and the last 300");
    }
}
