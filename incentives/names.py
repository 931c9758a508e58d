"""What the terms of a task leave to whoever works under many names: how much more than under one.

The measure is a trainer of one full shard among others like it, `TRAINERS` in all, who enrols the shard again in other
names. What else names can do was measured (docs/results/names.md): `measured_gains` has the largest of it by kind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deltaproof.protocol.rules import BPS, LEAST_NEW
from deltaproof.protocol.terms.spec import TaskSpec
from incentives.steps import rows_within_reach

__all__ = ["NAMES", "TRAINERS", "MeasuredGain", "NamesGain", "measured_gains", "names_gain"]

NAMES = 100
"""Most names that are considered."""
TRAINERS = 10
"""Trainers of equal data, the one with the names among them."""
SPREADS = 8
"""Standard deviations that are summed over."""


@dataclass(frozen=True, slots=True)
class NamesGain:
    """The largest pay under several names over that under one, by how many, and what would leave less.

    `idle_gain` is the same in a round that improves nothing, where accepted work is paid by heads (`rewards.base_bps`).
    """

    gain: float
    names: int
    remedy: str = ""
    idle_gain: float = 1.0


@dataclass(frozen=True, slots=True)
class MeasuredGain:
    """A kind of game with names and the largest gain that was measured under the task's rule, of all numbers of names.

    `gain` is pay over that of one name; or, where `share`, the part of a round's pay, and one name has none.
    `interval` is half of the 95 % one over so many worlds; None of one world.
    """

    kind: str
    names: int
    gain: float
    interval: float | None
    worlds: int
    share: bool = False


def measured_gains(spec: TaskSpec) -> tuple[MeasuredGain, ...]:
    """What was measured under the rule that the task pays by; nothing where shards or trainers are named."""
    return () if _named(spec) else _measured().get(_rule(spec), ())


@cache
def _measured() -> dict[str, tuple[MeasuredGain, ...]]:
    """By rule; `benchmarks.gaming.names` writes the file with its page."""
    found: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("measured_names.json").read_text())
    return {rule: tuple(MeasuredGain(**row) for row in rows) for rule, rows in found.items()}


def _rule(spec: TaskSpec) -> str:
    if spec.scoring.index != "aumann_shapley":
        return spec.scoring.index
    return "distinct" if spec.scoring.rows == "distinct" else "aumann_shapley"


def _named(spec: TaskSpec) -> bool:
    return bool(spec.data.roots or (spec.federation is not None and spec.federation.assignments))


def names_gain(spec: TaskSpec, names: int = NAMES) -> NamesGain:
    """The largest gain by up to so many names."""
    if _named(spec):
        return NamesGain(1.0, 1)
    counted = spec.scoring.rows == "distinct"
    remedy = "" if counted else 'scoring.index = "aumann_shapley", scoring.rows = "distinct"'
    found = _distinct_weights(spec, names) if counted else [(float(k), float(k)) for k in range(1, names + 1)]
    floor = spec.rewards.floor_bps / BPS
    gains = [_pay(holders, weight, floor) / _pay(1.0, 1.0, floor) for weight, holders in found]
    gain = max(gains)
    if floor and gain > 1.0:
        remedy = ", ".join(filter(None, [remedy, "rewards.floor_bps = 0"]))
    idle = max(TRAINERS * holders / (holders + TRAINERS - 1) for _, holders in found)
    return NamesGain(gain, 1 + gains.index(gain), remedy, idle)


def _pay(names: float, weight: float, floor: float) -> float:
    """Part of what is released that goes to so many names: to each the floor, and of the rest by weight."""
    everybody = names + TRAINERS - 1
    each = min(floor, 1 / everybody)
    return names * each + (1 - everybody * each) * weight / (weight + TRAINERS - 1)


def _distinct_weights(spec: TaskSpec, names: int) -> list[tuple[float, float]]:
    """What 1, 2, ... names on one shard weigh together on average, in shards, by `incentives.row_evidence`; and how
    many of them have rows that count.

    The shard has as many rows as a round reads. Name j shows e of r rows, of which c were among the p that those
    before it had shown, c hypergeometric; then r - c r^2 / (e p) of its rows count, if that is LEAST_NEW of them.
    """
    rows = rows_within_reach(spec, spec.data.max_rows)
    shown = min(rows, _shown_steps(spec) * spec.training.batch_size)
    weight, holders, pool, found = 1.0, 1.0, float(shown), [(1.0, 1.0)]
    for _ in range(1, names):
        before = round(pool)
        each = rows * weight / (shown * before)
        for c, chance in _drawn_again(rows, before, shown):
            left = 1.0 - c * each
            if left >= LEAST_NEW:
                weight += chance * left
                holders += chance
        pool += (rows - pool) * shown / rows
        found.append((weight, holders))
    return found


def _drawn_again(rows: int, marked: int, drawn: int) -> Iterator[tuple[int, float]]:
    """How many of the marked rows are among those drawn, with its chance: hypergeometric, the far tails left out."""
    middle = drawn * marked / rows
    width = SPREADS * (1 + math.sqrt(middle))
    first, last = max(0, drawn + marked - rows), min(drawn, marked)
    for c in range(max(first, int(middle - width)), min(last, int(middle + width)) + 1):
        ways = _ways(marked, c) + _ways(rows - marked, drawn - c) - _ways(rows, drawn)
        yield c, math.exp(ways)


def _ways(of: int, chosen: int) -> float:
    """Logarithm of the number of choices."""
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


def _shown_steps(spec: TaskSpec) -> int:
    """Steps that verifiers replay."""
    return min(spec.training.steps, 2 + spec.verification.samples)
