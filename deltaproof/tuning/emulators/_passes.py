"""Forward passes over public rows: what enters the last adapter layers, and the model's predictions.

B batch, T tokens, H width, L labels or vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.layers import layer_list
from deltaproof.tuning.base_models.loading import BaseModel
from deltaproof.tuning.base_models.loss import logits_of

__all__ = ["Seen", "batches", "run", "watching"]

_ROWS_PER_PASS = 16


@dataclass
class Seen:
    """Hidden states [B, T, H] that entered each layer, by its number, and what left the last one (under `depth`)."""

    states: dict[int, Tensor]


def batches(base: BaseModel, section: ModelSection, rows: Sequence[bytes]) -> Iterator[dict[str, Tensor]]:
    """The model's inputs with labels, for some rows at a time. Raises RowError or EncodingError for a bad row."""
    config = getattr(base.model, "config", None)
    for start in range(0, len(rows), _ROWS_PER_PASS):
        part = rows[start : start + _ROWS_PER_PASS]
        yield make_batch(part, section, tokenizer=base.tokenizer, config=config, parts=1).parts[0]


@contextmanager
def watching(model: nn.Module, depth: int) -> Iterator[Seen]:
    """Collect the states of every pass inside."""
    seen = Seen({})

    def enters(number: int, args: tuple[object, ...]) -> None:
        if not isinstance(args[0], Tensor):
            raise TypeError("a transformer layer takes its hidden states first")
        seen.states[number] = args[0]

    def leaves(output: object) -> None:
        state = output[0] if isinstance(output, tuple) else output
        if not isinstance(state, Tensor):
            raise TypeError("a transformer layer returns its hidden states")
        seen.states[depth] = state

    layers = layer_list(model)
    handles = [
        module.register_forward_pre_hook(lambda _module, args, number=int(name): enters(number, args))
        for name, module in layers.named_children()
    ]
    *_, last = layers.children()
    handles.append(last.register_forward_hook(lambda _module, _args, output: leaves(output)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def run(base: BaseModel, section: ModelSection, inputs: dict[str, Tensor]) -> Tensor:
    """Logits [B, L] or [B, T, L]."""
    return logits_of(base.model, {k: v for k, v in inputs.items() if k != "labels"}, section.kind)


def tokens(inputs: dict[str, Tensor]) -> Tensor | None:
    """Which positions [B, T] are no padding; None for models without a mask."""
    mask = inputs.get("attention_mask")
    return None if mask is None else mask.to(torch.bool)
