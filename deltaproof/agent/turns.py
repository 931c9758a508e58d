"""Who computes: several tasks of one process take turns, so that only one needs its memory and processor at a time.

A turn is given up between two steps of the work, if somebody who goes before it waits. First goes what guards a stake
or a fee, then the higher priority, then the nearer deadline (earliest deadline first, Liu and Layland 1973), then who
has waited longest.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Rank", "Turns"]

RECONSIDER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Rank:
    """Where somebody stands in the queue; `deadline` in seconds since the epoch, 0 for none."""

    guards: bool
    """Whether a stake or fee is lost if the work is late, not only what it would have earned."""
    priority: int
    deadline: int
    at_once: bool = False
    """An answer that is due now, before all work."""

    @property
    def order(self) -> tuple[bool, bool, int, float]:
        """Sorts who goes first to the front."""
        return (not self.at_once, not self.guards, -self.priority, self.deadline or float("inf"))


@dataclass(eq=False, slots=True)
class _Waiting:
    rank: Callable[[], Rank]
    arrived: int

    @property
    def order(self) -> tuple[tuple[bool, bool, int, float], int]:
        return (self.rank().order, self.arrived)


class Turns:
    """One holder at a time. Ranks are asked anew whenever the turn passes, as phases and deadlines change."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: _Waiting | None = None
        self._queue: list[_Waiting] = []
        self._arrivals = itertools.count()

    @contextmanager
    def turn(self, rank: Callable[[], Rank]) -> Iterator[None]:
        """Wait for the turn, and hold it."""
        with self._changed:
            self._wait(_Waiting(rank, next(self._arrivals)))
        try:
            yield
        finally:
            with self._changed:
                self._holder = None
                self._changed.notify_all()

    def give_way(self) -> None:
        """Called by who holds the turn: lets those that go before it have theirs."""
        with self._changed:
            me = self._holder
            assert me is not None
            if any(other.rank().order < me.rank().order for other in self._queue):
                self._holder = None
                self._changed.notify_all()
                self._wait(me)

    def reconsider(self) -> None:
        """Somebody's rank has changed."""
        with self._changed:
            self._changed.notify_all()

    def _wait(self, me: _Waiting) -> None:
        self._queue.append(me)
        while self._holder is not None or min(self._queue, key=lambda waiting: waiting.order) is not me:
            # Ranks change without a word as phases pass.
            self._changed.wait(RECONSIDER_SECONDS)
        self._queue.remove(me)
        self._holder = me
