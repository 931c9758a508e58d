"""Held-out loss of adapters, and of weighted means of adapters without refactoring them.

A coalition's model is the base model with the weighted mean of its members' products merged into the weights. That is
the exact mean, not its rank-R approximation, at the cost of a plain forward pass. Methods whose parameters do not act
through products are combined as `aggregate` combines them.

Results do not depend on which adapters are evaluated together, or by which worker: every coalition is a pass of its
own over the same batches of rows, on one thread unless asked otherwise. On one machine they are the same bits. Between
machines the mean loss differs by about 1e-8 nats in float32 and 1e-15 in float64
(benchmarks/scoring/valuation_speed.py).

Legend: N members, C coalitions, V validation rows, P values of an adapter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import LOSS_CAP, PASS_TOKENS
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.loss import logits_of
from deltaproof.tuning.combining.mixtures import Mixtures, evaluating
from deltaproof.tuning.combining.prefix import PrefixCache
from deltaproof.tuning.errors import RowError
from deltaproof.tuning.methods.low_rank import low_rank_pairs, tensors_of
from deltaproof.tuning.numerics.linalg import Array
from deltaproof.tuning.numerics.precision import dtype_of
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Chunk", "Evaluation", "Evaluator", "RowResults", "chunked", "prediction_losses"]

_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Mean cross-entropy in nats, share of correct predictions, and their number."""

    loss: float
    accuracy: float
    predictions: int


@dataclass(frozen=True, slots=True)
class RowResults:
    """What each of C adapters did on each of V rows: summed loss and correct predictions [C, V]; predictions [V]."""

    losses: Array
    hits: Array
    counts: NDArray[np.int64]

    def mean(self, c: int) -> Evaluation:
        """Over all predictions, of one adapter. fsum is exact: order and grouping of rows leave no trace."""
        total = max(1, int(self.counts.sum()))
        return Evaluation(math.fsum(self.losses[c]) / total, math.fsum(self.hits[c]) / total, int(self.counts.sum()))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that share a pass: their places among the validation rows, and the model's inputs."""

    rows: tuple[int, ...]
    inputs: dict[str, Tensor]
    labels: Tensor


