"""Which methods the tasks tell apart: average ranks with critical differences, and each method beside `lora`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.methods.quality import REFERENCE, Quality, joined, paragraph, title
from benchmarks.methods.results import KINDS, ROWS, UNTOUCHED
from benchmarks.shared.ranks import Counts, Paired, Ranks, counted, holm, paired, ranked

__all__ = ["beside_reference", "rank", "ranks"]

LEVEL = 0.05
MOVED = 1.0
"""Points by which one task moves a mean for the page to say so."""


def rank(qualities: Sequence[Quality], methods: Sequence[str]) -> tuple[Ranks, list[str]]:
    """Ranks over the tasks of all `qualities`, and the methods from the best to the worst.

    Raises ValueError for fewer than two tasks or two methods.
    """
    table = [quality.better(task, methods) for quality in qualities for task in quality.tasks]
    found = ranked(np.array(table, np.float64).reshape(len(table), len(methods)))
    order = np.argsort(found.average, kind="stable")
    return Ranks(found.average[order], found.critical, found.p_value), [methods[i] for i in order]


def ranks(qualities: Mapping[str, Quality]) -> list[str]:
    """Average ranks over tasks, by model and over several, and which methods the best is not told apart from."""
    lines = [
        "## Average ranks",
        "",
        *paragraph(
            "Methods ranked on each task by its mean over seeds, 1 the best, and the ranks averaged over tasks. Two",
            "whose ranks differ by less than the critical difference (Nemenyi, 95 %; Demsar 2006) are not told apart.",
            "The test allows for all pairs of methods at once, so few tasks tell few of them apart.",
        ),
    ]
    for what, kinds in (
        ("Text", ["text"]),
        ("Digits", ["digits"]),
        ("Language, by loss", ["language"]),
        ("Text and digits", ["text", "digits"]),
        ("All three", ["text", "digits", "language"]),
    ):
        chosen = [qualities[kind] for kind in kinds]
        methods = [m for m in ROWS if all(m in quality.ranking for quality in chosen)]
        tasks = sum(len(quality.tasks) for quality in chosen)
        if tasks < 2 or len(methods) < 2:
            continue
        found, order = rank(chosen, methods)
        marks = ["" if value - found.average[0] < found.critical else " *" for value in found.average]
        lines += [
            f"**{what}**, {tasks} tasks, {len(methods)} methods: critical difference {found.critical:.1f}, Friedman "
            f"p = {found.p_value:.1g}. "
            + ", ".join(
                f"{title(method)} {value:.1f}{mark}"
                for method, value, mark in zip(order, found.average, marks, strict=True)
            )
            + ".",
            "",
        ]
    return [*lines, "\\* told apart from the first.", ""]


def beside_reference(qualities: Mapping[str, Quality]) -> list[str]:
    """Wins and losses against `lora` with a corrected test; of language the mean difference of loss."""
    lines = [f"## Each method beside `{REFERENCE}`", ""]
    return [*lines, *_accuracy(qualities), *_language(qualities["language"])]


def _accuracy(qualities: Mapping[str, Quality]) -> list[str]:
    chosen = [qualities["text"], qualities["digits"]]
    rows: list[tuple[str, list[str], Paired, str, Counts]] = []
    for method in ROWS:
        found = joined(chosen, method, REFERENCE)
        if method == REFERENCE or not found:
            continue
        counts = []
        for quality in chosen:
            each = [float(np.mean(values)) for values in quality.differences(method, REFERENCE) if values]
            some = counted(each) if each else None
            counts.append("-" if some is None else f"{some.wins} / {some.ties} / {some.losses}")
        mean = paired(found)
        interval = f"{mean.mean:+.1f}" + (f" ± {mean.half:.1f}" if np.isfinite(mean.half) else "")
        means = [float(np.mean(values)) for values in found]
        rows.append((method, counts, mean, f"{interval} | {np.median(means):+.1f}", counted(means)))
    if not rows:
        return []
    corrected = holm([counts.p_value for *_, counts in rows])
    lines = [
        *paragraph(
            "Accuracy of text and digits, by task the mean over seeds. Better / alike / worse count tasks. The",
            "difference is in points, with Student's 95 % interval over tasks, and beside it the median of tasks,",
            "which no single task moves far. p is of Wilcoxon's signed-rank test over the same tasks, and beside it",
            f"what it is worth among all {len(rows)} comparisons (Holm).",
        ),
        "| method | text | digits | difference, points | median | p | Holm |",
        "|---|---|---|---|---|---|---|",
    ]
    for (method, counts, _, interval, both), p_value in zip(rows, corrected, strict=True):
        lines.append(f"| {title(method)} | {' | '.join(counts)} | {interval} | {both.p_value:.2g} | {p_value:.2g} |")
    told = [(m, mean, c) for (m, _, mean, _, c), p in zip(rows, corrected, strict=True) if p < LEVEL]
    better = [f"{title(m)} by {mean.mean:.1f} points" for m, mean, c in told if c.wins > c.losses]
    worse = [f"{title(m)} by {-mean.mean:.1f} points" for m, mean, c in told if c.wins < c.losses]
    return [*lines, "", *_verdict(better, worse), *_collapsed(chosen)]


def _collapsed(chosen: Sequence[Quality]) -> list[str]:
    """Tasks on which the reference itself learnt nothing, where that moves the mean of who leads it most."""
    told = []
    for quality in chosen:
        for task in quality.tasks:
            lines = [quality.better(task, [name]) for name in (REFERENCE, UNTOUCHED)]
            if not all(lines) or lines[0] > lines[1]:
                continue
            method, found = _leader(chosen, task)
            both, without = np.mean(list(found.values())), np.mean([v for t, v in found.items() if t != task])
            if abs(both - without) >= MOVED:
                told.append(f"{task}: {title(method)} leads by {found[task]:.0f} points there, and its mean is"
                            f" {both:+.1f} with this task, {without:+.1f} without it")  # fmt: skip
    if not told:
        return []
    return paragraph(
        f"`{REFERENCE}` ends no better than the untouched model on {'; '.join(told)}. Such a task says what a rate is",
        "worth that was chosen on another, and not which method learns more.",
    )


def _leader(chosen: Sequence[Quality], task: str) -> tuple[str, dict[str, float]]:
    """The method that leads the reference most on a task, and its mean differences in points by task."""
    by_method: dict[str, dict[str, float]] = {}
    for quality in chosen:
        for method in ROWS:
            for name, found in zip(quality.tasks, quality.differences(method, REFERENCE), strict=True):
                if found:
                    by_method.setdefault(method, {})[name] = float(np.mean(found))
    best = max((m for m in by_method if len(by_method[m]) > 1), key=lambda m: by_method[m].get(task, -np.inf))
    return best, by_method[best]


def _language(quality: Quality) -> list[str]:
    rows = [(m, paired(d)) for m in ROWS if m != REFERENCE and any(d := quality.differences(m, REFERENCE))]
    if not rows:
        return []
    corrected = holm([found.p_value for _, found in rows])
    lines = [
        *paragraph(
            f"Language on {KINDS['language']}: loss minus that of `{REFERENCE}` in nats a token, below zero is better,",
            "with Student's 95 % interval over tasks and the p of his paired test: so few tasks are too few for",
            "Wilcoxon's.",
        ),
        "| method | tasks | difference, nats | p | Holm |",
        "|---|---|---|---|---|",
    ]
    for (method, found), p_value in zip(rows, corrected, strict=True):
        interval = f"± {found.half:.3f}" if np.isfinite(found.half) else "one task: no interval"
        lines.append(
            f"| {title(method)} | {found.sets} | {found.mean:+.3f} {interval} | {found.p_value:.2g} | {p_value:.2g} |"
        )
    told = [(m, found.mean) for (m, found), p in zip(rows, corrected, strict=True) if p < LEVEL]
    better = [f"{title(m)} by {-mean:.3f} nats" for m, mean in told if mean < 0]
    worse = [f"{title(m)} by {mean:.3f} nats" for m, mean in told if mean > 0]
    return [*lines, "", *_verdict(better, worse)]


def _verdict(better: Sequence[str], worse: Sequence[str]) -> list[str]:
    return paragraph(
        f"Told apart from `{REFERENCE}` at 5 % over all of these comparisons: better {', '.join(better) or 'none'};",
        f"worse {', '.join(worse) or 'none'}.",
    )
