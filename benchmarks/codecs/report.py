"""docs/results/codecs.md from measured cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.codecs.arms import REFERENCE
from benchmarks.codecs.cells import BATCH, ROUNDS, STEPS, TEST, TRAIN, TRAINERS
from benchmarks.codecs.looks import LOOKS, SECOND_TASK
from benchmarks.codecs.rates import DEV_TASK, FIRST_COMPARED, judged
from benchmarks.codecs.results import COMPARED_ROUNDS, Lost, Measured, text_tasks

__all__ = ["NAMED", "verdict", "write"]

AIM_TIMES = 100
AIM_POINTS = 1.0
NAMED = 6
"""Tasks that a verdict names, the worst."""
LEARNT = 0.6
"""Accuracy from which a task of two labels counts as learnt at all."""
SHOWN = range(1, ROUNDS + 1)
INTRODUCTION = f"""# Small deltas: bytes against quality

Measured by `python -m benchmarks.codecs` on every text task of the benchmarks: MiniLM, {TRAINERS} trainers with a third
of {TRAIN} rows each (tumours has 224), {ROUNDS} rounds of {STEPS} steps of {BATCH} rows, Adam, the mean of decoded
deltas. So few steps are the first rounds of a federation, in which codecs lose most. Quality is accuracy on {TEST}
held-out rows (yelp 399, amazon 385, tumours 200), which share no text with the rows that are trained on.

Bytes are of everything that a trainer publishes in a round: the delta with its header, and a memory that is fed back,
if there is one. Openings of sampled steps are evidence and come on top, and are larger ([evidence](evidence.md)):
what a trainer sends in all falls by less. *Times fewer* is against what the demo trains,
LoRA of rank 8 on query and value of every layer, in float32, at its own best rate. So are the *points* of accuracy, on
the same rows with the same seed.

The aim: {AIM_TIMES} times fewer bytes for at most one point on every task after every round from the second on. Round 1
finds the classification head: most arms still guess after it.

| arm | what is trained | how it travels |
|---|---|---|
| `{REFERENCE}` | rank 8, query and value, six layers | as it is |
| `upper lora, two_bit` | rank 2, query and value of the last three layers | `two_bit` with `keep_norm` |
| `upper lora of rank 8, two_bit` | the same in rank 8 | the same |
| `lora, low_rank\\|two_bit` | as the reference | the largest triplets, 9,800 numbers |
"""
BEFORE = """
## Measured before, on the demo's task alone

Three trainers (imdb, yelp, amazon), the demo's rate of 0.004 for everything, three seeds, 300 held-out rows,
2026-11-26. After the second round `top_k|two_bit` (115 times fewer bytes) lost 30.3 points, after the fourth 21.6.
`low_rank|two_bit` lost 10.1 after the second, and nothing later. `int4` (7.1 times fewer) lost nothing at any round.

**Error feedback.** A trainer that feeds back what a delta lost publishes that memory, which is as large as the adapter
in float32: no codec then saves a byte, whatever it does to quality. It helped little: after the second round
`low_rank|two_bit` lost 10.9 points with it and 10.1 without, `top_k|two_bit` 30.4 and 30.3, `sign` 25.2 and 32.3.
"""
PUBLISHED = """
## Published

| who | what | saved |
|---|---|---|
| Aji and Heafield 2017 | dropping the smallest gradients, with feedback | 99 % of the exchange at equal quality |
| Sarfi et al. 2025, SparseLoCo | top-k with 2-bit values, chunk by chunk, over many outer steps | 146 times |
| Tang et al. 2021, 1-bit Adam | signs after a warm-up in full precision | 5 times |

