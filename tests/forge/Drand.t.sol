// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DrandBeacon} from "../../contracts/DrandBeacon.sol";
import {IBeacon} from "../../contracts/interfaces/IBeacon.sol";
import {IDrandBeacon} from "../../contracts/interfaces/IDrandBeacon.sol";
import {G1Point, G2Point} from "../../contracts/interfaces/Types.sol";
import {BN254} from "../../contracts/libraries/BN254.sol";
import {HashToCurve} from "../../contracts/libraries/HashToCurve.sol";
import {vm} from "./support/Vm.sol";

/// @dev The drand beacon against public rounds of evmnet, Python's vectors, and whoever wants another seed.
contract DrandTest {
    uint64 private constant NOW = 1_800_000_000;
    uint32 private constant LEAD = 30;
    uint32 private constant PATIENCE = 3 days;

    string private json;
    DrandBeacon private beacon;
    /// @dev A network of one's own, whose rounds 1 to 4 are in the vectors.
    DrandBeacon private own;

    function setUp() public {
        json = vm.readFile("tests/vectors/drand.json");
        vm.roll(1_000);
        vm.warp(NOW);
        beacon = deployed(evmnet());
        IDrandBeacon.Network memory network = evmnet();
        network.publicKey = keyOf(".own.publicKey");
        (network.genesis, network.period) = (NOW + 100, 10);
        own = deployed(network);
    }

    function deployed(IDrandBeacon.Network memory network) internal returns (DrandBeacon) {
        return DrandBeacon(vm.deployCode("DrandBeacon.sol", abi.encode(network, uint32(1))));
    }

    function keyOf(string memory where) internal view returns (G2Point memory key) {
        uint256[] memory words = vm.parseJsonUintArray(json, where);
        (key.x[0], key.x[1], key.y[0], key.y[1]) = (words[0], words[1], words[2], words[3]);
    }

    function evmnet() internal view returns (IDrandBeacon.Network memory) {
        return IDrandBeacon.Network(
            keyOf(".network.publicKey"),
            uint64(vm.parseJsonUint(json, ".network.genesis")),
            uint32(vm.parseJsonUint(json, ".network.period")),
            LEAD,
            PATIENCE,
            vm.parseJsonBytes32(json, ".network.chainHash")
        );
    }

    function publicRound(uint256 i) internal view returns (uint64, G1Point memory, bytes32) {
        string memory where = string.concat(".rounds[", vm.toString(i), "]");
        bytes memory signature = vm.parseJsonBytes(json, string.concat(where, ".signature"));
        (uint256 x, uint256 y) = abi.decode(signature, (uint256, uint256));
        bytes32 randomness = vm.parseJsonBytes32(json, string.concat(where, ".randomness"));
        return (uint64(vm.parseJsonUint(json, string.concat(where, ".round"))), G1Point(x, y), randomness);
    }

    function ownSignature(uint64 round) internal view returns (G1Point memory) {
        uint256 x = vm.parseJsonUintArray(json, ".own.x")[round - 1];
        return G1Point(x, vm.parseJsonUintArray(json, ".own.y")[round - 1]);
    }

    function expectRefused(uint64 round, G1Point memory signature) internal {
        vm.expectRevert(abi.encodeWithSelector(IDrandBeacon.InvalidSignature.selector, round, signature));
    }

    // Against others.

    function test_map_equalsPython() public view {
        uint256[] memory u = vm.parseJsonUintArray(json, ".maps.u");
        uint256[] memory x = vm.parseJsonUintArray(json, ".maps.x");
        uint256[] memory y = vm.parseJsonUintArray(json, ".maps.y");
        vm.assertGe(u.length, 400, "cases");
        for (uint256 i = 0; i < u.length; ++i) {
            G1Point memory point = HashToCurve.toPoint(u[i]);
            vm.assertEq(point.x, x[i]);
            vm.assertEq(point.y, y[i]);
        }
    }

    function test_hash_equalsPython() public view {
        uint256[] memory rounds = vm.parseJsonUintArray(json, ".messages.round");
        uint256[] memory x = vm.parseJsonUintArray(json, ".messages.x");
        uint256[] memory y = vm.parseJsonUintArray(json, ".messages.y");
        vm.assertGe(rounds.length, 200, "cases");
        for (uint256 i = 0; i < rounds.length; ++i) {
            G1Point memory point = HashToCurve.toG1(keccak256(abi.encodePacked(uint64(rounds[i]))));
            vm.assertEq(point.x, x[i]);
            vm.assertEq(point.y, y[i]);
        }
    }

    function testFuzz_map_anyElement_isOnCurveWithItsParity(uint256 u) public view {
        u %= BN254.P;
        G1Point memory point = HashToCurve.toPoint(u);
        vm.assertTrue(BN254.isOnCurve(point));
        vm.assertEq(point.y & 1, u & 1);
    }

    function test_publish_roundsOfEvmnet_areAccepted() public {
        for (uint256 i = 0; i < 2; ++i) {
            (uint64 round, G1Point memory signature, bytes32 randomness) = publicRound(i);
            beacon.publish(round, signature);
            vm.assertEq(beacon.randomnessOf(round), randomness);
        }
    }

    // Refused.

    function test_publish_otherRoundsSignature_reverts() public {
        (uint64 round, G1Point memory signature,) = publicRound(0);
        expectRefused(round + 1, signature);
        beacon.publish(round + 1, signature);
    }

    function test_publish_otherNetworksSignature_reverts() public {
        (uint64 round, G1Point memory signature,) = publicRound(0);
        expectRefused(round, signature);
        own.publish(round, signature);
    }

    function test_publish_negativeOrInfinity_reverts() public {
        (uint64 round, G1Point memory signature,) = publicRound(0);
        G1Point[2] memory wrong = [BN254.negate(signature), G1Point(0, 0)];
        for (uint256 i = 0; i < 2; ++i) {
            expectRefused(round, wrong[i]);
            beacon.publish(round, wrong[i]);
        }
    }

    function test_publish_coordinateAboveTheField_reverts() public {
        (uint64 round, G1Point memory signature,) = publicRound(0);
        G1Point[2] memory wrong =
            [G1Point(signature.x + BN254.P, signature.y), G1Point(signature.x, signature.y + BN254.P)];
        for (uint256 i = 0; i < 2; ++i) {
            expectRefused(round, wrong[i]);
            beacon.publish(round, wrong[i]);
        }
    }

    /// @dev Nearly all of these lie off the curve; the check comes before the precompile, which would take all the gas.
    function testFuzz_publish_anyPoint_revertsCheaply(uint256 x, uint256 y, uint64 round) public {
        round = round == 0 ? 1 : round;
        uint256 before = gasleft();
        expectRefused(round, G1Point(x, y));
        beacon.publish(round, G1Point(x, y));
        vm.assertLe(before - gasleft(), 300_000, "gas of a refusal");
    }

    function test_publish_roundZero_reverts() public {
        (, G1Point memory signature,) = publicRound(0);
        vm.expectRevert(abi.encodeWithSelector(IDrandBeacon.NoSuchRound.selector, uint64(0)));
        beacon.publish(0, signature);
    }

    function test_deploy_keyAtInfinityOrOutsideTheGroup_reverts() public {
        IDrandBeacon.Network memory network = evmnet();
        network.publicKey = G2Point([uint256(0), 0], [uint256(0), 0]);
        expectNoDeploy(network, IDrandBeacon.InvalidPublicKey.selector);
        network = evmnet();
        network.publicKey.y[1] += 1;
        expectNoDeploy(network, IDrandBeacon.InvalidPublicKey.selector);
    }

    function test_deploy_termsOfZero_revert() public {
        for (uint256 i = 0; i < 4; ++i) {
            IDrandBeacon.Network memory network = evmnet();
            if (i == 0) network.genesis = 0;
            if (i == 1) network.period = 0;
            if (i == 2) network.leadSeconds = 0;
            if (i == 3) network.patienceSeconds = 0;
            expectNoDeploy(network, IDrandBeacon.InvalidNetwork.selector);
        }
    }

    function expectNoDeploy(IDrandBeacon.Network memory network, bytes4 selector) internal {
        vm.expectRevert(selector);
        new DrandBeacon(network, 1);
    }

    // Requests.

    function testFuzz_request_decidedByTheFirstRoundAfterTheLead(uint32 later) public {
        uint256 time = uint256(NOW) + later;
        vm.warp(time);
        uint64 round = own.roundOf(own.request());
        IDrandBeacon.Network memory network = own.network();
        uint256 time_ = network.genesis + uint256(round - 1) * network.period;
        vm.assertGe(time_, time + LEAD, "a round after the lead");
        vm.assertTrue(round == 1 || time_ - network.period < time + LEAD, "the first of them");
    }

    function test_fulfil_whenPublished_fixesOnce() public {
        uint256 a = own.request();
        uint256 b = own.request();
        vm.assertEq(own.roundOf(a), 1);
        vm.assertEq(own.targetBlockOf(a), 0);
        vm.assertFalse(own.fulfil(a));
        vm.warp(NOW + 101);
        vm.assertFalse(own.fulfil(a));
        own.publish(1, ownSignature(1));
        vm.assertTrue(own.fulfil(a));
        vm.assertTrue(own.fulfil(b));
        (bytes32 first, bool fixed_) = own.seedOf(a);
        (bytes32 second,) = own.seedOf(b);
        vm.assertTrue(fixed_ && first != second);
        vm.assertEq(first, keccak256(abi.encode(own.randomnessOf(1), address(own), a)));
        vm.warp(NOW + 30 days);
        vm.assertTrue(own.fulfil(a));
        (bytes32 again,) = own.seedOf(a);
        vm.assertEq(again, first);
    }

    function test_publish_again_changesNothing() public {
        own.publish(1, ownSignature(1));
        bytes32 kept = own.randomnessOf(1);
        own.publish(1, ownSignature(2));
        vm.assertEq(own.randomnessOf(1), kept);
    }

    function test_fulfil_otherRoundsPublished_waits() public {
        uint256 id = own.request();
        own.publish(2, ownSignature(2));
        vm.assertFalse(own.fulfil(id));
    }

    function test_unknownRequest_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBeacon.UnknownRequest.selector, 1));
        own.fulfil(1);
        own.request();
        vm.expectRevert(abi.encodeWithSelector(IBeacon.UnknownRequest.selector, 0));
        own.seedOf(0);
    }

    // When nobody publishes.

    function test_fulfil_nobodyPublishes_fallsBackToABlockAfterPatience() public {
        uint256 id = own.request();
        vm.warp(NOW + 100 + PATIENCE);
        vm.assertFalse(own.fulfil(id));
        vm.assertEq(own.roundOf(id), 1);
        vm.warp(NOW + 101 + PATIENCE);
        vm.roll(2_000);
        vm.assertFalse(own.fulfil(id));
        vm.assertEq(own.roundOf(id), 0);
        vm.assertEq(own.targetBlockOf(id), 2_001);
        vm.assertFalse(own.fulfil(id));
        vm.roll(2_002);
        vm.assertTrue(own.fulfil(id));
        (bytes32 seed,) = own.seedOf(id);
        vm.assertEq(seed, keccak256(abi.encode(blockhash(2_001), address(own), id)));
    }

    /// @dev Attack: hold the round's signature back, see the block, and choose.
    function test_fulfil_signatureAfterTheFallback_decidesNothing() public {
        uint256 id = own.request();
        vm.warp(NOW + 101 + PATIENCE);
        own.fulfil(id);
        own.publish(1, ownSignature(1));
        vm.assertFalse(own.fulfil(id));
        vm.assertEq(own.roundOf(id), 0);
    }

    /// @dev Attack: let the patience run out although the round is public. Whoever publishes it, even late, is heard.
    function test_fulfil_publishedLateBeforeTheFallback_counts() public {
        uint256 id = own.request();
        vm.warp(NOW + 365 days);
        own.publish(1, ownSignature(1));
        vm.assertTrue(own.fulfil(id));
    }

    function test_fulfil_fallbackBlockOutOfReach_rearms() public {
        uint256 id = own.request();
        vm.warp(NOW + 101 + PATIENCE);
        own.fulfil(id);
        vm.roll(3_000);
        vm.assertFalse(own.fulfil(id));
        vm.assertEq(own.targetBlockOf(id), 3_001);
    }
}
