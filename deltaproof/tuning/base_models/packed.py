"""Matrices in few bits: an emulator's middle as it travels, or a frozen base that the spec wants quantised.

Each is expanded by itself while it computes (`frozen`). The integers, their scales and the expanded values have the
same bits on every machine and device: what a verifier's float64 replay sees is the trainer's matrix.

Legend: O outputs, I inputs of a matrix; 64 values share a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from deltaproof.protocol.terms.federation import Recipe
from deltaproof.tuning.codecs._wire import PayloadReader, read_bits
from deltaproof.tuning.codecs.values import BlockIntegers
from deltaproof.tuning.errors import ModelError

__all__ = ["PACKED_FILE", "PackedMatrix", "can_stay_packed", "read_packed", "write_packed"]

PACKED_FILE = "middle.packed"
"""Beside an emulator's `model.safetensors`. No digest covers it: what it holds is compared with that file's tensors."""
_BLOCK = 64
_CHUNK = 2**16
"""Values that are quantised at a time: larger temporaries leave holes between the codes that stay."""
Bits = Literal[4, 8, 16]


def can_stay_packed(recipe: Recipe) -> bool:
    """Pruned and factorised matrices are expanded."""
    return recipe.bits in (4, 8, 16) and not recipe.prune and not recipe.rank_share


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """Codes (uint8, two a byte in four bits; float16 in sixteen) and float32 scales of a matrix [O, I]."""

    codes: Tensor
    scales: Tensor
    shape: tuple[int, int]
    bits: Bits

    @classmethod
    def quantised(cls, values: Tensor, bits: Literal[4, 8]) -> PackedMatrix:
        """Of a finite matrix [O, I], as the codecs `int8` and `int4` round: 64 values along its rows share a scale."""
        codec, count = BlockIntegers(_BLOCK, bits), values.numel()
        codes = torch.empty(-(-count // _BLOCK) * _BLOCK * bits // 8, dtype=torch.uint8)
        scales = torch.empty(-(-count // _BLOCK))
        flat = values.reshape(-1)
        for first in range(0, count, _CHUNK):
            part = flat[first : first + _CHUNK].double()
            blocks = torch.nn.functional.pad(part, (0, -len(part) % _BLOCK)).view(-1, _BLOCK).numpy()
            levels, integers = codec.quantise(blocks, np.ones_like(blocks, dtype=np.bool_), b"")
            made = torch.from_numpy(integers.astype(np.uint8)).view(-1)
            if bits == 4:
                made = made[0::2] | (made[1::2] << 4)
            codes[first * bits // 8 :][: len(made)] = made
            scales[first // _BLOCK :][: len(levels)] = torch.from_numpy(levels[:, 0])
        return cls(codes, scales, (values.shape[0], values.shape[1]), bits)

    def to(self, device: str) -> PackedMatrix:
        """The same on another device."""
        return PackedMatrix(self.codes.to(device), self.scales.to(device), self.shape, self.bits)

    @classmethod
    def of(cls, data: bytes, shape: tuple[int, int], recipe: Recipe) -> PackedMatrix:
        """From the bytes that `compression` gives and has checked."""
        count = shape[0] * shape[1]
        if recipe.bits == 16:
            halves = torch.from_numpy(np.frombuffer(data, "<f2").astype(np.float16))
            return cls(halves, torch.zeros(0), shape, 16)
        if recipe.bits not in (4, 8):
            raise ValueError("only matrices in 4, 8 or 16 bits stay packed")
        reader = PayloadReader(data)
        scales = torch.from_numpy(reader.floats(-(-count // _BLOCK)))
        read = read_bits(reader, count, recipe.bits).astype(np.uint8)
        codes = torch.from_numpy(np.concatenate([read, np.zeros(-count % _BLOCK, np.uint8)]))
        if recipe.bits == 4:
            codes = codes[0::2] | (codes[1::2] << 4)
        return cls(codes, scales, shape, recipe.bits)

    def expanded(self) -> Tensor:
        """The matrix, float32 [O, I]: an integer times its block's scale, rounded once."""
        if self.bits == 16:
            return self.codes.float().view(self.shape)
        codes = self.codes
        if self.bits == 4:
            codes = torch.stack([codes & 15, codes >> 4], dim=1).view(-1)
        top = (1 << (self.bits - 1)) - 1
        values = (codes.float() - top).view(-1, _BLOCK) * self.scales[:, None]
        return values.view(-1)[: self.shape[0] * self.shape[1]].view(self.shape)


def write_packed(folder: Path, matrices: Mapping[str, PackedMatrix]) -> None:
    """`matrices` by the name of their tensor in the folder's model."""
    tensors = {f"{name}:codes": matrix.codes for name, matrix in matrices.items()}
    tensors |= {f"{name}:scales": matrix.scales for name, matrix in matrices.items()}
    shapes = {name: f"{m.bits} {m.shape[0]} {m.shape[1]}" for name, m in matrices.items()}
    save_file(tensors, folder / PACKED_FILE, shapes)


def read_packed(folder: Path) -> dict[str, PackedMatrix]:
    """What `write_packed` wrote; nothing if it did not. Raises ModelError for a file that it did not write."""
    path = folder / PACKED_FILE
    if not path.is_file():
        return {}
    found: dict[str, PackedMatrix] = {}
    with safe_open(path, framework="pt") as file:
        for name, text in (file.metadata() or {}).items():
            bits, *shape = map(int, text.split())
            if bits not in (4, 8, 16) or len(shape) != 2:
                raise ModelError(f"{path} is damaged: remove the folder, it will be made again")
            codes, scales = file.get_tensor(f"{name}:codes").clone(), file.get_tensor(f"{name}:scales").clone()
            found[name] = PackedMatrix(codes, scales, (shape[0], shape[1]), bits)  # type: ignore[arg-type]
    return found
