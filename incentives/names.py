"""What the terms of a task leave to whoever works under many names: how much more than under one.

The measure is a trainer of one full shard among others like it, `TRAINERS` in all, who enrols the shard again in other
names. Paraphrases are other rows and no part of it; docs/results/names.md has them measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from deltaproof.protocol.terms.spec import TaskSpec
from incentives.steps import rows_within_reach

__all__ = ["NAMES", "TRAINERS", "NamesGain", "names_gain"]

NAMES, TRAINERS = 100, 10
"""Most names that are considered, and trainers of equal data, the one with the names among them."""


@dataclass(frozen=True, slots=True)
class NamesGain:
    """The largest pay under several names over that under one, and whether the terms could leave less."""

    gain: float
    names: int
    remedy: str = ""


def names_gain(spec: TaskSpec, names: int = NAMES) -> NamesGain:
    """The gain by so many names, or fewer where more add nothing, with the fewest verifiers that open a round."""
    if spec.data.roots or (spec.federation is not None and spec.federation.assignments):
        return NamesGain(1.0, 1)
    if spec.scoring.rows == "distinct":
        weight, remedy = _distinct_weight(spec, names), ""
    else:
        weight, remedy = float(names), 'scoring.index = "aumann_shapley", scoring.rows = "distinct"'
    return NamesGain(TRAINERS * weight / (weight + TRAINERS - 1), names, remedy)


def _distinct_weight(spec: TaskSpec, names: int) -> float:
    """What names on one shard weigh together on average, in shards, by `incentives.row_evidence`.

    The shard has as many rows as a round reads. Name j shows e of r rows, of which c were among the p that those
    before it had shown, c hypergeometric; then max(0, r - c r^2 / (e p)) of its rows count, less what that is off.
    """
    rows = rows_within_reach(spec, spec.data.max_rows)
    shown = min(rows, _shown_steps(spec) * spec.training.batch_size)
    weight, pool = 1.0, float(shown)
    for _ in range(1, names):
        before, ways = round(pool), comb(rows, shown)
        each = rows * weight / (shown * before)
        weight += sum(
            comb(before, c) * comb(rows - before, shown - c) / ways * max(0.0, 1.0 - c * each)
            for c in range(max(0, shown + before - rows), min(shown, before) + 1)
        )
        pool += (rows - pool) * shown / rows
    return weight


def _shown_steps(spec: TaskSpec) -> int:
    """Steps that some verifier replays."""
    between = max(spec.training.steps - 2, 0)
    drawn = spec.verification.min_verifiers * min(spec.verification.samples, between)
    return min(spec.training.steps, 2 + min(drawn, between))
