"""Models of growing size: two real ones, and random weights in the shape of models that people fine-tune.

Random weights are written as safetensors shards of a layer each, in bfloat16, with SmolLM2's tokeniser. What is
measured on them, memory and seconds, does not depend on what the numbers are.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.shared.replay_tasks import MODELS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.base_models.digests import TOKENISER_FILES
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.base_models.presets import complete_spec

__all__ = ["SHAPES", "spec_for", "weight_bytes"]

VOCABULARY = 49_152
SHAPES: dict[str, dict[str, int]] = {
    "360M": {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15,
             "num_key_value_heads": 5},
    "1.2B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
             "num_key_value_heads": 8},
    "7B": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 32},
}  # fmt: skip
"""SmolLM2-360M, Llama-3.2-1B and Llama-2-7B, all with SmolLM2's vocabulary."""


def spec_for(
    model: str, place: Path, *, numeric: str, frozen_dtype: str = "stored", tokens: int, batch: int
) -> TaskSpec:
    """A task on the model; random weights are written below `place` once."""
    facts: dict[str, Any] = MODELS.get(model, MODELS["SmolLM2-135M"])
    source = facts["source"] if model in MODELS else f"path:{_written(model, place)}"
    sections: dict[str, Any] = {
        "task": {"name": f"{model} {numeric} {frozen_dtype}"},
        "model": {"max_tokens": tokens},
        "method": {"options": {"r": 8, "lora_alpha": 16, "target_modules": facts["targets"]}},
        "training": {"steps": 20, "batch_size": batch, "numeric": numeric},
    }
    if numeric == "bounded":
        sections["training"] |= facts["bounds"]
    if frozen_dtype != "stored":  # commits before the key existed know no other
        sections["model"]["frozen_dtype"] = frozen_dtype
    return complete_spec(source, facts["kind"], sections)


def weight_bytes(spec: TaskSpec) -> int:
    """Bytes of the weights as they are stored."""
    return sum(path.stat().st_size for path in resolve_source(spec.model.source).glob("*.safetensors"))


def _written(model: str, place: Path) -> Path:
    folder = place / model
    if (folder / "config.json").is_file():
        return folder
    shape = SHAPES[model]
    folder.mkdir(parents=True, exist_ok=True)
    tokeniser = resolve_source(MODELS["SmolLM2-135M"]["source"])
    for name in TOKENISER_FILES:
        if (tokeniser / name).is_file():
            shutil.copy(tokeniser / name, folder / name)
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    keys = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    generator = torch.Generator().manual_seed(1)

    def drawn(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator).mul_(0.02).bfloat16()

    for number in range(shape["num_hidden_layers"]):
        place_ = f"model.layers.{number}."
        sizes = {
            "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }  # fmt: skip
        tensors = {f"{place_}{name}.weight": drawn(*size) for name, size in sizes.items()}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{place_}{norm}.weight"] = torch.ones(hidden, dtype=torch.bfloat16)
        save_file(tensors, folder / f"model-{number:05}.safetensors", {"format": "pt"})
    outside = {
        "model.embed_tokens.weight": drawn(VOCABULARY, hidden),
        "model.norm.weight": torch.ones(hidden).bfloat16(),
    }
    save_file(outside, folder / "model-outside.safetensors", {"format": "pt"})
    files = {name: path.name for path in sorted(folder.glob("*.safetensors")) for name in _names(path)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, **shape,
        "hidden_act": "silu", "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())
