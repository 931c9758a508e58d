"""Ctrl-C and SIGTERM end a command, wherever they find it.

Python drops an exception that a signal raises inside a finalizer or a weak reference's callback, and some libraries
swallow whatever they meet. So it is raised again until the command is on its way out.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

__all__ = ["interrupted"]

AGAIN_SECONDS = 0.5


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Not KeyboardInterrupt, which typer would turn into exit code 1."""


def interrupted(command: Callable[[], object]) -> bool:
    """Run a command in the main thread; whether one of the two signals ended it. What it raises itself passes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGALRM, _remind)
    try:
        command()
    except _Interrupted:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return False


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    raise _Interrupted


def _remind(_number: int, _frame: FrameType | None) -> None:
    # What is being cleaned up on the way out may take its time.
    if not _leaving(sys.exc_info()[1]):
        raise _Interrupted


def _leaving(handled: BaseException | None) -> bool:
    while handled is not None:
        if isinstance(handled, _Interrupted):
            return True
        handled = handled.__context__
    return False
