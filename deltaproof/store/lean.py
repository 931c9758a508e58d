"""Reading of an opening what is not known: its head always, a state or a gradient where they cannot be foretold.

Every byte of an opening follows from digests on chain (`protocol.evidence.opened`). So whoever can compute a part of it
need not fetch that part: what was foretold is held against the same digests as what is read. Whatever does not fit, or
cannot be read in parts, is read as a whole, and that decides.

Attack: show the head, and garbage for what most verifiers compute themselves. Those who read it find something else
than those who do not, as where a rounding tie falls the other way. So only gateways are read in parts: they take an
opening when all of it fits, which a folder or a bucket does not look at. What lies behind a gateway and was not taken
by it, it serves without saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

from deltaproof.errors import ArtifactError, ArtifactMissing, EncodingError
from deltaproof.protocol.evidence.opened import CommittedSteps, check_all_but_gradient, check_gradient_digest
from deltaproof.protocol.evidence.state import Vector, check_vector
from deltaproof.protocol.evidence.transcript import GRADIENT, StepOpening, parse_opening
from deltaproof.protocol.types import StepIndex
from deltaproof.protocol.wire.tensorfile import read_vector

__all__ = ["Forecast", "Ranged", "lean_opening"]

HEAD_BYTES = 16_384
"""That are asked for first: most heads are shorter. Openings whose tensors are no longer are read as a whole."""
LENGTH_BYTES = 8


@runtime_checkable
class Ranged(Protocol):
    """A place that has checked an artifact as a whole, and gives parts of it."""

    def read_range(self, path: str, start: int, size: int) -> bytes:
        """At most `size` bytes from `start`, fewer where the artifact ends. Raises like `Backend.read`."""


class Forecast(Protocol):
    """What a reader can tell of an opening before it reads it."""

    def state(self, step: StepIndex) -> Mapping[str, Vector] | None:
        """The committed state before a step, by slot, float32 of shape (P,); None where it does not know."""

    def gradient(self, opening: StepOpening) -> Vector | None:
        """The committed gradient, float32 of shape (P,), of an opening whose gradient is not set; None likewise."""


def lean_opening(
    place: Ranged, path: str, committed: CommittedSteps, step: StepIndex, forecast: Forecast
) -> StepOpening | None:
    """The opening of a committed step, read in parts; None where the whole has to be read.

    Raises ArtifactMissing if nothing is there.
    """
    limits = committed.limits
    names = sorted((*limits.slots, GRADIENT))
    each = 4 * limits.values
    if limits.tensor_bytes <= HEAD_BYTES:
        return None
    try:
        head = place.read_range(path, 0, HEAD_BYTES)
        size = LENGTH_BYTES + int.from_bytes(head[:LENGTH_BYTES], "little")
        if not len(head) >= LENGTH_BYTES or size > LENGTH_BYTES + limits.max_header_bytes:
            return None
        if size > len(head):
            head += place.read_range(path, len(head), size - len(head))
        blank = parse_opening(head[:size] + bytes(limits.tensor_bytes), limits)

        def fetched(name: str) -> Vector:
            data = place.read_range(path, size + names.index(name) * each, each)
            return check_vector(read_vector(data), limits.values, name)

        state = forecast.state(step)
        if state is None:
            state = {slot: fetched(slot) for slot in limits.slots}
        opening = replace(blank, state=state)
        # Attack: a head of one's own in somebody's place, with rows that take a day. Nothing is computed from it.
        check_all_but_gradient(opening, committed, step)
        told = forecast.gradient(opening)
        if told is not None:
            opening = opening.with_gradient(told)
        if told is None or opening.gradient_root != opening.before.grad_root:
            opening = opening.with_gradient(fetched(GRADIENT))
        check_gradient_digest(opening)
    except ArtifactMissing:
        raise
    except (ArtifactError, EncodingError):
        return None
    return opening
