"""Ctrl-C and SIGTERM end a command, wherever they find it.

Python drops an exception that a signal raises inside a finalizer or a weak reference's callback, and some libraries
swallow whatever they meet. So it is raised again until the command is on its way out. A signal that comes twice in a
moment, as from `timeout`, which sends it to the process and to its group, counts once: cleaning up goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from deltaproof.cli.exit_codes import ExitCode

__all__ = ["interrupted", "say_when_stopped", "when_stopped"]

AGAIN_SECONDS = 0.5
"""Between reminders of one interruption; and how long a second one is taken for the first."""


_farewell = ["the same command continues where it was"]


def say_when_stopped(words: str) -> None:
    """What a command says of itself when it is stopped, if it does not continue where it was."""
    _farewell[0] = words


def when_stopped() -> str:
    """What the stopped command says."""
    return f"stopped; {_farewell[0]}"


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Not KeyboardInterrupt, which typer would turn into exit code 1."""

    def __init__(self) -> None:
        super().__init__()
        self.since = time.monotonic()


def interrupted(command: Callable[[], object]) -> bool:
    """Run a command in the main thread; whether one of the two signals ended it. What it raises itself passes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGALRM, _remind)
    try:
        command()
    except _Interrupted:
        # Nothing of the command is left. An exception raised in what Python does at its end would only be printed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave)
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return False


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(ExitCode.STOPPED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    first = _leaving(sys.exc_info()[1])
    if first is not None and time.monotonic() - first.since < AGAIN_SECONDS:
        return
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    raise _Interrupted


def _remind(_number: int, _frame: FrameType | None) -> None:
    # What is being cleaned up on the way out may take its time.
    if _leaving(sys.exc_info()[1]) is None:
        raise _Interrupted


def _leaving(handled: BaseException | None) -> _Interrupted | None:
    """The interruption that is being handled; None if none is."""
    while handled is not None:
        if isinstance(handled, _Interrupted):
            return handled
        handled = handled.__context__
    return None
