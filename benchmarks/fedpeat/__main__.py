"""Tuning a model that trainers never hold: quality, memory, bytes, time and verification beside the usual ways.

    python -m benchmarks.fedpeat [--tasks MiniLM SmolLM2] [--seeds 2] [--what trainer quality verifier] [--report]

Every cell is a process of its own (`cells.py`) and is kept under build/benchmarks/fedpeat; a later run, or one at the
same time, goes on from there, elsewhere from the published figures. Learning rates are searched for first (`rates.py`).
Memory is the peak resident set above a process that has imported torch, transformers and the model's classes. Writes
docs/results/data/fedpeat.json and docs/results/fedpeat.md. About two hours of one core; `--report` writes the page from
what is there.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.fedpeat.kept import Place, adopt, known_cells, measured, played_at, publish
from benchmarks.fedpeat.rates import known_rate, searched, trials
from benchmarks.fedpeat.tasks import ARMS, TASKS, Arm, FedpeatTask, weights_bytes
from benchmarks.shared.places import FIGURES, PAGES
from benchmarks.shared.replay_tasks import table

DOC = PAGES / "fedpeat.md"
PUBLISHED = FIGURES / "fedpeat.json"
WHAT = ("trainer", "quality", "verifier")
POINT = 0.01
"""Of accuracy: what an arm may lose beside federated PEFT to count as equally good."""
FULL, PEFT = "federated full fine-tuning", "federated PEFT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--what", nargs="*", default=list(WHAT), choices=list(WHAT))
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    adopt(PUBLISHED)
    if not options.report:
        measure(options)
    cells = known_cells()
    publish(cells, PUBLISHED)
    write(cells)


def measure(options: argparse.Namespace) -> None:
    """Every cell that is asked for and was not measured before."""
    chosen = {name: [a for a in ARMS[name] if not options.arms or a.name in options.arms] for name in options.tasks}
    for name in options.tasks:
        measured(Place(name, "bare"))
        for arm in chosen[name]:
            measured(Place(name, "emulator", arm.name))
    for what in options.what:
        for seed in range(options.seeds if what == "quality" else 1):
            for name in options.tasks:
                for arm in chosen[name]:
                    if what == "quality":
                        measured(Place(name, what, arm.name, seed, searched(name, arm)))
                    elif what == "trainer" or arm.method != "full":
                        measured(Place(name, what, arm.name, seed))


def write(cells: dict[str, Any]) -> None:
    """The page of these cells, by key."""
    lines = [
        "# Tuning a model that trainers never hold",
        "",
        "Measured by `python -m benchmarks.fedpeat`. Each cell ran in a process of its own, on one thread of a",
        "machine that others shared. Processor seconds differ by some ten per cent between runs. Peaks of memory",
        "differ by up to a fifth, which is what the allocator keeps. A trainer does the same step whether the server",
        "takes part or not, and however many steps a round has: arms that differ in nothing else show the mean of all",
        "measurements of that step.",
        "",
        "No held-out row is near one that somebody trains on (half of all runs of three words in common).",
        "The learning rate of every arm was found by the same search, on other rows, by the loss in the full model",
        "after the last round: three rates, each four times the one before, and while the best is at an edge the next",
        "one beyond it, to five at most. With server: the owner trains as well, on rows of its own that no other arm",
        "has.",
    ]
    for name, task in TASKS.items():
        rows = [row for arm in ARMS[name] if (row := _row(cells, name, task(), arm)) is not None]
        if rows:
            lines += ["", f"## {name}", "", *_section(name, task(), rows)]
    lines += ["", *_searches(cells), "", *_references(), "", *_agent()]
    DOC.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    print(DOC.read_text("utf-8"))


def _searches(cells: dict[str, Any]) -> list[str]:
    """Every trial of every search, and what it found."""
    found = []
    for name, arms in ARMS.items():
        for arm in arms:
            rate, tried = known_rate(cells, name, arm), trials(cells, name, arm)
            if tried:
                told = ", ".join(f"{r:g}: {loss:.3f}" for r, loss in sorted(tried.items()))
                found.append((name, arm.name, told, f"{rate:g}" if rate else "search not complete"))
    return [
        "## Learning rates",
        "",
        "Loss on the rows of the search, nats, by rate. Seed 0.",
        "",
        table(("model", "arm", "tried", "chosen"), found),
    ]


def _row(cells: dict[str, Any], name: str, task: FedpeatTask, arm: Arm) -> dict[str, Any] | None:
    """What is known of an arm; None before its trainer was measured."""
    trainer = cells.get(Place(name, "trainer", arm.name).key)
    if trainer is None:
        return None
    emulator = cells[Place(name, "emulator", arm.name).key]
    rate = known_rate(cells, name, arm)
    played = played_at(cells, name, arm, rate) if rate else []
    row: dict[str, Any] = {
        "arm": arm.name,
        "memory": _of_step(cells, name, "trainer", arm)["peak_mib"] - cells[Place(name, "bare").key]["peak_mib"],
        "step": _of_step(cells, name, "trainer", arm)["step_seconds"],
        "steps": arm.steps,
        "full": arm.method == "full",
        "model": emulator.get("file_bytes") or weights_bytes(task.source),
        "round": 4 * trainer["values"],
        "emulator": emulator if "layers" in emulator else None,
        "seeds": len(played),
        **_of_step(cells, name, "verifier", arm),
    }
    for what in ("accuracy", "loss", "emulator_accuracy", "emulator_loss", "predictions"):
        row[what] = [cell[what] for cell in played]
    return row


def _of_step(cells: dict[str, Any], name: str, what: str, arm: Arm) -> dict[str, float]:
    """Means over the arms of which a trainer or a verifier does the same step; empty where none was measured.

    The best of several measurements of one thing would flatter it.
    """
    same = [cells.get(Place(name, what, other.name).key) for other in ARMS[name] if other.step == arm.step]
    found = [cell for cell in same if cell is not None]
    keys = {key for cell in found for key, value in cell.items() if isinstance(value, (int, float))}
    return {key: float(np.mean([cell[key] for cell in found])) for key in sorted(keys)}


def _section(name: str, task: FedpeatTask, rows: list[dict[str, Any]]) -> list[str]:
    known = {row["arm"]: row for row in rows}
    full, peft = known.get(FULL), known.get(PEFT)
    unit = "next-token accuracy" if task.kind == "causal-lm" else "accuracy"
    chance = _chance(rows, task)
    what = (
        f"{len(task.shards)} trainers, {task.rounds} rounds of {task.steps} steps of {task.batch} rows; {unit} on "
        f"{len(task.held_out)} held-out rows after the last round, the mean of the seeds with their range. Emulator: "
        "the same adapter where trainers see it. Gap: by how much it does better in the full model. Times are "
        "processor seconds of a step. The model travels once, the adapter down and up in every round; full fine-tuning "
        f"begins with the model that has travelled. Standard error of one accuracy: about {chance:.3f}, "
        "if predictions are independent"
        + (": more than the point that the last aim allows." if chance > POINT else ".")
    )
    quality = [
        (row["arm"], row["seeds"], _spread(row["accuracy"]), _mean(row["loss"], 3), _spread(row["emulator_accuracy"]),
         _difference(row["accuracy"], row["emulator_accuracy"]))
        for row in rows if row["accuracy"]
    ]  # fmt: skip
    cost = [
        (row["arm"], f"{row['memory']:.0f}", _times(peft, row, "memory"), f"{row['step']:.3f}",
         _times(full, row, "step"),
         f"{row['model'] / 2**20:.1f}", f"{row['round'] / 2**20:.2f}", f"{row['round'] / 2**20:.2f}",
         _traffic(full, row, task))
        for row in rows
    ]  # fmt: skip
    replays = [
        (row["arm"], f"{row['replay_seconds']:.3f}", f"{row['thorough_seconds']:.3f}", _share(peft, row),
         f"{row['opening_bytes'] / 2**20:.2f}")
        for row in rows if "replay_seconds" in row
    ]  # fmt: skip
    emulators = [
        (row["arm"], f"{e['file_bytes'] / 2**20:.1f}", len(e["layers"]), e["recipe"]["bits"],
         e["recipe"]["distill_steps"] or "-", f"{e['fidelity']['hidden']:.3f}", f"{e['fidelity']['output']:.2g}")
        for row in rows if (e := row["emulator"])
    ]  # fmt: skip
    tables = [
        (("arm", "seeds", unit, "loss", "on the emulator", "gap"), quality),
        (("arm", "trainer's peak, MiB", "times less than federated PEFT", "seconds a step",
          "times faster than full fine-tuning", "model down, MiB", "down a round", "up a round",
          "times less traffic than full fine-tuning"), cost),
        (("arm", "seconds a replay", "with float64", "of a replay on the model", "MiB an opening"), replays),
        (("emulator of", "MiB", "layers", "bits", "distilled, steps", "hidden distance", "divergence, nats"),
         emulators),
    ]  # fmt: skip
    lines = [what]
    for header, found in tables:
        lines += ["", table(header, found)] if found else []
    if peft is not None:
        lines += [
            f"\nThe {row['steps']} steps of a round of {row['arm']} cost {row['steps'] * row['step']:.2f} s, the "
            f"{task.steps} of federated PEFT {task.steps * peft['step']:.2f} s."
            for row in rows
            if row["steps"]
        ]
    return [*lines, "", *_missing(name, rows), *_aims(name, rows, full, peft)]


def _missing(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """What a complete run would have measured."""
    known = {row["arm"]: row for row in rows}
    lacks = {
        "trainer": [arm.name for arm in ARMS[name] if arm.name not in known],
        "quality": [arm.name for arm in ARMS[name] if not known.get(arm.name, {}).get("accuracy")],
        "verifier": [arm.name for arm in ARMS[name] if arm.method != "full"
                     and "replay_seconds" not in known.get(arm.name, {})],
    }  # fmt: skip
    lines = [f"- not measured yet, {what}: {'; '.join(arms)}" for what, arms in lacks.items() if arms]
    return [*lines, ""] if lines else []


def _chance(rows: list[dict[str, Any]], task: FedpeatTask) -> float:
    """Standard error of an accuracy on the held-out rows, of the best arm's; predictions count as independent."""
    best = max((value for row in rows for value in row["accuracy"]), default=0.5)
    count = max((n for row in rows for n in row["predictions"]), default=len(task.held_out))
    return float(np.sqrt(best * (1 - best) / count))


