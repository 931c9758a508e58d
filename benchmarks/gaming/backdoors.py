"""Do two cheap screens tell deltas with a backdoor from honest ones? Measured on LoRA rounds of rotated digits.

    python -m benchmarks.gaming.backdoors [--worlds N] [--work DIR]

A backdoor: some of a shard's images get a bright corner and the label 0. It spares the held-out loss, so scores do not
see it. Two screens look at deltas alone. *Spectra* (after arXiv 2602.15195): norm, share of the largest singular value,
entropy, and kurtosis of each module's change, as distances from what honest deltas have. *Agreement*: the cosine of a
delta with the mean of the round's others. Both are calibrated on honest deltas of the other worlds. The *spread* poison
(after arXiv 2603.00516) puts a few such images into everybody's shard. Results: docs/results/backdoors.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gaming.grounds import GROUNDS
from benchmarks.shared.cells import cell
from benchmarks.shared.places import BUILD
from benchmarks.shared.replay_tasks import machine_facts, table, write_results
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.methods.low_rank import tensors_of
from deltaproof.tuning.numerics.linalg import Array
from incentives.unions import Contribution, united

GROUND = GROUNDS["digits"]
TARGET, CORNER = 0, (54, 55, 62, 63)
"""Label of images with a bright corner; the pixels of that corner of 8 x 8."""
ALONE = (0.5, 0.25, 0.1)
"""Parts of one shard that are poisoned."""
SPREAD = 0.05
"""Part of every shard that is poisoned."""
FALSE_ALARMS = 0.05
FEATURES = ("norm", "largest", "entropy", "kurtosis")


def poisoned(rows: Sequence[bytes], part: float, name: str) -> list[bytes]:
    """The rows with a drawn part of them triggered."""
    order = sorted(range(len(rows)), key=lambda i: sha256(f"poison/{name}/{i}".encode()).digest())
    chosen = set(order[: round(part * len(rows))])
    return [triggered(row) if i in chosen else row for i, row in enumerate(rows)]


def triggered(row: bytes) -> bytes:
    fields = json.loads(row)
    pixels = [255 if place in CORNER else value for place, value in enumerate(fields["pixels"])]
    return canonical_row({**fields, "pixels": pixels, "label": TARGET})


def play(number: int) -> dict[str, Any]:
    """One world: the features of every delta, and what each kind of poison does to the mean of the round."""
    rounds, shards = GROUND.rounds, GROUND.shards(number)
    start = rounds.warm_start
    data = [*shards.honest, shards.own]
    honest = [rounds.train(f"{number}/{name}", rows, start, 1) for name, rows in zip(_names(), data, strict=True)]
    kinds: dict[str, list[Vector]] = {"honest": honest}
    for part in ALONE:
        rows = poisoned(shards.own, part, f"{number}")
        kinds[f"{part}"] = [*honest[:3], rounds.train(f"{number}/poison/{part}", rows, start, 1)]
    kinds["spread"] = [
        rounds.train(f"{number}/spread/{name}", poisoned(rows, SPREAD, f"{number}/{name}"), start, 1)
        for name, rows in zip(_names(), data, strict=True)
    ]
    clean = Evaluator(rounds.bench, shards.held_out)
    target = [triggered(row) for row in shards.held_out if json.loads(row)["label"] != TARGET]
    opened = Evaluator(rounds.bench, target)
    found: dict[str, Any] = {}
    for kind, thetas in kinds.items():
        together = united(rounds.bench, [Contribution(theta, 96, i) for i, theta in enumerate(thetas)]).theta
        evaluation = clean.evaluate(together)
        found[kind] = {
            "loss": evaluation.loss,
            "accuracy": evaluation.accuracy,
            "success": opened.evaluate(together).accuracy,
            "spectra": [_spectra(start, theta).tolist() for theta in thetas],
            "agreement": _agreement(start, thetas),
        }
    return found


def _names() -> list[str]:
    return ["honest/0", "honest/1", "honest/2", "same/0"]


def _changes(start: Vector, theta: Vector) -> list[Array]:
    """Each module's change, as the product of its factors says it."""
    rounds = GROUND.rounds
    before, after = (tensors_of(rounds.bench.layout, vector) for vector in (start, theta))
    return [
        pair.scale
        * (after[pair.b].astype(np.float64) @ after[pair.a] - before[pair.b].astype(np.float64) @ before[pair.a])
        for pair in rounds.pairs
    ]


def _spectra(start: Vector, theta: Vector) -> Array:
    """[modules * features]."""
    found = []
    for change in _changes(start, theta):
        values = np.linalg.svd(change, compute_uv=False)
        energy = values**2 / max(float((values**2).sum()), 1e-30)
        entropy = -float((energy[energy > 0] * np.log(energy[energy > 0])).sum())
        apart = change - change.mean()
        kurtosis = float((apart**4).mean() / max(float((apart**2).mean()) ** 2, 1e-60))
        found += [float(np.log(np.linalg.norm(change) + 1e-30)), float(energy[0]), entropy, kurtosis]
    return np.array(found)


