"""Random draws are those of docs/protocol/training.md, section 3, spelled out here word by word."""

from __future__ import annotations

from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
import torch

from deltaproof.tuning.numerics.randomness import CounterDropout, normal, uniform

KEY = bytes(range(32))


def words(index: int, count: int) -> list[int]:
    """The raw words of draw `index` under KEY."""
    digest = sha256(b"deltaproof/random/v1\x00" + KEY + index.to_bytes(4, "big")).digest()
    return [int(word) for word in np.random.Philox(key=int.from_bytes(digest[:16], "big")).random_raw(count)]


def parts(of: list[int]) -> list[int]:
    return [word >> shift & 0xFFFF for word in of for shift in (0, 16, 32, 48)]


def test_uniform_is_the_upper_53_bits_of_a_word() -> None:
    expected = [np.float32(-1 + 3 * float(Fraction(word >> 11, 2**53))) for word in words(7, 5)]
    assert uniform(KEY, 7, 5, -1.0, 2.0).tolist() == [float(value) for value in expected]


def test_normal_is_a_sum_of_twelve_uniforms() -> None:
    twelve = [parts(words(2, 9))[12 * i : 12 * i + 12] for i in range(3)]
    expected = [np.float32(0.5 + 2.0 * float(Fraction(sum(p) - 6 * 65_535, 65_536))) for p in twelve]
    assert normal(KEY, 2, 3, 0.5, 2.0).tolist() == [float(value) for value in expected]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_values_by_sixteen_bits_each_and_scales_them_exactly(rate: float) -> None:
    values = torch.arange(1, 11, dtype=torch.float64)
    with CounterDropout(KEY):
        first, second = (torch.nn.functional.dropout(values, rate, training=True) for _ in range(2))
    dropped = round(65_536 * rate)
    for index, found in enumerate((first, second)):
        kept = [part >= dropped for part in parts(words(index, 3))[:10]]
        scaled = values * (65_536 / (65_536 - dropped))
        assert found.tolist() == torch.where(torch.tensor(kept), scaled, 0.0).tolist()
    assert first.tolist() != second.tolist()
