"""LoRA (Hu et al. 2021): W + (alpha / r) B A with trained A [R, in] and B [out, R], and the classification head."""

from __future__ import annotations

import peft

from tuning.methods.base import PeftMethod

__all__ = ["Lora"]


class Lora(PeftMethod):
    """Low-rank adapters through peft; options are those of `peft.LoraConfig`."""

    config_class = peft.LoraConfig
