"""A model in the precision that it is used in, without ever holding it whole in a wider one.

The model is built in float64 with parameters that hold nothing, so that constants it computes are the same roundings in
every precision; each stored tensor is then read by itself. Embedding tables stay in the file (`stored_embedding`), an
emulator's quantised middle in its bits (`packed`), and where nothing tunes them, matrices as they are stored
(`frozen`). All else is copied into memory that torch aligns, because products may round differently at other addresses.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from weakref import WeakValueDictionary

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from deltaproof.tuning.base_models.frozen import FrozenEmbedding, FrozenLinear, FrozenMatrix, StoredMatrix
from deltaproof.tuning.base_models.layers import layer_of
from deltaproof.tuning.base_models.packed import PackedMatrix
from deltaproof.tuning.base_models.stored_embedding import StoredEmbedding, TensorFile
from deltaproof.tuning.errors import ModelError
from deltaproof.tuning.numerics.memory import give_back

__all__ = [
    "FrozenForm",
    "InMemory",
    "LeanModel",
    "OnDisk",
    "StoredTensor",
    "built_empty",
    "correspondence",
    "load_lean",
    "widest",
]

_TYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""Stored types that are read here; any other is left to transformers."""
_shared: WeakValueDictionary[tuple[object, ...], StoredMatrix | PackedMatrix] = WeakValueDictionary()
"""Matrices that some model of this process holds: a judge's two precisions read one."""


class StoredTensor(Protocol):
    """One tensor of a model's weights."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal contents, within this process."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """As it is stored."""
        ...

    def read(self) -> Tensor:
        """As it is stored, on the CPU; most often mapped."""
        ...


@dataclass(frozen=True)
class OnDisk:
    """In a safetensors file. Each read opens the file, so what it maps goes with what was read."""

    path: Path
    name: str

    @property
    def key(self) -> tuple[object, ...]:
        """Where it is, and when the file was written."""
        return str(self.path), self.path.stat().st_mtime_ns, self.name

    @property
    def dtype(self) -> torch.dtype:
        """Of a type that is known here."""
        with safe_open(self.path, framework="pt") as file:
            return _TYPES[file.get_slice(self.name).get_dtype()]

    def read(self) -> Tensor:
        """Mapped from the file."""
        with safe_open(self.path, framework="pt") as file:
            values: Tensor = file.get_tensor(self.name)
        return values


@dataclass(frozen=True)
class InMemory:
    """Taken out of `state`, which forgets it, so that the model is not held twice."""

    state: dict[str, Tensor]
    name: str

    @property
    def key(self) -> tuple[object, ...]:
        """Shared with nobody."""
        return id(self.state), self.name

    @property
    def dtype(self) -> torch.dtype:
        """As transformers gave it."""
        return self.state[self.name].dtype

    def read(self) -> Tensor:
        """Once."""
        return self.state.pop(self.name)


@dataclass(frozen=True)
class FrozenForm:
    """In what form a model's weights are held, for computing in `dtype` on `device`.

    `beside`: nothing tunes or merges a matrix but through `FrozenLinear`, so it may stay as it is stored. `lends`:
    nothing writes into those either that compute as they are, so a later model of this process widens these and reads
    none of its own. `base` is the spec's `model.frozen_dtype`. `packed` are an emulator's matrices by the name of the
    stored tensor that they are.
    """

    dtype: torch.dtype
    device: str = "cpu"
    beside: bool = False
    lends: bool = False
    base: Literal["stored", "bfloat16", "int8", "int4"] = "stored"
    packed: Mapping[str, PackedMatrix] = field(default_factory=dict)


@dataclass(frozen=True)
class LeanModel:
    """A model with its stored parameters. Those it `lacks`, by name, are float64 and not yet filled."""

    model: nn.Module
    lacks: tuple[str, ...]


def load_lean(model: nn.Module, stored: Mapping[str, StoredTensor], form: FrozenForm) -> LeanModel:
    """`model`, from `built_empty`, with `stored` tensors by parameter name, one after the other.

    Raises ModelError for a tensor of another shape, and for a packed matrix that is not the stored one.
    """
    parameters = dict(model.named_parameters())
    left = dict(stored)
    _keep_packed(model, left, form)
    _keep_frozen(model, left, form)
    _keep_stored(model, left, form)
    tables = _tables(model)
    made: dict[int, nn.Parameter] = {}
    lent: list[StoredMatrix] = []
    for name, tensor in left.items():
        parameter = parameters[name]
        values = tensor.read()
        if values.shape != parameter.shape:
            raise ModelError(
                f"{name!r} is stored as {tuple(values.shape)} where the model has {tuple(parameter.shape)}"
            )
        mapped = form.device == "cpu" and values.dtype == form.dtype and id(parameter) in tables
        values = values if mapped else values.to(form.device, form.dtype, copy=True)
        made[id(parameter)] = nn.Parameter(values, requires_grad=False)
        if form.beside and form.lends and isinstance(tensor, OnDisk) and tensor.dtype == form.dtype and not mapped:
            lent.append(StoredMatrix(values))
            _shared[(*tensor.key, "stored", form.device)] = lent[-1]
    model.lent = lent  # type: ignore[assignment]  # no longer than the model is
    lacks = tuple(sorted(name for name, p in model.named_parameters() if id(p) not in made))
    for name in lacks:
        made[id(parameters[name])] = nn.Parameter(torch.zeros(parameters[name].shape, dtype=torch.float64))
    for module in model.modules():
        for name, held in module._parameters.items():
            if held is not None:
                module._parameters[name] = made[id(held)]
    return LeanModel(model, lacks)


def built_empty(build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes; its parameters have shape and type, but no storage. Buffers, which models compute, have."""
    with _empty_parameters():
        model = build()
    model.tie_weights()  # type: ignore[operator]
    return model


