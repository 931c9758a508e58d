// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import "../../contracts/interfaces/Types.sol";
import {BN254} from "../../contracts/libraries/BN254.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {Float32} from "../../contracts/libraries/Float32.sol";
import {OptimizerStep} from "../../contracts/libraries/OptimizerStep.sol";
import {OrderedMerkle} from "../../contracts/libraries/OrderedMerkle.sol";
import {PayoutRule} from "../../contracts/libraries/PayoutRule.sol";
import {LeafTree} from "../../contracts/libraries/LeafTree.sol";
import {StateOpening} from "../../contracts/libraries/StateOpening.sol";
import {PayoutReference} from "./support/PayoutReference.sol";
import {vm} from "./support/Vm.sol";

/// @dev The libraries against the JSON vectors that Python shares (tests/vectors).
contract VectorsTest {
    using BN254 for G1Point;
    using Float32 for uint256;

    string private json;

    function read(string memory name) internal {
        json = vm.readFile(string.concat("tests/vectors/", name, ".json"));
    }

    function key(string memory list, uint256 i, string memory field) internal pure returns (string memory) {
        return string.concat(item(list, i), ".", field);
    }

    function item(string memory list, uint256 i) internal pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function has(string memory list, uint256 i) internal view returns (bool) {
        return vm.keyExistsJson(json, item(list, i));
    }

    function number(string memory k) internal view returns (uint256) {
        return vm.parseJsonUint(json, k);
    }

    function word(string memory k) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json, k);
    }

    function words(string memory k) internal view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, k);
    }

    function account(string memory k) internal view returns (address) {
        return vm.parseJsonAddress(json, k);
    }

    /// @dev A float32 bit pattern written as "0x3f800000".
    function bits(string memory k) internal view returns (uint256) {
        return uint32(bytes4(vm.parseJsonBytes(json, k)));
    }

    // Commitments.

    function test_commitments() public {
        read("commitments");
        uint256 i;
        for (; has("commitments", i); ++i) {
            vm.chainId(number(key("commitments", i, "chainId")));
            RevealData memory data = RevealData(
                word(key("commitments", i, "deltaDigest")),
                word(key("commitments", i, "transcriptRoot")),
                word(key("commitments", i, "salt"))
            );
            bytes32 made = Commitments.commitment(
                account(key("commitments", i, "tasks")),
                uint64(number(key("commitments", i, "taskId"))),
                uint32(number(key("commitments", i, "round"))),
                account(key("commitments", i, "trainer")),
                data
            );
            vm.assertEq(made, word(key("commitments", i, "commitment")));
        }
        vm.assertGe(i, 2, "cases");
    }

    function test_attestations() public {
        read("commitments");
        uint256 i;
        for (; has("attestations", i); ++i) {
            vm.chainId(number(key("attestations", i, "chainId")));
            bytes32 made = Commitments.attestation(
                account(key("attestations", i, "tasks")),
                uint64(number(key("attestations", i, "taskId"))),
                uint32(number(key("attestations", i, "round"))),
                account(key("attestations", i, "verifier")),
                word(key("attestations", i, "verdictsDigest")),
                word(key("attestations", i, "scoresRoot")),
                word(key("attestations", i, "artifactDigest")),
                word(key("attestations", i, "salt"))
            );
            vm.assertEq(made, word(key("attestations", i, "commitment")));
        }
        vm.assertGe(i, 2, "cases");
    }

    function test_votesAndValidation() public {
        read("commitments");
        uint256 i;
        for (; has("votes", i); ++i) {
            vm.chainId(number(key("votes", i, "chainId")));
            bytes32 made = Commitments.vote(
                account(key("votes", i, "jury")),
                number(key("votes", i, "caseId")),
                uint8(number(key("votes", i, "level"))),
                account(key("votes", i, "member")),
                vm.parseJsonBool(json, key("votes", i, "overturn")),
                word(key("votes", i, "salt"))
            );
            vm.assertEq(made, word(key("votes", i, "commitment")));
        }
        vm.assertGe(i, 2, "votes");
        for (i = 0; has("validation", i); ++i) {
            bytes32 made =
                keccak256(abi.encode(word(key("validation", i, "digest")), word(key("validation", i, "salt"))));
            vm.assertEq(made, word(key("validation", i, "commitment")));
        }
        vm.assertGe(i, 2, "validation");
    }

    function test_batches() public {
        read("commitments");
        uint256 i;
        for (; has("batches", i); ++i) {
            address[] memory trainers = vm.parseJsonAddressArray(json, key("batches", i, "trainers"));
            bytes32[] memory commitments = words(key("batches", i, "commitments"));
            bytes32[] memory nodes = new bytes32[](trainers.length);
            bytes32 root = word(key("batches", i, "root"));
            uint256[] memory indices = vm.parseJsonUintArray(json, key("batches", i, "indices"));
            bytes32 named = word(key("batches", i, "countedRoot"));
            vm.assertEq(LeafTree.counted(root, trainers.length), named);
            for (uint256 j = 0; j < trainers.length; ++j) {
                nodes[j] = LeafTree.hashBatchEntry(indices[j], trainers[j], commitments[j]);
                bytes32[] memory proof = words(string.concat(key("batches", i, "proofs"), "[", vm.toString(j), "]"));
                checkProof(root, nodes[j], j, trainers.length, proof);
                vm.assertTrue(this.containsCounted(named, nodes[j], j, trainers.length, proof));
            }
            vm.assertEq(LeafTree.rootInPlace(nodes), root);
        }
        vm.assertGe(i, 2, "cases");
    }

    function contains(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return LeafTree.contains(root, leaf, index, count, proof);
    }

    function containsCounted(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return LeafTree.containsCounted(root, leaf, index, count, proof);
    }

    /// @dev The leaf stands at its position among its number and nowhere else.
    function checkProof(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] memory proof)
        internal
        view
    {
        for (uint256 i = 0; i < count + 2; ++i) {
            vm.assertEq(this.contains(root, leaf, i, count, proof), i == index, "position");
        }
        if (count > 1) {
            vm.assertFalse(this.contains(root, leaf, index, 2 * count, proof), "number");
            vm.assertFalse(this.contains(root, leaf, index, count, new bytes32[](0)), "too short");
            bytes32[] memory longer = new bytes32[](proof.length + 1);
            for (uint256 i = 0; i < proof.length; ++i) {
                longer[i] = proof[i];
            }
            vm.assertFalse(this.contains(root, leaf, index, count, longer), "too long");
        }
    }

    // Settlements.

    function test_settlements() public {
        read("settlement");
        uint256 i;
        for (; has("cases", i); ++i) {
            checkTrees(i);
            vm.chainId(number(key("cases", i, "chainId")));
            bytes32 digest = Commitments.settlement(
                account(key("cases", i, "tasks")),
                uint64(number(key("cases", i, "taskId"))),
                uint32(number(key("cases", i, "round"))),
                uint8(number(key("cases", i, "attempt"))),
                settlementOf(i)
            );
            vm.assertEq(digest, word(key("cases", i, "signingDigest")));
        }
        vm.assertGe(i, 4, "cases");
    }

    function checkTrees(uint256 i) internal view {
        SettlementLeaf[] memory leaves = leavesOf(i);
        bytes32[] memory nodes = new bytes32[](leaves.length);
        bytes32[] memory scores = new bytes32[](leaves.length);
        bytes32 verdicts;
        for (uint256 j = 0; j < leaves.length; ++j) {
            SettlementLeaf memory leaf = leaves[j];
            nodes[j] = LeafTree.hash(leaf);
            scores[j] = LeafTree.hash(ScoreLeaf(leaf.trainer, Verdict(leaf.verdict), leaf.scoreNanos));
            verdicts = LeafTree.chain(verdicts, leaf.trainer, leaf.verdict);
            checkProof(word(key("cases", i, "leavesRoot")), nodes[j], j, leaves.length, words(nested(i, "proofs", j)));
            bytes32[] memory scoreProof = words(nested(i, "scoreProofs", j));
            checkProof(word(key("cases", i, "scoresRoot")), scores[j], j, leaves.length, scoreProof);
        }
        vm.assertEq(LeafTree.rootInPlace(nodes), word(key("cases", i, "leavesRoot")));
        vm.assertEq(LeafTree.rootInPlace(scores), word(key("cases", i, "scoresRoot")));
        vm.assertEq(verdicts, word(key("cases", i, "verdictsDigest")));
    }

    function nested(uint256 i, string memory field, uint256 j) internal pure returns (string memory) {
        return string.concat(key("cases", i, field), "[", vm.toString(j), "]");
    }

    function leavesOf(uint256 i) internal view returns (SettlementLeaf[] memory leaves) {
        uint256 count;
        while (vm.keyExistsJson(json, nested(i, "leaves", count))) ++count;
        leaves = new SettlementLeaf[](count);
        for (uint256 j = 0; j < count; ++j) {
            string memory k = nested(i, "leaves", j);
            leaves[j] = SettlementLeaf(
                account(string.concat(k, ".trainer")),
                uint8(number(string.concat(k, ".verdict"))),
                int64(vm.parseJsonInt(json, string.concat(k, ".scoreNanos"))),
                uint64(number(string.concat(k, ".stderrNanos"))),
                uint16(number(string.concat(k, ".discountBps"))),
                uint128(number(string.concat(k, ".payout")))
            );
        }
    }

    function settlementOf(uint256 i) internal view returns (Settlement memory) {
        return Settlement(
            word(key("cases", i, "leavesRoot")),
            uint32(number(key("cases", i, "leafCount"))),
            uint128(number(key("cases", i, "totalPayout"))),
            word(key("cases", i, "verdictsDigest")),
            word(key("cases", i, "nextStartDigest")),
            int64(vm.parseJsonInt(json, key("cases", i, "improvementNanos"))),
            word(key("cases", i, "artifactDigest"))
        );
    }

    // Payouts.

    struct PayoutCase {
        uint16 baseBps;
        uint256 budget;
        uint16 capBps;
        uint256[] discountBps;
        uint16 floorBps;
        int64 improvementNanos;
        string name;
        uint256[] payouts;
        uint256 released;
        int256[] scoreNanos;
        bool scored;
        uint64 targetNanos;
        uint256 threshold;
        uint256 topUp;
        uint256[] verdicts;
    }

    function test_payouts() public {
        read("payouts");
        string memory fields =
            "PayoutCase(uint16 baseBps,uint256 budget,uint16 capBps,uint256[] discountBps,uint16 floorBps,int64 improvementNanos,string name,uint256[] payouts,uint256 released,int256[] scoreNanos,bool scored,uint64 targetNanos,uint256 threshold,uint256 topUp,uint256[] verdicts)";
        PayoutCase[] memory cases = abi.decode(vm.parseJsonTypeArray(json, ".cases", fields), (PayoutCase[]));
        vm.assertGe(cases.length, 50, "cases");
        for (uint256 i = 0; i < cases.length; ++i) {
            PayoutCase memory c = cases[i];
            PayoutRule.Terms memory terms = PayoutRule.Terms(
                c.budget, c.improvementNanos, c.targetNanos, c.floorBps, c.capBps, c.baseBps, c.scored
            );
            vm.assertEq(PayoutRule.released(terms), c.released, c.name);
            (uint256[] memory payouts, uint256 threshold, uint256 topUp) = this.solve(terms, payoutLeaves(c));
            vm.assertEq(threshold, c.threshold, c.name);
            vm.assertEq(topUp, c.topUp, c.name);
            vm.assertEq(keccak256(abi.encode(payouts)), keccak256(abi.encode(c.payouts)), c.name);
        }
    }

    function payoutLeaves(PayoutCase memory c) internal pure returns (SettlementLeaf[] memory leaves) {
        leaves = new SettlementLeaf[](c.verdicts.length);
        for (uint256 j = 0; j < leaves.length; ++j) {
            leaves[j].verdict = uint8(c.verdicts[j]);
            leaves[j].scoreNanos = int64(c.scoreNanos[j]);
            leaves[j].discountBps = uint16(c.discountBps[j]);
        }
    }

    function solve(PayoutRule.Terms memory terms, SettlementLeaf[] calldata leaves)
        external
        pure
        returns (uint256[] memory, uint256, uint256)
    {
        return PayoutReference.solve(terms, leaves);
    }

    function payoutsOf(PayoutRule.Terms memory terms, SettlementLeaf[] calldata leaves)
        external
        pure
        returns (uint256[] memory)
    {
        return PayoutReference.compute(terms, leaves);
    }

    function testFuzz_payouts_addUpAndStayWithinTheBudget(
        uint96 budget,
        uint16 floorBps,
        uint16 capBps,
        int64[20] memory scores
    ) public view {
        PayoutRule.Terms memory terms = PayoutRule.Terms(budget, 0, 0, floorBps % 10_001, capBps % 10_001, 0, true);
        SettlementLeaf[] memory leaves = new SettlementLeaf[](20);
        bool anyWeight;
        for (uint256 i = 0; i < 20; ++i) {
            leaves[i].verdict = uint8(1 + uint64(scores[i]) % 3);
            leaves[i].scoreNanos = scores[i];
            if (leaves[i].verdict == 1 && scores[i] > 0) anyWeight = true;
        }
        uint256[] memory payouts = this.payoutsOf(terms, leaves);
        uint256 total;
        for (uint256 i = 0; i < 20; ++i) {
            total += payouts[i];
            if (leaves[i].verdict != 1) vm.assertEq(payouts[i], 0);
        }
        vm.assertLe(total, budget, "over budget");
        if (anyWeight && terms.capBps == 10_000) vm.assertEq(total, budget, "the whole budget is paid");
    }

    // BLS.

    struct PointCase {
        bytes32 domain;
        bytes32 message;
        uint256[] point;
    }

    struct AggregateCase {
        uint256[] keyG1;
        uint256[] keyG2;
        uint256[] signature;
    }

    struct InvalidCase {
        string name;
        uint256[] point;
    }

    function test_bls_hashToPoint() public {
        read("bls");
        vm.assertEq(Commitments.SETTLEMENT_DOMAIN, word(".settlementDomain"));
        vm.assertEq(Commitments.POSSESSION_DOMAIN, word(".possessionDomain"));
        string memory fields = "PointCase(bytes32 domain,bytes32 message,uint256[] point)";
        PointCase[] memory cases = abi.decode(vm.parseJsonTypeArray(json, ".hashToPoint", fields), (PointCase[]));
        vm.assertGe(cases.length, 2, "points");
        for (uint256 i = 0; i < cases.length; ++i) {
            G1Point memory p = BN254.hashToPoint(cases[i].domain, cases[i].message);
            vm.assertEq(p.x, cases[i].point[0]);
            vm.assertEq(p.y, cases[i].point[1]);
        }
    }

    function test_bls_aggregates() public {
        read("bls");
        bytes32 message = word(".message");
        string memory fields = "AggregateCase(uint256[] keyG1,uint256[] keyG2,uint256[] signature)";
        AggregateCase[] memory cases = abi.decode(vm.parseJsonTypeArray(json, ".aggregates", fields), (AggregateCase[]));
        vm.assertGe(cases.length, 2, "aggregates");
        bytes32 domain = Commitments.SETTLEMENT_DOMAIN;
        for (uint256 i = 0; i < cases.length; ++i) {
            G1Point memory keyG1 = g1(cases[i].keyG1);
            G2Point memory keyG2 = g2(cases[i].keyG2);
            vm.assertTrue(BN254.verifies(domain, message, keyG1, keyG2, g1(cases[i].signature)));
            vm.assertFalse(BN254.verifies(domain, keccak256("other"), keyG1, keyG2, g1(cases[i].signature)));
        }
    }

    function test_bls_invalidPoints_refused() public {
        read("bls");
        G1Point memory good = g1(vm.parseJsonUintArray(json, ".keys[0].g1"));
        string memory fields = "InvalidCase(string name,uint256[] point)";
        InvalidCase[] memory cases = abi.decode(vm.parseJsonTypeArray(json, ".invalidG2", fields), (InvalidCase[]));
        vm.assertGe(cases.length, 3, "invalid points");
        for (uint256 i = 0; i < cases.length; ++i) {
            try this.accepts(good, g2(cases[i].point)) returns (bool accepted) {
                vm.assertFalse(accepted, cases[i].name);
            } catch {}
        }
    }

    /// @dev Whether a signature at infinity would pass under this key.
    function accepts(G1Point memory keyG1, G2Point memory keyG2) external view returns (bool) {
        return BN254.verifies(Commitments.SETTLEMENT_DOMAIN, "message", keyG1, keyG2, G1Point(0, 0));
    }

    function g1(uint256[] memory c) internal pure returns (G1Point memory) {
        return G1Point(c[0], c[1]);
    }

    function g2(uint256[] memory c) internal pure returns (G2Point memory p) {
        (p.x[0], p.x[1], p.y[0], p.y[1]) = (c[0], c[1], c[2], c[3]);
    }

    // Trees, states, transcripts.

    function test_orderedTrees() public {
        read("state_opening");
        uint256 i;
        for (; has("trees", i); ++i) {
            bytes32[] memory leaves = words(key("trees", i, "leaves"));
            uint256 index = number(key("trees", i, "index"));
            bytes32[] memory proof = words(key("trees", i, "proof"));
            bytes32 root = word(key("trees", i, "root"));
            vm.assertTrue(this.inTree(root, leaves[index], index, leaves.length, proof));
            vm.assertFalse(this.inTree(root, leaves[index], index, leaves.length * 2, proof), "another depth");
            vm.assertFalse(this.inTree(root, leaves[index], index + leaves.length, leaves.length, proof));
        }
        vm.assertGe(i, 4, "trees");
    }

    function inTree(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return OrderedMerkle.contains(root, leaf, index, count, proof);
    }

    function test_stateOpenings() public {
        read("state_opening");
        bytes memory record =
            abi.encodePacked(uint32(0), word(".values.stateRoot"), word(".values.gradRoot"), new bytes(44));
        uint256 opened = openings(record, "values.state") + openings(record, "values.gradient");
        vm.assertGe(opened, 4, "openings");
    }

    function openings(bytes memory record, string memory list) private view returns (uint256 i) {
        for (; has(list, i); ++i) {
            uint32 index = uint32(number(key(list, i, "index")));
            bytes memory chunk = vm.parseJsonBytes(json, key(list, i, "chunk"));
            bytes32[] memory proof = words(key(list, i, "siblings"));
            Component component = Component.Gradient;
            if (vm.keyExistsJson(json, key(list, i, "component"))) {
                component = componentOf(vm.parseJsonString(json, key(list, i, "component")));
            }
            uint32 size = uint32(number(".values.size"));
            (bool held, uint256 value) = this.opens(record, component, size, index, chunk, proof);
            vm.assertTrue(held);
            vm.assertEq(value, bits(key(list, i, "value")));
            chunk[0] ^= 0x01;
            (held,) = this.opens(record, component, size, index, chunk, proof);
            vm.assertFalse(held, "altered");
        }
    }

    function componentOf(string memory name) private pure returns (Component) {
        bytes32 hash = keccak256(bytes(name));
        if (hash == keccak256("theta")) return Component.Theta;
        if (hash == keccak256("m")) return Component.FirstMoment;
        if (hash == keccak256("v")) return Component.SecondMoment;
        if (hash == keccak256("e")) return Component.ErrorMemory;
        return Component.Gradient;
    }

    function opens(
        bytes calldata record,
        Component component,
        uint32 size,
        uint32 index,
        bytes calldata chunk,
        bytes32[] calldata proof
    ) external pure returns (bool held, uint256 value) {
        held = StateOpening.inRecord(record, component, size, index / 256, chunk, proof);
        value = StateOpening.valueAt(chunk, index % 256);
    }

    function test_transcript() public {
        read("state_opening");
        bytes32 root = word(".transcript.transcriptRoot");
        uint32 count;
        while (has("transcript.records", count)) ++count;
        for (uint32 t = 0; t < count; ++t) {
            bytes memory record = vm.parseJsonBytes(json, key("transcript.records", t, "encoded"));
            bytes32[] memory proof = words(key("transcript.records", t, "proof"));
            vm.assertTrue(this.inTranscript(root, record, t, count - 1, proof));
            vm.assertFalse(this.inTranscript(root, record, t ^ 1, count - 1, proof));
            vm.assertEq(OrderedMerkle.recordLeaf(record), word(key("transcript.records", t, "digest")));
        }
        vm.assertGe(count, 3, "records");
    }

    function inTranscript(bytes32 root, bytes calldata record, uint32 step, uint32 steps, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return StateOpening.inTranscript(root, record, step, steps, proof);
    }

    // Float32 and the optimisers.

    function test_float32() public {
        read("float32");
        uint256[] memory a = vm.parseJsonUintArray(json, ".a");
        uint256[] memory b = vm.parseJsonUintArray(json, ".b");
        uint256[][5] memory expected = [
            vm.parseJsonUintArray(json, ".add"),
            vm.parseJsonUintArray(json, ".sub"),
            vm.parseJsonUintArray(json, ".mul"),
            vm.parseJsonUintArray(json, ".div"),
            vm.parseJsonUintArray(json, ".sqrt")
        ];
        vm.assertGe(a.length, 1_000, "cases");
        for (uint256 i = 0; i < a.length; ++i) {
            uint256[5] memory made = [a[i].add(b[i]), a[i].sub(b[i]), a[i].mul(b[i]), a[i].div(b[i]), a[i].sqrt()];
            for (uint256 op = 0; op < 5; ++op) {
                if (made[op] == expected[op][i]) continue;
                string memory where =
                    string.concat("op ", vm.toString(op), " of ", vm.toString(a[i]), " and ", vm.toString(b[i]));
                vm.assertEq(made[op], expected[op][i], where);
            }
        }
    }

    struct State {
        bytes m;
        bytes theta;
        bytes v;
    }

    struct StepCase {
        bytes clipScale;
        bytes[] constants;
        bytes gradient;
        bytes m;
        string name;
        State next;
        uint8 optimizer;
        bytes theta;
        bytes v;
    }

    function test_optimizerSteps() public {
        read("optimizer");
        string memory fields =
            "StepCase(bytes clipScale,bytes[] constants,bytes gradient,bytes m,string name,State next,uint8 optimizer,bytes theta,bytes v)State(bytes m,bytes theta,bytes v)";
        StepCase[] memory steps = abi.decode(vm.parseJsonTypeArray(json, ".steps", fields), (StepCase[]));
        vm.assertGe(steps.length, 100, "steps");
        for (uint256 i = 0; i < steps.length; ++i) {
            StepCase memory c = steps[i];
            OptimizerStep.Element memory next = OptimizerStep.update(
                Optimizer(c.optimizer),
                constantsOf(c.constants),
                OptimizerStep.Element(pattern(c.theta), pattern(c.m), pattern(c.v)),
                pattern(c.gradient),
                pattern(c.clipScale)
            );
            assertSame(next.theta, c.next.theta, c.name);
            assertSame(next.m, c.next.m, c.name);
            assertSame(next.v, c.next.v, c.name);
        }
    }

    function pattern(bytes memory data) private pure returns (uint256) {
        return uint32(bytes4(data));
    }

    function assertSame(uint256 made, bytes memory expected, string memory name) private pure {
        if (Float32.isNaN(pattern(expected))) vm.assertTrue(Float32.isNaN(made), name);
        else vm.assertEq(made, pattern(expected), name);
    }

    function constantsOf(bytes[] memory row) private pure returns (OptimizerStep.Constants memory) {
        uint256[11] memory k;
        for (uint256 j = 0; j < 11; ++j) {
            k[j] = pattern(row[j]);
        }
        return OptimizerStep.Constants(k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7], k[8], k[9], k[10]);
    }

    struct TableCase {
        bytes32 root;
        bytes[][] rows;
    }

    function test_constantsTables() public {
        read("optimizer");
        string memory fields = "TableCase(bytes32 root,bytes[][] rows)";
        TableCase[] memory tables = abi.decode(vm.parseJsonTypeArray(json, ".tables", fields), (TableCase[]));
        vm.assertGe(tables.length, 2, "tables");
        for (uint256 i = 0; i < tables.length; ++i) {
            bytes32[] memory leaves = new bytes32[](tables[i].rows.length);
            for (uint256 r = 0; r < leaves.length; ++r) {
                bytes memory row = rowOf(tables[i].rows[r]);
                vm.assertEq(row.length, OptimizerStep.ROW_BYTES);
                leaves[r] = OrderedMerkle.leaf(row);
            }
            vm.assertEq(rootOf(leaves), tables[i].root);
        }
    }

    function rowOf(bytes[] memory values) private pure returns (bytes memory row) {
        for (uint256 j = 0; j < 16; ++j) {
            bytes memory v = values[j];
            row = abi.encodePacked(row, v[3], v[2], v[1], v[0]);
        }
    }

    function rootOf(bytes32[] memory leaves) private pure returns (bytes32) {
        bytes32[] memory level = new bytes32[](1 << OrderedMerkle.depth(leaves.length));
        for (uint256 i = 0; i < leaves.length; ++i) {
            level[i] = leaves[i];
        }
        for (uint256 width = level.length; width > 1; width /= 2) {
            for (uint256 i = 0; i < width / 2; ++i) {
                level[i] = OrderedMerkle.node(level[2 * i], level[2 * i + 1]);
            }
        }
        return level[0];
    }
}
