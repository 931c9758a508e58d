"""A round of N trainers that really train, and verifiers that really replay, in one process with a chain beside it.

The minimal preset: a small BERT under LoRA, 6 steps of 4 rows. Time is that of the whole process on a shared machine.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from deltaproof.chain.local_node import start_node
from tests.worlds.roles import build_world

__all__ = ["real_round"]

VERIFIERS = 3


def real_round(trainers: int) -> dict[str, Any]:
    """One round that is settled, of honest trainers of shards of their own and one who cheats."""
    scoring, aggregation = 'index = "aumann_shapley"\nrows = "distinct"', 'weights = "rows"'
    with tempfile.TemporaryDirectory() as folder, start_node("anvil", accounts=trainers + VERIFIERS + 6) as node:
        world = build_world(
            node, Path(folder), rounds=1, honest=trainers - 1, verifiers=VERIFIERS, scoring=scoring,
            aggregation=aggregation, named=False, max_trainers=max(64, trainers),
        )  # fmt: skip
        began, busy = time.perf_counter(), time.process_time()
        world.play(1)
        seconds, computed = time.perf_counter() - began, time.process_time() - busy
        stored = sum(path.stat().st_size for path in (Path(folder) / "store").rglob("*") if path.is_file())
        world.close()
    return {
        "trainers": trainers,
        "verifiers": VERIFIERS,
        "seconds": seconds,
        "cpu_seconds": computed,
        "stored_bytes": stored,
    }
