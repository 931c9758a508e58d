// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJury} from "../../../contracts/interfaces/IJury.sol";
import "../../../contracts/interfaces/Types.sol";
import {vm} from "./Vm.sol";
import {World} from "./World.sol";

/// @dev Ten jurors beside a task's four verifiers, and a case about its settlement played level by level.
abstract contract JuryWorld is World {
    uint64 internal id;
    address[] internal jurors;
    address[] internal none;

    /// @dev Enough seats that ten equal jurors hold about half of the drawn votes and more.
    function juryParams() internal pure override returns (IJury.JuryParams memory p) {
        p = super.juryParams();
        p.seats = 21;
    }

    function addJuror(uint256 key, uint256 stake) internal returns (address juror) {
        juror = vm.addr(0x9000 + key);
        equip(juror, Role.Verifier, uint96(stake * UNIT));
        jurors.push(juror);
    }

    /// @dev Jurors with 100,000 in all beside four verifiers with 10,000 each, after the time that stake has to lie.
    function settledAmongMany() internal returns (SettlementLeaf[] memory leaves) {
        for (uint256 i = 0; i < 10; ++i) {
            addJuror(i, 10_000);
        }
        sleep(2 days);
        id = startTask(3, 4);
        leaves = playToWindow(id, 3, 4);
    }

    function open() internal returns (uint256 c) {
        vm.startPrank(outsider);
        c = jury.openCase(id, posted(id), "evidence");
        vm.stopPrank();
        drawn(c);
    }

    function drawn(uint256 c) internal {
        vm.assertFalse(jury.drawSeats(c));
        vm.roll(vm.getBlockNumber() + 2);
        vm.assertTrue(jury.drawSeats(c));
    }

    function vote(uint256 c, address juror, bool overturn) internal returns (bool) {
        uint8 level = jury.caseOf(c).level;
        if (jury.seatsOf(c, level, juror) == 0) return false;
        bytes32 sealed_ = jury.voteHash(c, level, juror, overturn, "salt");
        vm.prank(juror);
        jury.sealVote(c, sealed_, none);
        return true;
    }

    /// @dev Jurors `from` to `to` vote against the settlement, all others of `jurors` for it.
    function voteAll(uint256 c, uint256 from, uint256 to) internal {
        uint8 level = jury.caseOf(c).level;
        for (uint256 i = 0; i < jurors.length; ++i) {
            vote(c, jurors[i], from <= i && i < to);
        }
        sleep(7_200);
        jury.advanceCase(c);
        for (uint256 i = 0; i < jurors.length; ++i) {
            if (jury.voteOf(c, level, jurors[i]).ballot != IJury.Ballot.Sealed) continue;
            vm.prank(jurors[i]);
            jury.showVote(c, from <= i && i < to, "salt");
        }
    }

    /// @dev Jurors from number `from` on vote for the settlement, the others sleep, and nobody appeals.
    function upheldFrom(uint256 c, uint256 from) internal {
        uint8 level = jury.caseOf(c).level;
        for (uint256 i = from; i < jurors.length; ++i) {
            vote(c, jurors[i], false);
        }
        sleep(7_200);
        jury.advanceCase(c);
        for (uint256 i = from; i < jurors.length; ++i) {
            if (jury.voteOf(c, level, jurors[i]).ballot != IJury.Ballot.Sealed) continue;
            vm.prank(jurors[i]);
            jury.showVote(c, false, "salt");
        }
        if (jury.caseOf(c).phase != IJury.CasePhase.Closed) close(c);
    }

    /// @dev To the level that asks everybody: nobody votes before, and the outsider appeals.
    function toTheLast(uint256 c) internal {
        while (jury.levelOf(c, jury.caseOf(c).level).unit != 1) {
            sleep(7_200);
            jury.advanceCase(c);
            appeal(c, outsider);
        }
        vm.assertEq(jury.caseOf(c).level, 3);
    }

    function close(uint256 c) internal {
        sleep(3_600);
        jury.advanceCase(c);
        vm.assertEq(uint256(jury.caseOf(c).phase), uint256(IJury.CasePhase.Closed));
    }

    function appeal(uint256 c, address who) internal {
        uint8 level = jury.caseOf(c).level;
        vm.prank(who);
        jury.appeal(c, level, "more");
        drawn(c);
    }
}
