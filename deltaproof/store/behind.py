"""What a mirror did not take is tried again behind, so that no work waits for it and none is missing there for long.

Attack: of two places that a sponsor names, let one stall, or answer rightly and late. What is written to one after the
other, or read from the first of them, comes late everywhere.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from deltaproof.errors import StoreUnavailable

__all__ = ["Behind", "Delay"]

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
KEPT_SECONDS = 3_600.0
"""How long an artifact is tried again: a place that refuses it is not asked for ever."""
MOST_BYTES = 256 * 1024 * 1024
"""Of artifacts that wait; the oldest goes first."""
PATIENCE_SECONDS = 20.0
FORGIVEN_SHARE = 0.1
"""Of the time that passes."""


class Delay:
    """How much longer than need be one place has let others wait lately, seconds."""

    def __init__(self) -> None:
        self._seconds, self._at = 0.0, time.monotonic()

    def add(self, seconds: float) -> None:
        """So much longer it took; less than nothing is nothing."""
        self._seconds, self._at = min(self.now + max(seconds, 0.0), 2 * PATIENCE_SECONDS), time.monotonic()

    @property
    def now(self) -> float:
        """What is not forgiven yet."""
        return max(self._seconds - FORGIVEN_SHARE * (time.monotonic() - self._at), 0.0)

    @property
    def too_long(self) -> bool:
        """Whether nobody should wait for it who need not."""
        return self.now > PATIENCE_SECONDS


class Behind:
    """What one place lacks, as long as the process lives. Safe to share between threads."""

    def __init__(self, write: Callable[[str, bytes], None]) -> None:
        """`write` raises StoreUnavailable."""
        self._write = write
        self._lacks: dict[str, tuple[float, bytes]] = {}
        self._writing: str | None = None
        """The path that the thread writes at this moment."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, path: str, data: bytes) -> None:
        """Try to write an artifact again, in place of what waits under its path."""
        with self._changed:
            self._lacks.pop(path, None)
            self._lacks[path] = time.monotonic(), data
            while len(self._lacks) > 1 and self._waiting_bytes() > MOST_BYTES:
                self._lacks.pop(next(iter(self._lacks)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="behind", daemon=True)
                self._thread.start()

    def withdraw(self, path: str) -> bool:
        """Give up what waits under a path; whether it is on its way at this moment, and may still come."""
        with self._changed:
            self._lacks.pop(path, None)
            self._changed.notify_all()
            return self._writing == path

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more displace nothing that waits."""
        with self._changed:
            return self._waiting_bytes() + size <= MOST_BYTES

    @property
    def paths(self) -> tuple[str, ...]:
        """What the place lacks, the oldest first."""
        with self._changed:
            return tuple(self._lacks)

    def _waiting_bytes(self) -> int:
        return sum(len(data) for _, data in self._lacks.values())

    def _follow(self) -> None:
        try:
            self._catch_up()
        except BaseException:  # a machine that starts no more threads, a fault: what is lacking next tries anew
            with self._changed:
                self._thread = None
            raise

    def _catch_up(self) -> None:
        """Write what waits, in order, with pauses that grow while the place refuses; until nothing does.

        Each pass begins with another artifact: one at which the place stalls must not keep it from all others.
        """
        pause = FIRST_PAUSE_SECONDS
        for turn in itertools.count():
            with self._changed:
                self._changed.wait(pause)
                old = time.monotonic() - KEPT_SECONDS
                self._lacks = {path: waits for path, waits in self._lacks.items() if waits[0] > old}
                waiting = list(self._lacks)
                if not waiting:
                    self._thread = None
                    return
            first = turn % len(waiting)
            came = sum(map(self._came, waiting[first:] + waiting[:first]))
            pause = FIRST_PAUSE_SECONDS if came else min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _came(self, path: str) -> bool:
        """Whether the place took what waits under a path; False also if nothing does any more."""
        with self._changed:
            waits = self._lacks.get(path)
            if waits is None:
                return False
            self._writing = path
        try:
            self._write(path, waits[1])
        except StoreUnavailable:
            return False
        else:
            with self._changed:
                if self._lacks.get(path) is waits:
                    del self._lacks[path]
            return True
        finally:
            self._writing = None