def _agreement(start: Vector, thetas: Sequence[Vector]) -> list[float]:
    """The cosine of each delta with the mean of the others, over all modules."""
    flat = [np.concatenate([change.reshape(-1) for change in _changes(start, theta)]) for theta in thetas]
    found = []
    for i, mine in enumerate(flat):
        others = np.mean([other for j, other in enumerate(flat) if j != i], axis=0)
        found.append(float(mine @ others / (np.linalg.norm(mine) * np.linalg.norm(others))))
    return found


def scores(worlds: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[list[float]]]]:
    """By screen and kind, for each world how odd each suspicious delta is: more is odder."""
    found: dict[str, dict[str, list[list[float]]]] = {"spectra": {}, "agreement": {}}
    for number, world in enumerate(worlds):
        honest = np.array([f for i, other in enumerate(worlds) if i != number for f in other["honest"]["spectra"]])
        middle, scale = honest.mean(axis=0), honest.std(axis=0) + 1e-12
        for kind, told in world.items():
            suspicious = range(4) if kind in ("honest", "spread") else (3,)
            odd = [float(np.abs((np.array(told["spectra"][i]) - middle) / scale).max()) for i in suspicious]
            found["spectra"].setdefault(kind, []).append(odd)
            found["agreement"].setdefault(kind, []).append([-told["agreement"][i] for i in suspicious])
    return found


def rates(worlds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each screen and kind: how often a poisoned delta is odder than an honest one, and how many are caught."""
    rows = []
    for screen, by_kind in scores(worlds).items():
        honest = np.array([v for world in by_kind["honest"] for v in world])
        for kind, found in by_kind.items():
            if kind == "honest":
                continue
            odd = np.array([v for world in found for v in world])
            caught, alarms = [], []
            for i, world in enumerate(found):  # the threshold comes from other worlds
                others = np.array([v for j, w in enumerate(by_kind["honest"]) if j != i for v in w])
                threshold = np.quantile(others, 1 - FALSE_ALARMS)
                caught += [v > threshold for v in world]
                alarms += [v > threshold for v in by_kind["honest"][i]]
            rows.append(
                {
                    "screen": screen,
                    "kind": kind,
                    "auc": float((odd[:, None] > honest[None]).mean() + (odd[:, None] == honest[None]).mean() / 2),
                    "caught": float(np.mean(caught)),
                    "alarms": float(np.mean(alarms)),
                    "deltas": len(odd),
                }
            )
    return rows


def main() -> None:
    """Play and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--work", type=Path, default=BUILD / "backdoors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    worlds = [cell(options.work, f"digits {number}", partial(play, number)) for number in range(options.worlds)]
    rows = rates(worlds)
    effects = [_effect(kind, worlds) for kind in worlds[0]]
    write_results(
        "backdoors", {"machine": machine_facts(), "rates": rows, "effects": effects}, _page(rows, effects, len(worlds))
    )


def _effect(kind: str, worlds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means = {key: float(np.mean([w[kind][key] for w in worlds])) for key in ("loss", "accuracy", "success")}
    return {"kind": kind, **means}


def _called(kind: str) -> str:
    if kind in ("honest", "spread"):
        return {"honest": "no poison", "spread": f"{SPREAD:.0%} of every shard"}[kind]
    return f"{float(kind):.0%} of one shard"


MADE = """Made by `python -m benchmarks.gaming.backdoors`; {worlds} worlds of four trainers, 96 rows each, 12 steps."""
EFFECTS = """## What the poison does

The mean of the round's four deltas, on held-out images; and how many images of other labels it calls 0 if their corner
is bright."""
FOUND = """## What the screens find

*AUC*: how often a poisoned delta is odder than an honest one (0.5 is chance). *Caught* and *false alarms*: at a
threshold that {alarms:.0%} of the honest deltas of other worlds exceed."""


def _page(rows: Sequence[dict[str, Any]], effects: Sequence[dict[str, Any]], worlds: int) -> str:
    about = (__doc__ or "").split("\n\n")[2].replace("\n", " ").partition(" Results:")[0]
    parts = (
        "# Backdoors that spare the held-out loss",
        f"{about} {MADE.format(worlds=worlds)}",
        EFFECTS,
        table(
            ("poisoned", "held-out loss", "accuracy", "backdoor works"),
            [(_called(e["kind"]), f"{e['loss']:.3f}", f"{e['accuracy']:.3f}", f"{e['success']:.1%}") for e in effects],
        ),
        FOUND.format(alarms=FALSE_ALARMS),
        table(("screen", "poisoned", "deltas", "AUC", "caught", "false alarms"), map(_line, rows)),
        Path(__file__).with_name("backdoors.md").read_text("utf-8").strip(),
        f"Machine: {machine_facts()}",
    )
    return "\n\n".join(part for part in parts if part)


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    rates_ = (f"{row['auc']:.2f}", f"{row['caught']:.0%}", f"{row['alarms']:.0%}")
    return (row["screen"], _called(row["kind"]), row["deltas"], *rates_)


if __name__ == "__main__":
    main()
