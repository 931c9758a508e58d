"""Frozen matrices in the form that they are stored or packed in: each is widened by itself, whenever it computes.

A model of float64 would hold four times the bytes of one stored in 16 bits. Here it holds what the file holds, mapped,
and one matrix in float64. Widening is exact, and the product is the one that a whole widened model gives, to the last
bit. Nothing can be tuned in such a matrix; what is tuned stands beside it.

Legend: O outputs, I inputs of a matrix; N rows of a table, H values of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils._python_dispatch import _disable_current_modes

__all__ = ["FrozenEmbedding", "FrozenLinear", "FrozenMatrix", "StoredMatrix", "is_linear", "widened"]


class FrozenMatrix(Protocol):
    """A matrix [O, I] whose values nothing changes. Models of one process may share it."""

    @property
    def shape(self) -> tuple[int, int]:
        """O and I."""
        ...

    def expanded(self) -> Tensor:
        """Its values, [O, I], in a floating type that holds them exactly."""
        ...


@dataclass(frozen=True, eq=False)
class StoredMatrix:
    """`values` [O, I] as a file has them, most often mapped from it."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """O and I."""
        return self.values.shape[0], self.values.shape[1]

    def expanded(self) -> Tensor:
        """The values themselves."""
        return self.values


class FrozenLinear(nn.Linear):
    """`nn.Linear` that computes in `dtype` with a frozen matrix. `weight` is a widened copy, made when it is read."""

    def __init__(self, matrix: FrozenMatrix, bias: nn.Parameter | None, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would make a weight
        self.out_features, self.in_features = matrix.shape
        self.register_parameter("bias", bias)
        self.matrix, self.dtype = matrix, dtype
        self.merged: Tensor | None = None
        """What it computes with instead, while an adapter is merged into it."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # a parameter there
        """[O, I]. Writing into it changes nothing."""
        return widened(self.matrix, self.dtype) if self.merged is None else self.merged

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        if self.merged is not None:
            return linear(inputs, self.merged, self.bias)
        result: Tensor = _Product.apply(inputs, self.matrix, self.bias, self.dtype)  # type: ignore[no-untyped-call]
        return result


class FrozenEmbedding(nn.Embedding):
    """`nn.Embedding` that gives rows of a stored table [N, H] in `dtype`."""

    def __init__(self, matrix: StoredMatrix, like: nn.Embedding, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)  # nn.Embedding's own would make a weight
        self.num_embeddings, self.embedding_dim = matrix.shape
        self.padding_idx, self.max_norm, self.norm_type = like.padding_idx, None, like.norm_type
        self.scale_grad_by_freq, self.sparse = False, False
        self.matrix, self.dtype = matrix, dtype

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # a parameter there
        """[N, H]: a widened copy."""
        return widened(self.matrix, self.dtype)

    def forward(self, ids: Tensor) -> Tensor:
        """Rows [..., H]. Raises IndexError for an index that the table does not have."""
        with _as_it_is():
            rows = nn.functional.embedding(ids, self.matrix.values).to(self.dtype)
        return rows.clone()  # seen by whoever rounds at random, as an ordinary table's rows are


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear one and nothing more, frozen or not."""
    return type(module) in (nn.Linear, FrozenLinear)


def widened(matrix: FrozenMatrix, dtype: torch.dtype) -> Tensor:
    """A copy [O, I] of the matrix in `dtype`, in memory that torch aligns."""
    with _as_it_is():
        values = matrix.expanded()
        return values.to(dtype, copy=isinstance(matrix, StoredMatrix))


@contextmanager
def _as_it_is() -> Iterator[None]:
    """Nothing inside is widened on request, rounded at random or refused for being narrow: these are the weights."""
    with torch.no_grad(), torch._C.DisableTorchFunction(), _disable_current_modes():
        yield


class _Product(torch.autograd.Function):
    """Keeps the matrix as it is for the backward pass, where autograd would keep the widened one."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, matrix: FrozenMatrix, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        ctx.matrix, ctx.dtype = matrix, dtype
        return linear(inputs, widened(matrix, dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        # The operators of autograd's own backward pass, on the same shapes: the bits are the same.
        flat = gradients[0].reshape(-1, gradients[0].shape[-1])
        inputs = bias = None
        if ctx.needs_input_grad[0]:
            inputs = flat.mm(widened(ctx.matrix, ctx.dtype)).view(*gradients[0].shape[:-1], -1)
        if ctx.needs_input_grad[2]:
            bias = flat.sum(0)
        return inputs, None, bias, None