def correspondence(folder: Path, model: nn.Module) -> dict[str, StoredTensor] | None:
    """The stored tensor of each parameter that has one. A model with a head has its base model under a prefix.

    None if tensors in the folder do not correspond to parameters one to one, as after a renaming by transformers.
    """
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    found: dict[str, StoredTensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for stored in file.keys():  # noqa: SIM118  # not a mapping
                computed = [b for b in _ending(stored, buffers) if torch.equal(buffers[b], file.get_tensor(stored))]
                matches = _ending(stored, parameters)
                if not matches and computed:
                    continue
                tensor = file.get_slice(stored)
                if len(matches) != 1 or matches[0] in found or tensor.get_dtype() not in _TYPES:
                    return None
                if tuple(tensor.get_shape()) != tuple(parameters[matches[0]].shape):
                    return None
                found[matches[0]] = OnDisk(path, stored)
    return found


def widest(folder: Path) -> torch.dtype:
    """The type that holds every stored tensor of a folder exactly: float64 where one is of no type known here."""
    types = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            types |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  # not a mapping
    if not types <= _TYPES.keys() or "F64" in types:
        return torch.float64
    return _TYPES[types.pop()] if len(types) == 1 else torch.float32


@contextmanager
def _empty_parameters() -> Iterator[None]:
    def emptied(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None:
            return None
        empty = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
        empty._is_hf_initialized = True  # type: ignore[attr-defined]  # transformers draws no values for it
        return empty

    handle = register_module_parameter_registration_hook(emptied)  # type: ignore[arg-type]  # its result is used
    try:
        yield
    finally:
        handle.remove()


def _ending(stored: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name == stored or name.endswith(f".{stored}")]


def _keep_packed(model: nn.Module, left: dict[str, StoredTensor], form: FrozenForm) -> None:
    """Leave an emulator's matrices in their bits."""
    for name, tensor in list(left.items()):
        place, _, kind = name.rpartition(".")
        module = model.get_submodule(place)
        if not isinstance(tensor, OnDisk) or tensor.name not in form.packed or kind != "weight":
            continue
        if type(module) is not nn.Linear:
            continue
        matrix = form.packed[tensor.name]
        if not torch.equal(matrix.expanded(), tensor.read().float()):
            raise ModelError(
                f"{tensor.path.parent}: {tensor.name!r} is not what the emulator's file holds; remove the folder"
            )
        _put(model, place, FrozenLinear(matrix.to(form.device), module.bias, form.dtype))
        del left[name]


def _keep_frozen(model: nn.Module, left: dict[str, StoredTensor], form: FrozenForm) -> None:
    """Leave matrices of layers, and tables, as they are stored; or hold the former as the spec wants them."""
    owners: defaultdict[int, list[tuple[str, nn.Module]]] = defaultdict(list)
    for place, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)].append((place, module))
    parameters = dict(model.named_parameters())
    for name, tensor in list(left.items()):
        holders = owners[id(parameters[name])]
        if not _may_freeze(name, holders):
            continue
        in_layer = layer_of(name) is not None
        if form.base != "stored" and in_layer:
            matrix: FrozenMatrix = _shared_matrix(tensor, form.base, form.device)
        elif form.beside and tensor.dtype != form.dtype:
            matrix = _shared_matrix(tensor, "stored", form.device)
        else:
            continue  # an ordinary parameter computes sooner, and takes no more memory
        for place, module in holders:
            if isinstance(module, nn.Embedding):
                assert isinstance(matrix, StoredMatrix)  # no table is in a layer
                _put(model, place, FrozenEmbedding(matrix, module, form.dtype).train(module.training))
            else:
                _put(model, place, FrozenLinear(matrix, module.bias, form.dtype).train(module.training))  # type: ignore[arg-type]
        del left[name]


