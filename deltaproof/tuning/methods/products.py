"""Reparameterisations of a weight's update other than B A, through peft.

| method | update of W | aggregated as |
|---|---|---|
| VeRA | diag(b) B diag(d) A, B and A frozen | the products b d^T, refactored to rank one |
| LoHa | (B1 A1) * (B2 A2), element-wise | each of the two products, refactored to the rank |
| LoKr | C (x) D, Kronecker | vec(C) vec(D)^T, refactored to rank one (Van Loan and Pitsianis 1993) |
| OFT  | (R - I) W, R the Cayley transform of S | the skew-symmetric S |
| MiSS | blocks of one small trained matrix | the matrix |

The mean of LoHa's Hadamard products differs from the product of means by the members' covariance, and the mean of S is
exact where rotations commute: what is scored is the aggregate itself, whatever it lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import peft
from torch import nn

from deltaproof.protocol.terms.spec import OptionValue
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods._targets import query_and_value
from deltaproof.tuning.methods.base import Options, PeftMethod, Reasons
from deltaproof.tuning.numerics.products import LowRankPair, Tensors

__all__ = ["Loha", "Lokr", "Miss", "Oft", "Vera"]

_GLOBAL = "peft draws it from torch's global generator, which no replay can repeat"


class _Linear(PeftMethod):
    """Methods that peft has no default target modules for: query and value projections, as LoRA has."""

    family = "reparameterisation"
    refused: ClassVar[Reasons] = {"rank_dropout": _GLOBAL, "module_dropout": _GLOBAL, "init_weights": _GLOBAL}

    def targets(self, base: nn.Module) -> dict[str, Any]:
        return {} if "target_modules" in self.options else {"target_modules": query_and_value(base)}


class Vera(_Linear):
    """Vector-based random matrix adaptation. The random matrices come from the seed and are in the deliverable."""

    merges = False
    paper = "Kopiczko et al. 2023"
    aggregation = "mean of the products b d^T, refactored to rank one"
    config_class = peft.VeraConfig
    forced: ClassVar[Options] = {"save_projection": True}
    refused: ClassVar[Reasons] = {
        "init_weights": _GLOBAL,
        "projection_prng_key": "the method's seed decides",
    }

    def pairs(self, model: nn.Module) -> tuple[LowRankPair, ...]:
        names = [name for name, p in model.named_parameters() if p.requires_grad and ".vera_lambda_d." in name]
        return tuple(LowRankPair(n.partition(".vera_lambda_d")[0], n, _vera_b(n), 1.0) for n in sorted(names))

    def unfold(self, tensors: Tensors) -> Tensors:
        return {
            n: v[None, :] if ".vera_lambda_d." in n else v[:, None] if ".vera_lambda_b." in n else v
            for n, v in tensors.items()
        }


class Loha(_Linear):
    """Low-rank Hadamard products."""

    merges = False
    paper = "Hyeon-Woo et al. 2021"
    aggregation = "mean of each factor's product, refactored to the rank; exact up to the members' covariance"
    config_class = peft.LoHaConfig
    defaults: ClassVar[Options] = {"r": 8, "alpha": 8}

    def pairs(self, model: nn.Module) -> tuple[LowRankPair, ...]:
        found = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and (".hada_w1_b." in name or ".hada_w2_b." in name):
                a_name = name.replace("_b.default", "_a.default")
                module = name.removesuffix("_b.default")
                found.append(LowRankPair(module, name, a_name, 1.0))
        return tuple(sorted(found, key=lambda pair: pair.module))


class Lokr(_Linear):
    """Kronecker products of two full factors. `alpha` is the scale of the update."""

    merges = False
    paper = "Yeh et al. 2023 (LyCORIS)"
    aggregation = "mean of vec(C) vec(D)^T, refactored to rank one"
    config_class = peft.LoKrConfig
    refused: ClassVar[Reasons] = {
        **_Linear.refused,
        "r": "a factor that is itself factored has no exact mean; both factors are full",
        "decompose_both": "a factor that is itself factored has no exact mean",
        "use_effective_conv2d": "linear layers only",
    }

    _FULL = 2**20
    """A rank from which peft decomposes nothing."""

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        super().__init__(options)
        alpha = self.options.get("alpha", 1.0)
        if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
            raise MethodError(f"lokr: alpha must be a number, not {alpha!r}")
        self.options |= {"r": self._FULL, "alpha": alpha * self._FULL}  # peft scales by alpha / r

    def pairs(self, model: nn.Module) -> tuple[LowRankPair, ...]:
        names = [n for n, p in model.named_parameters() if p.requires_grad and ".lokr_w1." in n]
        return tuple(LowRankPair(n.partition(".lokr_w1")[0], _lokr_w2(n), n, 1.0) for n in sorted(names))

    def unfold(self, tensors: Tensors) -> Tensors:
        return {
            n: v.reshape(-1, 1) if ".lokr_w1." in n else v.reshape(1, -1) if ".lokr_w2." in n else v
            for n, v in tensors.items()
        }


class Oft(_Linear):
    """Orthogonal fine-tuning: rotations of blocks of a weight's inputs."""

    paper = "Qiu et al. 2023"
    aggregation = "mean of the skew-symmetric generators"
    config_class = peft.OFTConfig
    defaults: ClassVar[Options] = {"r": 0, "oft_block_size": 32}
    refused: ClassVar[Reasons] = {
        **_Linear.refused,
        "coft": "peft then changes trained values inside the forward pass, outside of any committed step",
    }


class Miss(_Linear):
    """Matrix shard sharing."""

    paper = "Kang and Yin 2024"
    aggregation = "mean of the trained blocks"
    config_class = peft.MissConfig
    defaults: ClassVar[Options] = {"r": 16}
    refused: ClassVar[Reasons] = {"init_weights": _GLOBAL}


def _vera_b(name: str) -> str:
    return name.replace(".vera_lambda_d.", ".vera_lambda_b.")


def _lokr_w2(name: str) -> str:
    return name.replace(".lokr_w1.", ".lokr_w2.")
