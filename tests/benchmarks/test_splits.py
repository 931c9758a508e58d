"""Tasks of the benchmarks: no test row was trained on, and no row that rates were chosen on is reported."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.methods import disjoint
from benchmarks.methods.disjoint import against_training, compared, of_known_speeches
from benchmarks.shared.digits import SHIFTS, digits_rows
from benchmarks.shared.reading import reader
from benchmarks.shared.splits import NEAR, Seen, apart, rows_digest
from benchmarks.shared.tuning_tasks import DEV, TASKS, Data, is_here
from deltaproof.protocol.evidence.rows import canonical_row

TWICE = {"yelp or amazon": ["Don't buy it."], "amazon": ["Poor Reliability."]}
"""Sentences of a dev and of a reported row that two people wrote."""


def row(text: str) -> bytes:
    return canonical_row({"text": text, "label": 0})


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("The food was not good at all, and the staff were rude.", True),
        ("the food was not good at all AND the staff were rude!!!", True),
        ("The food was not good at all, and the staff were slow.", True),
        ("The staff were rude, but the food was good.", False),
        ("Nothing of the sort.", False),
    ],
)
def test_texts_that_say_the_same_are_near(text: str, near: bool) -> None:
    assert (Seen(["The food was not good at all, and the staff were rude."]).likeness(text) >= NEAR) == near


def test_apart_goes_on_to_the_next_row_for_one_that_was_seen() -> None:
    rows = [row(f"{word} is a word of its own that no other sentence here has") for word in ("one", "two")]
    others = [row("a line about rain in the hills"), row("some other line about snow and ice")]
    assert apart([rows[0], others[0], others[1]], rows, 2, bytes) == others
    assert rows_digest(rows, others) != rows_digest(others, rows)


def texts_of(rows: tuple[bytes, ...]) -> list[str]:
    return [json.loads(line)["text"] for line in rows]


@cache
def made(task: str) -> Data:
    return {**TASKS, **DEV}[task](task, 600, 200)


@cache
def chosen_on(*tasks: str) -> Seen:
    return Seen([text for data in map(made, tasks) for text in texts_of(data.train + data.test)])


@pytest.mark.parametrize("task", filter(is_here, TASKS))
def test_no_test_row_of_a_task_is_or_is_near_one_that_was_trained_on(task: str) -> None:
    split = compared(task)
    assert split.common == 0
    assert split.likeness is None or split.likeness < NEAR
    assert split.alike == 0, "of mails of one template, and of speeches, a model may read the same"
    assert (split.likeness is None) == task.endswith("digits")
    assert split.tested >= 99
    assert split.trained >= 200


def test_rows_that_differ_behind_what_is_read_are_not_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made("imdb")
    start = " ".join(["word"] * 30)
    train, test = ([row(f"{start} {number} {end}") for number in range(2)] for end in ("so it is", "what a day"))
    other = row("another text")
    reads = reader(data.source, data.model["max_tokens"])
    assert apart([*test, other], train, 3, reads) == [other]
    leaking = replace(data, train=tuple(train), test=(*test, other))
    monkeypatch.setattr(disjoint, "task_data", lambda task: leaking)
    assert compared("imdb").alike == 2


def test_rows_with_another_label_are_in_common_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made("imdb")
    fields = json.loads(data.train[0])
    turned = canonical_row({**fields, "label": 1 - fields["label"]})
    leaking = replace(data, test=(turned, *data.test))
    monkeypatch.setattr(disjoint, "task_data", lambda task: leaking)
    assert (compared("imdb").common, compared("imdb").likeness) == (1, 1.0)


def test_halves_that_were_trained_on_with_the_other_label_are_counted() -> None:
    data = made("news halves")
    ends = [json.loads(line) for line in data.train]
    (first,) = [row for row in ends if row["label"] == 1][:1]
    turned = canonical_row({"text": f"something else | {first['text'].partition(' | ')[2]}", "label": 0})
    alone = replace(data, test=(turned, row("a first half | a second half that nothing else has")))
    assert against_training(alone) == 1
    assert 0 < against_training(data) < len(data.test) // 2


@pytest.mark.skipif(not is_here("era"), reason="speeches are laid out when asked for")
def test_passages_of_speeches_that_were_trained_on_are_counted() -> None:
    data = made("era")
    assert len(data.test) // 2 < of_known_speeches(data) < len(data.test)
    assert of_known_speeches(replace(data, train=data.test[:1], test=data.test[:1])) == 1


@pytest.mark.parametrize("task", [task for task in filter(is_here, TASKS) if not task.endswith("digits")])
def test_no_reported_text_is_near_one_that_rates_were_chosen_on(task: str) -> None:
    dev = ("news language", "amazon language") if task.endswith(" language") else ("products", "product word order")
    near = [text for text in texts_of(made(task).test) if chosen_on(*dev).likeness(text) >= NEAR]
    assert near == TWICE.get(task, [])


def test_no_reported_image_is_a_development_image_turned_over() -> None:
    def images(half: int) -> set[bytes]:
        pixels = np.array([json.loads(line)["pixels"] for line in digits_rows("upright", half=half)]).reshape(-1, 8, 8)
        return {
            SHIFTS[shift](pixels)[i].tobytes()
            for shift in ("upright", "mirrored", "turned")
            for i in range(len(pixels))
        }

    assert len(images(0)) > 1000
    assert images(0) & images(1) == set()
