"""Trained inputs instead of trained weights, through peft: prefixes, prompts and P-tuning.

The state is what is trained: the prompts themselves, or for P-tuning the network that makes them, of which peft saves
only the prompts. Prompts that other people would read from text, or that a recurrent network makes, are refused.
"""

from __future__ import annotations

from typing import ClassVar

import peft
from torch import nn

from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.base import Options, PeftMethod, Reasons

__all__ = ["PTuning", "PrefixTuning", "PromptTuning"]

_SHAPES = dict.fromkeys(
    ("token_dim", "num_layers", "num_attention_heads", "num_transformer_submodules"), "it follows from the model"
)
_TEXT = "it reads a tokeniser that the task does not name; prompts start from the seed"


class _Prompts(PeftMethod):
    family = "addition"
    defaults: ClassVar[Options] = {"num_virtual_tokens": 8}
    refused: ClassVar[Reasons] = _SHAPES

    def attach(self, base: nn.Module, kind: str, seed: bytes) -> nn.Module:
        if kind == "image-classification":
            raise MethodError("prompts go before tokens; an image model has none")
        return super().attach(base, kind, seed)


class PrefixTuning(_Prompts):
    """Keys and values that every layer attends to besides the tokens'."""

    paper = "Li and Liang 2021"
    aggregation = "mean of the prefixes"
    config_class = peft.PrefixTuningConfig
    reruns = False


class PromptTuning(_Prompts):
    """Embeddings of virtual tokens before the text."""

    paper = "Lester et al. 2021"
    aggregation = "mean of the prompts"
    config_class = peft.PromptTuningConfig
    refused: ClassVar[Reasons] = _SHAPES | dict.fromkeys(
        ("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path"), _TEXT
    )


class PTuning(_Prompts):
    """Virtual tokens that a small perceptron makes from trained embeddings."""

    paper = "Liu et al. 2021"
    aggregation = "mean of embeddings and perceptron; the prompts they make are not the mean of the prompts"
    config_class = peft.PromptEncoderConfig
    defaults: ClassVar[Options] = {"num_virtual_tokens": 8, "encoder_hidden_size": 128}
    forced: ClassVar[Options] = {"encoder_reparameterization_type": "MLP"}
    refused: ClassVar[Reasons] = _SHAPES | {"encoder_num_layers": "a perceptron has three"}
