"""An equal search for every learning rate: coarse, then once finer.

Three rates, each four times the one before; while the best is at an edge the next one beyond it, to five at most; then
half and twice the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["APART", "MOST", "best_rate", "coarse_search"]

APART = 4.0
FINER = 2.0
MOST = 5
"""Coarse trials."""


def best_rate(base: float, loss: Callable[[float], float]) -> float:
    """The tried rate of the lowest `loss`, of those around `base`. Losses may be infinite."""
    losses = coarse_search([base / APART, base, base * APART], loss)
    best = _best(losses)
    losses |= {rate: loss(rate) for rate in (best / FINER, best * FINER)}
    return _best(losses)


def coarse_search(rates: Sequence[float], loss: Callable[[float], float]) -> dict[float, float]:
    """Losses by rate: of `rates`, and of those beyond while the best is at an edge. The caller takes the lowest."""
    losses: dict[float, float] = {}
    while rates:
        losses |= {rate: loss(rate) for rate in rates}
        rates = _beyond(losses) if len(losses) < MOST else []
    return losses


def _beyond(losses: dict[float, float]) -> list[float]:
    """The rate beyond the best one, where the best is the first or the last of those tried."""
    best = _best(losses)
    return [best / APART] if best == min(losses) else [best * APART] if best == max(losses) else []


def _best(losses: dict[float, float]) -> float:
    return min(losses, key=losses.__getitem__)
