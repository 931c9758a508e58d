"""Accuracy over bytes (logarithmic) as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Point", "plot"]

_COLOURS = {"addition": "#2563eb", "specification": "#d97706", "reparameterisation": "#059669"}
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 860, 480, 60, 420, 40


class Point(NamedTuple):
    """A method, its family, bytes of a delta, and accuracy."""

    name: str
    family: str
    size: float
    quality: float


def plot(points: Sequence[Point], what: str) -> str:
    """`what` the accuracy is of."""
    logs = [float(np.log10(size)) for _, _, size, _ in points]
    qualities = [quality for *_, quality in points]
    low, high = (min(logs) - 0.1, max(logs) + 0.6) if points else (0.0, 1.0)
    bottom, top = (min(qualities) - 0.02, max(qualities) + 0.02) if points else (0.0, 1.0)

    def across(log: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 20) * (log - low) / (high - low)

    def up(quality: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (quality - bottom) / (top - bottom)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_WIDTH - 20}" fill="none" stroke="#444"/>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 12}" text-anchor="middle">bytes of a round\'s delta</text>',
        f'<text x="16" y="230" transform="rotate(-90 16 230)" text-anchor="middle">held-out accuracy: {what}</text>',
    ]
    for power in range(int(np.ceil(low)), int(np.floor(high)) + 1):
        parts.append(f'<path d="M{across(power):.1f} {_TOP}V{_BOTTOM}" stroke="#eee"/>')
        parts.append(f'<text x="{across(power):.1f}" y="{_BOTTOM + 16}" text-anchor="middle">1e{power}</text>')
    for tick in np.arange(np.ceil(bottom * 20) / 20, top, 0.05):
        parts.append(f'<path d="M{_LEFT} {up(tick):.1f}H{_WIDTH - 20}" stroke="#eee"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>')
    for number, (family, colour) in enumerate(_COLOURS.items()):
        parts.append(f'<circle cx="{_LEFT + 20 + 150 * number}" cy="20" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + 28 + 150 * number}" y="24">{family}</text>')
    taken: list[tuple[float, float]] = []
    for (name, family, _, quality), log in sorted(zip(points, logs, strict=True), key=lambda item: item[0][3]):
        x, y = across(log), up(quality)
        label = y + 4
        while any(abs(x - other) < 80 and abs(label - line) < 11 for other, line in taken):
            label -= 2
        taken.append((x, label))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_COLOURS[family]}"/>')
        parts.append(f'<text x="{x + 7:.1f}" y="{label:.1f}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
