"""A linear module with a sparse, trained change of its weight."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.adapters import replace_module
from deltaproof.tuning.methods.deliverable import assign, read_tensors

__all__ = ["SparseLinear", "largest", "load_sparse", "sparse_tensors"]

_NEAR_TIE = 1e-9
"""Relative gap from which float64 noise cannot turn the order of two sensitivities."""


class SparseLinear(nn.Module):
    """(W + S) x + b. S holds `values` [k] at the flat `indices` [k] of W and is zero elsewhere."""

    indices: Tensor

    def __init__(self, base: nn.Linear, indices: NDArray[np.int64]) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("indices", torch.from_numpy(indices).to(base.weight.device))
        self.values = nn.Parameter(torch.zeros(len(indices), dtype=base.weight.dtype, device=base.weight.device))

    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.base.weight
        change = torch.zeros_like(weight).view(-1).index_copy(0, self.indices, self.values)
        return linear(inputs, weight + change.view(weight.shape), self.base.bias)


def largest(scores: NDArray[np.floating], count: int, *, noisy: bool = False) -> NDArray[np.int64]:
    """Indices of the `count` largest scores, ascending; of equal ones those that come first.

    With `noisy` scores that machines may round differently, raises MethodError if the boundary is a near tie.
    """
    order = np.argsort(-scores, kind="stable")
    if noisy and count < len(order):
        last, next_ = float(scores[order[count - 1]]), float(scores[order[count]])
        if last != next_ and last - next_ < _NEAR_TIE * last:
            raise MethodError("sensitivities at the mask's boundary are too close to call: change `fraction` a little")
    return np.sort(order[:count]).astype(np.int64)


def sparse_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Indices and values of every sparse module, by name."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, SparseLinear):
            found[f"{name}.indices"] = module.indices.detach().cpu().contiguous()
            found[f"{name}.values"] = module.values.detach().float().cpu().contiguous()
    return found


def load_sparse(base: nn.Module, folder: Path) -> nn.Module:
    """The base model with the sparse changes and other tensors of a deliverable. Raises MethodError."""
    tensors: Mapping[str, Tensor] = read_tensors(folder)
    for name in sorted(n for n in tensors if n.endswith(".indices")):
        place, indices = name.removesuffix(".indices"), tensors[name]
        module = dict(base.named_modules()).get(place)
        if type(module) is not nn.Linear or indices.ndim != 1 or indices.dtype != torch.int64:
            raise MethodError(f"the adapter's tensor {name!r} does not fit the model")
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < module.weight.numel():
            raise MethodError(f"the adapter's tensor {name!r} points outside of the weight")
        replace_module(base, place, SparseLinear(module, indices.numpy()))
    assign(base, {name: values for name, values in tensors.items() if not name.endswith(".indices")})
    return base.eval()
