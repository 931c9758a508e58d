"""Rounds of a minimal model: a bench, and deltas that a few gradient steps lead to."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.training.workbench import Workbench
from incentives.unions import Contribution

TEXTS = ("good", "a rather long sentence", "bad", "no", "it was fine, mostly", "splendid work", "dull", "ok!")
ROWS = [canonical_row({"text": text, "label": i % 2}) for i, text in enumerate(TEXTS)]
SEED = b"the round's seed"


def make_bench(source: str, **sections: Any) -> Workbench:
    return Workbench.from_spec(complete_spec(source, "sequence-classification", sections), precision="float32")


def make_contributions(bench: Workbench, count: int, seed: int = 0) -> list[Contribution]:
    """Adapters that a few gradient steps on own rows lead to; the last trainer climbs instead of descending."""
    rng = np.random.default_rng(seed)
    contributions = []
    for number in range(count):
        theta = (bench.start + rng.normal(size=bench.layout.size) * 0.01).astype(np.float32)
        chosen = [ROWS[i] for i in rng.permutation(len(ROWS))[:4]]
        for _ in range(5):
            bench.load(theta)
            gradient, _ = bench.gradient(chosen, bytes(32))
            theta = (theta - (0.3 if number < count - 1 else -1.0) * gradient.numpy()).astype(np.float32)
        contributions.append(Contribution(theta, rows=10 * (number + 1), order=number))
    return contributions
