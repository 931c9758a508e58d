"""Tasks of one process compute one at a time, in the order of what is at stake; an answer comes before all work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from deltaproof.agent.heavy import OnThread
from deltaproof.agent.turns import Rank, Turns
from tests.agent.test_heavy import until

EARNS, GUARDS = Rank(guards=False, priority=0, deadline=90), Rank(guards=True, priority=0, deadline=90)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (GUARDS, Rank(guards=False, priority=9, deadline=1)),
        (Rank(guards=True, priority=2, deadline=90), Rank(guards=True, priority=1, deadline=1)),
        (Rank(guards=True, priority=1, deadline=10), Rank(guards=True, priority=1, deadline=20)),
        (Rank(guards=True, priority=1, deadline=20), Rank(guards=True, priority=1, deadline=0)),
        (Rank(guards=False, priority=0, deadline=0, at_once=True), GUARDS),
    ],
)
def test_ranks_stand_in_the_order_of_what_is_at_stake(first: Rank, second: Rank) -> None:
    assert first.order < second.order


class Shop:
    """Works on threads that share their turns; `story` says who computed when."""

    def __init__(self) -> None:
        self.turns, self.story = Turns(), list[str]()
        self.threads: list[OnThread] = []

    def start(self, name: str, rank: Callable[[], Rank], steps: int) -> OnThread:
        heavy = OnThread(lambda: None, self.turns, rank)
        self.threads.append(heavy)

        def work() -> str:
            for _ in range(steps):
                self.step(name)
                heavy.between_steps()
            return name

        assert heavy.result(name, work) is None
        return heavy

    def step(self, name: str) -> None:
        before = len(self.story)
        time.sleep(0.002)
        assert len(self.story) == before, "somebody else computed at the same time"
        self.story.append(name)

    def done(self, heavy: OnThread, name: str) -> str | None:
        until(lambda: not heavy.running(name))
        return heavy.result(name, lambda: "")


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    for heavy in shop.threads:
        heavy.close()


def test_work_that_guards_a_stake_comes_between_two_steps_of_training(shop: Shop) -> None:
    training = shop.start("train", lambda: EARNS, 100)
    until(lambda: len(shop.story) > 3)
    opening = shop.start("open", lambda: GUARDS, 20)
    assert shop.done(opening, "open") == "open"
    assert shop.done(training, "train") == "train"
    began = shop.story.index("open")
    assert shop.story[began : began + 20] == ["open"] * 20, "once begun, it is not interrupted by lesser work"
    assert shop.story[began + 20 :] == ["train"] * (100 - began)


def test_rank_that_changes_lets_waiting_work_go_first(shop: Shop) -> None:
    urgent = threading.Event()
    late = shop.start("a", lambda: EARNS, 100)
    until(lambda: len(shop.story) > 3)
    soon = shop.start("b", lambda: GUARDS if urgent.is_set() else Rank(guards=False, priority=0, deadline=99), 10)
    time.sleep(0.02)
    assert "b" not in shop.story, "a has the nearer deadline"
    urgent.set()
    assert shop.done(soon, "b") == "b"
    assert late.running("a")


def test_answer_of_a_task_that_waits_for_its_turn_comes_at_once(shop: Shop) -> None:
    """Its own work is parked between two steps; the answer needs the same models, on the same thread."""
    parked = shop.start("parked", lambda: EARNS, 200)
    until(lambda: len(shop.story) > 3)
    busy = shop.start("busy", lambda: GUARDS, 300)
    until(lambda: "busy" in shop.story)
    assert parked.urgent(lambda: (shop.step("answer"), threading.current_thread().name)[1]) == "heavy"
    assert busy.running("busy"), "the answer did not wait for the end of the other's work"
    assert parked.running("parked")
    idle = OnThread(lambda: None, shop.turns)
    shop.threads.append(idle)
    assert idle.urgent(lambda: 7) == 7
    assert busy.running("busy")


def test_closed_thread_gives_up_its_work_and_its_turn(shop: Shop) -> None:
    long = shop.start("long", lambda: GUARDS, 10**6)
    until(lambda: len(shop.story) > 3)
    short = shop.start("short", lambda: EARNS, 2)
    long.close()
    assert shop.done(short, "short") == "short"
    until(lambda: not long._thread.is_alive())
