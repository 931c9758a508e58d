// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITaskManager} from "../../contracts/interfaces/ITaskManager.sol";
import "../../contracts/interfaces/Types.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

contract RoundsTest is World {
    function test_round_honest_paysByTheRule() public {
        uint64 id = startTask(3, 3);
        SettlementLeaf[] memory leaves = playRound(id, 3, 3);
        assertOutcome(id, 1, Outcome.Settled);
        for (uint256 i = 0; i < 3; ++i) {
            uint256 before = token.balanceOf(trainers[i]);
            claim(id, 1, leaves, i);
            vm.assertEq(token.balanceOf(trainers[i]) - before, leaves[i].payout);
        }
        vm.assertEq(vault.potOf(id, 1).remaining, 0);
    }
}
