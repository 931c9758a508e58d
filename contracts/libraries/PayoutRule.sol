// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SettlementLeaf, Verdict} from "../interfaces/Types.sol";

/// @title The payout rule of docs/protocol.md, section 5, in integers, leaf by leaf
/// @notice Python twin: incentives/payouts.py; shared vectors: tests/vectors/payouts.json. Amounts in the reward token's
/// smallest unit. Nothing here sorts or loops: who checks a settlement brings the two numbers that depend on all leaves
/// (`Plan.threshold`, `Plan.topUp`) and `SettlementProver` sees in one pass whether they are right.
library PayoutRule {
    uint256 internal constant BPS = 10_000;
    uint8 private constant ACCEPTED = uint8(Verdict.Accepted);

    /// @param budget most that the round can pay
    /// @param improvementNanos held-out improvement of the aggregate
    /// @param targetNanos improvement that releases the whole budget; 0: always released
    /// @param baseBps of the budget, the least that accepted work is paid in all
    /// @param scored whether the validation set was revealed
    struct Terms {
        uint256 budget;
        int64 improvementNanos;
        uint64 targetNanos;
        uint16 floorBps;
        uint16 capBps;
        uint16 baseBps;
        bool scored;
    }

    /// @param floorEach paid to everybody who earns before scores count
    /// @param pool shared by weight
    /// @param cap most for one trainer before topping up
    /// @param weight sum of all weights
    /// @param threshold remainders (see `share`) from here on get one of the units that division leaves; 2^256-1: none
    /// @param topUp paid to everybody who earns if scores pay less than the base in all
    struct Plan {
        uint256 floorEach;
        uint256 pool;
        uint256 cap;
        uint256 weight;
        uint256 threshold;
        uint256 topUp;
    }

    /// @notice Part of the budget that the round's improvement earns.
    function released(Terms memory terms) internal pure returns (uint256) {
        if (terms.targetNanos == 0 || !terms.scored) return terms.budget;
        if (terms.improvementNanos <= 0) return 0;
        uint256 improvement = uint256(uint64(terms.improvementNanos));
        if (improvement >= terms.targetNanos) return terms.budget;
        return terms.budget * improvement / terms.targetNanos;
    }

    /// @notice The least that a round's accepted work is paid in all.
    function base(uint256 budget, uint16 baseBps) internal pure returns (uint256) {
        return budget * baseBps / BPS;
    }

    /// @notice The most that a settlement under these terms may pay.
    function most(Terms memory terms) internal pure returns (uint256) {
        uint256 earned = released(terms);
        uint256 least = base(terms.budget, terms.baseBps);
        return earned > least ? earned : least;
    }

    function isAccepted(SettlementLeaf calldata leaf) internal pure returns (bool) {
        return leaf.verdict == ACCEPTED;
    }

    /// @notice Whether a leaf has a part in floor, shares and base: accepted, and not discounted whole (no row
    /// counts, or a server that the task does not pay).
    function earns(SettlementLeaf calldata leaf) internal pure returns (bool) {
        return isAccepted(leaf) && leaf.discountBps < BPS;
    }

    /// @notice What the leaf's score counts for.
    function weightOf(SettlementLeaf calldata leaf, bool scored) internal pure returns (uint256) {
        if (!earns(leaf)) return 0;
        if (!scored) return 1;
        // INVARIANT: a negative score is clamped before anything multiplies it, so two negatives never make a pay.
        if (leaf.scoreNanos <= 0) return 0;
        return uint256(uint64(leaf.scoreNanos)) * (BPS - leaf.discountBps);
    }

    /// @notice What follows from the number of those who earn and the sum of weights; threshold and top-up are the caller's.
    function plan(Terms memory terms, uint256 earning, uint256 weight) internal pure returns (Plan memory made) {
        uint256 budget = released(terms);
        // The rule itself rounds the floor down before it multiplies; what is left goes into the pool.
        // slither-disable-next-line divide-before-multiply
        made.floorEach = budget * terms.floorBps / BPS;
        if (earning * made.floorEach > budget) made.floorEach = budget / earning;
        made.pool = budget - earning * made.floorEach;
        made.cap = budget * terms.capBps / BPS;
        made.weight = weight;
    }

    /// @notice Hamilton's method: integer quotas, then one unit each to the largest remainders, ties to the lower index.
    /// @return quota the integer part of the leaf's share of the pool
    /// @return key remainder and reversed index in one number: all different, larger means served earlier
    function share(Plan memory made, uint256 weight, uint256 index) internal pure returns (uint256 quota, uint256 key) {
        if (made.weight == 0) return (0, 0);
        uint256 product = made.pool * weight;
        return (product / made.weight, (product % made.weight) << 32 | (type(uint32).max - index));
    }

    /// @notice The leaf's payout before topping up.
    function capped(Plan memory made, bool earning, uint256 quota, uint256 key) internal pure returns (uint256 payout) {
        payout = quota + (key >= made.threshold ? 1 : 0) + (earning ? made.floorEach : 0);
        if (payout > made.cap) payout = made.cap;
    }

    /// @notice What everybody who earns gets on top, where all payouts before it add up to `paid`.
    function topUp(Terms memory terms, uint256 earning, uint256 paid) internal pure returns (uint256) {
        uint256 least = base(terms.budget, terms.baseBps);
        return earning == 0 || paid >= least ? 0 : (least - paid) / earning;
    }
}
