"""AdapterFusion (Pfeiffer et al. 2021): attention over frozen adapters of earlier rounds or other tasks.

Behind a projection with output y and adapters with changes a_1..a_n: y + sum_i p_i V a_i with
p = softmax_i((Q y) . (K a_i)). Q and K [H, H] start from the seed, V as the identity. The spec names each adapter's
folder and digest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from deltaproof.protocol.terms.spec import ModelSection, OptionValue
from deltaproof.protocol.types import hex_of
from deltaproof.tuning.base_models.loading import BaseModel
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.adapters import Bottleneck, Houlsby, Pfeiffer, WithAdapter, replace_module
from deltaproof.tuning.methods.base import Options, adapter_key
from deltaproof.tuning.methods.deliverable import (
    assign,
    read_description,
    read_tensors,
    tensors_digest,
    trainable,
    write_deliverable,
)
from deltaproof.tuning.methods.own import OwnMethod
from deltaproof.tuning.numerics.randomness import normal

__all__ = ["Fusion"]

_STD = 0.02
_SOURCES = {"houlsby": Houlsby, "pfeiffer": Pfeiffer}


class _Fused(nn.Module):
    """sum_i p_i V a_i over frozen adapters."""

    def __init__(self, adapters: Mapping[int, Bottleneck], like: Tensor) -> None:
        super().__init__()
        width = like.shape[0]
        self.adapters = nn.ModuleDict({str(number): adapter for number, adapter in sorted(adapters.items())})
        self.query, self.key, self.value = (
            nn.Parameter(torch.zeros(width, width, dtype=like.dtype, device=like.device)) for _ in range(3)
        )

    def initialise(self, key: bytes) -> None:
        with torch.no_grad():
            for index, parameter in enumerate((self.query, self.key)):
                parameter.copy_(
                    torch.from_numpy(normal(key, index, parameter.numel(), 0.0, _STD)).view(parameter.shape)
                )
            self.value.copy_(torch.eye(len(self.value)))

    def forward(self, values: Tensor) -> Tensor:
        changes = torch.stack([adapter(values) for adapter in self.adapters.values()], dim=-2)
        scores = ((changes @ self.key.T) * (values @ self.query.T).unsqueeze(-2)).sum(-1)
        return (torch.softmax(scores, -1).unsqueeze(-1) * (changes @ self.value.T)).sum(-2)


def _fuse(base: nn.Module, name: str, adapters: Mapping[int, Bottleneck]) -> _Fused:
    """Put the frozen adapters, fused, behind the projection `name`."""
    module = base.get_submodule(name)
    fused = _Fused(adapters, module.weight)  # type: ignore[arg-type]
    for adapter in adapters.values():
        adapter.requires_grad_(False)
    replace_module(base, name, WithAdapter(module, fused))
    return fused


class Fusion(OwnMethod):
    """Options: `adapters`, folders of houlsby or pfeiffer deliverables, and `digests` of each in order."""

    name = "fusion"
    family = "addition"
    paper = "Pfeiffer et al. 2021"
    aggregation = "mean of Q, K and V"
    calibrated = True
    defaults: ClassVar[Options] = {"adapters": (), "digests": (), "activations": ()}
    """`activations` follow from the adapters; a deliverable keeps them."""

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        super().__init__(options)
        folders, digests = self.words("adapters"), self.words("digests")
        if not folders or len(folders) != len(digests):
            raise MethodError(f"fusion: {len(folders)} adapters need a digest each, not {len(digests)}")

        self._sources: list[tuple[str, dict[str, Tensor]]] = []

    def calibrate(self, base: BaseModel, section: ModelSection) -> None:
        """Read the adapters: their activation and tensors."""
        for folder, digest in zip(self.words("adapters"), self.words("digests"), strict=True):
            tensors = read_tensors(Path(folder))
            if hex_of(tensors_digest(tensors)) != digest:
                raise MethodError(f"fusion: the adapter in {folder} is {hex_of(tensors_digest(tensors))}, not {digest}")
            name, options = read_description(Path(folder))
            if name not in _SOURCES:
                raise MethodError(f"fusion: {folder} holds an adapter of {name}, not of {' or '.join(_SOURCES)}")
            self._sources.append((str(_SOURCES[name](options).options["activation"]), tensors))
        self.options["activations"] = tuple(activation for activation, _ in self._sources)

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        if not self._sources:
            raise MethodError("fusion: its adapters were not read")
        found: dict[str, dict[int, Bottleneck]] = defaultdict(dict)
        for number, (activation, tensors) in enumerate(self._sources):
            for name, adapter in _adapters(base, activation, tensors).items():
                found[name][number] = adapter
        for name in sorted(found):
            fused = _fuse(base, name, found[name])
            fused.initialise(sha256(adapter_key(seed) + name.encode()).digest())

    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        frozen = {n: p.detach().float().cpu() for n, p in model.named_parameters() if ".adapter.adapters." in n}
        write_deliverable(folder, self.name, self.options, source, {**trainable(model), **frozen})

    @classmethod
    def load(cls, base: nn.Module, folder: Path, options: Mapping[str, OptionValue]) -> nn.Module:
        tensors, activations = read_tensors(folder), cls(options).words("activations")
        modules = dict(base.named_modules())
        for query in sorted(name for name in tensors if name.endswith(".adapter.query")):
            place = query.removesuffix(".adapter.query")
            module = modules.get(place)
            parts = {i: f"{place}.adapter.adapters.{i}.down.weight" for i in range(len(activations))}
            sizes = {i: len(tensors[part]) for i, part in parts.items() if part in tensors}
            if type(module) is not nn.Linear or not sizes:
                raise MethodError(f"the adapter's tensor {query!r} does not fit the model")
            like = module.weight
            _fuse(base, place, {i: Bottleneck(len(like), size, activations[i], like) for i, size in sizes.items()})
        assign(base, tensors)
        return base.eval()


def _adapters(base: nn.Module, activation: str, tensors: Mapping[str, Tensor]) -> dict[str, Bottleneck]:
    """Adapters of one deliverable, by the projection that they stand behind."""
    found = {}
    modules = dict(base.named_modules())
    for key in sorted(name for name in tensors if name.endswith(".adapter.down.weight")):
        place = key.removesuffix(".adapter.down.weight")
        module = modules.get(place)
        if type(module) is not nn.Linear or tensors[key].shape[1] != module.weight.shape[0]:
            raise MethodError(f"fusion: an adapter does not fit the model at {place}")
        adapter = Bottleneck(module.weight.shape[0], len(tensors[key]), activation, module.weight)
        with torch.no_grad():
            for part, parameter in adapter.named_parameters():
                parameter.copy_(tensors[f"{place}.adapter.{part}"])
        found[place] = adapter
    return found
