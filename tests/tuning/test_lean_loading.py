"""Loading tensor by tensor: the bits of a model that is loaded whole in float64 and narrowed."""

from __future__ import annotations

import copy
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models import loading as models
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.lean import built_empty, correspondence
from deltaproof.tuning.base_models.loading import load_base
from deltaproof.tuning.base_models.presets import Architecture, minimal_model
from deltaproof.tuning.base_models.stored_embedding import StoredEmbedding
from deltaproof.tuning.numerics.precision import Precision, computing_in, dtype_of

KINDS: dict[Architecture, str] = {
    "bert": "sequence-classification",
    "llama": "causal-lm",
    "vit": "image-classification",
}
LEAN = {"bert", "llama"}
"""The minimal vision model stores a pooler that a classifier does not have."""


def test_models_that_threads_load_at_once_are_whole(tmp_path: Path) -> None:
    """Libraries build a model under settings of the process: another thread's model was left without data."""
    section = section_of(minimal_model(tmp_path / "model", "bert"), "bert")
    begin, before = threading.Barrier(4), sys.getswitchinterval()

    def load(_: int) -> dict[str, torch.Tensor]:
        begin.wait()
        state: dict[str, torch.Tensor] = load_base(section, b"", "float64").model.state_dict()
        return state

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            first, *others = threads.map(load, range(4))
    finally:
        sys.setswitchinterval(before)
    for other in others:
        assert all(torch.equal(other[name], values) for name, values in first.items())


def section_of(folder: Path, architecture: Architecture) -> ModelSection:
    return ModelSection(
        kind=KINDS[architecture],  # type: ignore[arg-type]
        source=f"path:{folder}",
        weights_digest=weights_digest(folder),
        num_labels=0 if architecture == "llama" else 3,
        max_tokens=16,
    )


def stored_as(folder: Path, dtype: torch.dtype) -> Path:
    """The folder, its weights rounded to `dtype`."""
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", KINDS)
def test_lean_loading_gives_the_bits_of_a_model_narrowed_from_float64(
    architecture: Architecture, stored: torch.dtype, precision: Precision, tmp_path: Path
) -> None:
    folder = stored_as(minimal_model(tmp_path, architecture), stored)
    section = section_of(folder, architecture)
    assert (_corresponding(folder, section) is not None) == (architecture in LEAN)
    lean, whole = load_base(section, b"\x07" * 32, precision).model, _whole(folder, section, precision)
    ours, theirs = tensors_of(lean), tensors_of(whole)
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name
        assert not tensor.requires_grad
    assert str(lean.config) == str(whole.config)


def test_tensor_that_no_parameter_is_named_after_is_left_to_transformers(tmp_path: Path) -> None:
    folder = minimal_model(tmp_path, "bert")
    section = section_of(folder, "bert")
    plain = tensors_of(load_base(section, bytes(32), "float32").model)
    weights = load_file(folder / "model.safetensors")
    old = "embeddings.LayerNorm.weight"
    save_file({(n.replace(old, "embeddings.LayerNorm.gamma")): t for n, t in weights.items()},
              folder / "model.safetensors", {"format": "pt"})  # fmt: skip
    section = section_of(folder, "bert")
    assert _corresponding(folder, section) is None
    again = tensors_of(load_base(section, bytes(32), "float32").model)
    assert all(torch.equal(tensor, again[name]) for name, tensor in plain.items())


def test_model_in_several_files_is_the_model_in_one(tmp_path: Path) -> None:
    folder = minimal_model(tmp_path, "llama")
    section = section_of(folder, "llama")
    plain = tensors_of(load_base(section, bytes(32), "float64", beside=True).model)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for number in range(3):
        part = dict(list(weights.items())[number::3])
        save_file(part, folder / f"model-0000{number + 1}-of-00003.safetensors", {"format": "pt"})
    assert section_of(folder, "llama") == section
    again = tensors_of(load_base(section, bytes(32), "float64", beside=True).model)
    assert all(torch.equal(tensor, again[name]) for name, tensor in plain.items())


def test_embedding_tables_stay_in_the_file_and_give_the_same_rows(tmp_path: Path) -> None:
    folder = minimal_model(tmp_path, "bert")
    model = load_base(section_of(folder, "bert"), bytes(32), "float32").model
    tables = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding)}
    assert {name.rpartition(".")[2] for name in tables} == {
        "word_embeddings", "position_embeddings", "token_type_embeddings",
    }  # fmt: skip
    for table in tables.values():
        assert isinstance(table, StoredEmbedding)
        ids = torch.arange(table.num_embeddings).flip(0).repeat(2).view(2, -1)
        assert torch.equal(table(ids), table.weight[ids])
        with pytest.raises(IndexError, match=f"has {table.num_embeddings} rows"):
            table(torch.tensor([[table.num_embeddings]]))
    (folder / "model.safetensors").unlink()
    copied = copy.deepcopy(tables["bert.embeddings.word_embeddings"])
    assert torch.equal(copied(torch.tensor([5])), copied.weight[5:6])


def test_table_that_is_trained_or_multiplied_is_an_ordinary_one(tmp_path: Path) -> None:
    bert = minimal_model(tmp_path / "bert", "bert")
    table = load_base(section_of(bert, "bert"), bytes(32), "float32").model.get_submodule(
        "bert.embeddings.word_embeddings"
    )
    assert isinstance(table, StoredEmbedding)
    table.weight.requires_grad_(True)
    table(torch.tensor([7, 7])).sum().backward()
    assert table.weight.grad is not None
    assert float(table.weight.grad[7].sum()) == 2.0 * table.embedding_dim
    llama = minimal_model(tmp_path / "llama", "llama")
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    weights = load_file(llama / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, llama / "model.safetensors", {"format": "pt"})
    model = load_base(section_of(llama, "llama"), bytes(32), "float32").model
    assert not any(isinstance(module, StoredEmbedding) for module in model.modules())


def _corresponding(folder: Path, section: ModelSection) -> object:
    config = transformers.AutoConfig.from_pretrained(folder)
    auto = getattr(transformers, models._AUTO_CLASSES[section.kind])
    return correspondence(folder, built_empty(lambda: auto.from_config(config)))


def _whole(folder: Path, section: ModelSection, precision: Precision) -> Any:
    """What transformers loads in float64, narrowed."""
    auto = getattr(transformers, models._AUTO_CLASSES[section.kind])
    with computing_in("float64"):
        model, report = auto.from_pretrained(folder, output_loading_info=True, **models._options(section))
    models._fill_missing(model, report["missing_keys"], b"\x07" * 32)
    model.config.use_cache = False
    return model.requires_grad_(False).eval().to(dtype_of(precision))
