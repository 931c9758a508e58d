"""An embedding table that stays in its safetensors file: a batch reads the rows that it names, and nothing else.

A mapped table would do the same if the kernel did not map sixteen pages around each one that is touched.

Legend: N rows of the table, H values of a row.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["StoredEmbedding", "TensorFile"]


class TensorFile:
    """An open safetensors file. Copies of a model share it; it outlives the file's name."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._begin = 8 + int.from_bytes(self._file.read(8), "little")

    def __deepcopy__(self, _memo: Any) -> Self:
        return self

    def read_into(self, row: Any, offset: int) -> None:
        """Fill `row`, a contiguous array, from `offset` in the file's data. Raises OSError if the file ends there."""
        if os.preadv(self._file.fileno(), [row], self._begin + offset) != row.nbytes:
            raise OSError(f"{self._file.name} ends inside a tensor")


class StoredEmbedding(nn.Embedding):
    """`nn.Embedding` of a frozen float32 table [N, H] at `offset` of a file. `weight` is the table, mapped."""

    def __init__(self, like: nn.Embedding, file: TensorFile, offset: int) -> None:
        super().__init__(
            like.num_embeddings, like.embedding_dim, padding_idx=like.padding_idx, _weight=like.weight, _freeze=True
        )
        self._table, self._offset = file, offset

    def forward(self, ids: Tensor) -> Tensor:
        """Rows [..., H]. Raises IndexError for an index that the table does not have."""
        weight = self.weight
        if weight.requires_grad or weight.dtype != torch.float32 or weight.device.type != "cpu":
            return super().forward(ids)
        wanted, places = np.unique(ids.numpy(), return_inverse=True)
        if wanted.size and not 0 <= wanted[0] <= wanted[-1] < self.num_embeddings:
            raise IndexError(f"the embedding table has {self.num_embeddings} rows")
        rows = np.empty((wanted.size, self.embedding_dim), np.float32)
        for row, number in zip(rows, wanted.tolist(), strict=True):
            self._table.read_into(row, self._offset + number * row.nbytes)
        return torch.from_numpy(rows)[torch.from_numpy(places.reshape(ids.shape))]
