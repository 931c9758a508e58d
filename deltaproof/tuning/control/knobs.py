"""A small grid of fixed policies, against which an agent has to earn its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from deltaproof.protocol.terms.control import Action, DeviceClass, KnobTable

__all__ = ["fixed_actions"]

_STRENGTH: dict[DeviceClass, int] = {"phone": 0, "laptop": 1, "workstation": 2}


def fixed_actions(knobs: KnobTable, classes: Sequence[DeviceClass], emulators: int) -> Iterator[tuple[str, Action]]:
    """Names and actions. Emulators are assigned in the ways a person would (everybody the same; by class, the stronger
    device the larger emulator; the strongest alone), each with every combination of the shared knobs."""
    shared = list(product(*(range(len(knob)) for knob in (knobs.steps, knobs.ranks, knobs.codecs))))
    for name, levels in _assignments(classes, emulators):
        for steps, rank, codec in shared:
            settings = f"{knobs.steps[steps]} steps, rank {knobs.ranks[rank]}, {knobs.codecs[codec]}"
            yield f"{name}, {settings}", (*levels, steps, rank, codec)


def _assignments(classes: Sequence[DeviceClass], emulators: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for level in range(1, emulators + 1):
        yield f"all on emulator {level}", (level,) * len(classes)
    by_class = tuple(1 + (_STRENGTH[name] * (emulators - 1)) // 2 for name in classes)
    yield "by class", by_class
    yield "by class, no phones", tuple(0 if n == "phone" else k for n, k in zip(classes, by_class, strict=True))
    best = max(_STRENGTH[name] for name in classes)
    yield "the strongest alone", tuple(emulators if _STRENGTH[name] == best else 0 for name in classes)
