"""Rows count once, for whoever enrolled them first: exact where all is shown, right on average where little is."""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.protocol.evidence.rows import canonical_row, parse_row
from deltaproof.protocol.rules import LEAST_NEW
from deltaproof.tuning.base_models.batches import make_batch, rows_as_read
from deltaproof.tuning.base_models.loading import read_tokenizer
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from incentives.overlap import words_of
from incentives.row_evidence import RowClaim, RowCount, count_rows

WORDS = [f"word{i}" for i in range(2_000)]


def shard(size: int, seed: int) -> list[bytes]:
    draw = random.Random(seed)
    return [canonical_row({"text": " ".join(draw.sample(WORDS, 8)), "label": i % 2}) for i in range(size)]


def all_shown(*shards: Sequence[bytes]) -> list[RowCount]:
    return count_rows([RowClaim(i, len(rows), frozenset(rows)) for i, rows in enumerate(shards)])


def counted(*shards: Sequence[bytes]) -> list[int]:
    return [count.counted for count in all_shown(*shards)]


def text(words: str, **fields: object) -> bytes:
    return canonical_row({"text": words, "label": 1, **fields})


@given(st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_all_rows_shown_count_as_many_as_are_distinct(drawn: list[set[int]]) -> None:
    rows = shard(31, 0)
    found = counted(*([rows[i] for i in sorted(chosen)] for chosen in drawn))
    before: set[int] = set()
    for count, chosen in zip(found, drawn, strict=True):
        new = len(chosen - before)
        assert count == (new if new >= LEAST_NEW * len(chosen) else 0)
        before |= chosen


def test_names_on_one_shard_count_as_one() -> None:
    rows = shard(40, 1)
    assert counted(*[rows] * 10) == [40] + [0] * 9


def test_parts_of_a_shard_count_as_the_shard() -> None:
    rows = shard(40, 2)
    assert counted(*(rows[i::8] for i in range(8))) == [5] * 8


def test_owner_of_copied_rows_loses_nothing_and_who_copied_them_gets_nothing() -> None:
    victim, own = shard(40, 3), shard(20, 4)
    found = all_shown(victim, [*victim[:30], *own])
    assert [count.counted for count in found] == [40, 20]
    assert found[1].earlier == (0,)
    assert found[1].repeated == 30
    assert found[0] == RowCount(40, 40, 0, ())


def test_order_of_enrolment_decides_not_order_of_claims() -> None:
    rows = shard(10, 5)
    late, early = RowClaim(7, 10, frozenset(rows)), RowClaim(2, 10, frozenset(rows))
    assert [count.counted for count in count_rows([late, early])] == [0, 10]
    with pytest.raises(ValueError, match="rank"):
        count_rows([late, late])


def test_overlap_costs_no_more_than_what_overlaps() -> None:
    common = shard(8, 6)
    first, second, third = ([*common, *shard(32, seed)] for seed in (7, 8, 9))
    assert counted(first, second, third) == [40, 32, 32]


@pytest.mark.parametrize(
    "changed",
    [
        "The QUICK brown fox jumps over one lazy dog",
        "the quick brown fox jumps over one lazy cat",
        "the quick, brown fox; jumps over one lazy dog!",
        "thé quick brown fox jumps over one la\u200bzy dog",
        "dog lazy one over jumps fox brown quick the",
        "t\x01he q\x7fuick b\ue000rown fox_ _jumps _over_ one lazy dog",
    ],
    ids=["case", "a word", "punctuation", "accents and invisible characters", "order", "control and underscore"],
)
def test_row_changed_a_little_is_the_same_row(changed: str) -> None:
    assert counted([text("the quick brown fox jumps over one lazy dog")], [text(changed)]) == [1, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (text("the film was good"), text("the film was dull")),
        (text("the quick brown fox"), canonical_row({"text": "the quick brown fox", "label": 0})),
        (canonical_row({"pixels": [1, 2], "label": 0}), canonical_row({"pixels": [1, 99], "label": 0})),
        (b"no row", b"another"),
    ],
    ids=["other words", "another label", "other pixels", "no JSON"],
)
def test_other_rows_are_other_rows(one: bytes, other: bytes) -> None:
    assert counted([one], [other]) == [1, 1]