class Evaluator:
    """A validation set on a task's model. Uses the workbench's model while it computes and leaves it as it was,
    except for the adapter values last loaded."""

    def __init__(
        self,
        bench: Workbench,
        rows: Sequence[bytes],
        *,
        batch_rows: int | None = None,
        tokens_per_pass: int = PASS_TOKENS,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        """`rows` are canonical validation rows; at most `batch_rows` (by default the spec's) share a pass.

        A row that the task's model cannot use counts for nobody: whoever hid it among the validation rows must not be
        able to leave a round without scores. Raises ValueError for no row.
        """
        if not rows:
            raise ValueError("a validation set has at least one row")
        self.bench = bench
        self._chunks = chunked(
            bench, range(len(rows)), rows, batch_rows or bench.spec.scoring.batch_size, tokens_per_pass
        )
        self._mixtures = Mixtures(bench)
        self._size = len(rows)
        with evaluating(self.bench):
            # Without a usable row there is no pass, and nothing to remember.
            probe = (lambda: self._logits(self._chunks[0])) if self._chunks else (lambda: None)
            self._prefix = PrefixCache(bench.model, self._touched(), probe, cache_bytes)

    @property
    def mixes_exactly(self) -> bool:
        """Whether a weighted mean of adapters can be evaluated without refactoring: all products can be merged."""
        return self.bench.method.adds_up and len(self._mixtures.pairs) == len(self.bench.pairs)

    def evaluate(self, theta: Vector) -> Evaluation:
        """Loss of one adapter, shape (P,). Raises EncodingError if it does not fit."""
        return self.evaluate_means([theta], np.ones((1, 1))).mean(0)

    def evaluate_means(self, thetas: Sequence[Vector], shares: Array) -> RowResults:
        """Losses of the adapters sum_i shares[c, i] theta_i, taken in product space.

        Args:
            thetas: N vectors of shape (P,).
            shares: float64 [C, N], each row adding up to 1.

        Raises EncodingError for a vector that does not fit, ValueError for shares that do not, or for a proper mean
        under a method whose products cannot be merged (`mixes_exactly`).
        """
        if shares.shape[1:] != (len(thetas),) or not np.allclose(shares.sum(axis=1), 1.0, atol=1e-9):
            raise ValueError(f"shares {shares.shape} are not weights of {len(thetas)} adapters")
        if not self.mixes_exactly and (np.count_nonzero(shares, axis=1) > 1).any():
            raise ValueError("the products of this method cannot be merged: aggregate the adapters first")
        members = [tensors_of(self.bench.layout, theta) for theta in thetas]
        losses, hits = np.zeros((len(shares), self._size)), np.zeros((len(shares), self._size))
        counts = np.zeros(self._size, np.int64)
        with evaluating(self.bench), self._mixtures.open() as weights:
            for c, row in enumerate(shares):
                self._mixtures.write(weights, members, row)
                for key, chunk in enumerate(self._chunks):
                    with self._prefix.replaying(key):
                        logits = self._logits(chunk)
                    for place, v in enumerate(chunk.rows):
                        losses[c, v], hits[c, v], counts[v] = _row_loss(
                            logits[place], chunk.labels[place], self._shifted
                        )
        return RowResults(losses, hits, counts)

    @property
    def _shifted(self) -> bool:
        return self.bench.spec.model.kind == "causal-lm"

    def _logits(self, chunk: Chunk) -> Tensor:
        return logits_of(self.bench.model, chunk.inputs, self.bench.spec.model.kind)

    def _touched(self) -> list[nn.Module]:
        """Every module that holds a weight which depends on the adapter."""
        changing = {name.rpartition(".")[0] for name in self._mixtures.others}
        changing |= {pair.module for pair in low_rank_pairs(self.bench.model)}
        return [module for name, module in self.bench.model.named_modules() if name in changing]


def prediction_losses(logits: Tensor, labels: Tensor, shifted: bool) -> tuple[Tensor, Tensor]:
    """Capped loss of each prediction of one row, float64 [n], and whether it is correct, bool [n].

    `shifted`: a causal language model, whose logits [T, L] are about the token after.
    """
    if shifted:
        logits, labels = logits[:-1], labels[1:]
        kept = labels != -100
        logits, labels = logits[kept], labels[kept]
    else:
        logits, labels = logits[None], labels[None]
    each = cross_entropy(logits.double(), labels, reduction="none")
    capped = torch.nan_to_num(each, nan=LOSS_CAP, posinf=LOSS_CAP).clamp(max=LOSS_CAP)
    return capped, logits.argmax(-1) == labels


def _row_loss(logits: Tensor, labels: Tensor, shifted: bool) -> tuple[float, float, int]:
    """Summed loss, number of correct predictions and number of predictions of one row, in float64."""
    each, correct = prediction_losses(logits, labels, shifted)
    return math.fsum(each.tolist()), float(correct.sum()), len(each)


def chunked(
    bench: Workbench, chosen: Sequence[int], rows: Sequence[bytes], batch_rows: int, tokens_per_pass: int = PASS_TOKENS
) -> list[Chunk]:
    """The chosen rows in passes, those of similar length together, so that little is padding.

    A function of the rows and the two limits alone. A row that the task's model cannot use is in no pass.
    """

    def inputs_of(places: Sequence[int]) -> dict[str, Tensor]:
        config = getattr(bench.model, "config", None)
        batch = make_batch(
            [rows[i] for i in places],
            bench.spec.model,
            tokenizer=bench.tokenizer,
            config=config,
            parts=1,
            device=bench.device,
            pixels=dtype_of(bench.precision),
        )
        return batch.parts[0]

    lengths: dict[int, int] = {}
    for i in chosen:
        with suppress(RowError, EncodingError):
            lengths[i] = max(t.shape[1] if t.ndim == 2 else 1 for t in inputs_of([i]).values())
    groups: list[list[int]] = []
    for i in sorted(lengths, key=lambda i: (lengths[i], i)):
        full = groups and (len(groups[-1]) == batch_rows or (len(groups[-1]) + 1) * lengths[i] > tokens_per_pass)
        if not groups or full:
            groups.append([])
        groups[-1].append(i)
    chunks = []
    for group in groups:
        inputs = inputs_of(group)
        chunks.append(Chunk(tuple(group), inputs, inputs.pop("labels")))
    return chunks
