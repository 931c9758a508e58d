"""Tokens that see nothing but padding: how far rounding goes there is measured as anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.gradient_check import Recomputation
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.numerics.randomness import SeededFills
from deltaproof.tuning.training.step import start_state
from deltaproof.tuning.training.workbench import Workbench

LONG = "a film of some length that goes on and on beyond every window"
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 259,
    "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1, "max_position_embeddings": 128,
}  # fmt: skip


def spec_of(folder: Path, architecture: str) -> TaskSpec:
    """A bounded task of a tiny classifier, whose tokeniser makes nothing of an empty text."""
    minimal_model(folder, "bert")
    targets = {"bert": ["query", "value"], "sliding window": ["q_proj", "v_proj"], "local attention": ["Wqkv"]}
    with SeededFills(bytes(32)):
        if architecture == "sliding window":
            config = transformers.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=6)
            transformers.MistralForCausalLM(config).save_pretrained(folder)
        elif architecture == "local attention":
            modern = transformers.ModernBertConfig(
                **SIZES, global_attn_every_n_layers=2, local_attention=8, cls_token_id=None, sep_token_id=None
            )
            transformers.ModernBertModel(modern).save_pretrained(folder)
    sections: dict[str, Any] = {
        "model": {"max_tokens": 64},
        "training": {"numeric": "bounded"},
        "method": {"options": {"r": 4, "target_modules": targets[architecture]}},
    }
    return complete_spec(f"path:{folder}", "sequence-classification", sections)


@pytest.mark.parametrize(
    ("architecture", "short"),
    [("bert", ""), ("sliding window", "ok"), ("local attention", "ok")],
    ids=["empty text", "sliding window", "local attention"],
)
def test_rounding_of_rows_whose_padding_sees_only_padding_is_measured(
    tmp_path: Path, architecture: str, short: str
) -> None:
    """Errors in the mask itself left no finite gradient, so that honest work in doubt was refused; or they chose one
    masked token for attention, and a push of a third of the gradient was rounding."""
    spec = spec_of(tmp_path / "model", architecture)
    mirror, reference = Workbench.from_spec(spec), Workbench.from_spec(spec, precision="float64")
    theta = (reference.start + np.random.default_rng(0).normal(0, 0.02, reference.start.shape)).astype(np.float32)
    texts = (short, LONG, "dull and slow", "kind")
    rows = [canonical_row({"text": text, "label": i % 2}) for i, text in enumerate(texts)]
    again = Recomputation(reference, mirror, start_state(reference, theta), rows, bytes(32), bytes(32))
    own = np.linalg.norm(again.mirrored.values - again.reference.values)
    assert own / 4 <= again.rounding.whole <= 100 * own
