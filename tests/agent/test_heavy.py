"""Work on a thread: one at a time, answers in between, given up when nobody needs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from deltaproof.agent.heavy import OnThread


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_result_comes_later_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    woken = threading.Event()
    heavy = OnThread(woken.set)
    assert heavy.result("a", lambda: 7) is None
    assert woken.wait(10)
    assert heavy.result("a", lambda: 7) == 7


def test_error_of_the_work_is_raised_to_who_asked_and_the_next_call_tries_again() -> None:
    heavy = OnThread(lambda: None)
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("bad luck")
        return 8

    assert heavy.result("a", work) is None
    until(lambda: not heavy.running("a"))
    with pytest.raises(ValueError, match="bad luck"):
        heavy.result("a", work)
    assert heavy.result("a", work) is None
    until(lambda: not heavy.running("a"))
    assert heavy.result("a", work) == 8


def test_urgent_work_is_done_between_two_steps_of_a_long_one() -> None:
    heavy = OnThread(lambda: None)
    stop = threading.Event()

    def training() -> str:
        while not stop.is_set():
            heavy.between_steps()
            time.sleep(0.001)
        return "trained"

    assert heavy.result("train", training) is None
    assert heavy.urgent(lambda: threading.current_thread().name) == "heavy"
    assert heavy.running("train")
    stop.set()
    until(lambda: not heavy.running("train"))
    assert heavy.result("train", training) == "trained"


def test_work_for_a_seed_that_went_away_is_given_up_and_found_again() -> None:
    heavy = OnThread(lambda: None)
    steps: dict[str, int] = {"old": 0, "new": 0}

    def training(seed: str) -> str:
        while steps[seed] < 50:
            heavy.between_steps()
            steps[seed] += 1
            time.sleep(0.002)
        return seed

    assert heavy.result("old", lambda: training("old")) is None
    until(lambda: steps["old"] > 2)
    heavy.result("new", lambda: training("new"))
    until(lambda: not heavy.running("new"))
    assert heavy.result("new", lambda: training("new")) == "new"
    assert steps["old"] < 50
    assert heavy.result("old", lambda: training("old")) is None, "wanted again: it goes on where it stopped"
    until(lambda: not heavy.running("old"))
    assert heavy.result("old", lambda: training("old")) == "old"