def _may_freeze(name: str, holders: Iterable[tuple[str, nn.Module]]) -> bool:
    """Whether a parameter is a linear matrix inside a layer, or a table, which a language model's head may share.

    Heads outside are trained along by most methods.
    """
    modules = [module for _, module in holders]
    plain = all(
        type(m) is nn.Linear or (type(m) is nn.Embedding and m.max_norm is None and not m.sparse) for m in modules
    )
    if not plain or not name.endswith(".weight"):
        return False
    tables = [type(m) is nn.Embedding for m in modules]
    if layer_of(name) is not None:
        return not any(tables)
    return any(tables) or name.rpartition(".")[0] == "lm_head"


def _shared_matrix(tensor: StoredTensor, base: str, device: str) -> StoredMatrix | PackedMatrix:
    place = (*tensor.key, base, device)
    known = _shared.get(place)
    if known is not None:
        return known
    values = tensor.read()
    matrix: StoredMatrix | PackedMatrix
    match base:
        case "stored":
            matrix = StoredMatrix(values.to(device))
        case "bfloat16":
            matrix = StoredMatrix(values.to(torch.bfloat16).to(device))
        case _:
            matrix = PackedMatrix.quantised(values, 8 if base == "int8" else 4).to(device)
            give_back()  # what packing needs on the way is many times what it leaves
    if isinstance(tensor, OnDisk):
        _shared[place] = matrix
    return matrix


def _tables(model: nn.Module) -> set[int]:
    """Identities of the parameters whose rows are only looked up."""
    held = [(module, id(p)) for module in model.modules() for p in module._parameters.values() if p is not None]
    return {place for _, place in held} - {place for module, place in held if not isinstance(module, nn.Embedding)}


def _keep_stored(model: nn.Module, left: Mapping[str, StoredTensor], form: FrozenForm) -> None:
    """Leave float32 tables in their files; `weight` stays a parameter, mapped, which a method may tune."""
    if form.device != "cpu" or form.dtype != torch.float32:
        return
    parameters, tables = dict(model.named_parameters()), _tables(model)
    places = {id(parameters[name]): tensor for name, tensor in left.items() if isinstance(tensor, OnDisk)}
    for name, module in list(model.named_modules()):
        if type(module) is not nn.Embedding or module.max_norm is not None or id(module.weight) not in places:
            continue
        tensor = places[id(module.weight)]
        assert isinstance(tensor, OnDisk)
        header = _header(tensor.path)[tensor.name]
        if header["dtype"] != "F32" or id(module.weight) not in tables:
            continue
        weight = module.weight
        kept = StoredEmbedding(module, TensorFile(tensor.path), header["data_offsets"][0])
        kept.weight = weight
        _put(model, name, kept.train(module.training))


def _put(model: nn.Module, place: str, module: nn.Module) -> None:
    parent, _, last = place.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header
