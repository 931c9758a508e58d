"""Sections of the page on how rates were chosen, on rounds of a federation, and on what is missing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.methods.caveats import fusion
from benchmarks.methods.cells import METHODS
from benchmarks.methods.plain_loop import STARTED
from benchmarks.methods.quality import Quality, listed, number, paragraph, title
from benchmarks.methods.rates import DEV_ROWS, FACTORS, TRIED, is_chosen, rate_of
from benchmarks.methods.results import KINDS, MINUTES, ROWS, SAME_START, Key, Measured, Place, kind_of
from benchmarks.methods.rounds import of_chosen_rate
from benchmarks.methods.stable import PLAYED, Looks, decides, looks
from benchmarks.shared.rate_search import APART, MOST
from benchmarks.shared.tuning_tasks import TASKS, is_here
from deltaproof.reporting import counted

__all__ = ["missing", "rates", "rounds"]


def rates(tried: Path = TRIED, played: Path = PLAYED) -> list[str]:
    """Chosen rates, how many were tried for each, where the best is the last one tried, and where rounding decides."""
    trials, looked = _trials(tried), looks(played)
    starts = "; ".join(f"{', '.join(f'{f:g}' for f in FACTORS[kind])} on {name}" for kind, name in KINDS.items())
    lines = [
        "## Learning rates",
        "",
        *paragraph(
            "Chosen by `benchmarks/methods/rates.py` on dev tasks that nothing is reported on, the one with the lowest",
            f"loss of {DEV_ROWS} held-out rows (Adam, linear decay, one seed). Every method gets the same search: the",
            f"default times {starts}; as long as the best is the lowest or the highest of those tried, one {APART:g}",
            f"times beyond it, to {MOST} in all. All trials:",
            "[data/method_rate_trials.json](data/method_rate_trials.json). † not searched: the default.",
        ),
        *fusion(),
    ]
    for kind, name in KINDS.items():
        counts = [len(trials[kind, m]) for m in ROWS if is_chosen(kind, m) and trials.get((kind, m))]
        edges = [m for m in ROWS if is_chosen(kind, m) and _at_an_edge(trials.get((kind, m), []), rate_of(kind, m))]
        if counts:
            lines += paragraph(
                f"{name}: {min(counts)} to {max(counts)} trials of each of {len(counts)} methods;"
                f" the best is the last one tried of {listed(edges)}."
            )
    lines += ["| method | MiniLM | vision transformer | SmolLM2 |", "|---|---|---|---|"]
    for method in ROWS:
        found = [f"{rate_of(kind, method):g}{_marks(kind, method, looked[kind])}" for kind in KINDS]
        lines.append(f"| {title(method)} | {' | '.join(found)} |")
    return [*lines, "", *_unstable(looked)]


def _marks(kind: str, method: str, looked: Looks) -> str:
    hinges = method in looked and decides(looked[method][0])
    return ("" if is_chosen(kind, method) else " †") + (" ‡" if hinges else "")


def _unstable(found: Mapping[str, Looks]) -> list[str]:
    """Where rounding decides, and the first half of the rate at which it does not."""
    if not any(found.values()):
        return []
    told = []
    for kind, of in found.items():
        apart = [_apart(method, seen) for method, seen in of.items() if decides(seen[0])]
        told.append(f"{KINDS[kind]} ({counted(len(of), 'method')} looked at): {'; '.join(apart) or 'none'}.")
    return paragraph(
        "‡ rounding decides how a round ends: where each gradient value is moved by one rounding, the adapter ends a",
        "hundredth of training's way or more apart, on the dev task. Two programs, two machines or two orders of a sum",
        "then end at other figures, as in [the same start](#from-the-same-start), and a trainer may keep the best of",
        "many runs ([steering](steering.md)). `task check` looks at the same and proposes a lower rate.",
        *told,
        "By `python -m benchmarks.methods.stable`:",
        "[data/method_rate_stability.json](data/method_rate_stability.json).",
    )


def _apart(method: str, seen: list[dict[str, Any]]) -> str:
    """How far a rounding moves at the chosen rate, and at the first of its halves where it does not decide."""
    moves = "training diverges" if seen[0]["moved"] is None else f"{seen[0]['moved']:.2g} of the way"
    calm = seen[-1]
    least = "still decides" if decides(calm) else f"{calm['moved']:.1g}"
    return f"{title(method)} {moves}, {least} at {calm['learning_rate']:g}"


def _trials(path: Path) -> dict[tuple[str, str], list[float]]:
    """Rates that were tried, by model and method."""
    tried: dict[tuple[str, str], list[float]] = defaultdict(list)
    for key, cell in json.loads(path.read_text()).items() if path.is_file() else ():
        kind, method, rate = key.split(" / ")
        if "refused" not in cell:
            tried[kind, method].append(float(rate))
    return dict(tried)


def _at_an_edge(tried: list[float], chosen: float) -> bool:
    # A trial's key has six digits of its rate.
    return len(tried) > 1 and any(abs(chosen / edge - 1) < 1e-3 for edge in (min(tried), max(tried)))


def rounds(folder: Path) -> list[str]:
    """Quality by round of a federation, where that was measured with the rates that are chosen now."""
    path = folder / "rounds.json"
    found = of_chosen_rate(json.loads(path.read_text())) if path.is_file() else {}
    if not found:
        return []
    lines = [
        "## Rounds of a federation",
        "",
        *paragraph(
            "`benchmarks/methods/rounds.py`: three trainers with a third of the rows each; each round starts from the",
            "aggregate of the round before. Accuracy of digits, loss of language, before the first round and after",
            "each; `lost` is the largest share of an aggregate that refactoring to the method's form lost.",
        ),
    ]
    for task in dict.fromkeys(key.split(" / ")[0] for key in found):
        cells = {key.split(" / ")[1]: cell for key, cell in found.items() if key.startswith(f"{task} / ")}
        count, steps = max(c["rounds"] for c in cells.values()), max(c["steps"] for c in cells.values())
        lines += [
            f"| {task}, {steps} steps a round | start | {' | '.join(map(str, range(1, count + 1)))} | lost |",
            f"|---|---|{'---|' * count}---|",
        ]
        metric = "loss" if kind_of(task) == "language" else "accuracy"
        for method, cell in cells.items():
            lines.append(f"| {title(method)} | {' | '.join(map(number, cell[metric]))} | {cell['lost']:.1e} |")
        lines.append("")
    return lines


def missing(measured: Measured, qualities: Mapping[str, Quality]) -> list[str]:
    """Tasks, seeds and methods that no figure above is of."""
    lines = ["## What is missing", ""]
    absent = [task for task in TASKS if not is_here(task) and task not in measured.cells]
    if absent:
        lines.append(
            f"- {', '.join(absent)}: their data was not laid out where this was measured "
            "(`python scripts/fetch_assets.py spam sotu`)."
        )
    later = [task for task in TASKS if not measured.cells.get(task) and task not in absent]
    if later:
        lines.append(
            f"- {', '.join(later)}: not measured yet; `python -m benchmarks.methods` goes on from what is there."
        )
    for kind, quality in qualities.items():
        for task in (task for task in measured.cells if kind_of(task) == kind):
            for seed in measured.seeds(task):
                if Place(task, seed) not in quality.places:
                    lacking = measured.lacking(Place(task, seed))
                    lines.append(f"- {task}, seed {seed}: not in the means, for it lacks {listed(lacking)}.")
        for method in MINUTES:
            without = [t for t in quality.tasks if quality.of(method, t) is None and not measured.refused(method, t)]
            if without:
                lines.append(f"- {title(method)} was not measured with every seed on {', '.join(without)}.")
    lines += _not_started_alike(measured)
    lines.append(
        "- `full` on MiniLM commits 360 MB a step: recorded on one task with one seed, else trained by the plain loop."
    )
    for kind, name in KINDS.items():
        tasks = [task for task in measured.cells if kind_of(task) == kind]
        refusals = {m: measured.refused(m, tasks[0]) for m in METHODS} if tasks else {}
        lines += [f"- `{m}` ({name}): {reason}." for m, reason in refusals.items() if reason]
    return lines


def _not_started_alike(measured: Measured) -> list[str]:
    """Tasks on which peft's loop has not begun where each of our rounds does, though it could."""
    lines = []
    for kind, name in KINDS.items():
        tasks = [task for task in measured.cells if kind_of(task) == kind]
        lack = [task for task in tasks if any(_lacks_same_start(measured, task, key) for key in measured.cells[task])]
        if lack:
            told = "all tasks" if len(lack) == len(tasks) else f"{len(lack)} of {len(tasks)} tasks"
            named = "" if len(lack) == len(tasks) else f": {', '.join(lack)}"
            lines.append(f"- peft from the same start is lacking, wholly or in part, on {told} of {name}{named}.")
    return lines


def _lacks_same_start(measured: Measured, task: str, key: Key) -> bool:
    found = measured.cells[task]
    could = key.kind == "ours" and key.method in STARTED and "refused" not in found[key]
    return could and key._replace(kind=SAME_START) not in found
