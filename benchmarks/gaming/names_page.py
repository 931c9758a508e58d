"""The page of what names earn, made of the cells that are there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gaming.grounds import GROUNDS, ROWS
from benchmarks.shared.places import ROOT
from benchmarks.shared.replay_tasks import machine_facts, table, write_results

__all__ = ["largest_gains", "write_page"]

Cells = dict[tuple[str, int, str, str, int], dict[str, Any]]
"""By ground, world, rule, strategy, names."""

RULES = {
    "distinct": "aumann_shapley, distinct rows",
    "few": "the same, first and last step only",
    "aumann_shapley": "aumann_shapley",
    "quotient": "quotient Shapley",
    "shapley": "Shapley",
    "banzhaf": "Banzhaf",
}
COMPARED = {
    "same": "all rows in each name",
    "part": "a part in each name",
    "subsets": "half of the rows in each name",
    "nearly the same": "all rows, changed a little in each name",
    "paraphrased": "all rows, written anew in each name",
    "mixture": "a part in each name, filled up with a victim's shown rows",
    "averaged": "all rows in one name, with the mean of k runs (replay rejects it)",
    "collusion": "two shards, all of both in each name",
    "merging": "two half shards in one name",
    "a quarter, inflated": "a quarter of the rows, four times, changed a little",
}
AGAINST = {
    "collusion": "two honest shards",
    "merging": "two halves",
    "a quarter, inflated": "a quarter of the rows",
}
"""What a strategy is compared with, if not one name with all rows."""
WORTHLESS = {"free ride": "zero update and random update", "labels turned over": "wrong labels"}
TOLD_APART = {"averaged", "merging"}
"""Games that nobody plays for pay: one loses by it, and nobody can hand in the other."""
Z = 1.96


def write_page(work: Path, wanted: Iterable[tuple[str, int, str, str, int]]) -> None:
    """Write docs/results/names.md and its figures."""
    cells: Cells = {}
    for place in wanted:
        path = work / f"{''.join(c if c.isalnum() else '-' for c in ' '.join(map(str, place)))}.json"
        if path.is_file():
            cells[place] = json.loads(path.read_text("utf-8"))
    rows = [row for ground in GROUNDS for row in _rows(cells, ground)]
    figures = {
        "machine": machine_facts(), "rows": rows, "cells": [[*place, found] for place, found in cells.items()],
    }  # fmt: skip
    write_results("names", figures, _page(cells, rows))
    (ROOT / "incentives" / "measured_names.json").write_text(json.dumps(largest_gains(rows), indent=1) + "\n")


def largest_gains(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By rule, the largest gain of each kind of game over grounds and numbers of names: what sponsors are told
    (`incentives.names`)."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in RULES:
        for strategy, kind in (COMPARED | {"mimicry": "a victim's shown rows"}).items():
            mine = [row for row in rows if (row["rule"], row["strategy"]) == (rule, strategy)]
            if mine and strategy not in TOLD_APART:
                enough = max(row["worlds"] for row in mine) / 2  # fewer worlds have the larger outliers
                largest = max((row for row in mine if row["worlds"] >= enough), key=lambda row: row["value"])
                interval = largest["interval"]
                told = {
                    "kind": kind, "names": largest["names"], "gain": round(largest["value"], 4),
                    "interval": None if math.isnan(interval) else round(interval, 4), "worlds": largest["worlds"],
                    "share": strategy == "mimicry",
                }  # fmt: skip
                found.setdefault(rule, []).append(told)
    return found


def _rows(cells: Cells, ground: str) -> list[dict[str, Any]]:
    played = dict.fromkeys((strategy, k) for g, _, _, strategy, k in cells if g == ground)
    rows = []
    for strategy, k in played:
        for rule in RULES:
            row = {"ground": ground, "strategy": strategy, "names": k, "rule": rule}
            if strategy == "mimicry":
                rows.append(row | _mimicry(cells, ground, rule, k))
            elif strategy in WORTHLESS:
                rows.append(row | _mean(_paid(cells, ground, rule, strategy, k)))
            elif strategy in COMPARED and (strategy, k) != ("same", 1):
                rows.append(row | _gain(cells, ground, rule, strategy, k))
    return [row for row in rows if row["worlds"]]


def _paid(cells: Cells, ground: str, rule: str, strategy: str, k: int) -> dict[int, float]:
    """The attacker's part of the pay, by world."""
    return {
        w: found["attacker"] for (g, w, r, s, n), found in cells.items() if (g, r, s, n) == (ground, rule, strategy, k)
    }


def _victims(cells: Cells, ground: str, rule: str, strategy: str, k: int) -> dict[int, float]:
    return {
        w: found["honest"][0] for (g, w, r, s, n), found in cells.items() if (g, r, s, n) == (ground, rule, strategy, k)
    }


def _gain(cells: Cells, ground: str, rule: str, strategy: str, k: int) -> dict[str, Any]:
    paid = _paid(cells, ground, rule, strategy, k)
    return _ratio(paid, _paid(cells, ground, rule, AGAINST.get(strategy, "same"), 1))


def _ratio(many: dict[int, float], one: dict[int, float]) -> dict[str, Any]:
    """Ratio of means over the worlds that have both, with a 95 % interval (delta method)."""
    both = sorted(many.keys() & one.keys())
    a, b = (np.array([values[w] for w in both]) for values in (many, one))
    if not both or not b.mean():
        return {"worlds": 0}
    ratio = float(a.mean() / b.mean())
    spread = float((a - ratio * b).std(ddof=1)) / math.sqrt(len(both)) / float(b.mean()) if len(both) > 1 else math.nan
    return {"worlds": len(both), "value": ratio, "interval": Z * spread, "pay": float(a.mean())}


