"""Small vectors that scale activations, through peft: (IA)3 and the gains and shifts of normalisations."""

from __future__ import annotations

from typing import Any

import peft
from torch import nn

from deltaproof.tuning.methods._targets import norms
from deltaproof.tuning.methods.base import PeftMethod

__all__ = ["Ia3", "LayerNormTuning"]

_IA3 = {
    "key": ("key", "k_proj", "k_lin"),
    "value": ("value", "v_proj", "v_lin"),
    "feedforward": ("output.dense", "down_proj", "fc2", "lin2"),
}


class Ia3(PeftMethod):
    """(IA)3: a factor for each key, value and feed-forward activation, one at the start."""

    family = "addition"
    paper = "Liu et al. 2022"
    aggregation = "mean of the factors; weights are linear in them, so it is the mean of the models' weights"
    config_class = peft.IA3Config

    @property
    def leaves_matrices(self) -> bool:
        return self.options.keys() <= {"exclude_modules", "fan_in_fan_out", "feedforward_modules", "target_modules"}

    def targets(self, base: nn.Module) -> dict[str, Any]:
        if "target_modules" in self.options:
            return {}
        names = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]

        def ending(kind: str) -> list[str]:
            return [e for e in _IA3[kind] if any(name.endswith(f".{e}") for name in names)]

        inner = ending("feedforward")
        return {"target_modules": [*ending("key"), *ending("value"), *inner], "feedforward_modules": inner}


class LayerNormTuning(PeftMethod):
    """Trains every normalisation's gain and shift, and the classification head."""

    family = "specification"
    paper = "Zhao et al. 2023"
    aggregation = "mean of the values"
    config_class = peft.LNTuningConfig

    @property
    def leaves_matrices(self) -> bool:
        return not self.options

    def targets(self, base: nn.Module) -> dict[str, Any]:
        return {} if "target_modules" in self.options else {"target_modules": norms(base)}