@pytest.mark.parametrize("letter", ["\U0001e290", "\U00011f04"], ids=["of Unicode 14", "of Unicode 15"])
def test_words_are_the_same_whatever_letters_a_python_knows(letter: str) -> None:
    """Python 3.11 knows the first as a letter and not the second, Python 3.13 both."""
    assert words_of(text(f"a{letter}b good{letter} \u0130\u00df")) == {"a", "b", "good", letter, "iss"}


def test_image_with_a_little_noise_is_the_same_row_and_a_moved_one_is_not() -> None:
    draw = random.Random(0)
    pixels = [draw.randrange(256) for _ in range(64)]

    def image(values: list[int]) -> bytes:
        return canonical_row({"pixels": values, "label": 3})

    noisy = [max(0, min(255, pixel + draw.choice((-1, 0, 1)))) for pixel in pixels]
    assert counted([image(pixels)], [image(noisy)]) == [1, 0]
    assert counted([image(pixels)], [image(pixels[1:] + pixels[:1])]) == [1, 1]


def test_rows_that_repeat_one_another_within_a_shard_count_once() -> None:
    """A larger shard by a letter more is not a larger shard."""
    rows = shard(10, 10)
    inflated = [row.replace(b"word", letter, 1) for row in rows for letter in (b"word", b"wort", b"worm")]
    assert len(set(inflated)) == 30
    assert counted(inflated) == [10]


def test_chain_of_likenesses_does_not_join_what_is_not_alike() -> None:
    """Whoever enrols what lies between two rows makes neither of them a copy of the other."""
    first, last = shard(1, 11)[0], shard(1, 12)[0]
    old, new = first.split(b'"')[-2].split(), last.split(b'"')[-2].split()
    between = [first.replace(b" ".join(old), b" ".join(new[:i] + old[i:])) for i in range(1, 8)]
    assert counted([first], between, [first.replace(b" ".join(old), b" ".join(new))])[0] == 1
    assert counted([first], [last]) == [1, 1]


def test_name_with_a_few_new_rows_counts_none_so_that_no_name_is_paid_by_heads() -> None:
    taken = shard(40, 14)
    assert counted(taken, [*taken[:31], *shard(9, 15)]) == [40, 0]
    assert counted(taken, [*taken[:30], *shard(10, 15)]) == [40, 10]


def test_second_name_counts_nothing_where_most_rows_are_shown_whatever_chance_shows() -> None:
    """Each shows 64 of 96: what chance leaves to be counted stays far below the least part."""
    for seed in range(40):
        draw, rows = random.Random(seed), shard(96, 300 + seed)
        claims = [RowClaim(i, 96, frozenset(draw.sample(rows, 64))) for i in range(3)]
        assert [c.counted for c in count_rows(claims)] == [96, 0, 0]


def test_rows_that_were_not_shown_are_no_more_different_than_those_that_were() -> None:
    """24 rows four times over, of which 88 of 96 are shown: there is hardly a row that is met once."""
    draw, rows = random.Random(1), shard(24, 16)
    inflated = [row.replace(b"word", letter, 1) for row in rows for letter in (b"word", b"wort", b"worm", b"worn")]
    assert len(set(inflated)) == 96
    assert count_rows([RowClaim(0, 96, frozenset(draw.sample(inflated, 88)))])[0].counted == 24


