// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {G1Point} from "../interfaces/Types.sol";
import {BN254} from "./BN254.sol";

/// @title drand's hash from messages to points of G1 of BN254
/// @notice hash_to_curve of RFC 9380 with expand_message_xmd over Keccak-256 (section 5.3.1) and the map of Shallue and van
/// de Woestijne (section 6.6.1) for y^2 = x^3 + 3, Z = 1. Python has the same in `deltaproof/protocol/commit/drand.py`.
library HashToCurve {
    /// @dev drand's domain, and its length in one byte.
    bytes private constant DOMAIN = "BLS_SIG_BN254G1_XMD:KECCAK-256_SVDW_RO_NUL_\x2b";
    uint256 private constant P = BN254.P;
    /// @dev 2^256 mod P.
    uint256 private constant WORD = 6350874878119819312338956282401532409788428879151445726012394534686998597021;
    /// @dev g(Z) = Z^3 + 3.
    uint256 private constant C1 = 4;
    /// @dev -Z / 2.
    uint256 private constant C2 = 10944121435919637611123202872628637544348155578648911831344518947322613104291;
    /// @dev The even square root of -g(Z) · 3 Z^2.
    uint256 private constant C3 = 8815841940592487685674414971303048083897117035520822607866;
    /// @dev -4 g(Z) / (3 Z^2).
    uint256 private constant C4 = 7296080957279758407415468581752425029565437052432607887563012631548408736189;

    /// @notice The point that a 32-byte message stands for.
    function toG1(bytes32 message) internal view returns (G1Point memory) {
        (uint256 first, uint256 second) = toField(message);
        return BN254.add(toPoint(first), toPoint(second));
    }

    /// @notice Two field elements from a message: 96 bytes of expand_message_xmd, 48 for each.
    function toField(bytes32 message) internal pure returns (uint256 first, uint256 second) {
        // Keccak-256 takes blocks of 136 bytes.
        bytes32 b0 = keccak256(abi.encodePacked(new bytes(136), message, uint16(96), uint8(0), DOMAIN));
        bytes32 b1 = keccak256(abi.encodePacked(b0, uint8(1), DOMAIN));
        bytes32 b2 = keccak256(abi.encodePacked(b0 ^ b1, uint8(2), DOMAIN));
        bytes32 b3 = keccak256(abi.encodePacked(b0 ^ b2, uint8(3), DOMAIN));
        first = _reduce(uint256(b1) >> 128, (uint256(b1) << 128) | (uint256(b2) >> 128));
        second = _reduce(uint256(b2) & type(uint128).max, uint256(b3));
    }

    /// @notice map_to_curve: the point of a field element below P.
    function toPoint(uint256 u) internal view returns (G1Point memory) {
        uint256 t1 = mulmod(mulmod(u, u, P), C1, P);
        uint256 t2 = addmod(1, t1, P);
        t1 = addmod(1, P - t1, P);
        // The inverse of zero is zero.
        uint256 t3 = BN254.power(mulmod(t1, t2, P), P - 2);
        uint256 t4 = mulmod(mulmod(u, t1, P), mulmod(t3, C3, P), P);
        // One of three is on the curve: the first that has a root.
        uint256 x = addmod(C2, P - t4, P);
        (bool found, uint256 y) = BN254.rootOf(x);
        if (!found) {
            x = addmod(C2, t4, P);
            (found, y) = BN254.rootOf(x);
        }
        if (!found) {
            x = mulmod(mulmod(t2, t2, P), t3, P);
            x = addmod(1, mulmod(mulmod(x, x, P), C4, P), P);
            (, y) = BN254.rootOf(x);
        }
        // INVARIANT: the root has the parity of u.
        return G1Point(x, (y ^ u) & 1 == 0 ? y : P - y);
    }

    function _reduce(uint256 high, uint256 low) private pure returns (uint256) {
        return addmod(mulmod(high, WORD, P), low, P);
    }
}
