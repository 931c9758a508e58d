// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SettlementLeaf} from "../../../contracts/interfaces/Types.sol";
import {PayoutRule} from "../../../contracts/libraries/PayoutRule.sol";

/// @dev The payout rule over all leaves at once, written for reading: the oracle for `SettlementProver`, which never has
/// them all. Remainders are served by looking for the largest as often as units are left.
library PayoutReference {
    function compute(PayoutRule.Terms memory terms, SettlementLeaf[] calldata leaves)
        internal
        pure
        returns (uint256[] memory payouts)
    {
        (payouts,,) = solve(terms, leaves);
    }

    /// @return payouts in leaf order
    /// @return threshold that serves as many remainders as units are left
    /// @return topUp of every accepted trainer
    function solve(PayoutRule.Terms memory terms, SettlementLeaf[] calldata leaves)
        internal
        pure
        returns (uint256[] memory payouts, uint256 threshold, uint256 topUp)
    {
        uint256 earning;
        uint256 weight;
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (PayoutRule.earns(leaves[i])) ++earning;
            weight += PayoutRule.weightOf(leaves[i], terms.scored);
        }
        PayoutRule.Plan memory plan = PayoutRule.plan(terms, earning, weight);
        plan.threshold = threshold = _threshold(plan, leaves, terms.scored);
        payouts = new uint256[](leaves.length);
        topUp = PayoutRule.topUp(terms, earning, _beforeToppingUp(plan, terms.scored, leaves, payouts));
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (PayoutRule.earns(leaves[i])) payouts[i] += topUp;
        }
    }

    function _beforeToppingUp(
        PayoutRule.Plan memory plan,
        bool scored,
        SettlementLeaf[] calldata leaves,
        uint256[] memory payouts
    ) private pure returns (uint256 paid) {
        for (uint256 i = 0; i < leaves.length; ++i) {
            (uint256 quota, uint256 key) = PayoutRule.share(plan, PayoutRule.weightOf(leaves[i], scored), i);
            payouts[i] = PayoutRule.capped(plan, PayoutRule.earns(leaves[i]), quota, key);
            paid += payouts[i];
        }
    }

    function _threshold(PayoutRule.Plan memory plan, SettlementLeaf[] calldata leaves, bool scored)
        private
        pure
        returns (uint256 threshold)
    {
        threshold = type(uint256).max;
        if (plan.weight == 0) return threshold;
        uint256 left = plan.pool;
        uint256[] memory keys = new uint256[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            uint256 quota;
            (quota, keys[i]) = PayoutRule.share(plan, PayoutRule.weightOf(leaves[i], scored), i);
            left -= quota;
        }
        for (; left > 0; --left) {
            uint256 largest;
            for (uint256 i = 0; i < keys.length; ++i) {
                if (keys[i] < threshold && keys[i] > largest) largest = keys[i];
            }
            threshold = largest;
        }
    }
}
