"""Bottleneck adapters: y + U f(D y) behind a projection, D [b, H] and U [H, b] with biases.

Houlsby et al. put one behind attention and one behind the feed-forward block of every layer, Pfeiffer et al. only the
second. U starts at zero, so the model starts as it was. Adapters act through a nonlinearity: the mean of parameters is
what federated averaging and AdapterSoup (Chronopoulou et al. 2023) take, and it is what is scored.
"""

from __future__ import annotations

from hashlib import sha256
from typing import ClassVar

import torch
from torch import Tensor, nn

from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods._targets import attention_outputs, feedforward_outputs, linears
from deltaproof.tuning.methods.base import Options, adapter_key
from deltaproof.tuning.methods.own import OwnMethod
from deltaproof.tuning.numerics.randomness import normal

__all__ = ["ACTIVATIONS", "Bottleneck", "Houlsby", "Pfeiffer", "WithAdapter", "replace_module"]

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
"""Non-linearities of a bottleneck adapter, by name."""
_STD = 1e-2


class Bottleneck(nn.Module):
    """The adapter's own part: U f(D y)."""

    def __init__(self, width: int, size: int, activation: str, like: Tensor) -> None:
        super().__init__()
        self.down = nn.Linear(width, size, dtype=like.dtype, device=like.device)
        self.up = nn.Linear(size, width, dtype=like.dtype, device=like.device)
        self.act: nn.Module = ACTIVATIONS[activation]()

    def forward(self, values: Tensor) -> Tensor:
        changed: Tensor = self.up(self.act(self.down(values)))
        return changed

    def initialise(self, key: bytes) -> None:
        with torch.no_grad():
            drawn = torch.from_numpy(normal(key, 0, self.down.weight.numel(), 0.0, _STD))
            self.down.weight.copy_(drawn.view(self.down.weight.shape))
            for parameter in (self.down.bias, self.up.weight, self.up.bias):
                parameter.zero_()


class WithAdapter(nn.Module):
    """A frozen projection followed by an adapter."""

    def __init__(self, base: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.base, self.adapter = base, adapter

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.base(values)
        change: Tensor = self.adapter(result)
        return result + change


class _Adapters(OwnMethod):
    family = "addition"
    aggregation = "mean of the parameters"
    defaults: ClassVar[Options] = {"size": 16, "activation": "relu", "target_modules": ()}

    @property
    def leaves_matrices(self) -> bool:
        return True

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        activation = str(self.options["activation"])
        if activation not in ACTIVATIONS:
            raise MethodError(f"{self.name}: activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        named = self.words("target_modules")
        for name in linears(base, named) if named else self.places(base):
            module = base.get_submodule(name)
            weight: Tensor = module.weight  # type: ignore[assignment]
            adapter = Bottleneck(weight.shape[0], self.count("size"), activation, weight)
            adapter.initialise(sha256(adapter_key(seed) + name.encode()).digest())
            replace_module(base, name, WithAdapter(module, adapter))

    def places(self, base: nn.Module) -> list[str]:
        raise NotImplementedError


class Houlsby(_Adapters):
    """Two adapters a layer."""

    name = "houlsby"
    paper = "Houlsby et al. 2019"

    def places(self, base: nn.Module) -> list[str]:
        return [*attention_outputs(base), *feedforward_outputs(base)]


class Pfeiffer(_Adapters):
    """One adapter a layer, behind the feed-forward block."""

    name = "pfeiffer"
    paper = "Pfeiffer et al. 2020"

    def places(self, base: nn.Module) -> list[str]:
        return feedforward_outputs(base)


def replace_module(base: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` where the submodule `name` is."""
    parent, _, last = name.rpartition(".")
    setattr(base.get_submodule(parent), last, module)
