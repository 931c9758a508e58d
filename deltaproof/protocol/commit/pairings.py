"""Whether a product of pairings on BN254 is one: what every check of a signature comes to.

Pairings are py_ecc's. Its final exponentiation raises to (q^12 - 1) / r bit by bit, which takes over two fifths of a
check. The exponent is (q^6 - 1)(q^2 + 1) times (q^4 - q^2 + 1) / r, and to raise to q is a linear map: seven of ten
multiplications fall away, and the value is the same (Scott and others, "On the final exponentiation for calculating
pairings on ordinary elliptic curves", 2009).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from py_ecc.fields import optimized_bn128_FQ as FQ
from py_ecc.fields import optimized_bn128_FQ2 as FQ2
from py_ecc.fields import optimized_bn128_FQ12 as FQ12
from py_ecc.optimized_bn128 import optimized_curve as bn
from py_ecc.optimized_bn128.optimized_pairing import pairing

__all__ = ["G1Point", "G2Point", "final_exponentiation", "pairing_product_is_one"]

G1Point = tuple[FQ, FQ, FQ]
"""Projective coordinates, as py_ecc holds them."""
G2Point = tuple[FQ2, FQ2, FQ2]
"""The same on the twist."""
DEGREE = 12
"""Of the field of pairings over that of q."""


def pairing_product_is_one(pairs: Iterable[tuple[G1Point, G2Point]]) -> bool:
    """Whether the product of e(g1, g2) over all pairs is one. Raises ValueError for a point beside its curve."""
    product = FQ12.one()
    for g1, g2 in pairs:
        product = product * pairing(g2, g1, final_exponentiate=False)
    return bool(final_exponentiation(product) == FQ12.one())


def final_exponentiation(value: FQ12) -> FQ12:
    """`value`, which is not zero, to the power of (q^12 - 1) / r."""
    q = bn.field_modulus
    to_q6_less_1 = _to_q(value, 6) / value
    easy = _to_q(to_q6_less_1, 2) * to_q6_less_1
    return easy ** ((q**4 - q**2 + 1) // bn.curve_order)


def _to_q(value: FQ12, times: int) -> FQ12:
    """`value` to the power of q^times: its coefficients lie in the field of q and stay, the powers of w move."""
    moved = _powers_of_w_to_q()
    for _ in range(times):
        held = [int(coefficient) for coefficient in value.coeffs]
        value = FQ12([sum(held[i] * moved[i][j] for i in range(DEGREE)) % bn.field_modulus for j in range(DEGREE)])
    return value


@cache
def _powers_of_w_to_q() -> list[list[int]]:
    """Coefficients of w^q to the powers 0 to 11, w the generator over the field of q."""
    w_to_q = FQ12([0, 1, *[0] * (DEGREE - 2)]) ** bn.field_modulus
    return [[int(coefficient) for coefficient in (w_to_q**power).coeffs] for power in range(DEGREE)]
