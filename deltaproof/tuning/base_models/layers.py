"""The transformer layers of a model: found, dropped without renaming, and hidden from a method that attaches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from deltaproof.tuning.errors import ModelError

__all__ = [
    "LAYERS_KEY",
    "check_routing",
    "hidden",
    "layer_list",
    "layer_of",
    "number_as_in_full_model",
    "renumbered",
    "shorten_config",
]

LAYERS_KEY = "deltaproof_layers"
"""In an emulator's configuration: which layers of the full model it has."""

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""What configurations call the number of a mixture's experts."""
_LAYER_NAME = re.compile(r"^(?P<before>(?:.*\.)?(?:layers?|h|blocks?)\.)(?P<number>\d+)(?P<after>\..*)$")
"""A tensor inside a transformer layer, as transformers names it."""


def layer_of(name: str) -> int | None:
    """Index of the layer that a tensor belongs to; None for embeddings, head and norms outside."""
    match = _LAYER_NAME.match(name)
    return int(match["number"]) if match else None


def renumbered(name: str, number: int) -> str:
    """The tensor's name in the layer `number`."""
    match = _LAYER_NAME.match(name)
    if match is None:
        raise ValueError(f"{name!r} is in no layer")
    return f"{match['before']}{number}{match['after']}"


def layer_list(model: nn.Module) -> nn.ModuleList:
    """The model's layers. Raises ModelError if it has no single list of them."""
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and _LAYER_NAME.match(f"{name}.0.") and layer_of(f"{name}.") is None
    }
    if len(lists) != 1:
        raise ModelError(f"this model has {len(lists)} lists of transformer layers; an emulator needs exactly one")
    return next(iter(lists.values()))


def number_as_in_full_model(model: nn.Module, layers: Sequence[int]) -> None:
    """Give the layers of a shallow model the numbers that they have in the full one, so that names are the same."""
    modules = layer_list(model)
    if len(modules) != len(layers):
        raise ModelError(f"the emulator has {len(modules)} layers and says which {len(layers)} they are")
    kept = list(modules)
    modules._modules.clear()
    modules._modules.update({str(number): module for number, module in zip(layers, kept, strict=True)})


@contextmanager
def hidden(model: nn.Module, shown: Sequence[int]) -> Iterator[None]:
    """Inside, the model seems to have the layers `shown` only, under their numbers."""
    modules = layer_list(model)
    everything = dict(modules._modules)
    for number in set(everything) - {str(number) for number in shown}:
        del modules._modules[number]
    try:
        yield
    finally:
        # The method may have replaced what it saw.
        everything.update(modules._modules)
        modules._modules.clear()
        modules._modules.update(everything)


def shorten_config(config: dict[str, Any], layers: Sequence[int]) -> dict[str, Any]:
    """A model's configuration with fewer layers; lists with an entry a layer keep theirs."""
    depth = config.get("num_hidden_layers")
    if not isinstance(depth, int):
        raise ModelError("the model's configuration has no num_hidden_layers")
    short: dict[str, Any] = {}
    for key, value in config.items():
        per_layer = isinstance(value, list) and len(value) == depth and "layer" in key
        short[key] = [value[number] for number in layers] if per_layer else value
    return {**short, "num_hidden_layers": len(layers)}


def check_routing(config: Any) -> None:
    """Raises ModelError for a mixture of experts: where two experts are nearly as likely, rounding decides which one
    computes a token, so that neither gradients in float32 nor held-out losses agree between machines."""
    named = (getattr(config, name, None) for name in _EXPERTS)
    experts = max((number for number in named if isinstance(number, int)), default=0)
    if experts > 1:
        raise ModelError(
            f"the model has {experts} experts, between which the rounding of a machine may choose: mixtures of experts "
            "are not supported"
        )