def _mean(values: dict[int, float]) -> dict[str, Any]:
    found = np.array(list(values.values()))
    if not len(found):
        return {"worlds": 0}
    spread = float(found.std(ddof=1)) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    return {"worlds": len(found), "value": float(found.mean()), "interval": Z * spread}


def _mimicry(cells: Cells, ground: str, rule: str, k: int) -> dict[str, Any]:
    """The attacker's part, and what the victim has beside it of what it has without."""
    paid = _mean(_paid(cells, ground, rule, "mimicry", k))
    kept = _ratio(_victims(cells, ground, rule, "mimicry", k), _victims(cells, ground, rule, "nobody", 1))
    return paid | {"kept": kept.get("value"), "kept_interval": kept.get("interval")}


def _page(cells: Cells, rows: Sequence[dict[str, Any]]) -> str:
    grounds = [ground for ground in GROUNDS if any(row["ground"] == ground for row in rows)]
    return "\n\n".join([_head(), *(_of_ground(cells, rows, ground) for ground in grounds), _foot()])


HEAD = """# What names earn

A *world* is a LoRA round of 12 steps of 8 rows with three honest trainers of {rows} rows and an attacker with {rows} of
its own, who works honestly but under k names. Pay is a share of all positive scores on 180 held-out rows. *Gain* is
the attacker's pay over its pay under one name: the ratio of means over worlds, with a 95 % interval (delta method, so
rough for few worlds). Nobody is called a copy by likeness of deltas, and nobody is replayed: only the rules of pay are
compared. Made by `python -m benchmarks.gaming.names`.

- *aumann_shapley, distinct rows*: `scoring.rows = "distinct"`, with evidence from the 11 of 12 steps that
  verifiers with nine samples replay; and, to compare, from the first and the last step only
- *aumann_shapley*: rows as enrolled
- *quotient Shapley*: names that shown rows link are one player (the mean of their deltas), its Shapley value in equal
  parts (arXiv 2605.07663)
- *Shapley*, *Banzhaf*: every name is a player; exact up to 6 players, else the default estimator with 96 evaluations

Names that hold a part of the rows each train a whole round on it, and k runs are worth more than one on average. The
line *with the mean of k runs* says how much, without any names: what parts and mixtures gain is below that, so it is
runs, which are verified and paid as work, and not names.

Digits played on 2026-11-28 compared images by their shades; a perceptual hash does since (`docs/results/images.md`)."""


def _head() -> str:
    return HEAD.format(rows=ROWS)


def _of_ground(cells: Cells, rows: Sequence[dict[str, Any]], ground: str) -> str:
    mine = [row for row in rows if row["ground"] == ground]
    worlds = len({w for g, w, *_ in cells if g == ground})
    gains = [row for row in mine if row["strategy"] in COMPARED]
    parts = [
        f"## {GROUNDS[ground].name[0].upper()}{GROUNDS[ground].name[1:]}",
        f"Worlds played: {worlds}. A number in brackets says of how many a figure is made where that is fewer.",
        _table(gains, worlds, COMPARED, lambda row: _with_interval(row["value"], row["interval"]), "gain"),
    ]
    if mimics := [row for row in mine if row["strategy"] == "mimicry"]:
        parts += [
            "The attacker has no rows. In k names it enrols those that the first honest trainer showed in the round "
            "before. Its part of the pay, and what the victim keeps of its own:",
            _table(mimics, worlds, {"mimicry": "a victim's shown rows"}, _kept, "pay; kept"),
        ]  # fmt: skip
    if worthless := [row for row in mine if row["strategy"] in WORTHLESS]:
        parts += [
            "Work that is worth nothing or harms, and its part of the pay (replay rejects the first two):",
            _table(worthless, worlds, WORTHLESS, lambda row: f"{row['value']:.1%}", "pay"),
        ]
    return "\n\n".join(parts)


def _kept(row: dict[str, Any]) -> str:
    kept = _with_interval(row["kept"], row["kept_interval"]) if row.get("kept") is not None else "?"
    return f"{row['value']:.1%}; {kept}"


def _with_interval(value: float, interval: float) -> str:
    """One world has no interval."""
    return f"{value:.2f}" if math.isnan(interval) else f"{value:.2f} ± {interval:.2f}"


def _table(rows: Sequence[dict[str, Any]], worlds: int, names: dict[str, str], write: Any, what: str) -> str:
    rules = [rule for rule in RULES if any(row["rule"] == rule for row in rows)]
    found = {(row["strategy"], row["names"], row["rule"]): row for row in rows}

    def text(strategy: str, k: int, rule: str) -> str:
        row = found.get((strategy, k, rule))
        if row is None:
            return ""
        return write(row) + (f" ({row['worlds']})" if row["worlds"] != worlds else "")

    places = sorted({(list(names).index(s), s, k) for s, k, _ in found})
    return table(
        ("the attacker enrols", "k", *(f"{what}: {RULES[rule]}" for rule in rules)),
        [(names[s], k, *(text(s, k, rule) for rule in rules)) for _, s, k in places],
    )


def _foot() -> str:
    return f"Machine: {machine_facts()}"
