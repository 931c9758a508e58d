"""Peak memory and seconds of trainers and verifiers over models of growing size, and the arithmetic for 7 B in 24 GB.

    python -m benchmarks.hardware --figures FILE.jsonl --models FOLDER [--before TREE] [--device D]
        [--most-seconds N] [--only MODEL ...]

Each cell is measured by a process of its own and kept in FILE, so that a run that is stopped goes on. `--before` is a
checkout of an earlier commit, measured beside this one. A cell that takes more than N seconds is given up, and the page
says so. Writes docs/results/hardware.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.hardware.arithmetic import Needs, needs
from benchmarks.hardware.memory import BATCH, TOKENS
from benchmarks.shared.places import ROOT
from benchmarks.shared.replay_tasks import machine_facts, table, write_results

Cell = tuple[str, str, str, str]
"""Tree, role, model, form."""

AFTER: list[tuple[str, str, str]] = [
    *(("exact", model, "stored") for model in ("SmolLM2-135M", "360M", "1.2B")),
    *(("bounded", model, "stored") for model in ("SmolLM2-135M", "360M")),
    *(("bounded", "360M", form) for form in ("bfloat16", "int8", "int4")),
    *(("judge-bounded", model, "stored") for model in ("SmolLM2-135M", "360M")),
    *(("judge-bounded", model, "int4") for model in ("SmolLM2-135M", "360M", "1.2B")),
]
BEFORE = [
    (role, model, "stored") for model in ("SmolLM2-135M", "360M") for role in ("exact", "bounded", "judge-bounded")
]
ROLES = {
    "exact": "trainer, exact", "bounded": "trainer, bounded", "judge-exact": "verifier, exact",
    "judge-bounded": "verifier, bounded",
}  # fmt: skip


WHERE_IT_GOES = (
    "## Where the peak comes from",
    "",
    "Only a trainer on a base in int4 meets the aim of 1.2 times the stored weights (1.18). What is above them, "
    "found by sampling the process while it loads and computes:",
    "",
    "- **The head in float64.** The head of a language model is its table: 216 MiB of SmolLM2-135M's, 360 MiB of "
    "the 360M model's. A verifier's step peaks in the head's backward pass, with that matrix and about 300 MiB "
    "beside it: three times the logits of four rows in float64. It shrinks beside the weights as models grow.",
    "- **A second copy in verifiers of bounded mode, which is gone.** The float32 mirror held a copy of the "
    "weights, and the float64 reference mapped them once more. Now it widens the mirror's own: of SmolLM2-135M, "
    "1,353 MiB held became 824, and the peak of a step 1,718 MiB became 1,187, at the same CPU time and with the "
    "same bits. What it freed and the heap kept is given back after each pass: 595 MiB held, a peak of 1,095.",
    "- **Holes in the heap.** Matrices that are widened or unpacked for one product are freed at once, but what "
    "is allocated between them pins the heap. In the first forward pass of the 360M model in int8, 800 MiB piled "
    "up like this on top of the 430 that it needs. So the peak of a cell differs by some hundred MiB from run to "
    "run (729 to 824 MiB of SmolLM2-135M's trainer, 1,166 and 1,337 of the 360M model's). They are given back "
    "after loading, so less is held than the peak shows. `MALLOC_MMAP_THRESHOLD_=1048576` in the environment "
    "keeps them from piling up (1,416 MiB at the peak of loading became 660) for five times the system time: 15 s "
    "instead of 3, beside 18 s of computing. So it is left to who needs the memory.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--most-seconds", type=float, help="Of a cell; it is given up then.")
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="Measure cells of these models alone.")
    parser.add_argument("--page-only", action="store_true", help="Measure nothing more.")
    options = parser.parse_args()
    wanted: list[tuple[Path, Cell]] = [(ROOT, ("after", *cell)) for cell in AFTER]
    if options.before:
        wanted += [(options.before, ("before", *cell)) for cell in BEFORE]
    known = _read(options.figures)
    for place, cell in [] if options.page_only else wanted:
        if cell not in known and (options.only is None or cell[2] in options.only):
            known[cell] = _measured(place, cell, options.device, options.models, options.most_seconds)
            with options.figures.open("a") as file:
                file.write(json.dumps(known[cell]) + "\n")
    facts = {"machine": machine_facts(), "tokens": TOKENS, "batch": BATCH, "cells": list(known.values())}
    write_results("hardware", facts, markdown(facts))


def _read(path: Path) -> dict[Cell, dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {(f["tree"], f["role"], f["model"], f["form"]): f for f in found}


def _measured(place: Path, cell: Cell, device: str, models: Path, most: float | None) -> dict[str, Any]:
    tree, role, model, form = cell
    command = [sys.executable, "-m", "benchmarks.hardware.memory", role, model, form, device, str(models)]
    environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    asked = {"tree": tree, "role": role, "model": model, "form": form, "device": device}
    try:
        done = subprocess.run(
            [*command, "--steps", "1"], cwd=place, env=environment, capture_output=True, text=True, check=False,
            timeout=most,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {**asked, "failed": f"took more than {most:.0f} s"}
    if done.returncode:
        return {**asked, "failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]}
    return {**asked, **json.loads(done.stdout.splitlines()[-1])}


def markdown(facts: dict[str, Any]) -> str:
    cells = [cell for cell in facts["cells"] if "failed" not in cell]
    return "\n".join(
        [
            "# Hardware: memory and seconds by mode, form and size",
            "",
            f"LoRA r=8 on query and value, batches of {facts['batch']} rows of up to {facts['tokens']} tokens, "
            "gradient checkpointing (after, verifiers as well), one CPU thread. Each row is a process of its own; "
            "what it held before it "
            "loaded anything (Python, torch, transformers) is taken off. Mapped pages count as far as they were "
            "touched, though the kernel may drop them at any time. SmolLM2-135M is real, stored in float32; "
            "360M has random weights, stored in bfloat16, a file a layer. A row without seconds of a step is loading, "
            "with the one pass that a float64 model is probed with. Made by `python -m "
            "benchmarks.hardware`; rows of *before* and of trainers in exact mode are of 2026-11-28, the others of the "
            "day below. Seconds are of a machine that worked for seven others at the same time: they "
            "compare rows no better than roughly.",
            "",
            "## Peak host memory, before and after loading tensor by tensor",
            "",
            _side_by_side(cells),
            "",
            "Of loading where one of the two was not measured over a step, else of loading and a step.",
            "",
            *WHERE_IT_GOES,
            "",
            "## All that was measured",
            "",
            _all(cells),
            "",
            "## Arithmetic for 7 B in 24 GB",
            "",
            _arithmetic(),
            "",
            "The same arithmetic beside what was measured, after, in MiB:",
            "",
            _checked(cells),
            "",
            "## Unmeasured",
            "",
            "- Everything on a GPU: no machine with one was at hand. `benchmarks/gpu_checks.sh` measures it in six "
            "minutes and writes `gpu_checks.json`. A rehearsal of its checks on a CPU, all but seconds and memory of "
            "real models, is in `data/gpu_checks_rehearsal.json`: every check passed.",
            "- 7 B itself, and anything above 360 M parameters.",
            *_missing(facts["cells"]),
            "- Replays on machines beside each other: [replays beside each other](replay_scaling.md) has two processes "
            "and two Ray nodes of one machine of two cores.",
            "- The cost of verification as a share of training: [replay cost](replay_cost.md) has it for MiniLM on a "
            "CPU.",
            "",
            f"Machine: {facts['machine']}",
        ]
    )


def _missing(cells: Iterable[dict[str, Any]]) -> list[str]:
    """Cells of the command that were not measured, and why."""
    known = {(c["role"], c["model"], c["form"]): c for c in cells if c["tree"] == "after"}
    lines = []
    for role, model, form in AFTER:
        cell = known.get((role, model, form), {"failed": "takes too long on this machine"})
        if "failed" in cell:
            lines.append(f"- {model}, {ROLES[role]}, base {form}: {cell['failed']}.")
    return lines


def _side_by_side(cells: Iterable[dict[str, Any]]) -> str:
    by_place = {(c["tree"], c["role"], c["model"], c["form"]): c for c in cells}
    rows = []
    for role, model, form in BEFORE:
        pair = [by_place.get((tree, role, model, form)) for tree in ("before", "after")]
        if not all(pair):
            continue
        before, after = (cell or {} for cell in pair)
        key = "peak_mib" if before["step_seconds"] and after["step_seconds"] else "loading_mib"
        rows.append(
            (model, ROLES[role], f"{after['weights_mib']:.0f}", _peak(before, key), _peak(after, key),
             f"{before[key] / after[key]:.2f}")
        )  # fmt: skip
    return table(("model", "who", "weights, MiB", "before, MiB", "after, MiB", "before / after"), rows)


def _peak(cell: dict[str, Any], key: str = "peak_mib") -> str:
    return f"{cell[key]:.0f} ({cell[key] / cell['weights_mib']:.2f} x)"


def _all(cells: Iterable[dict[str, Any]]) -> str:
    rows = [
        (c["tree"], c["model"], ROLES[c["role"]], c["form"], f"{c['weights_mib']:.0f}", f"{c['loading_mib']:.0f}",
         f"{c['held_mib']:.0f}", _peak(c), f"{c['loading_seconds']:.1f}", _seconds(c["step_seconds"]))
        for c in cells
    ]  # fmt: skip
    header = (
        "tree", "model", "who", "base", "weights, MiB", "peak of loading", "held", "peak (x weights)", "s to load",
        "s a step",
    )  # fmt: skip
    return table(header, rows)


def _seconds(found: float | None) -> str:
    return "" if found is None else f"{found:.1f}"


def _arithmetic() -> str:
    rows = []
    for role in ("bounded", "judge-bounded"):
        for form in ("stored", "int8", "int4"):
            rows.append((ROLES[role], form, *_gib(needs("7B", role, form, tokens=1024, batch=1))))
    header = ("who", "base", "weights held", "widest matrix", "activations", "adapter and optimiser", "GiB in all")
    text = table(header, rows)
    return f"{text}\n\nOne row of 1,024 tokens at a time (gradient accumulation makes batches of them), LoRA r=8."


def _gib(found: Needs) -> tuple[str, ...]:
    parts = (found.weights, found.matrix, found.activations, found.adapter)
    return (*(f"{part / 2**30:.2f}" for part in parts), f"{sum(parts) / 2**30:.1f}")


def _checked(cells: Iterable[dict[str, Any]]) -> str:
    rows = []
    for c in cells:
        if c["tree"] == "after" and c["model"] in ("360M", "1.2B"):
            found = needs(c["model"], c["role"], c["form"], tokens=TOKENS, batch=BATCH)
            total = (found.weights + found.matrix + found.activations + found.adapter) / 2**20
            rows.append((c["model"], ROLES[c["role"]], c["form"], f"{total:.0f}", f"{c['peak_mib']:.0f}"))
    return table(("model", "who", "base", "arithmetic", "measured peak"), rows)


if __name__ == "__main__":
    main()
