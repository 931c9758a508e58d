// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SettlementLeaf, Verdict} from "../interfaces/Types.sol";

/// @title The payout rule of docs/protocol.md, section 5, in integers
/// @notice Python twin: incentives/payouts.py; shared vectors: tests/vectors/payouts.json. Amounts in the reward token's
/// smallest unit.
library PayoutRule {
    uint256 internal constant BPS = 10_000;
    uint8 private constant ACCEPTED = uint8(Verdict.Accepted);

    /// @param budget most that the round can pay
    /// @param improvementNanos held-out improvement of the aggregate
    /// @param targetNanos improvement that releases the whole budget; 0: always released
    /// @param scored whether the validation set was revealed
    struct Terms {
        uint256 budget;
        int64 improvementNanos;
        uint64 targetNanos;
        uint16 floorBps;
        uint16 capBps;
        bool scored;
    }

    /// @notice Part of the budget that the round's improvement earns.
    function released(Terms memory terms) internal pure returns (uint256) {
        if (terms.targetNanos == 0 || !terms.scored) return terms.budget;
        if (terms.improvementNanos <= 0) return 0;
        uint256 improvement = uint256(uint64(terms.improvementNanos));
        if (improvement >= terms.targetNanos) return terms.budget;
        return terms.budget * improvement / terms.targetNanos;
    }

    /// @notice Payouts by the rule, in leaf order; the payouts that the leaves carry are not looked at.
    /// @dev Linear in the number of leaves on average (selection, no sorting).
    function compute(Terms memory terms, SettlementLeaf[] calldata leaves)
        internal
        pure
        returns (uint256[] memory payouts)
    {
        uint256 count = leaves.length;
        payouts = new uint256[](count);
        uint256[] memory weights = new uint256[](count);
        uint256 accepted;
        uint256 totalWeight;
        for (uint256 i = 0; i < count; ++i) {
            if (leaves[i].verdict != ACCEPTED) continue;
            ++accepted;
            totalWeight += weights[i] = _weight(leaves[i], terms.scored);
        }
        uint256 budget = released(terms);
        // The rule itself rounds the floor down before it multiplies; what is left goes into the pool.
        // slither-disable-next-line divide-before-multiply
        uint256 floorEach = budget * terms.floorBps / BPS;
        if (accepted * floorEach > budget) floorEach = budget / accepted;
        uint256 pool = budget - accepted * floorEach;
        if (totalWeight != 0) _shares(pool, weights, totalWeight, payouts);
        uint256 cap = budget * terms.capBps / BPS;
        for (uint256 i = 0; i < count; ++i) {
            if (leaves[i].verdict == ACCEPTED) payouts[i] += floorEach;
            if (payouts[i] > cap) payouts[i] = cap;
        }
    }

    function _weight(SettlementLeaf calldata leaf, bool scored) private pure returns (uint256) {
        if (!scored) return 1;
        // INVARIANT: a negative score is clamped before anything multiplies it, so two negatives never make a pay.
        if (leaf.scoreNanos <= 0) return 0;
        return uint256(uint64(leaf.scoreNanos)) * (BPS - leaf.discountBps);
    }

    /// @dev Hamilton's method: integer quotas, then one unit each to the largest remainders, ties to the lower index.
    function _shares(uint256 pool, uint256[] memory weights, uint256 totalWeight, uint256[] memory shares)
        private
        pure
    {
        uint256 count = weights.length;
        uint256 left = pool;
        // Remainder and reversed index in one number: all different, larger means served earlier.
        uint256[] memory keys = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 product = pool * weights[i];
            shares[i] = product / totalWeight;
            left -= shares[i];
            keys[i] = (product % totalWeight) << 32 | (type(uint32).max - i);
        }
        if (left == 0) return;
        // INVARIANT: fewer units are left than there are positive weights, hence than entries.
        uint256 threshold = _largest(_copy(keys), left);
        for (uint256 i = 0; i < count; ++i) {
            if (keys[i] >= threshold) ++shares[i];
        }
    }

    /// @dev The `rank`-th largest of different numbers (quickselect, reorders the array).
    function _largest(uint256[] memory values, uint256 rank) private pure returns (uint256) {
        uint256 low = 0;
        uint256 high = values.length - 1;
        uint256 target = rank - 1;
        while (low < high) {
            uint256 pivot = values[(low + high) / 2];
            uint256 i = low;
            uint256 j = high;
            while (true) {
                while (values[i] > pivot) ++i;
                while (values[j] < pivot) --j;
                if (i >= j) break;
                (values[i], values[j]) = (values[j], values[i]);
                ++i;
                --j;
            }
            // Hoare: everything up to j is at least the pivot, everything behind it at most.
            if (target <= j) high = j;
            else low = j + 1;
        }
        return values[target];
    }

    function _copy(uint256[] memory values) private pure returns (uint256[] memory copy) {
        copy = new uint256[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            copy[i] = values[i];
        }
    }
}
