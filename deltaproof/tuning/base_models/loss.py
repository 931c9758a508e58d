"""Logits and summed cross-entropy of a part of a batch, the same for training, calibration and evaluation.

B batch, T tokens, L labels or vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["logits_of", "loss_sum"]


def logits_of(model: nn.Module, inputs: Mapping[str, Tensor], kind: str) -> Tensor:
    """[B, L], or [B, T, L] of a causal language model: one for each token of the rows, none for virtual tokens."""
    logits: Tensor = model(**inputs).logits
    return logits[:, -inputs["input_ids"].shape[1] :] if kind == "causal-lm" else logits


def loss_sum(model: nn.Module, part: Mapping[str, Tensor], kind: str) -> Tensor:
    """Cross-entropy in nats, summed over predictions."""
    logits = logits_of(model, {name: tensor for name, tensor in part.items() if name != "labels"}, kind)
    labels = part["labels"]
    if kind == "causal-lm":
        logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
