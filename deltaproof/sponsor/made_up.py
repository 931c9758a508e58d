"""A round of the task on the sponsor's own rows, as one trainer would play it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.tuning.training.step import DrawnRound, RoundContext
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["made_up_round"]


def made_up_round(bench: Workbench, start: Vector, rows: Sequence[bytes], order: bytes) -> tuple[RoundContext, Shard]:
    """Canonical rows, repeated if a batch needs more, from the adapter `start`, shape (P,), in an order by its name."""
    shard = Shard(tuple(rows) * (-(-bench.spec.training.batch_size // len(rows))), PUBLIC_SALTS)
    drawn = DrawnRound(0, 1, sha256(order).digest(), component_root(start))
    return drawn.with_shard(bytes(20), shard), shard
