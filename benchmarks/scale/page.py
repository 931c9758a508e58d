"""The page of what rounds of many trainers cost, made of the cells that are there."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scale.layer2 import layer2_part
from benchmarks.scale.real import VERIFIERS
from benchmarks.shared.replay_tasks import machine_facts, table, write_results

__all__ = ["write_page"]

Cell = dict[str, Any]
Line = Callable[[Cell], float]
FAR = 100_000
"""Trainers of the last column: by unit costs, from the largest round that was measured."""
FLAT = 0.2
"""An exponent up to which a cost hardly depends on the number of trainers."""
HEAD = """# What a round costs by the number of its trainers

Made by `python -m benchmarks.scale`. *Growth* is the exponent between the two largest rounds: 0 is a cost that does not
depend on the number of trainers, 1 is the same for each trainer, 2 is a cost for each pair; between 0 and 1 there is a
part for the round and one for each trainer. The last column is arithmetic: the largest measured cost, grown by that
exponent to 100,000 trainers, or along the line through the two largest where the exponent is from 0.2 to 1. A round
holds 4,096 at most, so there it stands for 25 tasks of 4,000.

Seconds are CPU seconds of the process that computes, unless a line says otherwise; a node's are not in them. They were
measured one after another on two cores that did other work too: they are upper bounds, and an exponent of seconds is
rough."""
CHAIN: dict[str, Line] = {
    "gas of a trainer: commitment, in batches of 50": lambda c: c["gas_commit"],
    "gas of a trainer: reveal, in batches of 50": lambda c: c["gas_reveal"],
    "gas of a trainer: claim": lambda c: c["gas_claim"],
    "gas of the round: settlement": lambda c: c["gas_settle"],
    "gas of the round: finalising": lambda c: c["gas_finalize"],
    "a verifier's requests: events": lambda c: c["events_calls"],
    "a verifier's requests: enrolments": lambda c: c["enrolments_calls"],
    "a verifier's requests: who enrolled first": lambda c: c["order_calls"],
    "a verifier's requests: known faults": lambda c: c["faults_calls"],
    "a verifier's seconds: all of these": lambda c: sum(
        c[f"{k}_cpu_seconds"] for k in ("events", "enrolments", "order", "faults")
    ),
    "a verifier's seconds: whose memory counts": lambda c: c["memories_cpu_seconds"],
    "an auditor's index, s": lambda c: c["index_cpu_seconds"],
    "an audit of chain and leaves, s": lambda c: c["audit_cpu_seconds"],
    "who enrolled before whom and shares with whom, s": lambda c: c["lookups_cpu_seconds"],
    "a round's page, s": lambda c: c["round_page_cpu_seconds"],
    "a task's page, s": lambda c: c["task_page_cpu_seconds"],
    "an account's page, s": lambda c: c["account_page_cpu_seconds"],
}
WORK: dict[str, Line] = {
    "drawing everybody's samples, s": lambda c: c["samples_cpu_seconds"],
    "distinct rows, s": lambda c: c["rows_cpu_seconds"],
    "valuation and next adapter, s": lambda c: c["valuation_cpu_seconds"],
    "likeness of deltas, where a task looks for copies, s": lambda c: c["likeness_cpu_seconds"],
    "its memory, MB": lambda c: c["likeness_memory_bytes"] / 1e6,
    "deriving the settlement, s": lambda c: c["settlement_cpu_seconds"],
    "its tree, s": lambda c: c["tree_cpu_seconds"],
    "attestation without the record, bytes": lambda c: c["attestation_bytes"],
    "a claim's proof, digests": lambda c: c["proof_digests"],
}
REAL: dict[str, Line] = {
    "the round, all roles in turn, s by the clock": lambda c: c["round_seconds"],
    "CPU seconds of a verifier": lambda c: c["verifier_cpu_seconds"],
    "steps that a verifier replays": lambda c: c["replayed_steps"],
    "bytes that a verifier reads": lambda c: c["verifier_read_bytes"],
    "bytes of its attestation": lambda c: c["attestation_bytes"],
    "CPU seconds a trainer, without verifiers": lambda c: (
        (c["round_cpu_seconds"] - c["verifiers"] * c["verifier_cpu_seconds"]) / c["trainers"]
    ),
    "bytes in the store a trainer": lambda c: c["stored_bytes"] / c["trainers"],
    "an audit with store and model, s": lambda c: c["audit_cpu_seconds"],
}
PARTS = {
    "chain": (
        "Real contracts, simulated training",
        "One round on Anvil (rules of Prague) with three verifiers; trainers sign, a relayer sends. Reading is the "
        "product's: `TaskLog`, `EnrolmentLog`, `known_faults`, `memory_roots`, the auditor's index, audit and pages, "
        "without a store.",
        CHAIN,
    ),
    "work": (
        "What is computed once a round",
        "A small BERT under LoRA; deltas are noise. Every trainer shows 24 rows of its own. Memory is what the process "
        "needed beyond what it held. A settlement holds 4,096 leaves, so what needs one ends there.",
        WORK,
    ),
    "real": (
        "Really trained, replayed and settled",
        "The minimal preset in one process: 6 steps of 4 rows, of which three are replayed; one cheat. Verifiers "
        "replay everybody where no committees are named. They take turns, so that what each spends is known; numbers "
        "of a verifier are medians. "
        "Growth is that with the trainers at three verifiers.",
        REAL,
    ),
}


def write_page(folder: Path) -> None:
    """Write docs/results/scale.md and its figures."""
    found: dict[str, list[Cell]] = {part: [] for part in PARTS}
    for path in folder.glob("*.json"):
        named = re.fullmatch(r"([a-z]+)-\d+(x\d+(c\d+)?)?", path.stem)
        if named and named[1] in PARTS:
            found[named[1]].append(json.loads(path.read_text("utf-8")))
    for cells in found.values():
        cells.sort(key=lambda cell: (cell["trainers"], cell.get("verifiers", 0), cell.get("committee", 0)))
    parts = [_part(*PARTS[part], cells) for part, cells in found.items() if cells]
    if found["chain"]:
        parts.insert(1, layer2_part(found["chain"][-1]))
    notes = Path(__file__).with_name("notes.md").read_text("utf-8").strip()
    text = "\n\n".join([HEAD, *parts, notes, f"Machine: {machine_facts()}"])
    write_results("scale", {"machine": machine_facts(), **found}, text)


def _part(title: str, about: str, lines: dict[str, Line], cells: Sequence[Cell]) -> str:
    rows = []
    for name, line in lines.items():
        values = [_measured(line, cell) for cell in cells]
        compared = [(int(cell["trainers"]), value) for cell, value in zip(cells, values, strict=True)
                    if value is not None and cell.get("verifiers", VERIFIERS) == VERIFIERS]  # fmt: skip
        growth = _growth(compared)
        far = "" if growth is None else _short(_far(compared, growth))
        rows.append((name.strip(), *map(_short, values), "" if growth is None else f"{growth:.2f}", far))
    header = ("", *map(_size, cells), "growth", f"{FAR:,}")
    return "\n\n".join([f"## {title}", about, table(header, rows)])


def _size(cell: Cell) -> str:
    verifiers = f", {cell['verifiers']} verifiers" if "verifiers" in cell else ""
    committees = f", committees of {cell['committee']}" if cell.get("committee") else ""
    return f"{cell['trainers']:,} trainers{verifiers}{committees}"


def _measured(line: Line, cell: Cell) -> float | None:
    """None where a cell lacks what a line shows."""
    try:
        return line(cell)
    except KeyError:
        return None


def _growth(compared: Sequence[tuple[int, float]]) -> float | None:
    """Exponent between the two largest; None if that cannot be said."""
    if len(compared) < 2 or min(value for _, value in compared[-2:]) <= 0:
        return None
    (few, least), (many, most) = compared[-2:]
    return math.log(most / least) / math.log(many / few)


def _far(compared: Sequence[tuple[int, float]], growth: float) -> float:
    """The cost of FAR trainers, from the two largest rounds."""
    (few, least), (many, most) = compared[-2:]
    if FLAT < growth < 1.0:  # a part for the round and one for each trainer
        return most + (most - least) * (FAR - many) / (many - few)
    return float(most * (FAR / many) ** max(growth, 0.0))


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
