"""Methods at equal bytes, equal memory and equal time: which fit a budget, and which of them is best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.methods.cells import STEPS
from benchmarks.methods.comparing import rank
from benchmarks.methods.equal_time import EqualTime
from benchmarks.methods.quality import REFERENCE, Quality, listed, paragraph, title
from benchmarks.methods.results import KINDS
from benchmarks.shared.ranks import ranked

__all__ = ["BYTES", "MEMORY", "TIMES", "Budget", "budgets", "equal", "on_the_line"]

BYTES = (4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6, math.inf)
MEMORY = (112.0, 120.0, 128.0, 256.0, 512.0, math.inf)
"""MiB above bare."""
TIMES = (1.1, 1.25, 1.5, 2.0, 5.0, math.inf)
"""Of the fastest method's CPU seconds."""


class Budget(NamedTuple):
    """Methods that need no more than `most`, the best of them by average rank first, and those not told apart from it.

    `critical` is infinite where a single method fits, or a single task was measured.
    """

    most: float
    fitting: tuple[str, ...]
    best: str
    rank: float
    alike: tuple[str, ...]
    critical: float


def budgets(quality: Quality, cost: Callable[[str], float | None], limits: Sequence[float]) -> list[Budget]:
    """For each limit that lets a method more in than the one before; ranks are among those that fit."""
    needs = {method: need for method in quality.ranking if (need := cost(method)) is not None}
    found: list[Budget] = []
    for most in limits:
        fitting = tuple(method for method, need in needs.items() if need <= most)
        if not fitting or (found and fitting == found[-1].fitting):
            continue
        if len(fitting) == 1 or len(quality.tasks) < 2:
            best = max(fitting, key=lambda method: quality.better(quality.tasks[0], [method]))
            others = tuple(method for method in fitting if method != best)
            found.append(Budget(most, fitting, best, math.nan, others, math.inf))
            continue
        ranks, order = rank([quality], fitting)
        alike = [m for m, value in zip(order, ranks.average, strict=True) if value - ranks.average[0] < ranks.critical]
        found.append(Budget(most, fitting, order[0], float(ranks.average[0]), tuple(alike[1:]), ranks.critical))
    return found


def on_the_line(quality: Quality, cost: Callable[[str], float | None]) -> list[str]:
    """Methods that no other beats in mean quality at no more cost, from the cheapest to the dearest."""
    sign = -1.0 if quality.kind == "language" else 1.0
    known = [
        (need, -sign * mean, method)
        for method in quality.ranking
        if (need := cost(method)) is not None and (mean := quality.mean(method)) is not None
    ]
    line, least = [], math.inf
    for _, loss, method in sorted(known):
        if loss < least:
            line, least = [*line, method], loss
    return line


def equal(qualities: Mapping[str, Quality], timed: EqualTime) -> list[str]:
    """Tables by budget and lines of the undominated, for each model whose costs are known."""
    lines = [
        "## At equal bytes, memory and time",
        "",
        *paragraph(
            "Methods that need no more than a budget are ranked anew among themselves; *alike* are those that the",
            "critical difference does not tell apart from the best. Each method was measured at one size, the one that",
            "`deltaproof methods recommend` tries: one that does not fit might with a smaller rank. Methods that were",
            "not measured on every task of a model are left out of its tables, and a head alone where its memory or",
            "time was not taken. Memory was measured once, and peaks of one program differ by up to a fifth from run",
            "to run ([FedPEAT](fedpeat.md)): budgets that lie closer are hardly different ones. *Undominated* are",
            "methods that no other equals or beats in mean quality at no more cost.",
        ),
        *paragraph(
            "**Time is a filter in these tables.** All methods took the same number of steps; a budget keeps those",
            "whose round took no more CPU seconds than so many times the fastest one's. What a fast method makes of",
            "the time that it saves is not in them, so they understate fast methods, if more steps help those: then",
            "a method that is faster and not worse at equal steps is ahead at equal time, too, and only undominated",
            "ones can be the best. Where rounds of equal time were measured, a table of them ends this section.",
        ),
    ]
    for kind, quality in qualities.items():
        lines += _table(quality, f"{KINDS[kind]}, bytes of a round", quality.size, BYTES, _bytes)
        fastest = min(filter(None, map(quality.time, quality.ranking)), default=None)
        if fastest is not None:
            lines += _table(quality, f"{KINDS[kind]}, CPU time of a round", _relative(quality, fastest), TIMES, _times)
        if len([m for m in quality.ranking if quality.memory(m) is not None]) > 1:
            lines += _table(quality, f"{KINDS[kind]}, memory above bare", quality.memory, MEMORY, _mib)
    for quality in qualities.values():
        lines += _at_equal_time(quality, timed)
    return lines


