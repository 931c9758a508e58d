"""What the demo shows while it runs: the round, what each participant does, and the events that matter."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deltaproof.demo.processes import WorkerEvent

__all__ = ["Display"]

NOTED = {
    "round", "caught", "slashed", "forfeited", "settled", "ended", "paid", "disagreed", "error", "step",
}  # fmt: skip
"""Events that stay on the screen; the others only change a participant's line."""


class Display:
    """A live table on a terminal; plain lines elsewhere."""

    def __init__(self, console: Console, participants: Mapping[str, str]) -> None:
        """`participants`: name and role of every process that gets a line."""
        self._console = console
        self._roles = dict(participants)
        self._doing = dict.fromkeys(participants, "starting")
        self._begin = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def note(self, message: str, style: str = "") -> None:
        """A line that stays."""
        seconds = int(time.monotonic() - self._begin)
        line = Text(f"{seconds // 60}:{seconds % 60:02d}  ", style="dim")
        line.append(message, style=style or None)
        self._console.print(line)

    def show(self, event: WorkerEvent) -> None:
        """Take an event of a process into account."""
        if event.worker in self._doing and event.name != "phase":  # the same of all
            self._doing[event.worker] = event.message
        if event.name in NOTED:
            style = "red" if event.name in {"caught", "slashed", "error", "disagreed"} else ""
            self.note(f"{event.worker:>8}  {event.message}", style)
        self.refresh()

    def refresh(self) -> None:
        """Draw the table again, on a terminal."""
        if self._live:
            self._live.update(self._table())

    def _table(self) -> Group:
        table = Table(box=None, padding=(0, 2), show_header=False)
        for name, role in self._roles.items():
            table.add_row(Text(name, style="bold"), Text(role, style="dim"), Text(self._doing[name]))
        return Group(Text(""), table)
