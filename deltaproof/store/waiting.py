"""Waiting for a server that may answer one byte a minute: no longer than its bytes are worth.

Attack: announce a store that never finishes an answer, and bring a case about it. Whoever looks would look for ever,
while the own round goes on without it. So a request has a thread of its own, which is left behind if it takes too long.
Nodes, relays of a beacon and remote signers are waited for in the same way. A library's own limits begin anew with
each byte.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from deltaproof.errors import DeltaproofError

__all__ = ["SLOWEST_BYTES_A_SECOND", "LeftBehind", "Line", "TooSlow", "Transfer", "between_waits"]

T = TypeVar("T")
GRACE_SECONDS = 30.0
"""For an answer of no bytes."""
SLOWEST_BYTES_A_SECOND = 32 * 1024
"""Of what comes or goes; a gateway asks the same of who writes."""
LOOK_SECONDS = 0.5
MOST_LEFT_BEHIND = 8
"""Threads that were left to one server which does not finish: it is asked no more until one has ended."""


class TooSlow(DeltaproofError):
    """A server did not finish in the time that its bytes are worth."""


class Transfer:
    """How far one request has come."""

    def __init__(self, size: int = 0, seconds: float | None = None) -> None:
        """`size`: bytes that go out with it. `seconds`: for all of it, whatever its size; None: see `overdue`."""
        self.size, self._seconds = size, seconds
        self.given_up = False
        self._began = time.monotonic()

    def moved(self, count: int) -> None:
        """So many bytes came. Raises TooSlow where nobody waits for them any more."""
        self.size += count
        if self.given_up:
            raise TooSlow

    def gathered(self, parts: Iterable[bytes], most: int) -> bytes:
        """An answer's parts in one, no further than the one that brings more than `most` bytes. Raises TooSlow."""
        body = bytearray()
        for part in parts:
            body += part
            self.moved(len(part))
            if len(body) > most:
                break
        return bytes(body)

    @property
    def overdue(self) -> bool:
        """Whether it has taken longer than its bytes are worth."""
        allowed = GRACE_SECONDS + self.size / SLOWEST_BYTES_A_SECOND if self._seconds is None else self._seconds
        return time.monotonic() - self._began > allowed


class _Between(threading.local):
    act: Callable[[], None] | None = None


_between = _Between()


@contextmanager
def between_waits(act: Callable[[], None] | None) -> Iterator[None]:
    """Let this thread do something now and then while it waits for a server; what that raises ends the wait."""
    before, _between.act = _between.act, act
    try:
        yield
    finally:
        _between.act = before


class LeftBehind:
    """Threads that wait for one server, and for which nobody waits. Safe to share between threads."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def add(self, thread: threading.Thread) -> None:
        """One more."""
        with self._lock:
            self._threads.append(thread)

    @property
    def too_many(self) -> bool:
        """Whether the server has as many as it may."""
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            return len(self._threads) >= MOST_LEFT_BEHIND


class Line:
    """Requests of one thread, one after the other, done on another."""

    def __init__(self, left_behind: LeftBehind | None = None) -> None:
        """`left_behind`: of all threads that ask the same server."""
        self._left_behind = left_behind or LeftBehind()
        self._busy = False
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[Transfer], T], size: int = 0, seconds: float | None = None) -> T:
        """What `work` returns or raises, which says of each byte that it moved; `size` and `seconds` as of `Transfer`.
        Raises TooSlow."""
        if self._left_behind.too_many:
            raise TooSlow
        if self._busy:  # what is urgent asks while its thread waits, and does not queue up behind that
            return Line(self._left_behind).run(work, size, seconds)
        transfer, future = Transfer(size, seconds), Future[T]()
        self._queue().put((future, lambda: work(transfer)))
        self._busy = True
        try:
            while not wait([future], LOOK_SECONDS).done:
                if transfer.overdue:
                    raise TooSlow
                if _between.act is not None:
                    _between.act()
        except BaseException:
            transfer.given_up = True
            self._leave()
            raise
        finally:
            self._busy = False
        return future.result()

    def _queue(self) -> queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]:
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            self._thread = threading.Thread(target=_serve, args=(self._jobs,), name="line", daemon=True)
            self._thread.start()
        return self._jobs

    def _leave(self) -> None:
        """The thread ends by itself as soon as the server lets it."""
        if self._jobs is not None and self._thread is not None:
            self._jobs.put(None)
            self._left_behind.add(self._thread)
        self._jobs = self._thread = None

    def __del__(self) -> None:
        if self._jobs is not None:
            self._jobs.put(None)


def _serve(jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> None:
    while (job := jobs.get()) is not None:
        future, work = job
        try:
            future.set_result(work())
        except BaseException as error:  # who waits owns it
            future.set_exception(cast(Exception, error))
        del future, work, job
