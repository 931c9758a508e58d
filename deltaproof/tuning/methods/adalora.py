"""AdaLoRA (Zhang et al. 2023): W + s P diag(E) Q, with a budget of triplets shared by all modules.

The paper prunes triplets by a running importance inside the optimiser, which no element-wise, replayable step can do.
Here ranks are reallocated where deltas become one: of all modules' singular triplets of the aggregate the largest
`target_r` a module on average stay, the others restart with E = 0. So the decision derives from committed deltas alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import peft
from torch import nn

from deltaproof.protocol.terms.spec import OptionValue
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods._targets import lora_targets
from deltaproof.tuning.methods.base import Options, PeftMethod, Reasons, Shapes
from deltaproof.tuning.numerics.linalg import Array, frobenius, tree_sum
from deltaproof.tuning.numerics.products import LowRankPair, Tensors, narrowed

__all__ = ["AdaLora"]

_SCHEDULE = "ranks are reallocated between rounds, not on a schedule within one"


class AdaLora(PeftMethod):
    """Options: `init_r`, `target_r`, `lora_alpha`, `target_modules` and other fields of `peft.AdaLoraConfig`."""

    family = "reparameterisation"
    merges = False
    paper = "Zhang et al. 2023"
    aggregation = "mean of the products P diag(E) Q; the largest singular triplets of all modules stay"
    config_class = peft.AdaLoraConfig
    defaults: ClassVar[Options] = {"init_r": 12, "target_r": 8}
    forced: ClassVar[Options] = {"total_step": 1}
    refused: ClassVar[Reasons] = {
        **dict.fromkeys(("tinit", "tfinal", "deltaT", "beta1", "beta2", "rank_pattern"), _SCHEDULE),
        "orth_reg_weight": "factors are made orthogonal where deltas become one",
    }

    def targets(self, base: nn.Module) -> dict[str, Any]:
        return lora_targets(base, self.options)

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        super().__init__(options)
        self.target_rank = self.options["target_r"]
        if not isinstance(self.target_rank, int) or not 1 <= self.target_rank <= int(self.options["init_r"]):  # type: ignore[arg-type]
            raise MethodError(f"adalora: target_r {self.target_rank} must lie between 1 and init_r")

    def pairs(self, model: nn.Module) -> tuple[LowRankPair, ...]:
        from peft.tuners.adalora import SVDLinear

        found = []
        for module, layer in sorted(model.named_modules()):
            if isinstance(layer, SVDLinear):
                parts: Any = layer
                scale = float(parts.scaling["default"]) / (float(parts.ranknum["default"]) + 1e-5)
                found.append(LowRankPair(module, f"{module}.lora_A.default", f"{module}.lora_B.default", scale))
        return tuple(found)

    def unfold(self, tensors: Tensors) -> Tensors:
        """E goes into Q: the pairs are then P and diag(E) Q."""
        return {
            name: (values.astype(np.float64) * tensors[_e_of(name)]).astype(np.float64)
            if ".lora_A." in name
            else values
            for name, values in tensors.items()
            if ".lora_E." not in name
        }

    def fold(self, combined: Tensors, members: Sequence[Tensors], shapes: Shapes) -> Tensors:
        """P with columns of the members' length, E with the sizes, Q with unit rows; small triplets get E = 0."""
        names = sorted(name for name in combined if ".lora_A." in name)
        result: dict[str, Any] = {name: v for name, v in combined.items() if ".lora_A." not in name}
        sizes: list[Array] = []
        for name in names:
            a, b = combined[name].astype(np.float64), combined[_b_of(name)].astype(np.float64)
            mean_b = tree_sum(np.stack([m[_b_of(name)] for m in members]).astype(np.float64), 0) / len(members)
            length = float(frobenius(mean_b)) / float(np.sqrt(b.shape[1])) or 1.0
            rows, columns = np.sqrt(tree_sum(a * a, 1)), np.sqrt(tree_sum(b * b, 0))
            size = rows * columns
            unit = np.where(columns > 0, b / np.where(columns > 0, columns, 1.0), mean_b / length)
            result[name] = (a / np.where(rows > 0, rows, 1.0)[:, None]).astype(np.float32)
            result[_b_of(name)] = narrowed(unit * length)
            result[_e_of(name)] = narrowed(size / length)[:, None]
            sizes.append(size)
        everything = np.concatenate(sizes)
        kept = np.argsort(-everything, kind="stable")[: self.target_rank * len(names)]
        stays = np.isin(np.arange(everything.size), kept)
        position = 0
        for name, size in zip(names, sizes, strict=True):
            result[_e_of(name)][~stays[position : position + size.size]] = 0.0
            position += size.size
        return result


def _b_of(name: str) -> str:
    return name.replace(".lora_A.", ".lora_B.")


def _e_of(name: str) -> str:
    return name.replace(".lora_A.", ".lora_E.")
