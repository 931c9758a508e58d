"""Likeness that data explain is no copy; likeness without common data is."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.rules import COMMON_WORDS
from incentives.overlap import have_common_rows, words_of
from incentives.unions import Contribution
from incentives.valuation import who_plays

MINE = [canonical_row({"text": text, "label": 1}) for text in ("A fine film, well acted.", "Dull and far too long.")]
OTHERS = [canonical_row({"text": text, "label": 0}) for text in ("the soup was cold", "a phone that does not ring")]
ALIKE = np.full((2, 2), 0.99)


@pytest.mark.parametrize(
    ("row", "common"),
    [
        (MINE[1], True),
        (canonical_row({"text": "dull  and far too LONG!!", "label": 0}), True),
        (canonical_row({"text": "dull and far too long indeed", "label": 1}), True),
        (canonical_row({"text": "Dull and far from the best, too", "label": 1}), False),
        (canonical_row({"pixels": [1, 2, 3], "label": 1}), False),
        (b"no json", False),
    ],
)
def test_rows_with_nearly_the_same_words_are_common(row: bytes, common: bool) -> None:
    assert have_common_rows(MINE, [*OTHERS, row]) is common
    assert have_common_rows([*OTHERS, row], MINE) is common


def test_rows_without_text_are_common_by_their_bytes() -> None:
    image = canonical_row({"pixels": [1, 2, 3], "label": 1})
    assert have_common_rows([image], [image])
    assert not have_common_rows([image], [canonical_row({"pixels": [1, 2, 4], "label": 1})])


def test_image_made_brighter_is_common() -> None:
    draw = random.Random(0)
    pixels = [draw.randrange(200) for _ in range(64)]
    mine, brighter, other = (
        canonical_row({"pixels": values, "label": 1})
        for values in (pixels, [pixel + 40 for pixel in pixels], pixels[::-1])
    )
    assert have_common_rows([mine], [other, brighter])
    assert not have_common_rows([mine], [other])


def contribution(order: int, rows: list[bytes]) -> Contribution:
    return Contribution(np.zeros(3, np.float32), 24, order, opened=lambda: frozenset(rows))


@pytest.mark.parametrize("first", [0, 1])
def test_trainers_of_the_same_rows_are_no_copies_whoever_commits_first(first: int) -> None:
    """Two honest runs on 16 to 32 common rows are 0.98 alike; a thief of the rows commits first."""
    both = [contribution(first, MINE), contribution(1 - first, [*OTHERS, MINE[0]])]
    assert who_plays(ALIKE, both, 0.98) == ((None, None), ((0,), (1,)))


@pytest.mark.parametrize("alike", [0.99, 1.0, 1.0 + 2**-52])
def test_nobody_is_a_copy_in_a_task_that_looks_for_none(alike: float) -> None:
    """Plain gradient steps on skewed labels bring honest trainers of other rows to one direction."""
    both = [contribution(0, MINE), contribution(1, OTHERS)]
    assert who_plays(np.full((2, 2), alike), both, 1.0) == ((None, None), ((0,), (1,)))


def test_delta_handed_on_to_other_data_is_a_copy() -> None:
    handed_on = [contribution(0, MINE), contribution(1, OTHERS)]
    assert who_plays(ALIKE, handed_on, 0.98) == ((None, 0), ((0,),))


@pytest.mark.parametrize("first", [0, 1])
def test_whose_rows_count_for_nobody_makes_no_copy_and_is_none(first: int) -> None:
    """Its rows are another's; whoever commits first of the two."""
    both = [contribution(first, MINE), replace(contribution(1 - first, OTHERS), rows=0)]
    assert who_plays(ALIKE, both, 0.98) == ((None, None), ((0,), (1,)))


def test_rows_are_asked_for_only_where_deltas_are_alike() -> None:
    def never() -> frozenset[bytes]:
        raise AssertionError("nothing to explain")

    apart = [Contribution(np.zeros(3, np.float32), 24, order, opened=never) for order in (0, 1)]
    assert who_plays(np.eye(2), apart, 0.98) == ((None, None), ((0,), (1,)))


def test_looking_up_by_rare_words_finds_what_comparing_all_pairs_finds() -> None:
    """Short rows of few different words, so that many pairs of rows are at the limit."""
    words = [f"w{number}" for number in range(10)]
    drawn, found = random.Random(15), []
    for _ in range(300):
        shards = [
            [canonical_row({"text": " ".join(drawn.sample(words, drawn.randint(1, 6))), "label": i}) for _ in range(4)]
            for i in range(2)
        ]
        sets = [[words_of(row) for row in shard] for shard in shards]
        expected = any(len(a & b) >= COMMON_WORDS * len(a | b) for a in sets[0] for b in sets[1])
        assert have_common_rows(*shards) is expected
        found.append(expected)
    assert 60 < sum(found) < 240
