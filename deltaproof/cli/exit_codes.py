"""How commands leave: every code that `deltaproof` ends with, in one place."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["MEANINGS", "ExitCode"]


class ExitCode(IntEnum):
    """A command's exit code; anything else is a fault of the program, with a traceback."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    STOPPED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done, and nothing was found wrong",
    ExitCode.FAILED: "it could not be done, or something was found: a failed check of `audit` or `report`, a problem "
    "of `task check` or `data check`, a phase too short for this machine in `doctor`, a broken promise of `demo`. The "
    "last line on standard error says what to do",
    ExitCode.USAGE: "the command line itself is wrong: an option that does not exist or lacks its value",
    ExitCode.STOPPED: "stopped by Ctrl-C or SIGTERM; the same command continues where it was",
}
"""What each code means, for people."""
