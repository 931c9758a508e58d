"""From real numbers to whole ones that still add up."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["whole_numbers"]


def whole_numbers(values: Sequence[float], total: int) -> list[int]:
    """Values as integers that add up to `total` exactly: rounded down, the rest to the largest fractions."""
    floors = [math.floor(value) for value in values]
    fractions = [value - down for value, down in zip(values, floors, strict=True)]
    left = total - sum(floors)
    order = sorted(range(len(floors)), key=lambda i: (-fractions[i], i))
    for step in range(abs(left) if order else 0):
        floors[order[step % len(order)]] += 1 if left > 0 else -1
    return floors
