"""The gradient of a batch with less padding: rows of like length are computed together, and the parts are summed.

A batch is as wide as its longest row, so most of what a trainer computes on short texts is padding. The sum over groups
is the same gradient, rounded in another order, as another machine would round it. That holds where rows do not
influence each other; `groups_of` tests it on the model instead of trusting it. B batch, P trainable values.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.rules import GROUP_ROWS, GROUP_TOLERANCE, REPLAY_GROUPS
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["grouped_gradient", "groups_of"]


def grouped_gradient(bench: Workbench, rows: Sequence[bytes], key: bytes, groups: int) -> tuple[Tensor, float]:
    """What `bench.gradient` gives, float64 of shape (P,), and the loss in nats, computed in `groups` groups of rows.

    Raises RowError or EncodingError for a bad row.
    """
    if groups == 1:
        gradient, loss = bench.gradient(rows, key)
        return gradient.double(), loss
    ordered = sorted(rows, key=len)  # stable: rows of equal length keep the order of the batch, for everybody alike
    ends = [len(rows) * number // groups for number in range(groups + 1)]
    predictions = make_batch(rows, bench.spec.model, tokenizer=bench.tokenizer, config=None, parts=1).count
    total, nats = torch.zeros(bench.layout.size, dtype=torch.float64, device=bench.device), 0.0
    for first, end in pairwise(ends):
        group = ordered[first:end]
        gradient, loss = bench.gradient(group, key, parts=1)
        weight = _predictions(bench, group) / predictions
        total += weight * gradient.double()
        nats += weight * loss
    return total, nats


def groups_of(bench: Workbench) -> int:
    """How many groups a batch of this task is worth splitting into; 1 where that would not be the same gradient.

    `bench` computes in float64. Dropout draws by position in the batch; on a GPU small products cost as much as large
    ones; images are all of one size.
    """
    training = bench.spec.training
    groups = min(REPLAY_GROUPS, training.batch_size // GROUP_ROWS)
    if training.dropout or bench.device != "cpu" or bench.spec.model.kind == "image-classification" or groups < 2:
        return 1
    return groups if _rows_are_independent(bench) else 1


def _rows_are_independent(bench: Workbench) -> bool:
    """Whether a short and a long row, padded in one batch, give what they give apart."""
    texts = ("short", "a row that takes a good deal more tokens than the other one does, and needs padding beside it")
    label = {"label": 0} if bench.spec.model.kind == "sequence-classification" else {}
    rows = [canonical_row({"text": text, **label}) for text in texts]
    together, _ = bench.gradient(rows, bytes(32), parts=1)
    apart, _ = grouped_gradient(bench, rows, bytes(32), len(rows))
    return float((together - apart).norm()) <= GROUP_TOLERANCE * float(together.norm())


def _predictions(bench: Workbench, rows: Sequence[bytes]) -> int:
    """What the mean loss of these rows divides by."""
    if bench.spec.model.kind != "causal-lm":
        return len(rows)
    return make_batch(rows, bench.spec.model, tokenizer=bench.tokenizer, config=None, parts=1).count
