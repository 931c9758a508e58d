"""The pairing on plain integers is py_ecc's: the same points, and the same products that are one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.fields import optimized_bn128_FQ12 as FQ12
from py_ecc.optimized_bn128 import optimized_curve as bn
from py_ecc.optimized_bn128.optimized_pairing import final_exponentiate, pairing

from deltaproof.protocol.commit import bn254
from deltaproof.protocol.commit.bn254 import FIELD_MODULUS, ORDER, TWIST_GENERATOR, Twisted

SCALARS = st.one_of(st.sampled_from([1, 2, 3, ORDER - 1, ORDER - 2]), st.integers(1, ORDER - 1))


def twisted(scalar: int) -> Twisted | None:
    """A multiple of the generator of G2, by py_ecc."""
    point = bn.multiply(bn.G2, scalar)
    if bn.is_inf(point):
        return None
    (x, x_imaginary), (y, y_imaginary) = (part.coeffs for part in bn.normalize(point))
    return (int(x), int(x_imaginary)), (int(y), int(y_imaginary))


def in_g1(scalar: int) -> tuple[int, int]:
    x, y = bn.normalize(bn.multiply(bn.G1, scalar % ORDER))
    return int(x), int(y)


def test_parameters_are_py_eccs() -> None:
    assert (bn.field_modulus, bn.curve_order, twisted(1)) == (FIELD_MODULUS, ORDER, TWIST_GENERATOR)


@given(st.one_of(SCALARS, st.sampled_from([0, ORDER, ORDER + 1])))
@settings(max_examples=20)
def test_multiples_are_py_eccs(scalar: int) -> None:
    assert bn254.multiple(TWIST_GENERATOR, scalar) == twisted(scalar)


@given(SCALARS, SCALARS)
@settings(max_examples=20)
def test_sums_are_py_eccs(a: int, b: int) -> None:
    assert bn254.sum_of(twisted(a), twisted(b)) == twisted((a + b) % ORDER)
    assert bn254.sum_of(twisted(a), None) == bn254.sum_of(None, twisted(a)) == twisted(a)
    assert bn254.sum_of(twisted(a), twisted(ORDER - a)) is None


@given(SCALARS)
@settings(max_examples=10)
def test_point_is_on_the_twist_unless_a_coordinate_is_another(scalar: int) -> None:
    (x, y), z = twisted(scalar) or pytest.fail("at infinity")
    assert bn254.on_twist(((x, y), z))
    assert not bn254.on_twist((((x + 1) % FIELD_MODULUS, y), z))
    assert not bn254.on_twist(((x, (y + 1) % FIELD_MODULUS), z))


@given(st.lists(st.tuples(SCALARS, SCALARS), min_size=1, max_size=3), st.sampled_from([0, 0, 1, ORDER // 2]))
@settings(max_examples=15)
def test_product_is_one_where_the_exponents_cancel_and_nowhere_else(scalars: list[tuple[int, int]], off: int) -> None:
    """Pairs of multiples of the generators, and one more that makes up for them, or is off by something."""
    missing = (off - sum(a * b for a, b in scalars)) % ORDER
    whole = [*scalars, (missing, 1)] if missing else scalars
    pairs = [(in_g1(a), twisted(b) or pytest.fail("at infinity")) for a, b in whole]
    assert bn254.pairings_cancel(pairs) == (off == 0)


@pytest.mark.parametrize("off", [0, 1])
def test_product_is_one_just_where_py_eccs_is(off: int) -> None:
    scalars = [(5, 7), (ORDER - 11, 3), (ORDER - 2 + off, 1)]
    product = FQ12.one()
    for a, b in scalars:
        product = product * pairing(bn.multiply(bn.G2, b), bn.multiply(bn.G1, a), final_exponentiate=False)
    ours = bn254.pairings_cancel((in_g1(a), twisted(b) or TWIST_GENERATOR) for a, b in scalars)
    assert ours == bool(final_exponentiate(product) == FQ12.one()) == (off == 0)


def test_no_pairs_make_one() -> None:
    assert bn254.pairings_cancel([])
