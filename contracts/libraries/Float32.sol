// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title IEEE 754 binary32 arithmetic, round to nearest, ties to even
/// @notice Values are bit patterns in the low 32 bits. Each operation computes the exact result as an integer times a
/// power of two (with a sticky bit where it is infinite or far away) and rounds once. Subnormals included; every NaN that
/// an operation makes is 0x7fc00000. Shared vectors against numpy: tests/vectors/float32.json.
library Float32 {
    uint256 internal constant ONE = 0x3f800000;
    uint256 internal constant NAN = 0x7fc00000;
    uint256 private constant INFINITY = 0x7f800000;
    uint256 private constant SIGN = 0x80000000;
    uint256 private constant HIDDEN = 1 << 23;
    /// @dev Exponent of a subnormal's last bit.
    int256 private constant LOWEST = -149;

    function isFinite(uint256 a) internal pure returns (bool) {
        return a & INFINITY != INFINITY;
    }

    function isNaN(uint256 a) internal pure returns (bool) {
        return a & ~SIGN > INFINITY;
    }

    function add(uint256 a, uint256 b) internal pure returns (uint256) {
        if (isNaN(a) || isNaN(b)) return NAN;
        if (!isFinite(a)) return isFinite(b) || a == b ? a : NAN;
        if (!isFinite(b)) return b;
        (uint256 ma, int256 ea) = _parts(a);
        (uint256 mb, int256 eb) = _parts(b);
        if (ea < eb) (a, b, ma, mb, ea, eb) = (b, a, mb, ma, eb, ea);
        uint256 distance = uint256(ea - eb);
        if (distance > 100) {
            // The smaller one is below the last of 70 extra bits: all that it can do is break a tie.
            (ma, mb, ea) = (ma << 70, mb == 0 ? 0 : 1, ea - 70);
        } else {
            (ma, ea) = (ma << distance, eb);
        }
        uint256 sign = a & SIGN;
        if (sign == b & SIGN) return _round(sign, ma + mb, ea);
        if (ma == mb) return 0;
        return ma > mb ? _round(sign, ma - mb, ea) : _round(b & SIGN, mb - ma, ea);
    }

    function sub(uint256 a, uint256 b) internal pure returns (uint256) {
        return add(a, b ^ SIGN);
    }

    function mul(uint256 a, uint256 b) internal pure returns (uint256) {
        if (isNaN(a) || isNaN(b)) return NAN;
        uint256 sign = (a ^ b) & SIGN;
        (uint256 ma, int256 ea) = _parts(a);
        (uint256 mb, int256 eb) = _parts(b);
        if (!isFinite(a) || !isFinite(b)) return ma == 0 || mb == 0 ? NAN : sign | INFINITY;
        return _round(sign, ma * mb, ea + eb);
    }

    function div(uint256 a, uint256 b) internal pure returns (uint256) {
        if (isNaN(a) || isNaN(b)) return NAN;
        uint256 sign = (a ^ b) & SIGN;
        if (!isFinite(a)) return isFinite(b) ? sign | INFINITY : NAN;
        if (!isFinite(b)) return sign;
        (uint256 ma, int256 ea) = _parts(a);
        (uint256 mb, int256 eb) = _parts(b);
        if (mb == 0) return ma == 0 ? NAN : sign | INFINITY;
        ma <<= 60;
        // Whether the division is exact is wanted here, for the sticky bit.
        // slither-disable-next-line divide-before-multiply
        uint256 quotient = ma / mb;
        if (quotient * mb != ma) quotient |= 1;
        return _round(sign, quotient, ea - eb - 60);
    }

    function sqrt(uint256 a) internal pure returns (uint256) {
        if (isNaN(a)) return NAN;
        (uint256 m, int256 e) = _parts(a);
        if (m == 0) return a;
        if (a & SIGN != 0) return NAN;
        if (!isFinite(a)) return a;
        uint256 shift = e % 2 == 0 ? 60 : 61;
        m <<= shift;
        uint256 root = Math.sqrt(m);
        return _round(0, root << 1 | (root * root == m ? 0 : 1), (e - int256(shift)) / 2 - 1);
    }

    /// @dev |a| = m * 2^e for finite a; for infinities m is not zero.
    function _parts(uint256 a) private pure returns (uint256 m, int256 e) {
        uint256 biased = a >> 23 & 0xff;
        m = a & (HIDDEN - 1);
        if (biased == 0) return (m, LOWEST);
        return (m | HIDDEN, int256(biased) - 150);
    }

    /// @dev m * 2^e rounded to nearest even, m < 2^200.
    function _round(uint256 sign, uint256 m, int256 e) private pure returns (uint256) {
        if (m == 0) return sign;
        // Bits below the last place of the result: of 24 bits, or of the subnormals' place if that is higher.
        int256 shift = int256(Math.log2(m)) - 23;
        if (e + shift < LOWEST) shift = LOWEST - e;
        e += shift;
        if (shift <= 0) {
            m <<= uint256(-shift);
        } else if (shift > 201) {
            m = 0;
        } else {
            uint256 half = 1 << uint256(shift - 1);
            uint256 rest = m & (2 * half - 1);
            m >>= uint256(shift);
            if (rest > half || (rest == half && m & 1 == 1)) ++m;
        }
        // The hidden bit adds itself to the exponent field, as does a carry out of the mantissa.
        uint256 bits = (uint256(e - LOWEST) << 23) + m;
        return sign | (bits >= INFINITY ? INFINITY : bits);
    }
}
