"""Our rounds beside the same methods without us: by method, pooled by family, and how many tasks a half point needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.methods.cells import METHODS
from benchmarks.methods.quality import paragraph
from benchmarks.methods.results import KINDS, SAME_START, Key, Measured, kind_of
from benchmarks.shared.ranks import Paired, paired, sets_needed
from deltaproof.tuning.methods import METHODS as CLASSES

__all__ = ["MARGIN", "beside_peft", "pairs", "pooled"]

MARGIN = 0.5
"""Points of accuracy: the loss that is to be excluded."""


def beside_peft(measured: Measured) -> list[str]:
    """Ours minus plain, by method and by family, with draws of each and from the same start."""
    return [*_own_draws(measured), *_same_start(measured)]


def _own_draws(measured: Measured) -> list[str]:
    lines = [
        "## Beside peft without us",
        "",
        *paragraph(
            "The same method, options, batches, rate and steps by `get_peft_model`, torch's Adam and torch's own",
            "random draws (`benchmarks/methods/plain_loop.py`); `full` without peft. Points of accuracy, ours minus",
            "plain, paired by task and seed: Student's 95 % interval over tasks. A loss of half a point is excluded",
            "where the interval ends above -0.5, found where all of it lies below. *More tasks* is how many more it",
            "takes to exclude that with a probability of 80 %, if there is no difference in truth and tasks differ",
            "as much as these did; 0 says that it is the mean, not the number of tasks, that keeps it open. Rows are",
            "not corrected for one another: of forty methods that do lose half a point, one would be excluded by",
            "chance.",
        ),
        *_header("method | model"),
    ]
    for method in METHODS:
        for kind in ("text", "digits"):
            by_task = pairs(measured, method, [kind])
            if any(by_task):
                lines.append(f"| `{method}` | {KINDS[kind]} | {_row(paired(by_task))} |")
    return [*lines, "", *_families(measured, "plain")]


def _same_start(measured: Measured) -> list[str]:
    """From our start nothing but the implementation differs, so far fewer tasks exclude a loss."""
    found = [
        difference
        for method in METHODS
        for of_task in pairs(measured, method, ["text", "digits"], SAME_START)
        for difference in of_task
    ]
    if not found:
        return []
    return [
        "### From the same start",
        "",
        *paragraph(
            "Above, chance differs too: each side draws its own head and adapter. Here peft's loop begins with the",
            "values of our round, and only the implementation differs: our step, loss, optimizer and order of sums,",
            "and what a form loses where a round is delivered.",
            f"{found.count(0.0)} of {len(found)} runs end at the very same accuracy. The largest difference is",
            f"{max(map(abs, found)):.1f} points: where a rate is so high that rounding decides how a round ends",
            "([steering](steering.md)), any two programs end apart. What our draws are worth beside torch's stays a",
            "question of the tables above.",
        ),
        *_families(measured, SAME_START),
    ]


def pairs(measured: Measured, method: str, kinds: Sequence[str], beside: str = "plain") -> list[list[float]]:
    """By task, ours minus plain (or another kind of cell) in points for each seed that has both."""
    return [_differences(measured.cells[task], method, beside) for task in measured.cells if kind_of(task) in kinds]


def pooled(measured: Measured, methods: Sequence[str], kinds: Sequence[str], beside: str = "plain") -> Paired | None:
    """Of several methods together: a task counts once, with the mean of its methods' means over seeds.

    Methods on one task share its rows and its batches, so they are not independent of one another. None where nothing
    was measured. `runs` counts every pair of a round and a plain run.
    """
    by_task, runs = [], 0
    for of_task in zip(*(pairs(measured, method, kinds, beside) for method in methods), strict=True):
        by_method = [found for found in of_task if found]
        runs += sum(map(len, by_method))
        by_task.append([float(np.mean(found)) for found in by_method])
    if not any(by_task):
        return None
    found = paired(by_task)
    return Paired(found.mean, found.half, found.sets, runs, found.spread, found.p_value)


def _families(measured: Measured, beside: str) -> list[str]:
    lines = [
        *paragraph(
            "By family. A task counts once, with the mean over the family's methods that were run on it: methods of",
            "one task share its rows and batches, and are no draws of their own. Families have fewer methods on the",
            "vision transformer, which has no tokens that a prompt could precede.",
        ),
        *_header("family | methods | model"),
    ]
    families = dict.fromkeys(CLASSES[method].family for method in METHODS)
    groups = {family: [m for m in METHODS if CLASSES[m].family == family] for family in families}
    for family, methods in {**groups, "all": list(METHODS)}.items():
        for kinds, name in ((["text"], "MiniLM"), (["digits"], "vision transformer"), (["text", "digits"], "both")):
            found = pooled(measured, methods, kinds, beside)
            if found is not None:
                count = sum(any(pairs(measured, method, kinds, beside)) for method in methods)
                lines.append(f"| {family} | {count} | {name} | {_row(found)} |")
    return [*lines, ""]


def _header(first: str) -> list[str]:
    header = f"| {first} | tasks | runs | difference, points | a loss of half a point | more tasks |"
    return [header, "|" + "---|" * (header.count("|") - 1)]


def _row(found: Paired) -> str:
    interval = f"± {found.half:.2f}" if math.isfinite(found.half) else "one task: no interval"
    verdict = "not excluded"
    if found.mean - found.half > -MARGIN:
        verdict = "excluded"
    elif found.mean + found.half < -MARGIN:
        verdict = "**found**"
    if verdict != "not excluded":
        more = "-"
    elif math.isinf(found.spread):
        more = "not known"
    else:
        more = f"{max(0, sets_needed(found.spread, MARGIN) - found.sets)}"
    return f"{found.sets} | {found.runs} | {found.mean:+.2f} {interval} | {verdict} | {more}"


def _differences(cells: Mapping[Key, Mapping[str, float]], method: str, beside: str) -> list[float]:
    """Ours minus that, points of accuracy, for each seed that has both."""
    found = []
    for key, plain in cells.items():
        ours = cells.get(Key("ours", method, key.seed))
        if key[:2] == (beside, method) and ours is not None and "refused" not in ours:
            found.append(100 * (ours["accuracy"] - plain["accuracy"]))
    return found
