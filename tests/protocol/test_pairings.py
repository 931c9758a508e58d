"""The final exponentiation by linear maps is py_ecc's to the bit."""

from __future__ import annotations

import random
from typing import cast

import pytest
from py_ecc.fields import optimized_bn128_FQ12 as FQ12
from py_ecc.optimized_bn128 import optimized_curve as bn
from py_ecc.optimized_bn128.optimized_pairing import final_exponentiate

from deltaproof.protocol.commit.pairings import G1Point, G2Point, final_exponentiation, pairing_product_is_one


@pytest.mark.parametrize("seed", range(3))
def test_any_value_comes_out_as_of_py_ecc(seed: int) -> None:
    drawn = random.Random(seed)
    value = FQ12([drawn.randrange(bn.field_modulus) for _ in range(12)])
    assert final_exponentiation(value) == final_exponentiate(value) != FQ12.one()


@pytest.mark.parametrize("value", [FQ12.one(), FQ12([0, 1] + [0] * 10), FQ12([bn.field_modulus - 1] * 12)])
def test_values_at_the_edge_come_out_as_of_py_ecc(value: FQ12) -> None:
    assert final_exponentiation(value) == final_exponentiate(value)


def test_product_is_one_where_exponents_cancel_and_nowhere_else() -> None:
    g1, g2 = cast(G1Point, bn.G1), cast(G2Point, bn.G2)
    six, two, three = (cast(G1Point, bn.multiply(g1, n)) for n in (6, 2, 3))
    thrice = cast(G2Point, bn.multiply(g2, 3))
    minus = cast(G1Point, bn.neg(six))
    assert pairing_product_is_one([(two, thrice), (minus, g2)])
    assert not pairing_product_is_one([(three, thrice), (minus, g2)])
    assert pairing_product_is_one([])
