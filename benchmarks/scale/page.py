"""The page of what rounds of many trainers cost, made of the cells that are there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.shared.replay_tasks import machine_facts, table, write_results

__all__ = ["write_page"]

Cell = dict[str, Any]
FAR = 100_000
"""Trainers of the last column: by unit costs, from the largest round that was measured."""
HEAD = """# What a round costs by the number of its trainers

Made by `python -m benchmarks.scale`. *Growth* is the exponent between the two largest rounds: 0 is a cost that does not
depend on the number of trainers, 1 is the same for each trainer, 2 is a cost for each pair. The last column is
arithmetic: the largest measured cost, grown by that exponent to 100,000 trainers."""
CHAIN: dict[str, Callable[[Cell], float]] = {
    "gas of a trainer: commitment, in batches of 50": lambda c: c["gas_commit"],
    "gas of a trainer: reveal, in batches of 50": lambda c: c["gas_reveal"],
    "gas of a trainer: claim": lambda c: c["gas_claim"],
    "gas of the round: settlement": lambda c: c["gas_settle"],
    "gas of the round: finalising": lambda c: c["gas_finalize"],
    "a verifier's RPC calls: events": lambda c: c["events_calls"],
    "a verifier's RPC calls: enrolments": lambda c: c["enrolments_calls"],
    "a verifier's RPC calls: who enrolled first": lambda c: c["order_calls"],
    "a verifier's RPC calls: known faults": lambda c: c["faults_calls"],
    "a verifier's seconds: all of these": lambda c: sum(
        c[f"{k}_seconds"] for k in ("events", "enrolments", "order", "faults")
    ),
    "an auditor's index: seconds": lambda c: c["index_seconds"],
    "an auditor's index: events a second": lambda c: c["index_rows"] / c["index_seconds"],
}
WORK: dict[str, Callable[[Cell], float]] = {
    "drawing everybody's samples, s": lambda c: c["samples_seconds"],
    "likeness of deltas, s": lambda c: c["likeness_seconds"],
    "distinct rows, s": lambda c: c["rows_seconds"],
    "valuation and next adapter, likeness included, s": lambda c: c["valuation_seconds"],
    "deriving the settlement, s": lambda c: c["settlement_seconds"],
    "its tree, s": lambda c: c["tree_seconds"],
    "attestation without the record, bytes": lambda c: c["attestation_bytes"],
    "a claim's proof, digests": lambda c: c["proof_digests"],
}
REAL: dict[str, Callable[[Cell], float]] = {
    "the round, s": lambda c: c["seconds"],
    "CPU seconds a trainer": lambda c: c["cpu_seconds"] / c["trainers"],
    "bytes in the store a trainer": lambda c: c["stored_bytes"] / c["trainers"],
}
PARTS = {
    "chain": (
        "Real contracts, simulated training",
        "One round on Anvil with three verifiers; trainers sign, a relayer sends. Reading is the product's: "
        "`TaskLog`, `EnrolmentLog`, `known_faults`, the auditor's index.",
        CHAIN,
    ),
    "work": (
        "What is computed once a round",
        "A small BERT under LoRA; deltas are noise. Every trainer shows 24 rows of its own.",
        WORK,
    ),
    "real": (
        "Really trained, replayed and settled",
        "The minimal preset in one process: 6 steps of 4 rows, three verifiers that replay everybody, one cheat.",
        REAL,
    ),
}


def write_page(folder: Path) -> None:
    """Write docs/results/scale.md and its figures."""
    found: dict[str, list[Cell]] = {part: [] for part in PARTS}
    for path in folder.glob("*.json"):
        part, _, number = path.stem.partition("-")
        if part in PARTS and number.isdigit():
            found[part].append(json.loads(path.read_text("utf-8")))
    for cells in found.values():
        cells.sort(key=lambda cell: int(cell["trainers"]))
    parts = [_part(*PARTS[part], cells) for part, cells in found.items() if cells]
    notes = Path(__file__).with_name("notes.md").read_text("utf-8").strip()
    text = "\n\n".join([HEAD, *parts, notes, f"Machine: {machine_facts()}"])
    write_results("scale", {"machine": machine_facts(), **found}, text)


def _part(title: str, about: str, lines: dict[str, Callable[[Cell], float]], cells: Sequence[Cell]) -> str:
    sizes = [int(cell["trainers"]) for cell in cells]
    rows = []
    for name, value in lines.items():
        values = [value(cell) for cell in cells]
        growth = _growth(sizes, values)
        rates = "a second" in name
        far = "" if growth is None or rates else _short(values[-1] * (FAR / sizes[-1]) ** max(growth, 0.0))
        rows.append((name, *map(_short, values), "" if growth is None else f"{growth:.2f}", far))
    header = ("", *(f"{size:,} trainers" for size in sizes), "growth", f"{FAR:,}")
    return "\n\n".join([f"## {title}", about, table(header, rows)])


def _growth(sizes: Sequence[int], values: Sequence[float]) -> float | None:
    """Exponent between the two largest; None if that cannot be said."""
    if len(sizes) < 2 or min(values[-2:]) <= 0:
        return None
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