def _aims(name: str, rows: list[dict[str, Any]], full: dict[str, Any] | None, peft: dict[str, Any] | None) -> list[str]:
    """What was aimed at, kept or missed, for the best arm of each kind."""
    mine = [row for row in rows if row["emulator"]]
    if full is None or peft is None or not mine:
        return ["- the aims need a trainer of every kind: not measured yet"]
    lines = []
    for text, least, ratio in (
        ("4.6 times faster than federated full fine-tuning", 4.6, lambda row: full["step"] / row["step"]),
        (
            "4.9 times less traffic than federated full fine-tuning",
            4.9,
            lambda row: _traffic_ratio(full, row, TASKS[name]()),
        ),
        ("5.6 times less memory than full fine-tuning", 5.6, lambda row: full["memory"] / row["memory"]),
    ):
        best = max(mine, key=ratio)
        reached = f", which reaches {np.mean(best['accuracy']):.3f}" if best["accuracy"] else ""
        lines.append(_aim(text, ratio(best) >= least, f"{ratio(best):.1f} times, {best['arm']}{reached}"))
    if not peft["accuracy"]:
        return lines
    near = [r for r in mine if r["accuracy"]
            and np.mean(r["accuracy"]) >= np.mean(peft["accuracy"]) - POINT]  # fmt: skip
    best = min(near, key=lambda row: row["memory"], default=None)
    found = (
        "no arm is within one point"
        if best is None
        else (f"{best['memory'] / peft['memory']:.2f} of it within one point of quality, {best['arm']}")
    )
    lines.append(
        _aim("half of federated PEFT's memory", best is not None and 2 * best["memory"] <= peft["memory"], found)
    )
    return lines


