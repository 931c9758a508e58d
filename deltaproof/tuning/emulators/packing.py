"""An emulator as one file, and as the model folder that it expands to.

The file is safetensors:
- tensors that are disclosed (embeddings, adapter layers, head) as they are;
- tensors of the middle as bytes (`compression`), under the names that they have in the full model;
- configuration and tokeniser as bytes under `file:<name>`;
- in its metadata the recipe, the kept layers, and the shapes of the middle's tensors.

The folder is a plain transformers model with fewer layers. Its configuration says under `deltaproof_layers` which
layers of the full model they are. Beside the expanded weights lies a quantised middle as it came (`packed`).
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save, save_file
from torch import Tensor

from deltaproof.errors import EncodingError, UsageError
from deltaproof.folders import made_folder, settle_folder
from deltaproof.protocol.terms.federation import Recipe
from deltaproof.protocol.wire.documents import Record
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.tuning.base_models.digests import TOKENISER_FILES
from deltaproof.tuning.base_models.layers import LAYERS_KEY, layer_of, renumbered, shorten_config
from deltaproof.tuning.base_models.packed import PackedMatrix, can_stay_packed, write_packed
from deltaproof.tuning.emulators.compression import Matrix, compress, decompress
from deltaproof.tuning.errors import ModelError
from deltaproof.tuning.numerics.memory import available_bytes

__all__ = ["Packed", "expand", "pack", "unpack"]

MAX_EXPANSION = 64
"""Times its size that a file may grow to in memory."""
_METADATA = "deltaproof"
_FILE = "file:"
_FILES = ("config.json", *TOKENISER_FILES)

_Shape = Annotated[tuple[Annotated[int, Field(ge=1, le=2**31)], ...], Field(max_length=4)]


class _Facts(Record):
    recipe: Recipe
    layers: tuple[Annotated[int, Field(ge=0, lt=4096)], ...]
    shapes: dict[str, _Shape]


@dataclass(frozen=True)
class Packed:
    """An emulator's parts. `middle` are bytes by tensor name; names are those of the full model."""

    recipe: Recipe
    layers: tuple[int, ...]
    disclosed: Mapping[str, Tensor]
    middle: Mapping[str, bytes]
    shapes: Mapping[str, tuple[int, ...]]
    files: Mapping[str, bytes]


def pack(
    tensors: Mapping[str, Tensor],
    middle: Mapping[str, Matrix],
    files: Mapping[str, bytes],
    layers: tuple[int, ...],
    recipe: Recipe,
) -> bytes:
    """The file of an emulator with the disclosed `tensors` and the float32 `middle`, names as in the full model."""
    facts = _Facts(recipe=recipe, layers=layers, shapes={name: values.shape for name, values in middle.items()})
    parts = {name: tensor.contiguous() for name, tensor in tensors.items()}
    parts |= {name: _bytes_tensor(compress(values, recipe)) for name, values in middle.items()}
    parts |= {f"{_FILE}{name}": _bytes_tensor(data) for name, data in files.items()}
    return save(parts, {_METADATA: canonical_json(facts.model_dump(mode="json")).decode()})


def unpack(data: bytes) -> Packed:
    """The parts of an untrusted file. Raises EncodingError."""
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = _Facts.model_validate_json(header["__metadata__"][_METADATA])
        tensors = load(data)
    except (SafetensorError, ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise EncodingError(f"not the file of an emulator: {error}") from error
    files = {name.removeprefix(_FILE): tensor for name, tensor in tensors.items() if name.startswith(_FILE)}
    if unknown := sorted(set(files) - set(_FILES)):
        raise EncodingError(f"an emulator holds no file {unknown[0]!r}")
    if missing := sorted(set(facts.shapes) - set(tensors)):
        raise EncodingError(f"the emulator lacks the tensor {missing[0]!r}")
    if sum(4 * math.prod(shape) for shape in facts.shapes.values()) > MAX_EXPANSION * len(data):
        raise EncodingError(f"an emulator of {len(data)} bytes would expand to more than {MAX_EXPANSION} times that")
    raw = {name: tensors[name] for name in (*facts.shapes, *(f"{_FILE}{name}" for name in files))}
    for name, tensor in raw.items():
        if tensor.dtype != torch.uint8 or tensor.ndim != 1:
            raise EncodingError(f"{name!r} must be bytes")
    return Packed(
        recipe=facts.recipe,
        layers=facts.layers,
        disclosed={name: tensor for name, tensor in tensors.items() if name not in raw},
        middle={name: tensors[name].numpy().tobytes() for name in facts.shapes},
        shapes=facts.shapes,
        files={name: tensor.numpy().tobytes() for name, tensor in files.items()},
    )


def expand(data: bytes, folder: Path) -> None:
    """Write the model folder of an untrusted file, whole or not at all.

    Raises EncodingError or ModelError, and UsageError where this machine has too little memory for it: attack: name an
    emulator of one gigabyte that comes to sixty, so that the system ends the process with all of its tasks.
    """
    packed = unpack(data)
    needed, free = sum(4 * math.prod(shape) for shape in packed.shapes.values()), available_bytes()
    if free is not None and needed > free:
        raise UsageError(
            f"an emulator of {len(data) / 1e9:.2f} GB comes to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of "
            "memory are free: leave its task, or take a larger machine"
        )
    if "config.json" not in packed.files:
        raise EncodingError("the emulator holds no config.json")
    try:
        config = json.loads(packed.files["config.json"])
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"the emulator's config.json is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise EncodingError("the emulator's config.json is no object")
    config = {**shorten_config(config, packed.layers), LAYERS_KEY: list(packed.layers)}
    tensors = {_shallow(name, packed.layers): tensor for name, tensor in packed.disclosed.items()}
    for name, part in packed.middle.items():
        values = decompress(part, packed.shapes[name], packed.recipe)
        tensors[_shallow(name, packed.layers)] = torch.from_numpy(values)
    work = Path(tempfile.mkdtemp(prefix=".expanding-", dir=made_folder(folder.parent)))
    try:
        save_file(tensors, work / "model.safetensors", {"format": "pt"})
        if can_stay_packed(packed.recipe):
            write_packed(work, dict(_packed_matrices(packed)))
        for name, content in packed.files.items():
            (work / name).write_bytes(content)
        (work / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
        try:
            settle_folder(work, folder)
        except OSError:
            if not (folder / "config.json").is_file():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _packed_matrices(packed: Packed) -> Iterator[tuple[str, PackedMatrix]]:
    for name, data in packed.middle.items():
        match packed.shapes[name]:
            case (outputs, inputs):
                matrix = PackedMatrix.of(data, (outputs, inputs), packed.recipe)
                yield _shallow(name, packed.layers), matrix


def _shallow(name: str, layers: tuple[int, ...]) -> str:
    """A tensor's name in the emulator's own model, where layers are counted without gaps."""
    number = layer_of(name)
    if number is None:
        return name
    if number not in layers:
        raise ModelError(f"the emulator holds {name!r} of a layer that it does not have")
    return renumbered(name, layers.index(number))


def _bytes_tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())
