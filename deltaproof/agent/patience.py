"""Outages are waited out: with pauses that grow, one clear line each, for as long as something can come of it.

Every error has an owner. One of the network, the store, the disk or the account's purse is waited out. One that no
waiting mends (a wrong key, a wrong contract, a task that does not take these data) ends the process and says what to
do. One that a node which lags can cause, too (no contract there, no such task), ends it after some minutes. One that
nobody foresaw is a fault of the program: it is reported with its trace, and tried again, because giving up would cost
more.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TypeVar

from deltaproof.errors import (
    ChainUnavailable,
    ContractMissing,
    DeltaproofError,
    OverLimit,
    SigningKeyError,
    SpecError,
    StoreUnavailable,
    TaskMissing,
    TaskRefused,
    UsageError,
    WrongChain,
    is_accelerator_failure,
    is_out_of_memory,
)
from deltaproof.reporting import Reporter

__all__ = ["HOPELESS", "IDLE_POLL_SECONDS", "Patience", "each_in_turn", "insist", "owner_of", "report_delay"]

T = TypeVar("T")

HOPELESS = (UsageError, SpecError, SigningKeyError, WrongChain, TaskRefused)
"""What no waiting mends."""
IDLE_POLL_SECONDS = 2.5
"""Pause between looks at the chain when nothing happens: with one more call for each new block, fewer than 60 a
minute."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
MISSING_SECONDS = 300.0
"""How long what a node does not show may yet come: longer than nodes of a pool lag, short enough for a mistyped
address."""
MAY_COME = (ContractMissing, TaskMissing)


class Patience:
    """The pauses between attempts at one thing: doubling up to a minute, each shortened by up to a quarter.

    How much is drawn from a name, so that many agents do not come back in the same second, and each pauses alike in
    every run.
    """

    def __init__(self, name: str, first_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        self._name, self._first = name, first_seconds
        self.failures = 0
        self._ready_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether the pause is over."""
        return time.monotonic() >= self._ready_at

    def failed(self, longest_seconds: float = LONGEST_PAUSE_SECONDS) -> float:
        """Seconds until the next attempt, at most `longest_seconds`."""
        pause = min(self._first * 2.0 ** min(self.failures, 16), LONGEST_PAUSE_SECONDS, longest_seconds)
        draw = sha256(f"{self._name}/{self.failures}".encode()).digest()[0]
        self.failures += 1
        shortened = pause * (1 - draw / 1024)
        self._ready_at = time.monotonic() + shortened
        return shortened

    def succeeded(self) -> None:
        """The next failure pauses shortly again."""
        self.failures, self._ready_at = 0, 0.0


def insist(
    action: Callable[[], T],
    what: str,
    name: str,
    report: Reporter,
    hopeless: tuple[type[Exception], ...],
    longest: Callable[[], float] = lambda: LONGEST_PAUSE_SECONDS,
    lag_seconds: float | None = None,
) -> T:
    """The result of `action`, however long it takes; `what` says what is waited for, `longest` how long a pause may be
    now, seconds.

    Raises what is `hopeless`; that there is no such contract or task, only after `lag_seconds` (by default minutes) of
    nothing but that: a node that lags does not know it yet.
    """
    patience, missing_since = Patience(name), float("inf")
    most = MISSING_SECONDS if lag_seconds is None else lag_seconds
    while True:
        try:
            return action()
        except Exception as error:
            now, missing = time.monotonic(), isinstance(error, MAY_COME)
            missing_since = min(missing_since, now) if missing else float("inf")
            if isinstance(error, hopeless) and not (missing and now - missing_since < most):
                raise
            pause = patience.failed(longest())
            report_delay(report, what, error, pause, "")
        time.sleep(pause)


def each_in_turn(things: Iterable[T], act: Callable[[T], None]) -> None:
    """Act on each; what fails about one keeps nobody from the others.

    Raises the first error, after all were tried; an outage of chain or store, which is the same for all, at once.
    """
    errors: list[Exception] = []
    for thing in things:
        try:
            act(thing)
        except (ChainUnavailable, StoreUnavailable):
            raise
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]


def report_delay(report: Reporter, what: str, error: Exception, pause: float, stake: str) -> None:
    """One line about an error that is waited out."""
    owner = owner_of(error)
    fields: dict[str, object] = {"owner": owner, "pause_seconds": round(pause, 1)}
    if owner == "program":
        fields["trace"] = "".join(traceback.format_exception(error))[-4000:]
    told = str(error) if isinstance(error, DeltaproofError) else f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        told = f"not enough memory ({told}); give it more (--max-memory, if that is set), or fewer --workers"
    if is_accelerator_failure(error):
        told = f"the GPU failed ({told.splitlines()[0]}); start this process again"
    report("delayed", f"{what} waits: {told}; again in {pause:.0f} s{stake and f'; {stake}'}", **fields)


def owner_of(error: Exception) -> str:
    """Who an error belongs to: `operator` (a limit it set), `network`, `machine` (disk, memory, GPU) or `program`."""
    if isinstance(error, DeltaproofError):
        return "operator" if isinstance(error, OverLimit) else "network"
    failed = isinstance(error, OSError) or is_out_of_memory(error) or is_accelerator_failure(error)
    return "machine" if failed else "program"
