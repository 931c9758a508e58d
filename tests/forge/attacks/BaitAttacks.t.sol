// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IJury} from "../../../contracts/interfaces/IJury.sol";
import {ITaskTerms} from "../../../contracts/interfaces/ITaskTerms.sol";
import "../../../contracts/interfaces/Types.sol";
import {JuryWorld} from "../support/JuryWorld.sol";
import {vm} from "../support/Vm.sol";

/// @dev Attacks that set bait: who speaks the truth loses because others sleep, because something else is posted by then, or
/// because nobody can know the truth.
contract BaitAttacksTest is JuryWorld {
    address internal friend = vm.addr(0x7001);

    function setUp() public override {
        super.setUp();
        equip(friend, Role.Challenger, uint96(10_000 * UNIT));
    }

    function lostStake(address account, Role role) internal view returns (uint256) {
        return 10_000 * UNIT - registry.stakeOf(account, role).total;
    }

    /// @dev Jurors 0 to `honest` say what is true, juror 9 lies for the signers, the others sleep.
    function againstOneLiar(uint256 c, uint256 honest) internal {
        uint8 level = jury.caseOf(c).level;
        for (uint256 i = 0; i < honest; ++i) {
            vote(c, jurors[i], true);
        }
        vote(c, jurors[9], false);
        sleep(7_200);
        jury.advanceCase(c);
        for (uint256 i = 0; i < 10; ++i) {
            if (jury.voteOf(c, level, jurors[i]).ballot != IJury.Ballot.Sealed) continue;
            vm.prank(jurors[i]);
            jury.showVote(c, i < honest, "salt");
        }
    }

    function playAllLevels(uint256 c, uint256 honest) internal {
        for (uint8 level = 0; level < 4; ++level) {
            againstOneLiar(c, honest);
            if (jury.caseOf(c).phase == IJury.CasePhase.Closed) break;
            appeal(c, jury.caseOf(c).overturned ? friend : outsider);
        }
        for (uint8 level = 0; level < 4; ++level) {
            for (uint256 i = 0; i < 10; ++i) {
                if (jury.voteOf(c, level, jurors[i]).votes != 0) jury.settleVote(c, level, jurors[i], none);
            }
        }
    }

    /// @dev The settlement is a lie of the attackers' own task, and 60,000 of 140,000 say so: less than half.
    function test_E31_truthShortOfHalf_costsNobodyWhoSaidIt() public {
        settledAmongMany();
        uint256 c = open();
        playAllLevels(c, 6);
        vm.assertFalse(jury.caseOf(c).overturned);
        for (uint256 i = 0; i < 6; ++i) {
            vm.assertEq(lostStake(jurors[i], Role.Verifier), 0, "an honest juror");
        }
        vm.assertEq(registry.creditOf(jurors[9]), 0, "the only liar");
        vm.assertTrue(lostStake(outsider, Role.Challenger) <= 150 * UNIT, "a tenth of the honest bonds");
    }

    /// @dev 80,000 of 140,000: it falls, and the liar pays.
    function test_E31b_truthOfMoreThanHalf_costsTheLiar() public {
        settledAmongMany();
        uint256 c = open();
        playAllLevels(c, 8);
        vm.assertTrue(jury.caseOf(c).overturned);
        vm.assertEq(lostStake(outsider, Role.Challenger), 0, "the honest bonds");
        for (uint256 i = 0; i < 8; ++i) {
            vm.assertEq(lostStake(jurors[i], Role.Verifier), 0, "an honest juror");
        }
    }

    /// @dev A right settlement, and 80,000 of 140,000 say so at the last level: whoever lied there pays.
    function test_E31c_lieAgainstMoreThanHalf_costsTheLiar() public {
        settledAmongMany();
        uint256 c = open();
        for (uint8 level = 0; level < 4; ++level) {
            voteAll(c, 8, 10);
            if (jury.caseOf(c).phase == IJury.CasePhase.Closed) break;
            appeal(c, outsider);
        }
        vm.assertFalse(jury.caseOf(c).overturned);
        uint8 last = jury.caseOf(c).level;
        for (uint256 i = 0; i < 10; ++i) {
            jury.settleVote(c, last, jurors[i], none);
            vm.assertEq(lostStake(jurors[i], Role.Verifier) != 0, i >= 8);
        }
        vm.assertTrue(lostStake(outsider, Role.Challenger) >= 1_000 * UNIT, "the bonds");
    }

    /// @dev The challenge was sent against a lie, and is mined when the truth is posted.
    function test_E32_caseOrDemandMeantForAnotherSettlement_isRefused() public {
        id = startTask(3, 4);
        playToOpening(id, 3);
        vm.prank(address(court)); // what an unanswered demand on their own trainer does
        trainerPool.punish(id, 1, trainers[2], Fault.OpeningWithheld, friend);
        nextBlock();
        expirePhase(id);
        SettlementLeaf[] memory wrong = honestLeaves(id, 3);
        SettlementLeaf[] memory right = honestLeaves(id, 3);
        right[2].verdict = uint8(Verdict.Rejected);
        right = paid(id, right);
        attestAll(id, 4, right);
        settle(id, wrong, 4, 15);
        bytes32 meant = posted(id);
        // In front of the challenge:
        settlements.proveWrongLeaf(id, 2, wrong[2], proofOf(hashes(wrong), 2));
        settle(id, right, 4, 15);
        bytes32 stands = posted(id);
        vm.startPrank(outsider);
        vm.expectRevert(abi.encodeWithSelector(IJury.OtherSettlement.selector, stands));
        jury.openCase(id, meant, "e");
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.OtherSettlement.selector, stands));
        court.demandLeaf(id, meant, trainers[0]);
        vm.expectRevert(abi.encodeWithSelector(IDisputeCourt.OtherSettlement.selector, stands));
        court.demandScore(id, meant, verifiers[0], trainers[0]);
        vm.stopPrank();
        vm.assertEq(registry.stakeOf(outsider, Role.Challenger).locked, 0);
    }

    /// @dev An appeal for the settlement that is mined a level later would ask against it.
    function test_E32b_appealMeantForAnotherLevel_isRefused() public {
        settledAmongMany();
        uint256 c = open();
        voteAll(c, 0, 10);
        vm.assertTrue(jury.caseOf(c).overturned);
        appeal(c, friend); // somebody is faster
        voteAll(c, 0, 0);
        vm.assertFalse(jury.caseOf(c).overturned);
        vm.prank(outsider);
        vm.expectRevert(abi.encodeWithSelector(IJury.OtherLevel.selector, 1));
        jury.appeal(c, 0, "for the settlement");
    }

    /// @dev Nobody can judge the attackers' own task.
    function test_E33_caseNobodyCanJudge_costsItsOpenerAlone() public {
        settledAmongMany();
        uint256 c = open();
        sleep(7_200);
        jury.advanceCase(c);
        close(c);
        for (uint256 i = 0; i < 10; ++i) {
            if (jury.seatsOf(c, 0, jurors[i]) == 0) continue;
            vm.expectPartialRevert(IJury.NothingToSettle.selector);
            jury.settleVote(c, 0, jurors[i], none);
        }
        vm.assertEq(lostStake(outsider, Role.Challenger), 10 * UNIT, "the opener");
    }

    /// @dev Nor if 40,000 of 140,000 vote in it: friends of the opener, at no risk.
    function test_E33b_friendsWhoVote_makeNobodyPayForSilence() public {
        settledAmongMany();
        uint256 c = open();
        upheldFrom(c, 6);
        for (uint256 i = 0; i < 6; ++i) {
            if (jury.seatsOf(c, 0, jurors[i]) == 0) continue;
            vm.expectPartialRevert(IJury.NothingToSettle.selector);
            jury.settleVote(c, 0, jurors[i], none);
        }
    }

    /// @dev 20,000 say that it is a lie, 40,000 uphold it, and 80,000 do not know: nobody is paid for what has no majority.
    function test_E31d_lieOfMoreThanTheHonest_paysNobody() public {
        settledAmongMany();
        uint256 c = open();
        for (uint256 i = 0; i < 6; ++i) {
            vote(c, jurors[i], i < 2);
        }
        sleep(7_200);
        jury.advanceCase(c);
        for (uint256 i = 0; i < 6; ++i) {
            if (jury.voteOf(c, 0, jurors[i]).ballot != IJury.Ballot.Sealed) continue;
            vm.prank(jurors[i]);
            jury.showVote(c, i < 2, "salt");
        }
        close(c);
        vm.assertEq(lostStake(outsider, Role.Challenger), 100 * UNIT, "delay costs the bond");
        for (uint256 i = 0; i < 6; ++i) {
            if (jury.voteOf(c, 0, jurors[i]).votes != 0) jury.settleVote(c, 0, jurors[i], none);
            vm.assertEq(registry.creditOf(jurors[i]), 0);
        }
    }

    /// @dev A term by which one missed round costs all, half of it for whoever made it.
    function test_E34_absenceThatCostsEverything_isNoTerm() public {
        TaskParams memory p = defaultParams();
        p.stakes.slashBps = 10_000;
        p.stakes.absenceBps = 1_001;
        bytes32[] memory commitments = validationCommitments(p.training.rounds + 1);
        bytes32 field = "absenceBps";
        vm.expectRevert(abi.encodeWithSelector(ITaskTerms.InvalidParameter.selector, field, 1_001));
        terms.createTask(p, commitments, 0);
        p.stakes.absenceBps = 1_000;
        createTask(p);
        (p.stakes.slashBps, p.stakes.absenceBps) = (100, 101);
        vm.expectRevert(abi.encodeWithSelector(ITaskTerms.InvalidParameter.selector, field, 101));
        terms.createTask(p, commitments, 0);
    }
}
