"""Tables and plot of what `python -m benchmarks.methods` measured: docs/results/methods.md, .json and .svg."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.methods.cells import BATCH, METHODS, REPLAYED, STEPS, TEST
from benchmarks.methods.plot import Point, plot
from benchmarks.methods.rates import FACTORS, is_chosen, rate_of
from benchmarks.methods.results import KINDS, ROWS, UNTOUCHED, Key, Measured, Place, kind_of
from benchmarks.shared.digits import DIGEST
from benchmarks.shared.places import FIGURES, PAGES
from benchmarks.shared.ranks import paired, ranked
from benchmarks.shared.tuning_tasks import TASKS, is_here
from deltaproof.tuning.methods import METHODS as CLASSES

__all__ = ["write_report"]


def write_report(folder: Path) -> None:
    """From the cells below `folder`."""
    measured = Measured.read(folder)
    places = {kind: measured.complete(kind) for kind in KINDS}
    lines = [*_opening(measured, places), *_table(measured, places), "", "![quality against bytes](methods.svg)", ""]
    lines += [
        *_ranks(measured, places),
        *_by_task(measured, places),
        *_beside_peft(measured),
        *_rounds(folder),
        *_rates(),
        *_missing(measured, places),
    ]
    (PAGES / "methods.md").write_text("\n".join(lines) + "\n")
    points, what = _points(measured, places)
    (PAGES / "methods.svg").write_text(plot(points, what))
    everything = {
        "cells": {task: {key.text(): cell for key, cell in cells.items()} for task, cells in measured.cells.items()},
        "splits": measured.splits,
        "transformer": DIGEST,
        "memory": measured.memory,
    }
    (FIGURES / "methods.json").write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


def _points(measured: Measured, places: Mapping[str, Sequence[Place]]) -> tuple[list[Point], str]:
    """Means on text; while there are none, the task on which the most methods were measured."""
    chosen: Sequence[Place] = places["text"]
    if not chosen:
        single = [Place(task, 0) for task in measured.cells if kind_of(task) != "language"]
        chosen = [max(single, key=lambda place: sum(bool(measured.quality(m, place)) for m in METHODS))]
    points = []
    for method in METHODS:
        mean, cell = _mean(measured, method, chosen, "accuracy"), measured.quality(method, chosen[0])
        if mean is not None and cell is not None:
            points.append(Point(method, CLASSES[method].family, 4.0 * cell["values"], mean))
    return points, "text" if places["text"] else chosen[0].task


def _opening(measured: Measured, places: Mapping[str, Sequence[Place]]) -> list[str]:
    counts = {kind: len({place.task for place in found}) for kind, found in places.items()}
    return [
        "# Delta-tuning methods: quality against bytes",
        "",
        "Measured by `python -m benchmarks.methods`: one trainer, one round, float32, one thread; "
        + ", ".join(f"{STEPS[k]} steps of {BATCH[k]} rows on {name}" for k, name in KINDS.items())
        + ". So few steps are a round of a federation, not a finished model: the table says which method gets far in",
        "one round, not where it ends.",
        "",
        "A column is a mean over the same tasks and seeds for all methods, and empty until there are such tasks: "
        f"{counts['text']} tasks of text (accuracy",
        f"on {TEST['text']} held-out rows each), {counts['digits']} of shifted digits (accuracy on {TEST['digits']}), "
        f"{counts['language']} of language modelling (loss in nats a token, {TEST['language']} rows). Values, bytes, "
        "seconds and memory are those on MiniLM; memory is the resident peak of a process that loads the model and",
        "trains two steps, above one that loads nothing, and in brackets the peak of training alone. Replays: the",
        f"first and the last step of a round by a float64 judge, on {', '.join(REPLAYED)} and all digits.",
        "",
        "Accuracy is of what a task of one trainer would deliver: `adalora` with its budget of",
        "triplets, `diff_pruning` with",
        "its target. *Untouched* is the model before any step; of texts and digits its head knows",
        "nothing. No test text",
        "shares half of its runs of three words with one that was trained on",
        "(`benchmarks/shared/splits.py`), and rates are",
        "searched on rows of which no image, mirrored or not, is reported on. The vision transformer is",
        "in the repository",
        f"(SHA-256 `{DIGEST[:16]}…`): so digits come out again.",
        "",
        f"{sum(map(len, measured.cells.values()))} cells were measured, on {len(measured.cells)} of",
        f"{len(TASKS)} tasks.",
        "",
    ]


def _table(measured: Measured, places: Mapping[str, Sequence[Place]]) -> list[str]:
    lines = [
        "| method | text | digits | language | values | bytes a round | CPU s | MiB above bare | replays passed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    bare = measured.memory.get("text / bare", {}).get("peak_mib")
    for method in (*ROWS, UNTOUCHED):
        text = _mean(measured, method, places["text"], "accuracy")
        digits = _mean(measured, method, places["digits"], "accuracy")
        language = _mean(measured, method, places["language"], "loss")
        found = measured.ours(method, "text")
        sizes = f"{found[0]['values']:,} | {found[0]['bytes']:,}" if found else "- | -"
        seconds = f"{np.mean([cell['train_seconds'] for cell in found]):.1f}" if found else "-"
        memory = measured.memory.get(f"text / {method}", {})
        mib = (
            f"{memory['peak_mib'] - bare:.0f} ({memory['training_mib'] - bare:.0f})"
            if bare and "peak_mib" in memory
            else "-"
        )
        verdicts = [c["replay"] for kind in KINDS for c in measured.ours(method, kind) if "replay" in c]
        replays = f"{verdicts.count('accepted')} of {len(verdicts)}" if verdicts else "-"
        name = {"head": "head alone", UNTOUCHED: "untouched model"}.get(method, f"`{method}`")
        lines.append(
            f"| {name} | {_number(text)} | {_number(digits)} | {_number(language)} | {sizes} | {seconds} | {mib} | "
            f"{replays} |"
        )
    return lines


def _by_task(measured: Measured, places: Mapping[str, Sequence[Place]]) -> list[str]:
    lines = [
        "## By task",
        "",
        "Means over seeds; accuracy, for language modelling loss in nats a token. A task on which",
    ]
    lines += ["a method that fits was not measured yet stands last, with an asterisk, and is in no mean above.", ""]
    for kind in KINDS:
        whole = list(dict.fromkeys(place.task for place in places[kind]))
        partly = [task for task in measured.cells if kind_of(task) == kind and task not in whole]
        found = [*places[kind], *(Place(task, 0) for task in partly)]
        tasks = [*whole, *partly]
        if not tasks:
            continue
        titles = [*whole, *(f"{task} *" for task in partly)]
        lines += [f"| {KINDS[kind]} | {' | '.join(titles)} |", f"|---|{'---|' * len(tasks)}"]
        metric = "loss" if kind == "language" else "accuracy"
        for method in (*ROWS, UNTOUCHED):
            means = [_mean(measured, method, [p for p in found if p.task == task], metric) for task in tasks]
            if any(mean is not None for mean in means):
                lines.append(f"| {method} | {' | '.join(_number(mean) for mean in means)} |")
        lines.append("")
    return lines


def _ranks(measured: Measured, places: Mapping[str, Sequence[Place]]) -> list[str]:
    """Average ranks over tasks, by model and over both, and which methods the best is not told apart from."""
    lines = [
        "## Average ranks",
        "",
        "Methods ranked by accuracy on each task (means over seeds; 1 is best), the ranks averaged over",
        "tasks. Two whose",
        "ranks differ by less than the critical difference (Nemenyi, 95 %; Demsar 2006) are not told apart.",
        "",
    ]
    for what, kinds in (("text", ("text",)), ("digits", ("digits",)), ("text and digits", ("text", "digits"))):
        tasks = list(dict.fromkeys(place.task for kind in kinds for place in places[kind]))
        fitting = [m for m in ROWS if not any(measured.refused(m, task) for task in tasks)]
        if len(tasks) < 2 or (len(kinds) > 1 and not all(places[kind] for kind in kinds)):
            continue
        table = [[_mean(measured, m, _places_of(places, task), "accuracy") for m in fitting] for task in tasks]
        found = ranked(np.array(table, np.float64))
        order = np.argsort(found.average, kind="stable")
        best = found.average[order[0]]
        lines += [
            f"**{what[0].upper()}{what[1:]}**, {len(tasks)} tasks, {len(fitting)} methods: critical difference "
            f"{found.critical:.1f}, Friedman p = {found.p_value:.1g}. "
            + ", ".join(
                f"`{fitting[i]}` {found.average[i]:.1f}{'' if found.average[i] - best < found.critical else ' *'}"
                for i in order
            )
            + ".",
            "",
        ]
    return [*lines, "\\* told apart from the first.", ""]


def _places_of(places: Mapping[str, Sequence[Place]], task: str) -> list[Place]:
    return [place for place in places[kind_of(task)] if place.task == task]


def _beside_peft(measured: Measured) -> list[str]:
    lines = [
        "## Beside peft without us",
        "",
        "The same method, options, batches, rate and steps by `get_peft_model`, torch's Adam and torch's own random",
        "draws (`benchmarks/methods/plain_loop.py`); `full` without peft. Points of accuracy, ours",
        "minus plain, paired by",
        "task and seed: Student's 95 % interval over tasks. A loss of half a point is excluded where the interval ends",
        "above -0.5.",
        "",
        "| method | model | tasks | runs | difference, points | a loss of half a point |",
        "|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        for kind in ("text", "digits"):
            by_task = [_differences(cells, method) for task, cells in measured.cells.items() if kind_of(task) == kind]
            if not any(by_task):
                continue
            found = paired(by_task)
            interval = f"± {found.half:.1f}" if np.isfinite(found.half) else "one task: no interval"
            excluded = "excluded" if found.mean - found.half > -0.5 else "not excluded"
            lines.append(
                f"| {method} | {KINDS[kind]} | {found.sets} | {found.runs} | {found.mean:+.1f} {interval} | "
                f"{excluded} |"
            )
    return [*lines, ""]


def _differences(cells: Mapping[Key, Mapping[str, float]], method: str) -> list[float]:
    """Ours minus plain, points of accuracy, for each seed that has both."""
    found = []
    for key, plain in cells.items():
        ours = cells.get(Key("ours", method, key.seed))
        if key[:2] == ("plain", method) and ours is not None and "refused" not in ours:
            found.append(100 * (ours["accuracy"] - plain["accuracy"]))
    return found


def _rounds(folder: Path) -> list[str]:
    path = folder / "rounds.json"
    if not path.is_file():
        return []
    lines = [
        "## Rounds of a federation",
        "",
        "`benchmarks/methods/rounds.py`: three trainers with a third of the rows each; each round starts from the",
        "aggregate of the round before. Accuracy of digits, loss of language, before the first round and after each;",
        "`lost` is the largest share of an aggregate that refactoring to the method's form lost.",
        "",
    ]
    for task in dict.fromkeys(key.split(" / ")[0] for key in json.loads(path.read_text())):
        cells = {k.split(" / ")[1]: c for k, c in json.loads(path.read_text()).items() if k.startswith(task)}
        rounds, steps = max(c["rounds"] for c in cells.values()), max(c["steps"] for c in cells.values())
        lines += [
            f"| {task}, {steps} steps a round | start | {' | '.join(map(str, range(1, rounds + 1)))} | lost |",
            f"|---|---|{'---|' * rounds}---|",
        ]
        metric = "loss" if kind_of(task) == "language" else "accuracy"
        for method, cell in cells.items():
            lines.append(f"| {method} | {' | '.join(_number(value) for value in cell[metric])} | {cell['lost']:.1e} |")
        lines.append("")
    return lines


def _rates() -> list[str]:
    lines = [
        "## Learning rates",
        "",
        "Chosen by `benchmarks/methods/rates.py` on dev tasks that nothing is reported on (trials:",
        "[data/method_rate_trials.json](data/method_rate_trials.json)), the one with the lowest",
        f"held-out loss (Adam, linear decay): of the default times {_listed(FACTORS['text'])} on MiniLM, times",
        f"{_listed(FACTORS['digits'])} on the vision transformer, where rounds are shorter.",
        "† not searched: the default.",
        "",
        "| method | MiniLM | vision transformer | SmolLM2 |",
        "|---|---|---|---|",
    ]
    for method in ROWS:
        rates = [f"{rate_of(kind, method):g}{'' if is_chosen(kind, method) else ' †'}" for kind in KINDS]
        lines.append(f"| {method} | {' | '.join(rates)} |")
    return [*lines, ""]


def _listed(factors: Sequence[float]) -> str:
    return ", ".join(f"{factor:g}" for factor in factors)


def _missing(measured: Measured, places: Mapping[str, Sequence[Place]]) -> list[str]:
    lines = ["## What is missing", ""]
    absent = [task for task in TASKS if not is_here(task) and task not in measured.cells]
    if absent:
        lines.append(
            f"- {', '.join(absent)}: their data was not laid out where this was measured "
            "(`python scripts/fetch_assets.py spam sotu`)."
        )
    later = [task for task in TASKS if task not in measured.cells and task not in absent]
    if later:
        lines.append(
            f"- {', '.join(later)}: not measured yet; `python -m benchmarks.methods` goes on from what is there."
        )
    for kind in KINDS:
        for task in (task for task in measured.cells if kind_of(task) == kind):
            for seed in sorted({key.seed for key in measured.cells[task]}):
                if Place(task, seed) not in places[kind]:
                    lacking = [m for m in ROWS if not measured.quality(m, Place(task, seed))]
                    lacking = [m for m in lacking if not measured.refused(m, task)]
                    lines.append(f"- {task}, seed {seed}: not in the means, for it lacks {', '.join(lacking)}.")
    seeds = {kind: sorted({place.seed for place in found}) for kind, found in places.items()}
    lines += [f"- {KINDS[kind]}: {len(found)} seed{'s' * (len(found) != 1)}." for kind, found in seeds.items() if found]
    lines.append(
        "- `full` on MiniLM commits 360 MB a step: recorded on one task with one seed, else trained by the plain loop."
    )
    for kind, name in KINDS.items():
        tasks = [task for task in measured.cells if kind_of(task) == kind]
        refusals = {m: measured.refused(m, tasks[0]) for m in METHODS} if tasks else {}
        lines += [f"- `{m}` ({name}): {reason}." for m, reason in refusals.items() if reason]
    return lines


def _mean(measured: Measured, method: str, places: Sequence[Place], metric: str) -> float | None:
    """Over all of `places`, or None if the method was not measured on each."""
    found = [measured.quality(method, place) for place in places]
    if not found or any(cell is None for cell in found):
        return None
    return float(np.mean([cell[metric] for cell in found if cell is not None]))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
