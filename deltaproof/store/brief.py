"""Gateways that strangers named, read by somebody who looks at all tasks: nobody waits long for any of them.

Attack: create tasks that announce a server which never answers, or answers everything late, so that an audit or a
history of all tasks, or a page about them, waits at each artifact of each. So a place that did not answer is not asked
again for a while, and a task's places together cost no more than `LOST_SECONDS` in that time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from deltaproof.errors import StoreUnavailable
from deltaproof.store.backend import Backend

__all__ = ["LOST_SECONDS", "BrieflyAsked", "LostTime"]

T = TypeVar("T")
FREE_SECONDS, DUE_BYTES_A_SECOND = 1.0, 256 * 1024
"""What an answer may take: so long, and its bytes at that pace. What it takes beyond that is lost."""
LOST_SECONDS = 60.0
"""Most that the places of one task may cost before none of them is asked for a while."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3_600.0
"""How long a place is not asked: twice as long each time, until it behaved for the longest of them."""


class LostTime:
    """What waiting for a place has cost, by a monotonic clock. Safe to share between threads."""

    def __init__(self, most_seconds: float) -> None:
        self._most, self._lost = most_seconds, 0.0
        self._until, self._pause = -math.inf, FIRST_PAUSE_SECONDS

    @property
    def is_too_much(self) -> bool:
        """Whether nobody asks that place at the moment."""
        return time.monotonic() < self._until

    @property
    def was_too_much(self) -> bool:
        """Whether that was so once."""
        return self._until > -math.inf

    def lose(self, seconds: float) -> None:
        """So much was waited in vain."""
        self._lost += max(seconds, 0.0)
        if self._lost > self._most:
            now = time.monotonic()
            forgiven = now - self._until > LONGEST_PAUSE_SECONDS
            self._pause = FIRST_PAUSE_SECONDS if forgiven else min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self._until, self._lost = now + self._pause, 0.0


class BrieflyAsked:
    """A `Backend` that is only read. Raises StoreUnavailable at once while waiting for it has cost too much."""

    def __init__(self, place: Backend, shown: str, own: LostTime, shared: LostTime) -> None:
        """`own`: of this place, which its first outage ends. `shared`: of all places of a task."""
        self._place, self._shown, self._own, self._shared = place, shown, own, shared

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        return self._answer(path, lambda: self._place.read(path, max_bytes), len)

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        raise StoreUnavailable(path, f"{self._shown} is only read")

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        return self._answer(path, lambda: self._place.exists(path))

    def published(self, path: str) -> float | None:
        """See `Backend`."""
        return self._answer(path, lambda: self._place.published(path))

    def _answer(self, path: str, ask: Callable[[], T], size: Callable[[T], int] = lambda _: 0) -> T:
        if self._own.is_too_much or self._shared.is_too_much:
            raise StoreUnavailable(path, f"is not asked for: {self._shown} did not answer in time before")
        began, due = time.monotonic(), FREE_SECONDS
        try:
            found = ask()
            due += size(found) / DUE_BYTES_A_SECOND
            return found
        except StoreUnavailable:
            due = 0.0
            self._own.lose(math.inf)
            raise
        finally:
            self._shared.lose(time.monotonic() - began - due)
