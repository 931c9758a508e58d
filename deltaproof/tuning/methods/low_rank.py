"""Which trainable tensors of a model form low-rank products, and how a mixture of products gets into its weights.

A LoRA layer computes W x + scale B A x. Merging scale * sum_i p_i B_i A_i into W gives the model of a weighted mean of
adapters exactly, whatever the mean's rank, and costs a forward pass nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deltaproof.protocol.evidence.state import Layout, Vector, check_vector
from deltaproof.tuning.base_models.frozen import FrozenEmbedding, FrozenLinear, is_linear, widened
from deltaproof.tuning.numerics.linalg import Array
from deltaproof.tuning.numerics.products import LowRankPair, Tensors

__all__ = ["Merged", "low_rank_pairs", "mergeable_pairs", "merging", "tensors_of", "vector_of", "write_mixture"]


@dataclass(frozen=True)
class Merged:
    """A weight [O, I] in the model that a mixture is written into, and what it was before, when it is asked for."""

    weight: Tensor
    original: Callable[[], Tensor]


def tensors_of(layout: Layout, theta: Vector) -> Tensors:
    """The tensors that a flat vector of P values stands for (views). Raises EncodingError if it does not fit."""
    values = check_vector(theta, layout.size, "theta")
    parts = zip(layout.names, layout.shapes, strict=True)
    return {name: values[layout.slices[name]].reshape(shape) for name, shape in parts}


def vector_of(layout: Layout, tensors: Tensors) -> Vector:
    """The flat float32 vector of P values of tensors by name."""
    return np.concatenate([np.asarray(tensors[name], np.float32).reshape(-1) for name in layout.names])


def low_rank_pairs(model: nn.Module) -> tuple[LowRankPair, ...]:
    """The trained (A, B) pairs of every peft LoRA layer on a linear module, sorted by module."""
    return tuple(pair for pair, _ in _lora_linears(model))


def mergeable_pairs(model: nn.Module) -> tuple[LowRankPair, ...]:
    """Those pairs that enter the model through their product alone, into a weight that no other module shares."""
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    owners.update(id(m.matrix) for m in model.modules() if isinstance(m, FrozenLinear | FrozenEmbedding))
    found = []
    for pair, layer in _lora_linears(model):
        base = layer.get_base_layer()
        plain = is_linear(base) and not layer.lora_variant and not layer.fan_in_fan_out
        if plain and owners[id(base.matrix if isinstance(base, FrozenLinear) else base.weight)] == 1:
            found.append(pair)
    return tuple(found)


@contextmanager
def merging(model: nn.Module, pairs: Sequence[LowRankPair]) -> Iterator[dict[str, Merged]]:
    """Let these LoRA layers act through their base weights alone; weights are as before afterwards."""
    wanted = {pair.module for pair in pairs}
    layers = [(pair.module, layer) for pair, layer in _lora_linears(model) if pair.module in wanted]
    merged = {module: _merged(layer.get_base_layer()) for module, layer in layers}
    try:
        for _, layer in layers:
            # peft's own mark: the layer then computes its base layer and nothing else.
            layer.merged_adapters.append(layer.active_adapters[0])
        yield merged
    finally:
        for module, layer in layers:
            layer.merged_adapters.clear()
            base = layer.get_base_layer()
            if isinstance(base, FrozenLinear):
                base.merged = None
            else:
                with torch.no_grad():
                    base.weight.copy_(merged[module].original())


def _merged(base: Any) -> Merged:
    if isinstance(base, FrozenLinear):
        base.merged = base.weight  # held only while it is merged
        return Merged(base.merged, lambda: widened(base.matrix, torch.float64))
    kept = base.weight.detach().clone()
    return Merged(base.weight, lambda: kept)


def write_mixture(
    targets: Mapping[str, Merged],
    pairs: Sequence[LowRankPair],
    members: Sequence[Tensors],
    shares: Array,
) -> None:
    """W + scale * sum_i shares_i B_i A_i into each target weight, computed in float64 and rounded once."""
    used = [(share, member) for share, member in zip(shares.tolist(), members, strict=True) if share]
    for pair in pairs:
        weight, original = targets[pair.module].weight, targets[pair.module].original()
        b = np.concatenate([share * member[pair.b].astype(np.float64) for share, member in used], axis=1)
        a = np.concatenate([member[pair.a].astype(np.float64) for _, member in used])
        change = torch.from_numpy(pair.scale * b).to(weight.device) @ torch.from_numpy(a).to(weight.device)
        with torch.no_grad():
            weight.copy_(original.double() + change)


def _lora_linears(model: nn.Module) -> Iterator[tuple[LowRankPair, Any]]:
    from peft.tuners.lora import LoraLayer

    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    for module, layer in sorted(model.named_modules()):
        if not isinstance(layer, LoraLayer) or not isinstance(layer.lora_A, nn.ModuleDict):
            continue  # AdaLoRA's layers are LoRA layers by name only
        for adapter in layer.active_adapters:
            if adapter not in layer.lora_A:
                continue
            a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
            if a.ndim == 2 and b.ndim == 2 and id(a) in names and id(b) in names:
                yield LowRankPair(module, names[id(a)], names[id(b)], float(layer.scaling[adapter])), layer
