"""A task's model, computing with weighted means of adapters in product space.

Low-rank products are merged into the weights that they act through, so the mean is exact whatever its rank. All other
trained tensors are averaged value by value.

Legend: N members, P values of an adapter, O x I shape of a merged weight, R rank of one adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from deltaproof.tuning.methods.low_rank import Merged, mergeable_pairs, merging, write_mixture
from deltaproof.tuning.numerics.linalg import Array
from deltaproof.tuning.numerics.precision import computing_in
from deltaproof.tuning.numerics.products import LowRankPair, Tensors
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Mixtures", "Weights", "evaluating"]

Weights = Mapping[str, Merged]
"""Merged weights by module."""


class Mixtures:
    """Which of a method's tensors are merged as products, and which are averaged as they are."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.pairs: tuple[LowRankPair, ...] = mergeable_pairs(bench.model)
        paired = {name for pair in self.pairs for name in (pair.a, pair.b)}
        self.others = tuple(name for name in bench.layout.names if name not in paired)

    @contextmanager
    def open(self) -> Iterator[Weights]:
        """The merged weights, to be written; they are as before afterwards."""
        with merging(self.bench.model, self.pairs) as weights:
            yield weights

    def write(self, weights: Weights, members: Sequence[Tensors], shares: Array) -> None:
        """sum_i shares[i] members[i] into the model, computed in float64 and rounded once; shares float64 [N]."""
        write_mixture(weights, self.pairs, members, shares)
        parameters = dict(self.bench.model.named_parameters())
        for name in self.others:
            used = zip(shares, members, strict=True)
            mean = sum(share * member[name].astype(np.float64) for share, member in used if share)
            parameters[name].data.copy_(torch.from_numpy(np.asarray(mean)))


@contextmanager
def evaluating(bench: Workbench, *, gradients: bool = False) -> Iterator[None]:
    """The model without dropout, on one thread: so several processes give the same bits as one."""
    training, threads = bench.model.training, torch.get_num_threads()
    bench.model.eval()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad() if gradients else torch.inference_mode(), computing_in(bench.precision):
            yield
    finally:
        torch.set_num_threads(threads)
        if training:
            bench.train()
