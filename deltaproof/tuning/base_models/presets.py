"""The `minimal` preset: real code on a problem small enough for every test.

A model of two layers with random weights and a byte tokeniser, made on the spot, and a complete spec around any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import transformers

from deltaproof.protocol.terms.spec import PhasesSection, TaskSpec, parse_spec
from deltaproof.protocol.types import hex_of
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.base_models.quiet import quiet
from deltaproof.tuning.numerics.randomness import SeededFills

__all__ = ["Architecture", "complete_spec", "minimal_model"]

Architecture = Literal["bert", "llama", "vit"]
"""Of tiny models that can be made on the spot."""

_SPECIAL = ("<pad>", "<eos>", "<unk>")
_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}


def minimal_model(folder: Path, architecture: Architecture, layers: int = 2) -> Path:
    """Write a tiny model with drawn weights, always the same, and, for text, a byte tokeniser; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, Any] = {**_SIZES, "num_hidden_layers": layers}
    vocabulary: dict[str, Any] = {
        "vocab_size": 256 + len(_SPECIAL),
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    with quiet(), SeededFills(bytes(32)):
        match architecture:
            case "bert":
                config = transformers.BertConfig(**sizes, **vocabulary, max_position_embeddings=64)
                model = transformers.BertModel(config)
            case "llama":
                config = transformers.LlamaConfig(**sizes, **vocabulary, num_key_value_heads=2)
                model = transformers.LlamaForCausalLM(config)
            case "vit":
                config = transformers.ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=1)
                model = transformers.ViTModel(config)
        model.save_pretrained(folder)
    if architecture != "vit":
        _byte_tokenizer().save_pretrained(folder)
    return folder


def complete_spec(source: str, kind: str, sections: Mapping[str, Mapping[str, Any]] | None = None) -> TaskSpec:
    """A valid spec for a model, with small defaults; `sections` overrides keys by section.

    The weights digest is computed; `start_digest` is zero unless the caller overrides the top-level value under `""`.
    """
    values: dict[str, Any] = {
        "task": {"name": "minimal"},
        "model": {
            "kind": kind,
            "source": source,
            "weights_digest": hex_of(weights_digest(resolve_source(source))),
            **({} if kind == "image-classification" else {"max_tokens": 32}),
            **({} if kind == "causal-lm" else {"num_labels": 2}),
        },
        "method": {"name": "lora", "seed": hex_of(bytes(32)), "options": {"r": 4, "lora_alpha": 8}},
        "start_digest": hex_of(bytes(32)),
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01},
        "training": {"steps": 6, "batch_size": 4},
        "codec": {"byte_limit": 1 << 30},
        "validation": {"commitments": [hex_of(bytes(32))] * 2, "rows": 8},
        "rewards": {"budget_per_round": "1000000", "rounds": 1, "verifier_fee_bps": 1000},
        "verification": {
            "samples": 2,
            "commit_bond": "10",
            "slash_bps": 5000,
            "min_trainer_stake": "100",
            "min_verifier_stake": "100",
        },
        "phases": dict.fromkeys(PhasesSection.model_fields, 60) | {"claim": 86_401},
    }
    for section, overrides in (sections or {}).items():
        if section:
            values[section] = {**values.get(section, {}), **overrides}
        else:
            values.update(overrides)
    return parse_spec(values)


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    symbols = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pad, eos, unknown = _SPECIAL
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, eos_token=eos, unk_token=unknown
    )
