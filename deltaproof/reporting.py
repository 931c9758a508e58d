"""How a working role tells what it does, whoever listens."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Protocol

__all__ = [
    "Once",
    "Pace",
    "Reporter",
    "about_task",
    "counted",
    "moment_text",
    "phase_line",
    "printable",
    "printable_lines",
    "span",
]


class Reporter(Protocol):
    """Receives what a role does. `event` is a stable name for scripts, `message` a sentence for people."""

    def __call__(self, event: str, message: str, **fields: object) -> None: ...


def about_task(report: Reporter, task: int) -> Reporter:
    """The same listener for one of several tasks: every sentence and event says which."""

    def told(event: str, message: str, **fields: object) -> None:
        report(event, f"task {task}: {message}", **{**fields, "task": task})

    return told


class Once:
    """Passes on what is new: words that equal the last ones of the same event are not said again."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._said: dict[str, str] = {}

    def __call__(self, event: str, message: str, **fields: object) -> None:
        """See `Reporter`."""
        if self._said.get(event) != message:
            self._said[event] = message
            self._report(event, message, **fields)


class Pace:
    """How long the rest of a number of equal pieces takes, by those that were seen."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None

    def left(self, done: int, of: int) -> str:
        """For example `, 40 s left`; nothing after the first piece, or the last. Pieces done before do not count."""
        seconds = self.seconds(done, of)
        return "" if seconds is None else f", {span(int(seconds))} left"

    def seconds(self, done: int, of: int) -> float | None:
        """The same as a number; None where nothing is known, or left."""
        if self._first is None:
            self._began, self._first = time.monotonic(), done
        seen = done - self._first
        if seen <= 0 or done >= of:
            return None
        return (time.monotonic() - self._began) / seen * (of - done)


def printable(text: str) -> str:
    """Words of somebody else for a terminal: what is no printed character (escape codes, line ends, marks that turn
    the direction of writing) becomes a question mark."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def printable_lines(text: str) -> str:
    """The same for text that may have several lines."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what there is so many of: `1 round`, `2 rounds`; `many` where it is not `one` with an s."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def span(seconds: int) -> str:
    """A length of time in its largest unit, and the next while that matters: `2 d 3 h`, `14 h`, `5 min`, `40 s`."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for (name, size), (below, part) in pairwise(units):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            return f"{whole} {name} {rest // part} {below}" if whole < 3 and rest >= part else f"{whole} {name}"
    return f"{max(seconds, 0)} s"


def moment_text(seconds: int) -> str:
    """A point of time, given in seconds since the epoch: `2026-03-01 10:31:02 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def phase_line(task: object, round_: int, phase: str, deadline: int, seconds_left: int) -> str:
    """Where a task is and until when, for example `task 1, round 2: opening until 10:31:02 UTC, 40 s left`.

    `phase` as the contract names it; `deadline` in seconds since the epoch, 0 for none.
    """
    name = phase.lower().replace("_", " ")
    if name == "idle":
        return (
            f"task {task}: between rounds, after round {round_}" if round_ else f"task {task}: before its first round"
        )
    if not deadline:
        return f"task {task}, round {round_}: {name}"
    form = "%H:%M:%S UTC" if seconds_left < 43_200 else "%Y-%m-%d %H:%M UTC"
    until = time.strftime(form, time.gmtime(deadline))
    return f"task {task}, round {round_}: {name} until {until}, {span(seconds_left)} left"
