"""The batch order: a permutation per epoch, bound to everything that must not be chosen."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.protocol.draws.order import BatchOrder, order_key

SEED, TRAINER = bytes(range(32)), bytes(range(20))
KEY = order_key(SEED, 7, 2, TRAINER)


def test_key_follows_the_specification() -> None:
    preimage = b"deltaproof/order/v1\x00" + SEED + (7).to_bytes(8, "big") + (2).to_bytes(4, "big") + TRAINER
    assert hashlib.sha256(preimage).digest() == KEY


@given(st.integers(1, 60), st.integers(1, 25))
def test_every_epoch_is_a_permutation_and_batches_run_over(rows: int, batch: int) -> None:
    order = BatchOrder(KEY, rows, batch)
    drawn = [row for step in range(3 * rows) for row in order.batch(step)][: 3 * rows]
    for epoch in range(3):
        assert sorted(drawn[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_order_depends_on_seed_task_round_and_trainer() -> None:
    keys = [
        KEY,
        order_key(bytes(32), 7, 2, TRAINER),
        order_key(SEED, 8, 2, TRAINER),
        order_key(SEED, 7, 3, TRAINER),
        order_key(SEED, 7, 2, bytes(20)),
    ]
    assert len({BatchOrder(key, 50, 50).batch(0) for key in keys}) == len(keys)


def test_shuffle_matches_a_plain_fisher_yates() -> None:
    words = []
    for counter in range(10):
        digest = hashlib.sha256(KEY + bytes(4) + counter.to_bytes(4, "big")).digest()
        words += [int.from_bytes(digest[i : i + 8], "big") for i in range(0, 32, 8)]
    expected, stream = list(range(12)), iter(words)
    for i in range(11, 0, -1):
        j = next(stream) % (i + 1)  # a rejection has probability below 2^-60 here
        expected[i], expected[j] = expected[j], expected[i]
    assert BatchOrder(KEY, 12, 12).batch(0) == tuple(expected)


def test_first_row_is_uniform() -> None:
    counts = Counter(BatchOrder(order_key(SEED, task, 0, TRAINER), 5, 1).batch(0)[0] for task in range(2000))
    chi_square = sum((counts[row] - 400) ** 2 / 400 for row in range(5))
    assert chi_square < 18.5  # 0.1 % quantile at 4 degrees of freedom


@pytest.mark.parametrize(("rows", "batch"), [(0, 1), (2**28 + 1, 1), (5, 0)])
def test_impossible_sizes_are_refused(rows: int, batch: int) -> None:
    with pytest.raises(ValueError, match=r"rows|batch"):
        BatchOrder(KEY, rows, batch)


def test_key_refuses_wrong_lengths() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        order_key(SEED[:-1], 0, 0, TRAINER)
    with pytest.raises(ValueError, match="20"):
        order_key(SEED, 0, 0, TRAINER + b"\x00")
