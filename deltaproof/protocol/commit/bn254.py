"""The pairing of BN254 (alt_bn128, EIP-197), and multiples of points of G2, on plain integers.

The optimal ate pairing (Vercauteren, "Optimal pairings", 2010). It is here because py_ecc, whose results tests compare
with, takes ten times as long: a verifier checks one signature of each other, an audit those of all.

Fp2 is Fp[i] with i² = -1, an element `(real, imaginary)`. Fp12 is Fp2[w] with w⁶ = 9 + i, an element its six
coefficients. A point of G2 lies on the twist y² = x³ + 3 / (9 + i), and stands for (x w², y w³) on the curve over Fp12.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["FIELD_MODULUS", "ORDER", "TWIST_GENERATOR", "Twisted", "multiple", "on_twist", "pairings_cancel", "sum_of"]

Fp2 = tuple[int, int]
Fp12 = tuple[Fp2, ...]
Twisted = tuple[Fp2, Fp2]
"""A point of the twist, x and y."""

FIELD_MODULUS = 21888242871839275222246405745257275088696311157297823662689037894645226208583
"""The prime of the base field; coordinates are below it (EIP-196)."""
ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""Of G1 and of G2, a prime."""
_P = FIELD_MODULUS
_LOOP = bin(6 * 4965661367192848881 + 2)[3:]
"""Bits of 6u + 2 below the highest, where u is the curve's parameter."""
_HARD = (_P**4 - _P**2 + 1) // ORDER
_ZERO, _ONE = (0, 0), (1, 0)


def pairings_cancel(pairs: Iterable[tuple[tuple[int, int], Twisted]]) -> bool:
    """Whether the product of the pairings e(P, Q) is one. Points of the groups, none at infinity; unchecked.

    The product of the Miller loops is raised to (p¹² - 1) / r. Its factor p⁶ - 1 comes last, and need not be computed:
    it makes one just of what p⁶ leaves as it is, which is what has no odd power of w.
    """
    product = _miller(list(pairs))
    product = _times(product, tuple(_scaled(part, _ROOTS[k]) for k, part in enumerate(product)))  # to the 1 + p²
    return not any(real or imaginary for real, imaginary in _to_the(product, _HARD)[1::2])


def multiple(point: Twisted, scalar: int) -> Twisted | None:
    """`scalar` times a point of the twist; None is the point at infinity."""
    total: Twisted | None = None
    for bit in bin(scalar)[2:]:
        total = sum_of(total, total)
        if bit == "1":
            total = sum_of(total, point)
    return total


def on_twist(point: Twisted) -> bool:
    """Whether coordinates below the modulus are those of a point of the twist; of G2 are those of its order."""
    x, y = point
    return _times2(y, y) == _plus(_times2(_times2(x, x), x), _TWIST)


def sum_of(first: Twisted | None, second: Twisted | None) -> Twisted | None:
    """The sum of two points of the twist; None is the point at infinity."""
    if first is None or second is None:
        return second if first is None else first
    if first[0] == second[0] and (first[1] != second[1] or first[1] == _ZERO):
        return None
    return _third(_slope(first, second), first, second)


def _miller(pairs: list[tuple[tuple[int, int], Twisted]]) -> Fp12:
    """The product of what the pairs' loops give: all are squared together."""
    value: Fp12 = (_ONE, *(_ZERO,) * 5)
    at = [q for _, q in pairs]

    def step(number: int, to: Twisted) -> None:
        nonlocal value
        slope = _slope(at[number], to)
        value = _times(value, _line(slope, at[number], pairs[number][0]))
        at[number] = _third(slope, at[number], to)

    for bit in _LOOP:
        value = _times(value, value)
        for number, (_, q) in enumerate(pairs):
            step(number, at[number])
            if bit == "1":
                step(number, q)
    for number, (_, (x, y)) in enumerate(pairs):
        step(number, (_times2(_conjugate(x), _TWIST_X), _times2(_conjugate(y), _TWIST_Y)))
        step(number, (_scaled(x, _ROOTS[2]), y))
    return value


def _line(slope: Fp2, at: Twisted, p: tuple[int, int]) -> Fp12:
    """The line through a point with this slope on the twist, at P: y_P - slope x_P w + (slope x - y) w³."""
    (x, y), (x_p, y_p) = at, p
    return ((y_p, 0), _scaled(slope, -x_p), _ZERO, _minus(_times2(slope, x), y), _ZERO, _ZERO)


def _slope(first: Twisted, second: Twisted) -> Fp2:
    (x, y), (x2, y2) = first, second
    if first == second:
        return _times2(_scaled(_times2(x, x), 3), _inverse(_scaled(y, 2)))
    return _times2(_minus(y2, y), _inverse(_minus(x2, x)))


def _third(slope: Fp2, first: Twisted, second: Twisted) -> Twisted:
    """The sum of two points on a line of this slope."""
    (x, y), (x2, _) = first, second
    x3 = _minus(_minus(_times2(slope, slope), x), x2)
    return x3, _minus(_times2(slope, _minus(x, x3)), y)


def _times(a: Fp12, b: Fp12) -> Fp12:
    real, imaginary = [0] * 11, [0] * 11
    for j, (c, d) in enumerate(b):
        if c or d:
            for i, (e, f) in enumerate(a, start=j):
                real[i] += e * c - f * d
                imaginary[i] += e * d + f * c
    for i in range(5):  # w⁶ = 9 + i
        x, y = real[i + 6], imaginary[i + 6]
        real[i] += 9 * x - y
        imaginary[i] += x + 9 * y
    return tuple((real[i] % _P, imaginary[i] % _P) for i in range(6))


def _to_the(value: Fp12, power: int) -> Fp12:
    result = value
    for bit in bin(power)[3:]:
        result = _times(result, result)
        if bit == "1":
            result = _times(result, value)
    return result


def _times2(a: Fp2, b: Fp2) -> Fp2:
    (c, d), (e, f) = a, b
    return (c * e - d * f) % _P, (c * f + d * e) % _P


def _to_the2(value: Fp2, power: int) -> Fp2:
    result = _ONE
    for bit in bin(power)[2:]:
        result = _times2(result, result)
        if bit == "1":
            result = _times2(result, value)
    return result


def _plus(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] + b[0]) % _P, (a[1] + b[1]) % _P


def _minus(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] - b[0]) % _P, (a[1] - b[1]) % _P


def _scaled(a: Fp2, by: int) -> Fp2:
    return a[0] * by % _P, a[1] * by % _P


def _conjugate(a: Fp2) -> Fp2:
    return a[0], -a[1] % _P


def _inverse(a: Fp2) -> Fp2:
    return _scaled(_conjugate(a), pow(a[0] * a[0] + a[1] * a[1], -1, _P))


_TWIST = _scaled(_inverse((9, 1)), 3)
TWIST_GENERATOR: Twisted = (
    (
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
    ),
    (
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
    ),
)
"""Of G2."""
_ROOTS = [_to_the2((9, 1), k * (_P**2 - 1) // 6)[0] for k in range(6)]
"""What p² makes of the powers of w: sixth roots of one, which lie in Fp."""
_TWIST_X, _TWIST_Y = (_to_the2((9, 1), (_P - 1) // part) for part in (3, 2))
"""What p makes of w² and w³."""
