// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITrainerPool} from "../../contracts/interfaces/ITrainerPool.sol";
import "../../contracts/interfaces/Types.sol";
import {PayoutRule} from "../../contracts/libraries/PayoutRule.sol";
import {World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

interface MockVm {
    function mockCall(address callee, bytes calldata data, bytes calldata returned) external;
}

/// @dev The largest rounds: what one transaction can hold (EIP-7825), and that no order of scores makes it dearer. Gas is that
/// of the call's execution and of its call data, 16 a byte.
contract LimitsTest is World {
    uint256 private constant TRANSACTION = 1 << 24;
    /// @dev The most that the protocol takes (`MAX_LEAVES` of rules.py).
    uint256 private constant LEAVES = 4_096;
    /// @dev Leaves of one part: four times what the agents send.
    uint256 private constant PART = 400;

    enum Order {
        Ascending,
        Descending,
        Equal,
        Sawtooth
    }

    /// @dev A settlement of so many leaves, posted: the pool says that so many committed.
    function post(Order order) private returns (uint64 id, SettlementLeaf[] memory leaves) {
        id = startTask(3, 3);
        playToOpening(id, 3);
        expirePhase(id);
        attestAll(id, 3, honestLeaves(id, 3));
        ITrainerPool.Progress memory progress = trainerPool.progressOf(id);
        progress.committed = uint32(LEAVES);
        bytes memory call = abi.encodeCall(ITrainerPool.progressOf, (id));
        MockVm(address(vm)).mockCall(address(trainerPool), call, abi.encode(progress));
        leaves = new SettlementLeaf[](LEAVES);
        for (uint256 i = 0; i < LEAVES; ++i) {
            uint256 score = order == Order.Ascending
                ? 1 + i
                : order == Order.Descending ? LEAVES - i : order == Order.Equal ? 7 : 1 + (i * 7_919) % LEAVES;
            leaves[i] = SettlementLeaf(
                address(uint160(1 << 159) + uint160(i)), uint8(Verdict.Accepted), int64(int256(score)), 7, 0, uint128(i)
            );
        }
        settle(id, leaves, 3, 7);
    }

    function test_check_mostLeavesAscending_everyPartFitsATransaction() public {
        checkAll(Order.Ascending);
    }

    function test_check_mostLeavesDescending_everyPartFitsATransaction() public {
        checkAll(Order.Descending);
    }

    function test_check_mostLeavesEqual_everyPartFitsATransaction() public {
        checkAll(Order.Equal);
    }

    function test_check_mostLeavesSawtooth_everyPartFitsATransaction() public {
        checkAll(Order.Sawtooth);
    }

    function checkAll(Order order) private {
        (uint64 id, SettlementLeaf[] memory leaves) = post(order);
        uint256 check = settlements.openCheck(id);
        vm.assertLe(feed(check, leaves), TRANSACTION, "a part of the first pass does not fit into a transaction");
        vm.assertLe(review(id, check, leaves), TRANSACTION, "a part of the second pass does not fit into a transaction");
    }

    function feed(uint256 check, SettlementLeaf[] memory leaves) private returns (uint256 largest) {
        for (uint256 i = 0; i < LEAVES; i += PART) {
            bytes memory data = abi.encodeCall(settlements.feedLeaves, (check, part(leaves, i)));
            uint256 used = measured(data);
            if (used > largest) largest = used;
        }
    }

    function review(uint64 id, uint256 check, SettlementLeaf[] memory leaves) private returns (uint256 largest) {
        (uint256 threshold, uint256 topUp) = planOf(id, check, leaves);
        for (uint256 i = 0; i < LEAVES; i += PART) {
            bytes memory data = abi.encodeCall(settlements.reviewLeaves, (check, part(leaves, i), threshold, topUp));
            uint256 used = measured(data);
            if (used > largest) largest = used;
        }
        assertPhase(id, Phase.Settle);
    }

    /// @dev The pass of somebody who proves: the threshold by bisection over the keys, the top-up from what it pays.
    function planOf(uint64 id, uint256 check, SettlementLeaf[] memory leaves)
        private
        view
        returns (uint256 threshold, uint256 topUp)
    {
        return this.solveByBisection(tasks.payoutTermsOf(id, 1e9), settlements.checkOf(check).weight, leaves);
    }

    function solveByBisection(PayoutRule.Terms memory t, uint256 weight, SettlementLeaf[] calldata leaves)
        external
        pure
        returns (uint256 threshold, uint256 topUp)
    {
        PayoutRule.Plan memory plan = PayoutRule.plan(t, leaves.length, weight);
        plan.threshold = threshold = thresholdOf(plan, leaves);
        uint256 paid;
        for (uint256 i = 0; i < leaves.length; ++i) {
            (uint256 quota, uint256 key) = PayoutRule.share(plan, PayoutRule.weightOf(leaves[i], true), i);
            paid += PayoutRule.capped(plan, true, quota, key);
        }
        topUp = PayoutRule.topUp(t, leaves.length, paid);
    }

    function thresholdOf(PayoutRule.Plan memory plan, SettlementLeaf[] calldata leaves)
        private
        pure
        returns (uint256 low)
    {
        uint256[] memory keys = new uint256[](leaves.length);
        uint256 left = plan.pool;
        for (uint256 i = 0; i < leaves.length; ++i) {
            uint256 quota;
            (quota, keys[i]) = PayoutRule.share(plan, PayoutRule.weightOf(leaves[i], true), i);
            left -= quota;
        }
        uint256 high = (plan.weight + 1) << 32;
        while (low < high) {
            uint256 middle = low + (high - low) / 2;
            if (served(keys, middle) > left) low = middle + 1;
            else high = middle;
        }
    }

    function served(uint256[] memory keys, uint256 threshold) private pure returns (uint256 count) {
        for (uint256 i = 0; i < keys.length; ++i) {
            if (keys[i] >= threshold) ++count;
        }
    }

    function part(SettlementLeaf[] memory leaves, uint256 from) private pure returns (SettlementLeaf[] memory some) {
        some = new SettlementLeaf[](from + PART < LEAVES ? PART : LEAVES - from);
        for (uint256 i = 0; i < some.length; ++i) {
            some[i] = leaves[from + i];
        }
    }

    function measured(bytes memory data) private returns (uint256 used) {
        uint256 before = gasleft();
        (bool done, bytes memory answer) = address(settlements).call(data);
        used = before - gasleft() + 21_000 + 16 * data.length;
        if (done) return used;
        assembly ("memory-safe") {
            revert(add(answer, 0x20), mload(answer))
        }
    }
}
