"""Training some of the model's own parameters: biases, the last layers, or all.

The state is the parameters themselves, so deltas add up and their mean is exact. The classification head is trained
along. What is frozen keeps its bytes.
"""

from __future__ import annotations

import re
from typing import ClassVar

from torch import nn

from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.base import Options
from deltaproof.tuning.methods.own import OwnMethod

__all__ = ["BitFit", "FullFineTuning", "LastLayers"]

_LAYER = re.compile(r"^(?:.*\.)?(?:layers?|h|blocks?)\.(\d+)\.")


class _Selection(OwnMethod):
    family = "specification"
    aggregation = "mean of the values"


class BitFit(_Selection):
    """Every bias term."""

    name = "bitfit"
    paper = "Ben Zaken et al. 2021"

    @property
    def leaves_matrices(self) -> bool:
        return True

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        chosen = [p for n, p in base.named_parameters() if n.rpartition(".")[2] == "bias"]
        if not chosen:
            raise MethodError("bitfit trains biases, and this model has none")
        for parameter in chosen:
            parameter.requires_grad_(True)


class LastLayers(_Selection):
    """The last `layers` transformer layers, with what lies behind them."""

    name = "last_layers"
    paper = "Lee et al. 2019"
    defaults: ClassVar[Options] = {"layers": 1}

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        numbers = {name: int(m[1]) for name, _ in base.named_parameters() if (m := _LAYER.match(name))}
        depth = max(numbers.values(), default=-1) + 1
        wanted = self.count("layers")
        if wanted > depth:
            raise MethodError(f"last_layers: this model has {depth} layers, not {wanted}")
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(numbers.get(name, -1) >= depth - wanted)


class FullFineTuning(_Selection):
    """Every parameter: the ceiling that others are measured against."""

    name = "full"
    paper = "Devlin et al. 2018"

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        base.requires_grad_(True)