def _aim(text: str, kept: bool, found: str) -> str:
    return f"- {'met' if kept else '**missed**'}: {text}: {found}"


def _references() -> list[str]:
    return [
        "## Published",
        "",
        "FedPEAT (arXiv 2310.17491): 4.6 times faster, 4.9 times less communication than federated full fine-tuning.",
        "Offsite-tuning (arXiv 2302.04870): 6.5 times faster and 5.6 times less memory than full fine-tuning. Both on",
        "far larger models and on GPUs, where weights are most of the memory; here a process, its libraries' pages",
        "and its tokeniser included, is measured. All arms load models the same way (float32 without copies, embedding",
        "tables left in their file); full fine-tuning is a plain loop with torch's Adam, which records nothing.",
    ]


def _agent() -> list[str]:
    path = FIGURES / "control.json"
    if not path.is_file():
        return ["FedPEAT with the agent: `python -m benchmarks.control` measures it; it has not been run yet."]
    return ["FedPEAT with the agent, on simulated devices with real training: see [control.md](control.md)."]


def _mean(values: list[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f}" if values else "-"


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):.3f}" + (f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else "")


def _difference(plugged: list[float], own: list[float]) -> str:
    return f"{np.mean(plugged) - np.mean(own):+.3f}" if plugged else "-"


def _times(reference: dict[str, Any] | None, row: dict[str, Any], what: str) -> str:
    return f"{reference[what] / row[what]:.2f}" if reference else "-"


def _share(peft: dict[str, Any] | None, row: dict[str, Any]) -> str:
    return f"{row['replay_seconds'] / peft['replay_seconds']:.2f}" if peft and "replay_seconds" in peft else "-"


def _traffic(full: dict[str, Any] | None, row: dict[str, Any], task: FedpeatTask) -> str:
    return f"{_traffic_ratio(full, row, task):.1f}" if full else "-"


def _traffic_ratio(full: dict[str, Any], row: dict[str, Any], task: FedpeatTask) -> float:
    def total(arm: dict[str, Any]) -> float:
        # What full fine-tuning begins with is the model: it does not travel twice.
        return float(arm["model"] + (2 * task.rounds - arm["full"]) * arm["round"])

    return total(full) / total(row)


if __name__ == "__main__":
    main()
