"""Where methods attach by default: modules of the transformers that tasks use, found by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as _PEFT_TARGETS
from torch import nn

from deltaproof.tuning.base_models.frozen import is_linear
from deltaproof.tuning.errors import MethodError

__all__ = [
    "attention_outputs",
    "feedforward_outputs",
    "linears",
    "lora_targets",
    "matching",
    "norms",
    "query_and_value",
]

_QUERY_VALUE = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin")
_ATTENTION_OUTPUT = r"(attention\.output\.dense|self_attn\.o_proj|attention\.o_proj|attention\.out_lin)$"
_FEEDFORWARD_OUTPUT = r"(layer\.\d+\.output\.dense|mlp\.down_proj|mlp\.fc2|ffn\.lin2)$"


def query_and_value(base: nn.Module) -> list[str]:
    """Last names of the query and value projections."""
    found = sorted({name.rpartition(".")[2] for name, module in base.named_modules() if isinstance(module, nn.Linear)})
    return _some([name for name in found if name in _QUERY_VALUE], "query and value projections")


def lora_targets(base: nn.Module, options: Mapping[str, object]) -> dict[str, Any]:
    """Target modules of LoRA where neither the task nor peft names any for the model."""
    if "target_modules" in options or getattr(base.config, "model_type", "") in _PEFT_TARGETS:
        return {}
    return {"target_modules": query_and_value(base)}


def attention_outputs(base: nn.Module) -> list[str]:
    """Full names of the projections that end attention."""
    return _some(matching(base, _ATTENTION_OUTPUT), "attention outputs")


def feedforward_outputs(base: nn.Module) -> list[str]:
    """Full names of the projections that end feed-forward blocks."""
    return _some(matching(base, _FEEDFORWARD_OUTPUT), "feed-forward outputs")


def norms(base: nn.Module) -> list[str]:
    """Full names of all layer and root-mean-square normalisations."""
    return _some([n for n, m in base.named_modules() if re.search(r"(LayerNorm|RMSNorm)$", type(m).__name__)], "norms")


def linears(base: nn.Module, names: Iterable[str]) -> list[str]:
    """Full names of the linear modules whose name ends in one of `names`, sorted."""
    wanted = tuple(names)
    found = [
        name
        for name, module in base.named_modules()
        if is_linear(module) and any(name == w or name.endswith(f".{w}") for w in wanted)
    ]
    return _some(sorted(found), f"linear modules named {', '.join(wanted)}")


def matching(base: nn.Module, pattern: str) -> list[str]:
    """Full names of the linear modules that `pattern` finds, in the model's order."""
    return [name for name, module in base.named_modules() if is_linear(module) and re.search(pattern, name)]


def _some(names: list[str], what: str) -> list[str]:
    if not names:
        raise MethodError(f"this model has no {what} that are known here; name them in target_modules")
    return names
