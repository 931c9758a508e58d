"""LoRA and its variants that differ in scale or direction: W + s B A with trained A [R, in] and B [out, R].

s is alpha / r, or alpha / sqrt(r) for rsLoRA. DoRA trains the norm of each row of the sum apart from its direction. The
classification head is trained along.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import peft
import torch
from torch import nn

from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods._targets import lora_targets
from deltaproof.tuning.methods.base import Options, PeftMethod
from deltaproof.tuning.numerics.linalg import tree_sum

__all__ = ["Dora", "Lora", "RsLora"]


_BESIDE = frozenset(
    {
        "alpha_pattern", "bias", "exclude_modules", "fan_in_fan_out", "layers_pattern", "layers_to_transform",
        "lora_alpha", "lora_dropout", "r", "rank_pattern", "target_modules", "use_rslora",
    }
)  # fmt: skip
"""Options with which nothing but a matrix's product is used; others, such as some initialisations, read its values."""


class Lora(PeftMethod):
    """Low-rank adapters through peft; options are those of `peft.LoraConfig`."""

    family = "reparameterisation"
    paper = "Hu et al. 2021"
    aggregation = "mean of the products B A, refactored to the rank"
    config_class = peft.LoraConfig

    @property
    def leaves_matrices(self) -> bool:
        return self.options.keys() <= _BESIDE

    def targets(self, base: nn.Module) -> dict[str, Any]:
        """peft's own choice where it has one for the model, else query and value projections."""
        return lora_targets(base, self.options)


class RsLora(Lora):
    """Rank-stabilised LoRA."""

    paper = "Kalajdzievski 2023"
    forced: ClassVar[Options] = {"use_rslora": True}


class Dora(Lora):
    """Weight-decomposed low-rank adapters: m (W + s B A) / |W + s B A|, the norms by row."""

    merges = False
    paper = "Liu et al. 2024"
    aggregation = "mean of the products B A, refactored to the rank; mean of the magnitudes"
    forced: ClassVar[Options] = {"use_dora": True}

    def attach(self, base: nn.Module, kind: str, seed: bytes) -> nn.Module:
        model = super().attach(base, kind, seed)
        for name, parameter in model.named_parameters():
            if ".lora_magnitude_vector." in name:
                layer = model.get_submodule(name.partition(".lora_magnitude_vector.")[0])
                transposed = getattr(layer, "fan_in_fan_out", False)
                if not isinstance(layer, nn.Module) or parameter.ndim != 1 or transposed:
                    raise MethodError(f"dora: {name} is no magnitude of a linear layer")
                # peft's own norm depends on the precision and the machine; B is zero, so this is the row norm of W.
                weight = layer.get_base_layer().weight.detach().double().cpu().numpy()  # type: ignore[operator]
                norms = np.sqrt(tree_sum(weight * weight, 1)).astype(np.float32)
                with torch.no_grad():
                    parameter.copy_(torch.from_numpy(norms))
        return model
