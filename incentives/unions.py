"""Trainers of the same data are one player.

Two trainers who enrolled one data root ran the same verified process on the same rows. Only the seeded batch orders
differ. So they form an a-priori union (Owen 1977): their deltas are made one by the task's rule before anything is
valued or aggregated, and they share in equal parts what the union is worth.

Ten identities on one shard earn what one delta earns, the mean of theirs, and pull the next adapter no harder than one
(measured: docs/results/gaming.md). Robust rules, too, hear a shard once.

Only roots that the task names make unions (`data.roots`). In a task of anybody's data a root is a mere claim: whoever
learnt a trainer's rows would enrol them in many names to take its share. There everybody is a union of one, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.mixing import aggregate_thetas, masks_of
from deltaproof.tuning.training.workbench import Workbench
from incentives.row_evidence import RowClaim
from incentives.steps import rows_within_reach, stepped

__all__ = [
    "Contribution",
    "aggregate_contributions",
    "data_unions",
    "named_root",
    "row_claims",
    "row_weights",
    "share_of",
    "united",
]


@dataclass(frozen=True, slots=True)
class Contribution:
    """One accepted trainer's round: the adapter it leads to, shape (P,), its shard's rows, its commitment's rank.

    `tuned` are the values that it tuned under federated dropout, shape (P,); None for all. `union` is the data root
    that it shares value by (`named_root`). `opened` gives the rows of its drawn steps, each once and as the model reads
    it (`rows_as_read`); they are asked for only where deltas are alike or rows are counted. `enrolled` is its
    enrolment's rank.
    """

    theta: Vector
    rows: int
    order: int
    tuned: Mask | None = None
    union: Digest32 | None = None
    opened: Callable[[], Collection[bytes]] = tuple
    enrolled: int = 0


def named_root(spec: TaskSpec, data_root: Digest32) -> Digest32 | None:
    """What a trainer of this data root shares value by; None where the task does not name roots."""
    return data_root if spec.data.roots else None


def data_unions(roots: Sequence[Digest32 | None]) -> tuple[tuple[int, ...], ...]:
    """Indices of those with the same root together, in order of each union's first. None is a union of one."""
    unions: list[list[int]] = []
    place: dict[Digest32, int] = {}
    for i, root in enumerate(roots):
        if root is None or root not in place:
            if root is not None:
                place[root] = len(unions)
            unions.append([i])
        else:
            unions[place[root]].append(i)
    return tuple(tuple(union) for union in unions)


def united(bench: Workbench, members: Sequence[Contribution]) -> Contribution:
    """A union's contribution: its deltas made one by the task's rule, as many rows as they share."""
    if len(members) == 1:
        return members[0]
    masks = masks_of([member.tuned for member in members])
    theta, _ = aggregate_thetas(bench, [member.theta for member in members], None, masks)
    tuned = None
    if masks is not None:
        tuned = masks[0].copy()
        for mask in masks[1:]:
            tuned |= mask
    first = min(members, key=lambda member: member.order)
    # One root, so the same rows: who claims more of them than the others must not weigh more by it.
    return Contribution(theta, min(member.rows for member in members), first.order, tuned, first.union)


def row_claims(spec: TaskSpec, contributions: Sequence[Contribution]) -> list[RowClaim]:
    """What contributions say of their rows, where distinct ones count."""
    return [RowClaim(c.enrolled, rows_within_reach(spec, c.rows), c.opened()) for c in contributions]


def share_of(amount: int, members: int) -> int:
    """Each member's part of a union's score: rounded down, so that parts are never worth more than the whole."""
    return amount // members


def row_weights(spec: TaskSpec, rows: Sequence[int]) -> list[int] | None:
    """Aggregation weights of players with so many rows, as `aggregate_thetas` takes them."""
    return list(rows) if spec.aggregation.weights == "rows" else None


def aggregate_contributions(
    bench: Workbench, start: Vector, contributions: Sequence[Contribution]
) -> tuple[Vector, float]:
    """The adapter that the contributions make by the task's rule, shape (P,), each data root counted once; and the
    truncation error of the last step. `start` is the round's. Raises ValueError as `aggregate_thetas` does."""
    unions = data_unions([contribution.union for contribution in contributions])
    players = [united(bench, [contributions[i] for i in union]) for union in unions]
    thetas = [player.theta for player in players]
    if bench.spec.scoring.index == "aumann_shapley":  # what is paid for is the step that the adapter makes
        return stepped(bench, start, thetas, [rows_within_reach(bench.spec, player.rows) for player in players])
    weights = row_weights(bench.spec, [player.rows for player in players])
    return aggregate_thetas(bench, thetas, weights, masks_of([p.tuned for p in players]))
