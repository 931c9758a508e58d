"""Deltas that are not what training came to: symmetries of factors, codecs and their memory, through the real judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.forging import Forged
from benchmarks.attacks.on_steps import rotated_factors, scaled_factors
from benchmarks.attacks.on_store import Court
from deltaproof.protocol.evidence.delta import pack_delta, unpack_delta
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.outcome.attestation import TrainerFinding
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Digest32

Delta = Callable[[Arena, Vector], Vector | bytes]
"""What is committed in place of the adapter after the last step: values, or the bytes of an encoded delta."""


def on_deltas() -> Iterator[tuple[str, str, Delta]]:
    """Name, place and the delta; each place has a control that must be accepted."""
    yield CONTROL, "lora", lambda _, theta: theta
    yield "A by 4 and B by a quarter: the same function", "lora", lambda arena, theta: scaled_factors(arena, theta, 4.0)
    yield "factors turned into each other: the same function", "lora", rotated_factors
    yield "three times the change", "lora", lambda arena, theta: arena.bench.start + 3 * (theta - arena.bench.start)
    yield "one value one float32 step off", "lora", _one_step_off
    yield CONTROL, "top_k", _encoded
    yield "the values that stay in the memory sent instead", "top_k", _least_values
    yield "a memory larger than what was left", "top_k", _larger_memory
    yield "no memory, so that the next round starts without debt", "top_k", _no_memory
    yield "twice the change encoded", "top_k", lambda arena, theta: _encoded(arena, 2 * theta - arena.bench.start)
    yield CONTROL, "bfloat16 codec", _encoded
    yield "every value rounded away from zero", "bfloat16 codec", _rounded_away


CONTROL = "as committed"


def judged(arena: Arena, forged: Forged, delta: Delta, steps: list[int], folder: Path) -> TrainerFinding:
    """What a verifier finds who replays `steps`."""
    court = Court(arena, folder)
    court.store.put_tensors(arena.bench.initial_state())
    for step in steps:
        court.publish(Digest32(forged.transcript_root), forged.openings[step])
    committed = delta(arena, forged.theta)
    if isinstance(committed, bytes):
        return court.judge(forged, court.store.put_blob(committed), steps).finding
    return court.judge(forged, court.store.put_tensors(committed.astype(np.float32)), steps).finding


def outcome(finding: TrainerFinding) -> tuple[bool, str]:
    """Whether it was refused, and by what."""
    if finding.verdict is Verdict.ACCEPTED:
        return False, "none"
    failure = finding.failure()
    return True, f"{failure.check if failure else '?'}: {finding.verdict.name.lower()}"


def _one_step_off(_: Arena, theta: Vector) -> Vector:
    moved = theta.copy()
    moved[0] = np.nextafter(moved[0], np.float32(np.inf))
    return moved


def _encoded(arena: Arena, theta: Vector) -> bytes:
    return arena.bench.codec.encode(arena.bench.start, theta.astype(np.float32), None, arena.context.key).data


def _least_values(arena: Arena, theta: Vector) -> bytes:
    """Only the values that the codec would have kept back."""
    change = theta - arena.bench.start
    kept = np.abs(change) < np.quantile(np.abs(change), 0.9)
    return _encoded(arena, arena.bench.start + np.where(kept, change, 0.0))


def _larger_memory(arena: Arena, theta: Vector) -> bytes:
    encoded = arena.bench.codec.encode(arena.bench.start, theta, None, arena.context.key)
    if encoded.memory is None:
        raise AssertionError("the codec has no memory")
    return pack_delta(component_root(10 * encoded.memory), unpack_delta(encoded.data)[1])


def _no_memory(arena: Arena, theta: Vector) -> bytes:
    return pack_delta(component_root(np.zeros_like(theta)), unpack_delta(_encoded(arena, theta))[1])


def _rounded_away(arena: Arena, theta: Vector) -> bytes:
    change = (theta - arena.bench.start).astype(np.float32)
    bits = (change.view(np.uint32) + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)
    return _encoded(arena, arena.bench.start + bits.view(np.float32))
