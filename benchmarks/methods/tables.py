"""Tables of the page: quality with gains over what costs nothing, costs, and figures task by task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.methods.cells import REPLAYED
from benchmarks.methods.quality import Quality, listed, number, paragraph, title
from benchmarks.methods.results import KINDS, ROWS, UNTOUCHED, Measured, Place, kind_of
from benchmarks.shared.ranks import Paired, paired
from deltaproof.tuning.methods import METHODS as CLASSES

__all__ = ["by_task", "costs", "gains"]

_FLOOR = {"text": "head", "digits": "head", "language": UNTOUCHED}
"""What a delta must beat: a head alone; of language, where no head is new, the model as it is."""


def gains(measured: Measured, qualities: Mapping[str, Quality]) -> list[str]:
    """Means, and what each method adds to the floor."""
    lines = [
        "## Quality",
        "",
        *paragraph(
            "Means over tasks (of each the mean over its seeds). Accuracy on text and digits, higher is better; on",
            "language the loss in nats a token, lower is better. *Over head* is what the method adds to training the",
            "head alone, in points; *over untouched*, what it takes off the untouched model's loss, in nats: each",
            "with Student's 95 % interval over tasks. Of texts and digits the untouched model's head knows nothing.",
        ),
        "| method | family | text | over head | digits | over head | language | over untouched |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method in (*ROWS, UNTOUCHED):
        columns = []
        for quality in qualities.values():
            columns += [number(quality.mean(method)), _gain(quality, method)]
        family = CLASSES[method].family if method in CLASSES else "-"
        lines.append(f"| {title(method)} | {family} | {' | '.join(columns)} |")
    return [*lines, "", *_below_floor(qualities)]


def _gain(quality: Quality, method: str) -> str:
    floor = _FLOOR[quality.kind]
    if method == floor or quality.mean(method) is None or quality.mean(floor) is None:
        return "-"
    found = paired(quality.differences(method, floor))
    digits = 2 if quality.kind == "language" else 1
    mean = -found.mean if quality.kind == "language" else found.mean
    return f"{mean:+.{digits}f}" + (f" ± {found.half:.{digits}f}" if np.isfinite(found.half) else "")


def _told_apart(found: Paired) -> bool:
    return abs(found.mean) > found.half


def _below_floor(qualities: Mapping[str, Quality]) -> list[str]:
    """Methods that a round left worse than what costs nothing, and of how many that is told from chance."""
    lines = []
    for kind, quality in qualities.items():
        floor, worse = quality.mean(_FLOOR[kind]), []
        for method in quality.ranking:
            mean = quality.mean(method)
            if floor is not None and mean is not None and (mean > floor if kind == "language" else mean < floor):
                worse.append(method)
        if worse:
            beyond = [m for m in worse if _told_apart(paired(quality.differences(m, _FLOOR[kind])))]
            lines += paragraph(
                f"On {KINDS[kind]} a round leaves {listed(worse)} worse than"
                f" {'the untouched model' if kind == 'language' else 'a head alone'} on average.",
                f"Intervals without zero, not corrected for one another: {listed(beyond)}.",
            )
        begins = [m for m in worse if kind == "language" and m in ("prefix", "p_tuning", "prompt")]
        if begins:
            lines += paragraph(
                f"Learnt vectors before the text (of these: {listed(begins)}) make training begin at another model",
                "than the untouched one, and so few steps do not bring it back. Give it hundreds of steps, or take",
                "another method; `deltaproof task check` says so of your model.",
            )
    return lines


def costs(measured: Measured, text: Quality) -> list[str]:
    """Sizes, seconds and memory on MiniLM, and the verdicts of replays on every model."""
    lines = [
        "## Costs",
        "",
        *paragraph(
            "On MiniLM. Bytes are those of a round's delta in float32, without a codec. Seconds are of one thread, a",
            "mean over recorded rounds; *over `lora`* is the median of their ratio on the same task with the same",
            "seed. Memory is the resident peak of a process that loads the model and trains two steps, above one",
            "that loads nothing, and in brackets the peak of training alone. Replays: the first and the last step of",
            f"a first seed's round by a float64 judge, on {', '.join(REPLAYED)}, on all digits, and on language for",
            "some methods.",
        ),
        "| method | values | bytes a round | CPU s | over `lora` | MiB above bare | replays passed |",
        "|---|---|---|---|---|---|---|",
    ]
    bare = measured.memory.get("text / bare", {}).get("peak_mib")
    refusals = []
    for method in ROWS:
        size, ratio, peak = text.size(method), text.time(method), text.memory(method)
        sizes = "- | -" if size is None else f"{size / 4:,.0f} | {size:,.0f}"
        found = [cell["train_seconds"] for cell in measured.ours(method, "text") if "train_seconds" in cell]
        seconds = f"{np.mean(found):.1f}" if found else "-"
        memory = measured.memory.get(f"text / {method}", {})
        mib = "-" if peak is None else f"{peak:.0f} ({memory['training_mib'] - bare:.0f})"
        verdicts = [c["replay"] for kind in KINDS for c in measured.ours(method, kind) if "replay" in c]
        passed = f"{verdicts.count('accepted')} of {len(verdicts)}" if verdicts else "-"
        refusals += [f"- {title(method)}: {verdict}" for verdict in verdicts if verdict != "accepted"]
        times = "-" if ratio is None else f"{ratio:.2f}"
        lines.append(f"| {title(method)} | {sizes} | {seconds} | {times} | {mib} | {passed} |")
    return [*lines, "", *(["**Honest rounds refused:**", "", *refusals, ""] if refusals else [])]


def by_task(measured: Measured, qualities: Mapping[str, Quality]) -> list[str]:
    """Every task; those that not all methods were measured on stand last."""
    lines = [
        "## By task",
        "",
        *paragraph(
            "Means over seeds; accuracy, for language modelling loss in nats a token. A task on which a method that",
            "fits was not measured yet stands last, with an asterisk, and is in no mean above.",
        ),
    ]
    for kind, quality in qualities.items():
        partly = [task for task in measured.cells if kind_of(task) == kind and task not in quality.tasks]
        tasks = [*quality.tasks, *partly]
        if not tasks:
            continue
        titles = [*quality.tasks, *(f"{task} *" for task in partly)]
        lines += [f"| {KINDS[kind]} | {' | '.join(titles)} |", f"|---|{'---|' * len(tasks)}"]
        for method in (*ROWS, UNTOUCHED):
            found = [quality.of(method, task) for task in quality.tasks]
            found += [_any_seed(measured, quality, method, task) for task in partly]
            if any(value is not None for value in found):
                lines.append(f"| {title(method)} | {' | '.join(map(number, found))} |")
        lines.append("")
    return lines


def _any_seed(measured: Measured, quality: Quality, method: str, task: str) -> float | None:
    cells = [measured.quality(method, Place(task, seed)) for seed in measured.seeds(task)]
    values = [cell[quality.metric] for cell in cells if cell is not None]
    return float(np.mean(values)) if values else None
