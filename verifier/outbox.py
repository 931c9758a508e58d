"""What a verifier has to show and a store does not take: kept, and tried again.

Attack: a gateway that refuses one verifier's writes makes it absent. What counts on chain (seal, reveal, settlement)
waits for no store. A reveal whose document nobody can read keeps nobody waiting: others sign without it, and again when
it comes.
"""

from __future__ import annotations

from collections.abc import Callable

from deltaproof.agent.patience import Patience
from deltaproof.errors import StoreUnavailable
from deltaproof.protocol.types import RoundIndex
from deltaproof.reporting import Reporter

__all__ = ["Outbox"]

MOST = 16
"""Things that are kept; the oldest goes first."""


class Outbox:
    """Of one verifier in one task, as long as its process lives. Safe to share between threads."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._waiting: dict[str, tuple[Patience, RoundIndex, Callable[[], object]]] = {}

    def put(self, round_: RoundIndex, thing: str, write: Callable[[], object]) -> None:
        """Show a thing of a round now, or when the store takes it."""
        what = f"round {round_}: {thing}"
        try:
            write()
        except StoreUnavailable as error:
            pause = Patience(what)
            pause.failed()
            self._waiting[what] = pause, round_, write
            while len(self._waiting) > MOST:
                self._waiting.pop(next(iter(self._waiting)))
            message = f"{what} is kept and tried again, as the store does not take it: {error}"
            self._report("unshown", message, round=round_)

    def mind(self) -> None:
        """Try again what waits, each with pauses that grow."""
        for what, (pause, round_, write) in list(self._waiting.items()):
            if not pause.ready:
                continue
            try:
                write()
            except StoreUnavailable:
                pause.failed()
                continue
            self._waiting.pop(what, None)
            self._report("republished", f"{what} is in the store now", round=round_)
