"""How alike two honest trainers of a task become who share no row: what counts as a copy must be more alike than that.

Where labels lean to one side, or rows are much alike, the first thing that plain gradient steps learn is what all rows
have in common. Then all honest deltas point the same way, and nobody has copied anything. So it is with rows that are
compared by their words: those of a small vocabulary, or of a few templates, hold the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256

from deltaproof.errors import DeltaproofError
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.reporting import counted
from deltaproof.tuning.base_models.batches import rows_as_read
from deltaproof.tuning.combining.mixing import members_of
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import DrawnRound, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench
from incentives.overlap import have_common_rows
from incentives.row_evidence import RowClaim, count_rows
from incentives.similarity import similarities

__all__ = ["different_rows", "honest_likeness", "likeness_note", "rows_note"]

STEPS = 16
"""Of each trainer at most. Where deltas become alike they have done so by then (docs/protocol/scores.md, copies)."""
MOST_SECONDS = 60.0
MOST_ROWS = 1_024
FEW_DIFFERENT = 0.75
"""Share of the rows below which a sponsor hears of it."""


def honest_likeness(bench: Workbench, start: Vector, rows: Sequence[bytes]) -> float | None:
    """Similarity of two deltas that honest steps on separate halves of `rows` lead to, from -1 to 1.

    `start` is the starting adapter, shape (P,). None where the rows are too few to tell, have rows in common that would
    explain it, or the steps take more than a minute.
    """
    halves = [tuple(rows[0::2]), tuple(rows[1::2])]
    if len(halves[1]) < bench.spec.training.batch_size or have_common_rows(*halves):
        return None
    begun, thetas = time.perf_counter(), []
    try:
        for number, half in enumerate(halves):
            theta = _trained(bench, start, half, number, begun + MOST_SECONDS)
            if theta is None:
                return None
            thetas.append(theta)
    except DeltaproofError:
        return None  # the rehearsal's own step says what is wrong
    before, *members = members_of(bench, [start, *thetas])
    return float(similarities(members, before, bench.pairs)[0, 1])


def likeness_note(spec: TaskSpec, alike: float | None) -> str | None:
    """What a sponsor has to hear about it; None if honest trainers are not alike."""
    threshold = spec.scoring.similarity_threshold
    if alike is None or alike < threshold:
        return None
    steps = min(spec.training.steps, STEPS)
    return (
        f"two honest trainers of your rows who share none come to deltas with a similarity of {alike:.3f} in "
        f"{counted(steps, 'step')}: from scoring.similarity_threshold = {threshold:g} on the later one counts "
        f"as a copy, and "
        "scores nothing. Leave it out, use adam or adamw, or balance the labels"
    )


def different_rows(bench: Workbench, rows: Sequence[bytes]) -> tuple[int, int] | None:
    """How many of `rows` would count of a trainer that enrols and shows them, and how many were looked at; None where
    enrolled rows count as they are."""
    if bench.spec.scoring.rows != "distinct":
        return None
    read = rows_as_read(rows[:MOST_ROWS], bench.spec.model, bench.tokenizer)
    return count_rows([RowClaim(0, len(read), read)])[0].counted, len(read)


def rows_note(different: tuple[int, int] | None) -> str | None:
    """What a sponsor has to hear about it; None if nearly all rows are different."""
    if different is None or different[0] >= FEW_DIFFERENT * different[1]:
        return None
    counted, looked_at = different
    return (
        f"of {looked_at} of your rows only {counted} count as different: the others hold nearly the same words. Honest "
        'trainers of such rows would be paid for few, or, if others came first, for none; set scoring.rows = "enrolled"'
    )


def _trained(bench: Workbench, start: Vector, rows: tuple[bytes, ...], number: int, until: float) -> Vector | None:
    """The adapter after the first steps on rows, shape (P,); None if time is over."""
    shard, seed = Shard(rows, PUBLIC_SALTS), sha256(b"deltaproof/likeness").digest()
    context = DrawnRound(0, 1, seed, component_root(start)).with_shard(bytes(19) + bytes([number]), shard)
    state = start_state(bench, start)
    for step in range(min(bench.spec.training.steps, STEPS)):
        if time.perf_counter() > until:
            return None
        state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
    theta: Vector = state["theta"].cpu().numpy()
    return theta
