"""A model in float32 without ever holding it in float64: the same bits as `load_base` gives, at a third of the memory.

The model is built in float64 with parameters that hold nothing; each stored tensor is then read by itself. Embedding
tables stay in the file (`stored_embedding`), an emulator's quantised middle in its bits (`emulators.packed`). All
else is copied into memory that torch aligns, because products may round differently at other addresses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from deltaproof.tuning.base_models.packed import PackedLinear, PackedMatrix
from deltaproof.tuning.base_models.stored_embedding import StoredEmbedding, TensorFile
from deltaproof.tuning.errors import ModelError

__all__ = ["LeanModel", "load_lean"]

_EXACT = frozenset({"F32", "BF16", "F16"})
"""Stored types whose values are float32 values."""


@dataclass(frozen=True)
class LeanModel:
    """A model whose stored parameters are float32. Those it `lacks`, by name, are float64 and not yet filled."""

    model: nn.Module
    lacks: tuple[str, ...]


def load_lean(
    build: Callable[[], nn.Module], folder: Path, packed: Mapping[str, PackedMatrix] | None = None
) -> LeanModel | None:
    """The model that `build` makes in float64, with the weights of a folder in float32.

    `packed` matrices, by the name of the stored tensor that they are, stay so; every other module is as `build` makes
    it. None if tensors in the folder do not correspond to parameters one to one, as after a renaming by transformers.
    Raises ModelError for a packed matrix that is not the stored one.
    """
    with _empty_parameters():
        model = build()
    model.tie_weights()  # type: ignore[operator]
    parameters = dict(model.named_parameters())
    names = _correspondence(folder, model)
    if names is None:
        return None
    _keep_packed(model, names, packed or {})
    parameters = dict(model.named_parameters())
    names = {name: place for name, place in names.items() if name in parameters}
    tables = _tables(model)
    _keep_stored(model, {parameters[name]: place for name, place in names.items() if parameters[name] in tables})
    made: dict[int, nn.Parameter] = {}
    for name, (path, stored) in names.items():
        values = _read(path, stored, mapped=parameters[name] in tables)
        if values.shape != parameters[name].shape:
            return None
        made[id(parameters[name])] = nn.Parameter(values, requires_grad=False)
    lacks = tuple(sorted(set(parameters) - set(names)))
    for name in lacks:
        made[id(parameters[name])] = nn.Parameter(torch.zeros(parameters[name].shape, dtype=torch.float64))
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = made[id(parameter)]
    return LeanModel(model, lacks)


@contextmanager
def _empty_parameters() -> Iterator[None]:
    """Parameters registered inside have shape and type, but no storage. Buffers, which models compute, are real."""

    def emptied(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        return None if parameter is None else nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    handle = register_module_parameter_registration_hook(emptied)  # type: ignore[arg-type]  # its result is used
    try:
        yield
    finally:
        handle.remove()


def _correspondence(folder: Path, model: nn.Module) -> dict[str, tuple[Path, str]] | None:
    """File and stored name of each parameter that has one. A model with a head has its base model under a prefix."""
    parameters, buffers = [name for name, _ in model.named_parameters()], dict(model.named_buffers())
    found: dict[str, tuple[Path, str]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for stored in file.keys():  # noqa: SIM118  # not a mapping
                computed = [b for b in _ending(stored, buffers) if torch.equal(buffers[b], file.get_tensor(stored))]
                matches = _ending(stored, parameters)
                if not matches and computed:
                    continue
                exact = file.get_slice(stored).get_dtype() in _EXACT
                if len(matches) != 1 or matches[0] in found or not exact:
                    return None
                found[matches[0]] = (path, stored)
    return found


def _ending(stored: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name == stored or name.endswith(f".{stored}")]


def _keep_packed(model: nn.Module, names: Mapping[str, tuple[Path, str]], packed: Mapping[str, PackedMatrix]) -> None:
    for name, (path, stored) in names.items():
        place, _, kind = name.rpartition(".")
        module = model.get_submodule(place)
        if stored not in packed or kind != "weight" or not isinstance(module, nn.Linear):
            continue
        if not torch.equal(packed[stored].expanded(), _read(path, stored, mapped=True)):
            raise ModelError(f"{path.parent}: {stored!r} is not what the emulator's file holds; remove the folder")
        parent, _, last = place.rpartition(".")
        setattr(model.get_submodule(parent), last, PackedLinear(packed[stored], module.bias))


def _tables(model: nn.Module) -> set[Tensor]:
    """Weights that rows are only looked up in."""
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    others = [module for module in model.modules() if not isinstance(module, nn.Embedding)]
    return tables - {p for module in others for p in module._parameters.values() if p is not None}


def _keep_stored(model: nn.Module, tables: Mapping[Tensor, tuple[Path, str]]) -> None:
    """Leave float32 tables in their files."""
    for name, module in list(model.named_modules()):
        if type(module) is not nn.Embedding or module.weight not in tables or module.max_norm is not None:
            continue
        path, stored = tables[module.weight]
        header = _header(path)[stored]
        if header["dtype"] != "F32":
            continue
        weight = module.weight
        kept = StoredEmbedding(module, TensorFile(path), header["data_offsets"][0])
        kept.weight = weight
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, kept.train(module.training))


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header


def _read(path: Path, name: str, *, mapped: bool) -> Tensor:
    """A float32 tensor: mapped from the file if it may be, else copied. Each read closes the file's mapping."""
    with safe_open(path, framework="pt") as file:
        values: Tensor = file.get_tensor(name)
    return values if mapped and values.dtype == torch.float32 else values.to(torch.float32, copy=True)
