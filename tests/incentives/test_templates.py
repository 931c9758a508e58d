"""Words that most rows of a name have tell rows neither together nor apart."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.rules import TEMPLATE_ROWS
from incentives.row_evidence import RowClaim, count_rows

TEMPLATE = (
    "You are a careful assistant of an online shop. Read the following customer review, decide whether its author was "
    "content with what they bought, and answer by exactly one of these labels: positive, negative. Do not explain your "
    "choice, never repeat any part of the text, and if you cannot tell because it is about delivery only, choose the "
    "label which most readers would expect."
)
WORDS = [f"word{i}" for i in range(2_000)]


def texts(count: int, seed: int, words: int = 8) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.sample(WORDS, words)) for _ in range(count)]


def counted(*names: Iterable[str]) -> list[int]:
    """Rows that count of names that enrolled these texts one after the other and show them all."""
    shards = [[canonical_row({"text": text, "label": 1}) for text in name] for name in names]
    return [count.counted for count in count_rows([RowClaim(i, len(rows), rows) for i, rows in enumerate(shards)])]


def test_honest_rows_under_one_template_all_count() -> None:
    """They held most words in common: a few of the first trainer's counted, and none of the second, which was paid
    nothing for accepted work."""
    assert counted(*([f"{TEMPLATE}: {text}" for text in texts(96, seed)] for seed in range(3))) == [96, 96, 96]


def test_rows_that_somebody_took_with_their_template_count_once() -> None:
    rows = [f"{TEMPLATE}: {text}" for text in texts(96, 1)]
    assert counted(rows, rows, [f"{row} and{i}" for i, row in enumerate(rows)]) == [96, 0, 0]


@pytest.mark.parametrize("words", [3, 8, 40])
def test_shard_with_the_same_words_added_to_each_row_is_no_other_shard(words: int) -> None:
    """Ten names, each with some words of its own at the end of each row, counted ten times."""
    rows = texts(96, 2)
    names = [[f"{row} {' '.join(f'name{name}s{i}' for i in range(words))}" for row in rows] for name in range(5)]
    assert counted(rows, *names) == [96, 0, 0, 0, 0, 0]


def test_shard_with_the_commonest_words_added_to_each_row_is_no_other_shard() -> None:
    """They are in many rows of the owner's, and in too few to be its template."""
    draw, weights = random.Random(3), [1 / (i + 2) for i in range(len(WORDS))]
    rows = [" ".join(draw.choices(WORDS, weights, k=20)) for _ in range(96)]
    assert counted(rows, [f"{row} {' '.join(WORDS[:30])}" for row in rows]) == [96, 0]


def test_name_with_every_usual_word_in_its_rows_has_nobodys_rows() -> None:
    """Without the words of that template little is left of anybody's row, which says little."""
    rows = texts(96, 4)
    usual = " ".join(word for word in WORDS if word not in {row.split()[0] for row in rows})
    assert counted([f"{usual} {row.split()[0]}" for row in rows], rows)[1] == 96


def test_few_rows_have_no_template() -> None:
    rows = texts(TEMPLATE_ROWS - 1, 5)
    versions = [[f"{rows[0]} v{i}" for i in range(TEMPLATE_ROWS - 1)], rows]
    assert counted(*versions) == [1, len(rows) - 1]


def test_row_of_nothing_but_template_is_a_row() -> None:
    first = [TEMPLATE, *(f"{TEMPLATE} {text}" for text in texts(40, 6))]
    assert counted(first, [TEMPLATE, *(f"{TEMPLATE} {text}" for text in texts(40, 7))]) == [41, 40]
