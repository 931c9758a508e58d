"""What a running role tells its user: lines for a person, or one JSON object per line for a script."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping

from rich.console import Console

from deltaproof.reporting import Reporter

__all__ = ["ConsoleReporter", "JsonReporter", "reporter"]


class JsonReporter:
    """One JSON object per line on standard output, flushed at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, event: str, message: str, **fields: object) -> None:
        line = json.dumps({"event": event, "at": round(time.time(), 2), "message": message, **_plain(fields)})
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


class ConsoleReporter:
    """A line for a person, coloured by what it means."""

    STYLES: Mapping[str, str] = {
        "failed": "bold red",
        "refused": "red",
        "paid": "green",
        "settled": "cyan",
        "waiting": "dim",
    }

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def __call__(self, event: str, message: str, **fields: object) -> None:
        self._console.print(message, style=self.STYLES.get(event), markup=False)


def reporter(as_json: bool) -> Reporter:
    """The reporter that `--json` asks for."""
    return JsonReporter() if as_json else ConsoleReporter()


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
