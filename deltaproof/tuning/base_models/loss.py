"""Logits and summed cross-entropy of a part of a batch, the same for training, calibration and evaluation.

Once a batch is learnt, `softmax - 1` subtracts nearly equal numbers. In float32 the error is 6e-8 divided by the loss,
and an honest trainer's gradient is mostly that error. In float64, below a loss of 1e-5, the error reaches what exact
mode calls a tie. So the head is computed in float64, and the gradient of a learnt label's logit is minus the sum of
the others' probabilities. That cancels nothing at any loss.

B batch, T tokens, L labels or vocabulary, N predictions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deltaproof.protocol.rules import LEARNT_ODDS

__all__ = ["logits_of", "loss_sum"]

_CHUNK = 2**20
"""Logits that are widened at a time: a vocabulary's need not be held twice."""
_IGNORED = -100


def logits_of(model: nn.Module, inputs: Mapping[str, Tensor], kind: str) -> Tensor:
    """[B, L], or [B, T, L] of a causal language model: one for each token of the rows, none for virtual tokens."""
    logits: Tensor = model(**inputs).logits
    return logits[:, -inputs["input_ids"].shape[1] :] if kind == "causal-lm" else logits


def loss_sum(model: nn.Module, part: Mapping[str, Tensor], kind: str) -> Tensor:
    """Cross-entropy in nats, summed over predictions: a float64 scalar, whatever the model computes in."""
    logits = logits_of(model, {name: tensor for name, tensor in part.items() if name != "labels"}, kind)
    labels = part["labels"]
    if kind == "causal-lm":
        logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    if logits.dtype != torch.float64:
        return _precise(logits, labels)
    learnt = _learnt(logits.detach(), labels)
    loss = torch.nn.functional.cross_entropy(logits, labels.masked_fill(learnt, _IGNORED), reduction="sum")
    return loss + _precise(logits, labels.masked_fill(~learnt, _IGNORED)) if learnt.any() else loss


def _precise(logits: Tensor, labels: Tensor) -> Tensor:
    loss: Tensor = _CrossEntropy.apply(logits, labels)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return loss


def _learnt(logits: Tensor, labels: Tensor) -> Tensor:
    """Predictions, bool [N], whose labels have nearly all of the probability."""
    own = logits.gather(1, labels.clamp(min=0)[:, None])
    others = (logits - own).scatter(1, labels.clamp(min=0)[:, None], -torch.inf)
    # Above this the library's gradient is precise, and its bits are what transcripts of exact mode hold.
    return (torch.logsumexp(others, 1) < math.log(LEARNT_ODDS)) & (labels != _IGNORED)


class _CrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of logits [N, L] in float64; the gradient of narrow ones is rounded to float32 once."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=logits.device)
        kept = torch.float64 if logits.dtype == torch.float64 else torch.float32
        gradient = torch.empty(logits.shape, dtype=kept, device=logits.device)
        for rows in _chunks(logits):
            loss, part = _chunk(logits[rows], labels[rows])
            total += loss
            gradient[rows] = part
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * outer[0].to(gradient.dtype)).to(ctx.dtype), None


def _chunks(logits: Tensor) -> Iterator[slice]:
    rows = max(1, _CHUNK // max(1, logits.shape[1]))
    for first in range(0, logits.shape[0], rows):
        yield slice(first, first + rows)


def _chunk(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss and its gradient, [N, L], of some rows, in float64."""
    counts = (labels != _IGNORED)[:, None]
    places = labels.clamp(min=0)[:, None]
    shifted = logits.double()
    shifted -= shifted.amax(1, keepdim=True)
    own = shifted.gather(1, places)
    others = shifted.exp_().scatter_(1, places, 0.0)
    rest = others.sum(1, keepdim=True)
    total = rest + own.exp()
    loss = torch.where(own == 0.0, torch.log1p(rest), total.log() - own)
    gradient = others.div_(total).scatter_(1, places, -rest / total)
    return torch.where(counts, loss, 0.0).sum(), gradient.mul_(counts)
