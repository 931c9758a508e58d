// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {G1Point, G2Point} from "../interfaces/Types.sol";

/// @title BN254 (alt_bn128) through the precompiles of EIP-196, EIP-197 and EIP-198
/// @notice Only what BLS signatures need: signatures and messages in G1, keys in G2 with a twin in G1.
library BN254 {
    /// @dev Order of the base field.
    uint256 internal constant P = 21888242871839275222246405745257275088696311157297823662689037894645226208583;
    /// @dev Order of the groups.
    uint256 internal constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    /// @dev (P + 1) / 4: exponent of a square root, since P = 3 mod 4.
    uint256 private constant SQRT_EXPONENT = 0xc19139cb84c680a6e14116da060561765e05aa45a1c72a34f082305b61f3f52;

    /// @notice A precompile refused its input (a point that is not on the curve or not in the subgroup).
    error PrecompileFailed(address precompile);
    /// @notice No counter leads from the message to a point; this never happens.
    error NoPointFound(bytes32 message);

    function generator() internal pure returns (G1Point memory) {
        return G1Point(1, 2);
    }

    /// @dev Negative of the generator of G2, EIP-197 order.
    function negativeGeneratorG2() internal pure returns (G2Point memory point) {
        point.x[0] = 11559732032986387107991004021392285783925812861821192530917403151452391805634;
        point.x[1] = 10857046999023057135944570762232829481370756359578518086990519993285655852781;
        point.y[0] = 17805874995975841540914202342111839520379459829704422454583296818431106115052;
        point.y[1] = 13392588948715843804641432497768002650278120570034223513918757245338268106653;
    }

    function isZero(G1Point memory a) internal pure returns (bool) {
        return a.x == 0 && a.y == 0;
    }

    function negate(G1Point memory a) internal pure returns (G1Point memory) {
        return a.y == 0 ? a : G1Point(a.x, P - a.y);
    }

    /// @notice Reverts unless both are points of the curve.
    function add(G1Point memory a, G1Point memory b) internal view returns (G1Point memory sum) {
        uint256[4] memory input = [a.x, a.y, b.x, b.y];
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), 6, input, 0x80, sum, 0x40)
        }
        require(ok, PrecompileFailed(address(6)));
    }

    function multiply(G1Point memory a, uint256 scalar) internal view returns (G1Point memory product) {
        uint256[3] memory input = [a.x, a.y, scalar];
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), 7, input, 0x60, product, 0x40)
        }
        require(ok, PrecompileFailed(address(7)));
    }

    /// @notice Whether a point that is not infinity has canonical coordinates and lies on the curve, which is the group.
    function isOnCurve(G1Point memory a) internal pure returns (bool) {
        return a.x < P && a.y < P && mulmod(a.y, a.y, P) == _cubic(a.x);
    }

    /// @notice Whether a point lies in G2; infinity does. EIP-197 checks the subgroup.
    function isInG2(G2Point memory b) internal view returns (bool ok) {
        uint256[6] memory input = [0, 0, b.x[0], b.x[1], b.y[0], b.y[1]];
        uint256[1] memory result;
        // A point outside costs all the gas that the precompile is given.
        assembly ("memory-safe") {
            ok := staticcall(200000, 8, input, 0xc0, result, 0x20)
        }
    }

    /// @notice Whether e(a1, b1) * e(a2, b2) = 1. Reverts for points outside their group (EIP-197 checks the subgroup).
    function pairingIsOne(G1Point memory a1, G2Point memory b1, G1Point memory a2, G2Point memory b2)
        internal
        view
        returns (bool)
    {
        uint256[12] memory input =
            [a1.x, a1.y, b1.x[0], b1.x[1], b1.y[0], b1.y[1], a2.x, a2.y, b2.x[0], b2.x[1], b2.y[0], b2.y[1]];
        uint256[1] memory result;
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), 8, input, 0x180, result, 0x20)
        }
        require(ok, PrecompileFailed(address(8)));
        return result[0] == 1;
    }

    /// @notice Whether `signature` over `message` verifies under a key whose parts in G1 and G2 are one key.
    /// @dev Both equations, e(sig, g2) = e(H, key2) and e(key1, g2) = e(g1, key2), in one product of two pairings, joined
    /// by a factor that depends on everything in it. Attack: a key2 that is no twin of key1 passes with probability 1/R.
    function verifies(
        bytes32 domain,
        bytes32 message,
        G1Point memory keyG1,
        G2Point memory keyG2,
        G1Point memory signature
    ) internal view returns (bool) {
        G1Point memory hashed = hashToPoint(domain, message);
        uint256 factor = uint256(keccak256(abi.encode(domain, message, keyG1, keyG2, signature))) % R;
        return pairingIsOne(
            add(signature, multiply(keyG1, factor)),
            negativeGeneratorG2(),
            add(hashed, multiply(generator(), factor)),
            keyG2
        );
    }

    /// @notice Try-and-increment: the first x = keccak(domain ‖ message ‖ i) mod P on the curve, with the even root.
    /// @dev Messages are public, so the varying time leaks nothing.
    function hashToPoint(bytes32 domain, bytes32 message) internal view returns (G1Point memory) {
        for (uint256 i = 0; i < 256; ++i) {
            uint256 x = uint256(keccak256(abi.encodePacked(domain, message, uint8(i)))) % P;
            (bool found, uint256 y) = rootOf(x);
            if (found) return G1Point(x, y & 1 == 0 ? y : P - y);
        }
        revert NoPointFound(message);
    }

    /// @notice A y with y^2 = x^3 + 3, if there is one.
    function rootOf(uint256 x) internal view returns (bool found, uint256 y) {
        uint256 square = _cubic(x);
        y = power(square, SQRT_EXPONENT);
        found = mulmod(y, y, P) == square;
    }

    /// @notice base^exponent mod P (EIP-198).
    function power(uint256 base, uint256 exponent) internal view returns (uint256 result) {
        bool ok;
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, 0x20)
            mstore(add(input, 0x20), 0x20)
            mstore(add(input, 0x40), 0x20)
            mstore(add(input, 0x60), base)
            mstore(add(input, 0x80), exponent)
            mstore(add(input, 0xa0), P)
            ok := staticcall(gas(), 5, input, 0xc0, 0x00, 0x20)
            result := mload(0x00)
        }
        require(ok, PrecompileFailed(address(5)));
    }

    function _cubic(uint256 x) private pure returns (uint256) {
        return addmod(mulmod(mulmod(x, x, P), x, P), 3, P);
    }
}