def _at_equal_time(quality: Quality, timed: EqualTime) -> list[str]:
    """Rounds with as many steps as the time of `lora` allows, beside those of equal steps on the same tasks."""
    found = timed.qualities(quality)
    tasks = list(dict.fromkeys(place.task for place in found))
    if len(tasks) < 2:
        return []
    steps = timed.steps[quality.kind]
    methods = list(steps)
    places = {task: [place for place in found if place.task == task] for task in tasks}
    # [tasks, methods, 2]: equal steps and equal time
    table = np.array([[np.mean([found[p][m] for p in places[task]], axis=0) for m in methods] for task in tasks])
    ranks = ranked(-table[..., 1] if quality.kind == "language" else table[..., 1])
    usual, timed_means = table.mean(axis=0).T
    lines = [
        *paragraph(
            f"**Equal time, measured, on {KINDS[quality.kind]}**: every method takes as many steps as it can in the",
            f"CPU time of a recorded round of `{REFERENCE}` with {STEPS[quality.kind]} steps",
            f"(`benchmarks/methods/equal_time.py`). {len(tasks)} tasks, {len(found)} runs of each method. Critical",
            f"difference of ranks {ranks.critical:.1f}; \\* told apart from the first.",
        ),
        f"| method | steps | {quality.metric} at equal steps | {quality.metric} at equal time | rank at equal time |",
        "|---|---|---|---|---|",
    ]
    best = ranks.average.min()
    for i in np.argsort(ranks.average, kind="stable"):
        mark = "" if ranks.average[i] - best < ranks.critical else " *"
        lines.append(
            f"| {title(methods[i])} | {steps[methods[i]]} | {usual[i]:.3f} | {timed_means[i]:.3f} | "
            f"{ranks.average[i]:.1f}{mark} |"
        )
    return [*lines, ""]


def _relative(quality: Quality, fastest: float) -> Callable[[str], float | None]:
    def cost(method: str) -> float | None:
        time = quality.time(method)
        return None if time is None else time / fastest

    return cost


def _table(
    quality: Quality,
    what: str,
    cost: Callable[[str], float | None],
    limits: Sequence[float],
    shown: Callable[[float], str],
) -> list[str]:
    found = budgets(quality, cost, limits)
    if not found:
        return []
    lines = [f"| {what} | fit | best | its rank | critical difference | alike |", "|---|---|---|---|---|---|"]
    for budget in found:
        ranks = "- | -" if math.isinf(budget.critical) else f"{budget.rank:.1f} | {budget.critical:.1f}"
        most = "any" if math.isinf(budget.most) else f"at most {shown(budget.most)}"
        lines.append(f"| {most} | {len(budget.fitting)} | {title(budget.best)} | {ranks} | {listed(budget.alike)} |")
    line = ", ".join(f"{title(m)} ({shown(cost(m) or 0.0)})" for m in on_the_line(quality, cost))
    return [*lines, "", f"Undominated, from the cheapest: {line}.", ""]


def _bytes(size: float) -> str:
    return f"{size / 1e6:,.3g} MB" if size >= 1e6 else f"{size / 1e3:,.3g} kB"


def _mib(size: float) -> str:
    return f"{size:.0f} MiB"


def _times(factor: float) -> str:
    return f"{factor:.2f} times the fastest"
