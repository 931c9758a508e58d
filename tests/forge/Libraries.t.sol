// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import "../../contracts/interfaces/Types.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {Float32} from "../../contracts/libraries/Float32.sol";
import {LeafTree} from "../../contracts/libraries/LeafTree.sol";
import {OptimizerStep} from "../../contracts/libraries/OptimizerStep.sol";
import {PayoutRule} from "../../contracts/libraries/PayoutRule.sol";
import {StakeHistory} from "../../contracts/libraries/StakeHistory.sol";
import {vm} from "./support/Vm.sol";

/// @dev Libraries against plain statements of what they do, at the edges that mutants of them live at.
contract LibrariesTest {
    using StakeHistory for StakeHistory.Trace;

    StakeHistory.Trace private trace;

    // StakeHistory.

    function test_history_empty_isZero() public view {
        vm.assertEq(uint256(trace.latest()), 0);
        vm.assertEq(uint256(trace.stakeAt(type(uint64).max)), 0);
    }

    function test_history_sameSecond_keepsTheLast() public {
        vm.warp(100);
        trace.push(5);
        trace.push(7);
        vm.assertEq(trace.entries.length, 1);
        vm.assertEq(uint256(trace.latest()), 7);
        vm.warp(101);
        trace.push(9);
        vm.assertEq(trace.entries.length, 2);
        vm.assertEq(uint256(trace.stakeAt(100)), 7);
        vm.assertEq(uint256(trace.latest()), 9);
    }

    /// @dev Every moment against a walk over all entries.
    function testFuzz_history_anyMoment_equalsAWalk(uint8[12] memory gaps, uint96[12] memory stakes) public {
        uint64[12] memory times;
        uint64 time = 1_000;
        for (uint256 i = 0; i < 12; ++i) {
            time += gaps[i] % 4;
            times[i] = time;
            vm.warp(time);
            trace.push(stakes[i]);
        }
        for (uint64 moment = 998; moment < time + 3; ++moment) {
            uint256 expected;
            for (uint256 i = 0; i < 12; ++i) {
                if (times[i] <= moment) expected = stakes[i];
            }
            vm.assertEq(uint256(trace.stakeAt(moment)), expected);
        }
        vm.assertEq(uint256(trace.latest()), uint256(stakes[11]));
    }

    // LeafTree.

    function leafHash(SettlementLeaf calldata leaf) external pure returns (bytes32) {
        return LeafTree.hashCalldata(leaf);
    }

    function testFuzz_leafHash_fromCalldata_isThatFromMemory(SettlementLeaf memory leaf) public view {
        bytes32 expected = keccak256(bytes.concat(keccak256(abi.encode(leaf))));
        vm.assertEq(this.leafHash(leaf), expected);
        vm.assertEq(LeafTree.hash(leaf), expected);
    }

    function testFuzz_batchEntry_isHashedTwice(uint256 index, address trainer, bytes32 commitment) public pure {
        bytes32 expected = keccak256(bytes.concat(keccak256(abi.encode(index, trainer, commitment))));
        vm.assertEq(LeafTree.hashBatchEntry(index, trainer, commitment), expected);
    }

    // PayoutRule.

    function terms(uint256 budget) internal pure returns (PayoutRule.Terms memory) {
        return PayoutRule.Terms(budget, 50, 100, 0, 10_000, 500, true);
    }

    function test_released_atTheTargetAndBelow() public pure {
        PayoutRule.Terms memory t = terms(1_000);
        vm.assertEq(PayoutRule.released(t), 500);
        t.improvementNanos = 100;
        vm.assertEq(PayoutRule.released(t), 1_000);
        t.improvementNanos = 99;
        vm.assertEq(PayoutRule.released(t), 990);
        t.improvementNanos = 0;
        vm.assertEq(PayoutRule.released(t), 0);
        t.improvementNanos = -1;
        vm.assertEq(PayoutRule.released(t), 0);
        t.scored = false;
        vm.assertEq(PayoutRule.released(t), 1_000);
    }

    function test_most_isTheLargerOfReleasedAndBase() public pure {
        PayoutRule.Terms memory t = terms(1_000);
        vm.assertEq(PayoutRule.most(t), 500);
        t.improvementNanos = 1;
        vm.assertEq(PayoutRule.most(t), 50);
        t.improvementNanos = 5;
        vm.assertEq(PayoutRule.most(t), 50);
        t.improvementNanos = 6;
        vm.assertEq(PayoutRule.most(t), 60);
        vm.assertEq(PayoutRule.base(20_001, 500), 1_000);
    }

    function test_topUp_onlyBelowTheBaseAndForSomebody() public pure {
        PayoutRule.Terms memory t = terms(1_000);
        vm.assertEq(PayoutRule.topUp(t, 0, 0), 0);
        vm.assertEq(PayoutRule.topUp(t, 3, 50), 0);
        vm.assertEq(PayoutRule.topUp(t, 3, 49), 0);
        vm.assertEq(PayoutRule.topUp(t, 3, 47), 1);
        vm.assertEq(PayoutRule.topUp(t, 3, 51), 0);
    }

    function test_plan_floorThatDoesNotFit_isDivided() public pure {
        PayoutRule.Terms memory t = terms(100);
        (t.improvementNanos, t.floorBps) = (100, 4_000);
        PayoutRule.Plan memory two = PayoutRule.plan(t, 2, 9);
        vm.assertEq(two.floorEach, 40);
        vm.assertEq(two.pool, 20);
        vm.assertEq(two.weight, 9);
        PayoutRule.Plan memory three = PayoutRule.plan(t, 3, 9);
        vm.assertEq(three.floorEach, 33);
        vm.assertEq(three.pool, 1);
        t.floorBps = 5_000;
        vm.assertEq(PayoutRule.plan(t, 2, 9).floorEach, 50);
    }

    /// @dev Keys order by remainder first, then by place.
    function test_share_keysAreRemaindersThenPlaces() public pure {
        PayoutRule.Plan memory p;
        (p.pool, p.weight) = (10, 4);
        (uint256 quota, uint256 first) = PayoutRule.share(p, 1, 0);
        (, uint256 second) = PayoutRule.share(p, 1, 1);
        (uint256 more, uint256 none) = PayoutRule.share(p, 2, 2);
        vm.assertEq(quota, 2);
        vm.assertEq(more, 5);
        vm.assertTrue(first > second && second > none);
        vm.assertEq(first, uint256(2) << 32 | type(uint32).max);
        vm.assertEq(second, uint256(2) << 32 | (type(uint32).max - 1));
        p.weight = 0;
        (quota, first) = PayoutRule.share(p, 1, 0);
        vm.assertEq(quota + first, 0);
    }

    function test_capped_thresholdCapAndFloor() public pure {
        PayoutRule.Plan memory p;
        (p.floorEach, p.cap, p.threshold) = (3, 10, 100);
        vm.assertEq(PayoutRule.capped(p, true, 5, 100), 9);
        vm.assertEq(PayoutRule.capped(p, true, 5, 99), 8);
        vm.assertEq(PayoutRule.capped(p, false, 5, 99), 5);
        vm.assertEq(PayoutRule.capped(p, true, 7, 99), 10);
        vm.assertEq(PayoutRule.capped(p, true, 9, 100), 10);
    }

    function weight(SettlementLeaf calldata leaf, bool scored) external pure returns (uint256) {
        return PayoutRule.weightOf(leaf, scored);
    }

    function test_weight_acceptedPositiveUndiscounted() public view {
        SettlementLeaf memory leaf;
        leaf.scoreNanos = 7;
        vm.assertEq(this.weight(leaf, true), 0);
        leaf.verdict = 1;
        vm.assertEq(this.weight(leaf, true), 70_000);
        vm.assertEq(this.weight(leaf, false), 1);
        leaf.discountBps = 9_999;
        vm.assertEq(this.weight(leaf, true), 7);
        leaf.discountBps = 10_000;
        vm.assertEq(this.weight(leaf, true), 0);
        leaf.scoreNanos = 0;
        leaf.discountBps = 0;
        vm.assertEq(this.weight(leaf, true), 0);
        leaf.scoreNanos = -7;
        vm.assertEq(this.weight(leaf, true), 0);
    }

    // Commitments.

    function test_possession_namesChainRegistryAndOwner() public view {
        bytes32 typehash = keccak256("ProofOfPossession(uint256 chainId,address registry,address owner)");
        bytes32 expected = keccak256(abi.encode(typehash, block.chainid, address(7), address(8)));
        vm.assertEq(Commitments.possession(address(7), address(8)), expected);
    }

    // Float32 and OptimizerStep.

    function testFuzz_one_isNeutral(uint32 bits) public pure {
        if (Float32.isNaN(bits)) return;
        vm.assertEq(Float32.mul(bits, Float32.ONE), bits);
        vm.assertEq(Float32.div(bits, Float32.ONE), bits);
    }

    function test_moments_perOptimiser() public pure {
        vm.assertEq(OptimizerStep.moments(Optimizer.Sgd), 0);
        vm.assertEq(OptimizerStep.moments(Optimizer.Momentum), 1);
        vm.assertEq(OptimizerStep.moments(Optimizer.Adam), 2);
    }
}
