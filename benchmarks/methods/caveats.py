"""What the figures of the page do not say by themselves: seeds that tasks share, tasks on which methods fail."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.methods.cells import FUSED
from benchmarks.methods.quality import Quality, listed, paragraph
from benchmarks.methods.rates import FUSION_DEV_TASKS
from benchmarks.methods.results import KINDS, UNTOUCHED

__all__ = ["caveats", "failures", "fusion", "shared_seeds"]

NAMED = 8
"""So many methods that fail on a task are named, more are counted."""


def caveats(qualities: Mapping[str, Quality]) -> list[str]:
    """Paragraphs after those on what so many tasks and seeds can say."""
    return [*_common_start(qualities), *failures(qualities)]


def shared_seeds(quality: Quality) -> float | None:
    """How far the means of seeds over all tasks lie apart, over how far chance within tasks alone would bring them.

    A ratio of variances, pooled over methods; 1 where nothing is common to tasks. None where not all tasks have the
    same seeds, two at least, or there is one task.
    """
    seeds = {tuple(sorted(p.seed for p in quality.places if p.task == task)) for task in quality.tasks}
    if len(quality.tasks) < 2 or len(seeds) != 1 or len(min(seeds)) < 2:
        return None
    between, within = 0.0, 0.0
    for method in quality.ranking:
        table = np.array([quality.by_seed(method, task) for task in quality.tasks])  # [tasks, seeds]
        left = table - table.mean(axis=1, keepdims=True)
        common = left.mean(axis=0)
        tasks, many = table.shape
        between += tasks * float(np.sum(common**2)) / (many - 1)
        within += float(np.sum((left - common) ** 2)) / ((tasks - 1) * (many - 1))
    return between / within if within else None


def failures(qualities: Mapping[str, Quality]) -> list[str]:
    """Tasks on which methods end no better than the untouched model."""
    told = []
    for kind, quality in qualities.items():
        for task in quality.tasks:
            floor = quality.of(UNTOUCHED, task)
            if floor is None:
                continue
            (least,) = quality.better(task, [UNTOUCHED])
            worse = [m for m in quality.ranking if quality.better(task, [m])[0] <= least]
            if worse:
                names = listed(worse) if len(worse) <= NAMED else f"{len(worse)} of {len(quality.ranking)}"
                told.append(f"{task} ({KINDS[kind]}): {names}")
    if not told:
        return []
    return paragraph(
        "**Where methods fail.** After a round these are no better than the untouched model, which of texts and digits",
        f"knows nothing: {'; '.join(told)}. Where nearly all fail, ranks are luck. Where some fail that learn other",
        "tasks, their rate, the best on the dev task, does not suit this one, and one such task can weigh more in a",
        "mean than all others: ranks and medians say more there.",
    )


def fusion() -> list[str]:
    """What `fusion` has that no other method has, and on what its rate is judged."""
    learnt = "; ".join(f"{' and '.join(FUSED[kind])} on {name}" for kind, name in KINDS.items())
    judged = ", ".join(f"{FUSION_DEV_TASKS[kind]} on {name}" for kind, name in KINDS.items())
    return paragraph(
        f"`fusion` attends over adapters that were trained on two dev tasks ({learnt}): on rows that no other method",
        f"has. So its rate is judged on tasks that neither adapter has learnt: {judged}.",
    )


def _common_start(qualities: Mapping[str, Quality]) -> list[str]:
    found = {KINDS[kind]: shared_seeds(quality) for kind, quality in qualities.items()}
    told = ", ".join(f"{ratio:.2f} on {name}" for name, ratio in found.items() if ratio is not None)
    ratios = (
        [
            "Where all tasks have several seeds, the variance between seeds of means over tasks is this many times",
            f"what chance within tasks gives them (1: nothing is common): {told}.",
        ]
        if told
        else ["No model has several seeds on all of its tasks, so how much that is, is not known."]
    )
    return paragraph(
        "**What seeds share.** A seed draws one start of a method (head and adapter) for all tasks of a model. What",
        "that start is worth to all tasks alike, intervals over tasks do not see.",
        *ratios,
    )
