"""What a mirror did not take is tried again behind, so that no work waits for it and none is missing there for long.

Attack: of two places that a sponsor names, let one stall. What is written to one after the other comes late to both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deltaproof.errors import StoreUnavailable

__all__ = ["Behind"]

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
KEPT_SECONDS = 3_600.0
"""How long an artifact is tried again: a place that refuses it is not asked for ever."""
MOST_BYTES = 256 * 1024 * 1024
"""Of artifacts that wait; the oldest goes first."""


class Behind:
    """What one place lacks, as long as the process lives. Safe to share between threads."""

    def __init__(self, write: Callable[[str, bytes], None]) -> None:
        """`write` raises StoreUnavailable."""
        self._write = write
        self._lacks: dict[str, tuple[float, bytes]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, path: str, data: bytes) -> None:
        """Try to write an artifact again, in place of what waits under its path."""
        with self._changed:
            self._lacks.pop(path, None)
            self._lacks[path] = time.monotonic(), data
            while len(self._lacks) > 1 and sum(len(waits) for _, waits in self._lacks.values()) > MOST_BYTES:
                self._lacks.pop(next(iter(self._lacks)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._catch_up, name="behind", daemon=True)
                self._thread.start()

    def written(self, path: str) -> None:
        """The place has the artifact."""
        with self._changed:
            self._lacks.pop(path, None)
            self._changed.notify_all()

    @property
    def paths(self) -> tuple[str, ...]:
        """What the place lacks, the oldest first."""
        with self._changed:
            return tuple(self._lacks)

    def _catch_up(self) -> None:
        """Write what waits, in order, with pauses that grow while the place refuses; until nothing does."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            with self._changed:
                self._changed.wait(pause)
                old = time.monotonic() - KEPT_SECONDS
                self._lacks = {path: waits for path, waits in self._lacks.items() if waits[0] > old}
                waiting = list(self._lacks.items())
                if not waiting:
                    self._thread = None
                    return
            came = 0
            for path, (since, data) in waiting:
                try:
                    self._write(path, data)
                except StoreUnavailable:
                    continue
                came += 1
                with self._changed:
                    if self._lacks.get(path) == (since, data):
                        del self._lacks[path]
            pause = FIRST_PAUSE_SECONDS if came else min(2 * pause, LONGEST_PAUSE_SECONDS)
