"""What a role needs by arithmetic: bytes of weights, of the widest matrix, of activations and of what is trained."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.hardware.models import SHAPES, VOCABULARY

__all__ = ["Needs", "needs"]

RANK = 8
_BYTES = {"stored": 2.0, "bfloat16": 2.0, "int8": 1.0 + 4 / 64, "int4": 0.5 + 4 / 64}
"""Of a value in a layer's matrix; 64 values share a float32 scale."""


@dataclass(frozen=True)
class Needs:
    """Bytes. `activations` are a layer's input for each layer, one layer's inside, and the logits with their gradient,
    of which the head makes float64 in parts."""

    weights: float
    matrix: float
    activations: float
    adapter: float


def needs(model: str, role: str, form: str, *, tokens: int, batch: int) -> Needs:
    """For a model of `SHAPES`, stored in bfloat16, its table tied to its head, LoRA on query and value."""
    shape = SHAPES[model]
    hidden, inner, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    keys = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    in_layers = layers * (2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner)
    size = 8 if role != "bounded" else 4  # a judge's float64 pass is its largest
    wide = size * VOCABULARY * hidden
    rows = tokens * batch
    heads = shape["num_attention_heads"]
    inside = rows * (6 * hidden + 4 * inner) + 3 * batch * heads * tokens * tokens
    activations = size * (layers * rows * hidden + inside + 2 * rows * VOCABULARY)
    adapter = 4 * 5 * layers * RANK * (3 * hidden + keys)  # values, two moments, gradient, the next state
    return Needs(_BYTES[form] * in_layers + 2.0 * VOCABULARY * hidden, wide, activations, adapter)
