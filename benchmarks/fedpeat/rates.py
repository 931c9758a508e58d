"""Learning rates of `python -m benchmarks.fedpeat`: for every arm the same recorded search, on rows of its own.

A rate is judged by the loss that the adapter reaches in the full model after the last round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.fedpeat.kept import Place, measured
from benchmarks.fedpeat.tasks import TASKS, Arm
from benchmarks.shared.rate_search import APART, coarse_search

__all__ = ["known_rate", "searched", "trials"]


def searched(task: str, arm: Arm) -> float:
    """The best rate of an arm; trials that are missing are run."""
    losses = _search(task, arm, lambda place: float(measured(place)["loss"]))
    return min(losses, key=losses.__getitem__)


def known_rate(cells: dict[str, Any], task: str, arm: Arm) -> float | None:
    """The best rate of an arm, from cells by key; None before its search is complete."""
    try:
        losses = _search(task, arm, lambda place: float(cells[place.key]["loss"]))
    except KeyError:
        return None
    return min(losses, key=losses.__getitem__)


def trials(cells: dict[str, Any], task: str, arm: Arm) -> dict[float, float]:
    """Losses by rate, of what was tried, nats."""
    start = f"{task} / trial / {arm.name} / 0 / "
    return {float(key.removeprefix(start)): cell["loss"] for key, cell in cells.items() if key.startswith(start)}


def _search(task: str, arm: Arm, loss: Callable[[Place], float]) -> dict[float, float]:
    base = TASKS[task]().base(arm)
    return coarse_search(
        [base / APART, base, base * APART], lambda rate: loss(Place(task, "trial", arm.name, 0, float(f"{rate:g}")))
    )