They save on full models over thousands of exchanges; here a few exchanges carry an adapter that is small already.
"""


def write(
    values: Mapping[str, Any],
    trials: Mapping[str, Any],
    looked: Mapping[str, Any],
    rates: Mapping[str, float],
    path: Path,
) -> None:
    """Write the page from cells, trials of rates and the first look, each by key."""
    measured = Measured.read(values, rates)
    parts = [
        INTRODUCTION,
        verdict(measured),
        _overall(measured, rates),
        _chance(measured),
        _by_task(measured),
        _trials(trials, rates),
        _looks(measured, looked, judged(trials[f"{REFERENCE} / {rates[REFERENCE]:g}"])),
        BEFORE,
        PUBLISHED,
    ]
    path.write_text("".join(parts))


def verdict(measured: Measured) -> str:
    """Whether each arm keeps the aim, and the tasks that lost the most."""
    lines = ["", "## Verdict", ""]
    for name in measured.others:
        lost, fewer = measured.lost(name), measured.bytes(REFERENCE) / measured.bytes(name)
        beyond = [x for x in lost if _beyond(x)]
        worst = {
            task: min(x.points for x in beyond if x.task == task) for task in dict.fromkeys(x.task for x in beyond)
        }
        bad = sorted(worst, key=worst.__getitem__)
        met = "met" if not beyond and fewer >= AIM_TIMES else "missed"
        rest = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        said = f" More than a point is lost after some round on {len(bad)} of {len({x.task for x in lost})} tasks"
        named = f"{said}: {', '.join(bad[:NAMED])}{rest}." if bad else ""
        means = [found for at in COMPARED_ROUNDS if (found := measured.overall(name, at))]
        lines.append(
            f"- {_plain(name)}, {fewer:.0f} times fewer: **{met}**. The mean over tasks is "
            f"{', '.join(f'{x.mean:+.1f}' for x in means)} points after rounds {FIRST_COMPARED} to {ROUNDS}.{named}"
        )
    return "\n".join(lines) + "\n"


def _overall(measured: Measured, rates: Mapping[str, float]) -> str:
    head = " | ".join(f"points at {at}" for at in COMPARED_ROUNDS)
    lines = [
        "",
        "Mean over tasks, with Student's 95 % interval over them; in brackets how many of the tasks lost over a point.",
        f"The second line of an arm is of the tasks that the reference has learnt by then (accuracy {LEARNT} or more):",
        "where all guess, nothing can be lost. It is the reference's own accuracy that chooses them, so its luck",
        "counts against the arms there.",
        "",
        f"| arm | rate | bytes | times fewer | tasks, cells | {head} | worst task |",
        "|---" * (6 + len(COMPARED_ROUNDS)) + "|",
    ]
    reference = measured.bytes(REFERENCE)
    tasks = measured.cells[REFERENCE]
    means = [np.mean([measured.accuracy(REFERENCE, task, at) for task in tasks]) for at in COMPARED_ROUNDS]
    lines.append(
        f"| {_code(REFERENCE)} | {rates[REFERENCE]:g} | {reference:,.0f} | 1.0 | {len(tasks)}, "
        f"{sum(map(len, tasks.values()))} | {' | '.join(f'accuracy {mean:.3f}' for mean in means)} | - |"
    )
    for name in measured.others:
        lost, size = measured.lost(name), measured.bytes(name)
        worst = min(lost, key=lambda x: x.points)
        overall = {at: measured.overall(name, at) for at in COMPARED_ROUNDS}
        runs = next(found.runs for found in overall.values() if found)
        columns = [
            f"{found.mean:+.1f} ± {found.half:.1f} ({sum(_beyond(x) for x in lost if x.round == at)})"
            for at, found in overall.items()
            if found
        ]
        lines.append(
            f"| {_code(name)} | {rates[name]:g} | {size:,.0f} | {reference / size:.1f} | "
            f"{len({x.task for x in lost})}, {runs} | {' | '.join(columns)} | "
            f"{worst.task} at {worst.round}: {worst.points:+.1f} |"
        )
        learnt = [measured.overall(name, at, LEARNT) for at in COMPARED_ROUNDS]
        columns = [f"{x.mean:+.1f} ± {x.half:.1f} (of {x.sets})" if x else "-" for x in learnt]
        lines.append(f"| where learnt | | | | | {' | '.join(columns)} | |")
    return "\n".join(lines) + "\n"


def _chance(measured: Measured) -> str:
    """How far the reference is from itself: another seed draws other adapters and batches."""
    found = np.array(measured.chance())
    if not len(found):
        return "\nOne seed cannot tell what of a task's points is chance.\n"
    below = int((found < -AIM_POINTS - 1e-9).sum())
    return (
        "\nWhat of this is chance? The reference's second seed lies over a point below its own first in "
        f"{below} of {len(found)} pairs of task and round, and the two are {np.abs(found).mean():.1f} points apart on "
        "average. So a single task's column does not tell points of that size from nothing; means over tasks do more.\n"
        + _falls(measured)
    )


def _falls(measured: Measured) -> str:
    found = {name: measured.falls(name) for name in (REFERENCE, *measured.others)}
    told = "; ".join(f"{_plain(name)}: {', '.join(falls)}" for name, falls in found.items() if falls)
    return (
        "\nA rate that is the best on one task is too high on another, also for the reference. Where it falls, points "
        f"against it are its fall. Over ten points were lost from one round to the next here: {told or 'nowhere'}.\n"
    )


def _by_task(measured: Measured) -> str:
    lines = [
        "",
        "## By task",
        "",
        f"The reference's accuracy after rounds {SHOWN[0]} to {SHOWN[-1]}; then points against it after rounds",
        f"{FIRST_COMPARED} to {ROUNDS}, means over the seeds that both have (how many stands in brackets, if not one).",
        "",
        f"| task | {' | '.join(_code(name) for name in (REFERENCE, *measured.others))} |",
        "|---" * (2 + len(measured.others)) + "|",
    ]
    for task in text_tasks():
        if task in measured.cells[REFERENCE]:
            curve = [measured.accuracy(REFERENCE, task, at) for at in SHOWN]
            shown = [", ".join(f"{value:.3f}" for value in curve if value is not None)]
            for name in measured.others:
                points = [measured.points(name, task, at) for at in COMPARED_ROUNDS]
                seeds = len(points[0])
                text = ", ".join(f"{np.mean(found):+.1f}" for found in points) if seeds else "-"
                shown.append(f"{text} ({seeds})" if seeds > 1 else text)
            lines.append(f"| {task} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _trials(trials: Mapping[str, Any], rates: Mapping[str, float]) -> str:
    lines = [
        "",
        "## Rates",
        "",
        f"For every arm the same search on a dev task ({DEV_TASK}, seed 0), of which nothing is reported above: three",
        "rates, each four times the one before, the next one beyond while the best is at an edge (five at most), then",
        "half and twice the best. A rate is judged by the held-out loss in nats, the mean after rounds "
        f"{FIRST_COMPARED} to {ROUNDS}.",
        "",
        "| arm | loss by rate | chosen |",
        "|---|---|---|",
    ]
    for name in rates:
        found = {float(k.rpartition(" / ")[2]): judged(c) for k, c in trials.items() if k.startswith(f"{name} / ")}
        tried = ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in sorted(found.items()))
        lines.append(f"| {_code(name)} | {tried} | {rates[name]:g} |")
    return "\n".join(lines) + "\n"


def _looks(measured: Measured, looked: Mapping[str, Any], reference: float) -> str:
    here = measured.cells[REFERENCE].get(SECOND_TASK, {}).get(0)
    lines = [
        "",
        "## How the arms were chosen",
        "",
        f"The same rounds with one seed. Loss is the mean after rounds {FIRST_COMPARED} to {ROUNDS}, in nats; accuracy",
        f"is that after rounds 1 to {ROUNDS}. *Kept* is `keep_norm`; a row without a method is LoRA on query and",
        "value.",
        "",
        "- **Small methods are slow.** Factors, scales and norms learn less in the first rounds than products of two",
        "  trained matrices do, at the rates that were tried: they were not searched for as those above.",
        "- **Bits are not what loses.** The same adapter without a codec is hardly further along.",
        "- **What is trained decides.** For the same bytes rank 2 on the last three layers learns faster than rank 1",
        "  on six.",
        "- **Steps that add up are fast, then too long.** With `dropout` a rank becomes the mean over those who tuned",
        f"  it, so steps of different ranks add up. On {SECOND_TASK} that came apart after the second round.",
        "",
        *_looked(DEV_TASK, looked, f"On the dev task, where the reference has a loss of {reference:.3f}:"),
    ]
    if here is not None:
        text = (
            f"On {SECOND_TASK}, looked at when the chosen arm had lost there, and where the reference has "
            f"{judged(here):.3f}. No other form was clearly better, and the arm stayed what the dev task had made it:"
        )
        lines += ["", *_looked(SECOND_TASK, looked, text)]
    return "\n".join(lines) + "\n"


def _looked(task: str, looked: Mapping[str, Any], text: str) -> list[str]:
    """What was tried on a task, the best first."""
    rows = []
    for name, (arm, rates) in LOOKS[task].items():
        for rate in rates:
            cell = looked.get(f"{task} / {name} / {rate:g}")
            if cell is not None:
                curve = ", ".join(f"{r['accuracy']:.3f}" for r in cell["rounds"])
                size = float(np.mean([r["bytes"] for r in cell["rounds"]]))
                loss = judged(cell)
                rows.append((loss, f"| {name} | {_code(arm.codec)} | {rate:g} | {size:,.0f} | {loss:.3f} | {curve} |"))
    head = ["| what | codec | rate | bytes | loss | accuracy |", "|---|---|---|---|---|---|"]
    return [text, "", *head, *(row for _, row in sorted(rows))]


def _beyond(found: Lost) -> bool:
    """Whether more is lost than the aim allows."""
    return found.points < -AIM_POINTS - 1e-9


def _plain(name: str) -> str:
    return f"`{name}`"


def _code(name: str) -> str:
    """In a table, whose cells a bar would end."""
    escaped = name.replace("|", "\\|")
    return f"`{escaped}`"
