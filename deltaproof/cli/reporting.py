"""What a running role tells its user: lines for a person, or one JSON object per line for a script."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Mapping

from rich.console import Console
from rich.status import Status
from rich.text import Text

from deltaproof.cli.terminal import Terminal
from deltaproof.reporting import Reporter, printable, printable_lines

__all__ = ["ConsoleReporter", "JsonReporter", "reporter"]

PROGRESS = ("trained-step", "replayed", "evaluated", "downloading", "uploading")
"""Events that say how far a long work is: one line that changes, instead of one each."""
INDENT = " " * len("00:00:00  ")
"""Before what a message says in further lines: none of them looks like one of the role's own."""
PROGRESS_SECONDS = 30.0
"""Where lines cannot change, in a file, one of them in so many seconds."""


class JsonReporter:
    """One JSON object per line on standard output, flushed at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, event: str, message: str, **fields: object) -> None:
        line = json.dumps({"event": event, "at": round(time.time(), 2), "message": message, **_plain(fields)})
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


class _Console(Terminal):
    """Where nobody reads any more, its caller says whether that ends a command."""

    def on_broken_pipe(self) -> None:
        """Raises it again, where a console by itself ends the process."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class ConsoleReporter:
    """A line for a person with the time of day, coloured by what it means; the same line twice in a row is said once.

    Progress of long work is a line that changes on a terminal, and a line now and then elsewhere. Safe to share
    between threads.
    """

    STYLES: Mapping[str, str] = {
        "failed": "bold red",
        "refused": "red",
        "paid": "green",
        "settled": "cyan",
        "phase": "dim",
        "waiting": "dim",
    }

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _Console(highlight=False)
        self._lock = threading.Lock()
        self._last = ("", "")
        self._status: Status | None = None
        self._shown_at = float("-inf")

    def __call__(self, event: str, message: str, **fields: object) -> None:
        with self._lock:
            if event in PROGRESS:
                self._progress(event, message)
                return
            if self._status is not None:
                self._status.stop()
                self._status = None
            self._line(event, message)

    def _progress(self, event: str, message: str) -> None:
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(Text(printable(message)), spinner="line")
                self._status.start()
            self._status.update(Text(printable(message)))
        elif time.monotonic() - self._shown_at >= PROGRESS_SECONDS:
            self._shown_at = time.monotonic()
            self._line(event, message)

    def _line(self, event: str, message: str) -> None:
        if self._last == (event, message):
            return
        self._last = (event, message)
        clock = Text(time.strftime("%H:%M:%S  "), style="dim")
        try:
            text = printable_lines(message).replace("\n", f"\n{INDENT}")
            self._console.print(clock + Text(text, style=self.STYLES.get(event, "")), soft_wrap=True)
        except (OSError, ValueError):
            # The console would keep what nobody took, and try all of it with each line.
            self._console.begin_capture()
            self._console.end_capture()
            raise


def reporter(as_json: bool) -> Reporter:
    """The reporter that `--json` asks for."""
    return JsonReporter() if as_json else ConsoleReporter()


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