@pytest.mark.parametrize("part", [0.1, 0.2, 0.37])
@pytest.mark.parametrize("times", [1, 2, 3, 10])
def test_rows_enrolled_several_times_count_once_however_few_are_shown(part: float, times: int) -> None:
    """A letter more in each: by those met once alone, a shard in two versions counted 1.4 to 1.8 times."""
    found, size = 0, 960
    for seed in range(6):
        draw, rows = random.Random(seed), shard(size // times, 400 + seed)
        versions = [_version(row, number) for row in rows for number in range(times)]
        found += count_rows([RowClaim(0, size, frozenset(draw.sample(versions, int(part * size))))])[0].counted
    assert found / 6 == pytest.approx(size // times, rel=0.25)


def _version(row: bytes, number: int) -> bytes:
    fields = parse_row(row)
    return canonical_row({**fields, "text": f"{fields['text']} v{number}"})


def test_few_shown_rows_stand_for_the_rest_on_average() -> None:
    """Names on one shard of which each shows a sixth; and two honest shards with a quarter in common."""
    total, honest = 0, 0
    for seed in range(60):
        draw, rows = random.Random(seed), shard(96, 100 + seed)
        total += sum(
            c.counted for c in count_rows([RowClaim(i, 96, frozenset(draw.sample(rows, 16))) for i in range(6)])
        )
        other = [*rows[:24], *shard(72, 200 + seed)]
        claims = [RowClaim(i, 96, frozenset(draw.sample(r, 48))) for i, r in enumerate((rows, other))]
        honest += count_rows(claims)[1].counted
    assert 60 * 96 < total < 60 * 96 * 1.6
    assert honest / 60 == pytest.approx(72, abs=6)


def test_claim_that_shows_nothing_is_believed() -> None:
    assert count_rows([RowClaim(0, 12, frozenset())]) == [RowCount(12, 0, 0, ())]


def test_rows_that_were_counted_leave_nothing_in_memory() -> None:
    """A verifier's process lives for months; rows of 300 words took 36 KB each, up to 2.3 GB."""
    count_rows([RowClaim(0, 100, shard(100, 17))])
    assert sum(isinstance(one, MinHash) for one in gc.get_objects()) < 10


def test_counts_are_the_same_whatever_the_order_of_sets() -> None:
    rows = shard(30, 13)
    draw = random.Random(0)
    claims = [RowClaim(i, 30, frozenset(draw.sample(rows, 20))) for i in range(4)]
    again = [RowClaim(c.enrolled, c.rows, frozenset(sorted(c.opened, reverse=True))) for c in reversed(claims)]
    one, other = count_rows(claims), count_rows(again)
    assert [c.counted for c in one] == [c.counted for c in reversed(other)]


@pytest.mark.parametrize("kind", ["sequence-classification", "causal-lm"])
def test_rows_are_compared_as_the_model_reads_them(tmp_path: Path, kind: str) -> None:
    """Ten names on one shard, with other words in each behind the last token that is read."""
    folder = minimal_model(tmp_path / "model", "bert" if kind == "sequence-classification" else "llama")
    model = complete_spec(f"path:{folder}", kind, {}).model
    tokenizer, texts = read_tokenizer(model.source)[0], [f"{i} quite good {i}" for i in range(8)]

    def row(words: str) -> bytes:
        label = {"label": 1} if kind == "sequence-classification" else {}
        return canonical_row({"text": words, **label})

    shards = [[row(f"{words:32}tail{name} of{name} {name}{words[0]}") for words in texts] for name in range(10)]
    read = [rows_as_read(rows, model, tokenizer) for rows in shards]
    assert set(read) == {tuple(row(words.ljust(32)) for words in texts)}
    assert [c.counted for c in count_rows([RowClaim(i, 8, rows) for i, rows in enumerate(read)])] == [8] + [0] * 9
    # One row in ten versions is one row, also where all its versions read alike.
    versions = rows_as_read([row(f"{texts[0]:32}{name}") for name in range(10)], model, tokenizer)
    assert count_rows([RowClaim(0, 40, versions)])[0].counted == 1
    for odd in (b"no row", row(""), canonical_row({"pixels": [1], "label": 0})):
        assert rows_as_read([odd], model, tokenizer) == (odd,)
    assert (
        len(rows_as_read([row("\x01" * 9_000)], model.model_copy(update={"max_tokens": 9_000}), tokenizer)[0]) < 2**16
    )


def test_rows_that_the_tokeniser_cuts_at_their_beginning_are_compared_by_their_end(tmp_path: Path) -> None:
    """Attack: where `truncation_side` is left, other words in front of the tokens that are read."""
    model = complete_spec(f"path:{minimal_model(tmp_path / 'model', 'bert')}", "sequence-classification", {}).model
    tokenizer = read_tokenizer(model.source)[0]
    tokenizer.truncation_side = "left"
    shards = [[text(f"{f'name{name} ' * 9}{i} quite good {i:>32}") for i in range(8)] for name in range(10)]
    assert len({rows_as_read(rows, model, tokenizer) for rows in shards}) == 1
    assert len(set(rows_as_read(shards[0], model, tokenizer))) == 8
    batches = [make_batch(rows[:1], model, tokenizer=tokenizer, config=None, parts=1) for rows in shards]
    read = {str(batch.parts[0]["input_ids"].tolist()) for batch in batches}
    assert len(read) == 1, "so reads the model"
