"""Heavy work (training, replaying, scoring) on a thread of its own, so that the loop goes on answering.

The libraries that compute leave the interpreter free while they do. Between two steps of its work the thread does what
is urgent, gives up work that a reorganisation made pointless, and lets other tasks of the process have their turn.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast

from deltaproof.agent.turns import Rank, Turns
from deltaproof.errors import WorkAbandoned
from deltaproof.store.waiting import between_waits

__all__ = ["AtOnce", "Heavy", "OnThread"]

T = TypeVar("T")
_ENDED = object()
"""The key of no work."""


class Heavy(Protocol):
    """Runs long work by key."""

    def result(self, key: Hashable, work: Callable[[], T]) -> T | None:
        """What `work` gave under this key; None while it runs. Starts it, and gives up work under other keys then.

        Raises what the work raised, once; the next call starts it again.
        """

    def running(self, key: Hashable) -> bool:
        """Whether work under this key is under way, or waits its turn."""

    def urgent(self, work: Callable[[], T]) -> T:
        """Do something that needs the same models now, between two steps of whatever runs. Raises what it raises."""

    def aside(self, key: Hashable, work: Callable[[], T]) -> T | None:
        """What `work`, which waits and does not compute, gave under this key; None while it runs, in nobody's way.

        Raises what the work raised, once; the next call starts it again.
        """

    def between_steps(self) -> None:
        """Called by long work as often as it can be interrupted. Raises WorkAbandoned."""


class AtOnce:
    """Every work is done when it is asked for: for callers that play one phase after the other."""

    def result(self, key: Hashable, work: Callable[[], T]) -> T | None:
        """See `Heavy`; never None."""
        return work()

    def running(self, key: Hashable) -> bool:
        """See `Heavy`."""
        return False

    def urgent(self, work: Callable[[], T]) -> T:
        """See `Heavy`."""
        return work()

    def aside(self, key: Hashable, work: Callable[[], T]) -> T | None:
        """See `Heavy`; never None."""
        return work()

    def between_steps(self) -> None:
        """See `Heavy`."""


class OnThread:
    """One thread; `wake` is called when a work has ended. Threads that share `turns` compute one at a time."""

    def __init__(
        self,
        wake: Callable[[], None],
        turns: Turns | None = None,
        rank: Callable[[], Rank] = lambda: Rank(guards=False, priority=0, deadline=0),
    ) -> None:
        """`rank` says where this thread's work stands among the others'."""
        self._wake, self._turns, self._rank = wake, turns or Turns(), rank
        self._jobs: queue.Queue[tuple[Hashable, Future[Any], Callable[[], Any]]] = queue.Queue()
        self._urgent: queue.Queue[tuple[Future[Any], Callable[[], Any]]] = queue.Queue()
        self._futures: dict[Hashable, Future[Any]] = {}
        self._aside: dict[Hashable, Future[Any]] = {}
        self._wanted: Hashable = None
        self._running: Hashable = None
        self._thread = threading.Thread(target=self._work, name="heavy", daemon=True)
        self._thread.start()

    def result(self, key: Hashable, work: Callable[[], T]) -> T | None:
        """See `Heavy`."""
        future = self._futures.get(key)
        if future is not None and future.done():
            del self._futures[key]
            if isinstance(future.exception(), WorkAbandoned):  # wanted again, after all
                return self.result(key, work)
            return cast(T, future.result())
        self._wanted = key
        if future is None:
            self._futures[key] = future = Future()
            self._jobs.put((key, future, work))
        return None

    def running(self, key: Hashable) -> bool:
        """See `Heavy`."""
        future = self._futures.get(key)
        return key == self._wanted and future is not None and not future.done()

    def urgent(self, work: Callable[[], T]) -> T:
        """See `Heavy`."""
        future: Future[Any] = Future()
        self._urgent.put((future, work))
        self._jobs.put((None, Future(), lambda: None))  # wakes a thread that has nothing to do
        self._turns.reconsider()  # or that waits for its turn
        return cast(T, future.result())

    def aside(self, key: Hashable, work: Callable[[], T]) -> T | None:
        """See `Heavy`."""
        future = self._aside.get(key)
        if future is None:
            self._aside[key] = future = Future()
            future.add_done_callback(lambda _: self._wake())
            threading.Thread(target=self._complete, args=(future, work), name="aside", daemon=True).start()
        if not future.done():
            return None
        return cast(T, self._aside.pop(key).result())

    def between_steps(self) -> None:
        """See `Heavy`."""
        self._turns.give_way()
        self._serve_urgent()
        if self._running != self._wanted:
            raise WorkAbandoned("other work is wanted now")

    def close(self) -> None:
        """Give up what runs, and end the thread."""
        self._wanted = _ENDED
        self._jobs.put((_ENDED, Future(), lambda: None))

    def _work(self) -> None:
        while True:
            key, future, work = self._jobs.get()
            if key is _ENDED:
                return
            with self._turns.turn(self._ranked):
                self._serve_urgent()
                if key is None or key != self._wanted:
                    self._futures.pop(key, None)
                    continue
                self._running = key
                with between_waits(self.between_steps):
                    self._complete(future, work)
                self._running = None
            self._wake()

    def _ranked(self) -> Rank:
        return self._rank() if self._urgent.empty() else replace(self._rank(), at_once=True)

    def _serve_urgent(self) -> None:
        while True:
            try:
                future, work = self._urgent.get_nowait()
            except queue.Empty:
                return
            with between_waits(None):
                self._complete(future, work)

    @staticmethod
    def _complete(future: Future[Any], work: Callable[[], Any]) -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # the caller of `result` owns it
            future.set_exception(error)
