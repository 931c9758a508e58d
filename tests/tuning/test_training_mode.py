"""Training mode switches dropout on and nothing else; models and machines that nobody could replay are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.errors import ModelError, TuningError
from deltaproof.tuning.training.optimizers import constants_of, constants_table, update
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import minimal_spec, rehearse

SIZES: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def image_spec(folder: Path, model: Any, targets: list[str], **training: object) -> TaskSpec:
    model.save_pretrained(folder)
    method = {"options": {"r": 2, "target_modules": targets}}
    return complete_spec(f"path:{folder}", "image-classification", {"method": method, "training": training})


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_model_that_draws_by_itself_is_refused_before_anybody_trains(tmp_path: Path, numeric: str) -> None:
    """BEiT skips whole blocks at random while it trains: every step of an honest trainer was refused."""
    config = transformers.BeitConfig(**SIZES, image_size=8, patch_size=4, num_channels=1, num_labels=2)
    targets = ["q_proj", "v_proj"]
    model = transformers.BeitForImageClassification(config)
    spec = image_spec(tmp_path / "drawing", model, targets, dropout=True, numeric=numeric)
    with pytest.raises(ModelError, match="draws random numbers of its own"):
        Workbench.from_spec(spec)
    Workbench.from_spec(image_spec(tmp_path / "drawing", model, targets, numeric=numeric))  # nothing is drawn then

    config.drop_path_rate = 0.0
    model = transformers.BeitForImageClassification(config)
    quiet = image_spec(tmp_path / "quiet", model, targets, dropout=True, numeric=numeric)
    played = rehearse(quiet, tmp_path / "round")
    verdicts = [played.judge().judge_step(o, s, played.replay_context) for s, o in enumerate(played.openings(range(3)))]
    assert all(verdict.accepted for verdict in verdicts), verdicts


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_batch_normalisation_keeps_its_stored_statistics(tmp_path: Path, numeric: str) -> None:
    """Those of a batch of one row are undefined, and each step that a verifier replays moved the scores it measures."""
    torch.manual_seed(0)
    config = transformers.MobileViTConfig(
        image_size=32, num_channels=1, hidden_sizes=[8, 8, 8], neck_hidden_sizes=[4] * 6 + [8], num_attention_heads=2,
        patch_size=2, num_labels=2,
    )  # fmt: skip
    model = transformers.MobileViTForImageClassification(config)
    spec = image_spec(tmp_path / "model", model, ["query", "value"], dropout=True, numeric=numeric)
    bench = Workbench.from_spec(spec)
    rows = [canonical_row({"pixels": [(i * 31 + k * 7) % 256 for k in range(32 * 32)], "label": i % 2}) for i in (1, 2)]
    evaluator = Evaluator(bench, rows)
    before = evaluator.evaluate(bench.start)
    bench.gradient(rows, bytes(32))
    bench.gradient(rows[:1], bytes(32))
    assert evaluator.evaluate(bench.start) == before
    assert bench.model.training


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_mixture_of_experts_is_refused_before_anybody_trains(tmp_path: Path, numeric: str) -> None:
    """In bounded mode a task was made and trained for, and no verifier could load the model in float64."""
    folder = minimal_model(tmp_path / "model", "llama")
    config = transformers.MixtralConfig(
        **SIZES, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, vocab_size=259, pad_token_id=0,
        bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    transformers.MixtralForCausalLM(config).save_pretrained(folder)
    sections: dict[str, Any] = {
        "method": {"options": {"r": 2, "target_modules": ["q_proj", "v_proj"]}},
        "training": {"numeric": numeric},
    }
    with pytest.raises(ModelError, match="4 experts"):
        Workbench.from_spec(complete_spec(f"path:{folder}", "causal-lm", sections))


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_method_that_cannot_be_trained_on_a_model_is_said_in_a_line(tmp_path: Path, numeric: str) -> None:
    """What libraries raise was a traceback for whoever made the task. DoRA's norms are of rows, and the weights of
    GPT-2 are transposed: of square ones they were those of columns."""

    def refused(model: Any, kind: str, method: str, options: dict[str, Any]) -> TuningError:
        folder = minimal_model(tmp_path / method, "llama")
        model.save_pretrained(folder)
        sections: dict[str, dict[str, Any]] = {
            "method": {"name": method, "options": options},
            "training": {"numeric": numeric},
        }
        with pytest.raises(TuningError) as found:
            Workbench.from_spec(complete_spec(f"path:{folder}", kind, sections))
        return found.value

    tokens = {"vocab_size": 259, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    special = {"cls_token_id": None, "sep_token_id": None, "max_position_embeddings": 64}
    modern = transformers.ModernBertModel(transformers.ModernBertConfig(**SIZES, **tokens, **special))
    told = refused(modern, "sequence-classification", "prefix", {"num_virtual_tokens": 2})
    assert str(told).startswith("prefix cannot be trained on this model in float")
    gpt2 = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, n_positions=64, **tokens)
    told = refused(transformers.GPT2LMHeadModel(gpt2), "causal-lm", "dora", {"r": 2, "target_modules": ["c_proj"]})
    assert "no magnitude of a linear layer" in str(told)


def test_machine_that_takes_subnormal_numbers_for_zero_is_told_before_it_trains(tmp_path: Path) -> None:
    """A word that is met once leaves a first moment that halves every seven steps, and ends at zero for nobody else."""
    spec = minimal_spec(tmp_path / "model")
    state = {name: torch.full((8,), 1e-37) for name in ("theta", "m", "v")}
    constants = constants_of(constants_table(spec.optimizer, 6), 0) | {"beta1": 0.1}

    def moment() -> list[int]:
        return update(2, constants, state, torch.zeros(8), 1.0)["m"].view(torch.int32).tolist()

    gradual = moment()
    try:
        if not torch.set_flush_denormal(True):
            pytest.skip("this processor always computes with subnormal numbers")
        assert moment() != gradual
        with pytest.raises(ModelError, match="subnormal"):
            Workbench.from_spec(spec)
    finally:
        torch.set_flush_denormal(False)
    Workbench.from_spec(spec)
