"""What roles say is said once, with the time that is left."""

from __future__ import annotations

import time

import pytest

from deltaproof.reporting import Once, Pace, counted, phase_line, span


def test_once_passes_on_what_is_new_and_not_what_was_said_last() -> None:
    told: list[tuple[str, str, object]] = []
    once = Once(lambda event, message, **fields: told.append((event, message, fields.get("round"))))
    for _ in range(156):
        once("waiting", "1 of 2 trainers", round=1)
    once("delayed", "1 of 2 trainers")
    once("waiting", "2 of 2 trainers", round=1)
    once("waiting", "1 of 2 trainers", round=1)
    assert told == [
        ("waiting", "1 of 2 trainers", 1), ("delayed", "1 of 2 trainers", None), ("waiting", "2 of 2 trainers", 1),
        ("waiting", "1 of 2 trainers", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (80, "1 min 20 s"), (200, "3 min"), (3_600, "1 h"),
        (5_400, "1 h 30 min"), (86_399, "23 h"), (90_000, "1 d 1 h"), (10**6, "11 d"),
    ],
)  # fmt: skip
def test_span_is_read_at_a_glance(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_one_of_a_thing_is_not_told_as_several() -> None:
    assert [counted(number, "round") for number in (0, 1, 2)] == ["0 rounds", "1 round", "2 rounds"]
    assert [counted(number, "delta or adapter", "deltas and adapters") for number in (1, 3)] == [
        "1 delta or adapter", "3 deltas and adapters"
    ]  # fmt: skip


def test_phase_line_names_task_round_phase_and_when_it_ends() -> None:
    deadline = 1_700_000_000  # 22:13:20 UTC
    assert phase_line(1, 2, "ATTEST_COMMIT", deadline, 118) == (
        "task 1, round 2: attest commit until 22:13:20 UTC, 1 min 58 s left"
    )
    assert phase_line(1, 2, "window", deadline, 90_000) == (
        "task 1, round 2: window until 2023-11-14 22:13 UTC, 1 d 1 h left"
    )
    assert phase_line(1, 2, "draw", 0, 86_400) == "task 1, round 2: draw"
    assert phase_line(1, 0, "idle", 0, 86_400) == "task 1: before its first round"
    assert phase_line(1, 3, "idle", 0, 86_400) == "task 1: between rounds, after round 3"


def test_pace_counts_from_where_the_work_went_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace = Pace()
    assert pace.left(41, 50) == "", "steps before a restart say nothing about this machine now"
    clock[0] += 10
    assert pace.left(43, 50) == ", 35 s left"
    assert pace.left(50, 50) == ""
