"""What came too late is not there, whoever looks when.

Attack: keep an opening back, and show it when half of the verifiers have sealed that it is missing. They find different
things, no settlement has a quorum, and the round ends with the base for everybody, at no cost to the trainer.

Only the word of a gateway counts: it replaces nothing, so what it says is when the artifact came first. Times of
folders and buckets are those of the last write, which a copy, a restored backup or an attacker moves; there, what is
seen counts. So it does where the gateway's clock and the chain's differ, and where a mirror is away that may have had
it in time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from deltaproof.errors import ArtifactError, ArtifactMissing, StoreUnavailable
from deltaproof.protocol.outcome.reads import clock_margin, in_time_until, withheld_from
from deltaproof.store.backend import Backend, Mirrors
from deltaproof.store.http import HttpBackend, Taken

__all__ = ["Closing", "InTime"]


@dataclass(frozen=True)
class _Phase:
    """The time to attest, by the chain's clock, seconds since the epoch; `seen` by a monotonic one, at `now`."""

    deadline: int
    seconds: int
    now: int
    seen: float


class Closing:
    """Until when the work of the running round has to be there. Safe to share between threads."""

    def __init__(self) -> None:
        """Open: everything that is there counts."""
        self._phase: _Phase | None = None

    def set(self, deadline: int, seconds: int, now: int) -> None:
        """A round is attested until `deadline`, in a phase of so many seconds; `now` by the chain's clock."""
        self._phase = _Phase(deadline, seconds, now, time.monotonic())

    def lift(self) -> None:
        """Everything that is there counts."""
        self._phase = None

    @property
    def near(self) -> bool:
        """Whether something can have come too late by now."""
        phase = self._phase
        return phase is not None and withheld_from(phase.deadline, phase.seconds) < _now(phase) < phase.deadline

    def missed(self, taken: Taken) -> bool:
        """Whether a place took an artifact too late, by a clock that agrees with the chain's."""
        phase = self._phase
        if phase is None or abs(taken.now - _now(phase)) > clock_margin(phase.seconds):
            return False
        return taken.at > in_time_until(phase.deadline, phase.seconds)


class InTime(Mirrors):
    """The same places without what came too late to each of them."""

    def __init__(self, backend: Backend, closing: Closing) -> None:
        super().__init__(backend.places if isinstance(backend, Mirrors) else [backend])
        self._closing = closing

    def copies(self, path: str, max_bytes: int) -> Iterator[bytes]:
        """See `Mirrors`. Raises ArtifactMissing if all that there is came too late."""
        if not self._closing.near:
            yield from super().copies(path, max_bytes)
            return
        late: list[Backend] = []
        errors: list[ArtifactError] = []
        for number in self._quick_first():
            try:
                with self._timed(number):
                    came_late = self._came_late(self.places[number], path)
                if came_late:
                    late.append(self.places[number])
                    continue
                data = self._read(number, path, max_bytes)
            except ArtifactError as error:
                errors.append(error)
                continue
            yield data
        if any(isinstance(error, StoreUnavailable) for error in errors):
            yield from Mirrors(self.places).copies(path, max_bytes)
        elif late and len(late) + len(errors) == len(self.places):
            raise ArtifactMissing(path, "it came to the store when it counted as withheld already")
        elif len(errors) == len(self.places):
            raise errors[0]

    def read_range(self, path: str, start: int, size: int) -> bytes:
        """See `Ranged`. Where something can have come too late, the whole is read, which tells."""
        if self._closing.near:
            raise StoreUnavailable(path, "is read as a whole now")
        return super().read_range(path, start, size)

    def _came_late(self, place: Backend, path: str) -> bool:
        taken = place.taken(path) if isinstance(place, HttpBackend) else None
        return taken is not None and self._closing.missed(taken)


def _now(phase: _Phase) -> float:
    return phase.now + time.monotonic() - phase.seen
