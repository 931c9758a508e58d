// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PayoutRule} from "../../contracts/libraries/PayoutRule.sol";
import "../../contracts/interfaces/Types.sol";
import {vm} from "../forge/support/Vm.sol";

/// @dev What of the payout rule needs no division of one unknown by another, which no solver here decides in two minutes:
/// quotas, floor and top-up are held against Python in 100,000 random cases (docs/results/differential.md).
contract PayoutSymbolic {
    uint256 private constant BPS = 10_000;

    function _terms(
        uint96 budget,
        int64 improvement,
        uint64 target,
        uint16 floorBps,
        uint16 capBps,
        uint16 baseBps,
        bool scored
    ) private pure returns (PayoutRule.Terms memory) {
        vm.assume(floorBps <= BPS && capBps <= BPS && baseBps <= BPS);
        return PayoutRule.Terms(budget, improvement, target, floorBps, capBps, baseBps, scored);
    }

    /// @dev A round without improvement releases nothing, one past its target everything, an unscored one everything.
    function check_released_atTheEnds(uint96 budget, int64 improvement, uint64 target, bool scored) public pure {
        PayoutRule.Terms memory terms = _terms(budget, improvement, target, 0, 0, 0, scored);
        vm.assume(target == 0 || !scored || improvement <= 0 || uint64(improvement) >= target);
        uint256 released = PayoutRule.released(terms);
        if (target == 0 || !scored) assert(released == budget);
        else assert(released == (improvement <= 0 ? 0 : budget));
    }

    /// @dev What is not accepted, or discounted whole, weighs nothing; a negative score weighs nothing.
    function check_weight_isNeverOfARefusedLeaf(SettlementLeaf calldata leaf, bool scored) public pure {
        vm.assume(leaf.discountBps <= BPS);
        uint256 weight = PayoutRule.weightOf(leaf, scored);
        if (leaf.verdict != uint8(Verdict.Accepted) || leaf.discountBps == BPS) assert(weight == 0);
        if (scored && leaf.scoreNanos <= 0) assert(weight == 0);
        assert(weight <= uint256(uint64(type(int64).max)) * BPS);
    }

    /// @dev Nobody is paid more than the cap before the base tops up, and nothing without earning or a weight.
    function check_capped_isAtMostTheCap(
        uint256 floorEach,
        uint256 cap,
        uint256 threshold,
        bool earning,
        uint256 quota,
        uint256 key
    ) public pure {
        vm.assume(quota < type(uint128).max && floorEach < type(uint128).max);
        PayoutRule.Plan memory plan;
        (plan.floorEach, plan.cap, plan.threshold) = (floorEach, cap, threshold);
        uint256 payout = PayoutRule.capped(plan, earning, quota, key);
        assert(payout <= cap);
        if (!earning && quota == 0 && key < threshold) assert(payout == 0);
    }
}
