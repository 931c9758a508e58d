"""Loading without float64 copies: the same bits, and left to transformers where names do not correspond."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from protocol.spec import ModelSection
from tuning import models
from tuning.models import BaseModel, load_base, weights_digest
from tuning.presets import Architecture, minimal_model

KINDS: dict[Architecture, str] = {
    "bert": "sequence-classification",
    "llama": "causal-lm",
    "vit": "image-classification",
}
LEAN = {"bert", "llama"}
"""The minimal vision model stores a pooler that a classifier does not have."""
MAPS = Path("/proc/self/maps")


def section_of(folder: Path, architecture: Architecture) -> ModelSection:
    return ModelSection(
        kind=KINDS[architecture],  # type: ignore[arg-type]
        source=f"path:{folder}",
        weights_digest=weights_digest(folder),
        num_labels=0 if architecture == "llama" else 3,
        max_tokens=16,
    )


def tensors_of(base: BaseModel) -> dict[str, torch.Tensor]:
    return {**dict(base.model.named_parameters()), **dict(base.model.named_buffers())}


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", KINDS)
def test_lean_loading_gives_the_bits_of_a_model_narrowed_from_float64(
    architecture: Architecture, stored: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = minimal_model(tmp_path, architecture)
    weights = {name: tensor.to(stored) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    section = section_of(folder, architecture)
    lean = load_base(section, b"\x07" * 32, "float32")
    assert (models._lean(_auto(section), folder, section) is not None) == (architecture in LEAN)
    monkeypatch.setattr(models, "_lean", lambda *_: None)
    whole = load_base(section, b"\x07" * 32, "float32")
    ours, theirs = tensors_of(lean), tensors_of(whole)
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name
        assert not tensor.requires_grad
    assert str(lean.model.config) == str(whole.model.config)


def test_tensor_that_no_parameter_is_named_after_is_left_to_transformers(tmp_path: Path) -> None:
    folder = minimal_model(tmp_path, "bert")
    weights = load_file(folder / "model.safetensors")
    old = "embeddings.LayerNorm.weight"
    save_file({(n.replace(old, "embeddings.LayerNorm.gamma")): t for n, t in weights.items()},
              folder / "model.safetensors", {"format": "pt"})  # fmt: skip
    section = section_of(folder, "bert")
    assert models._lean(_auto(section), folder, section) is None
    assert load_base(section, bytes(32), "float32").model is not None


@pytest.mark.skipif(not MAPS.is_file(), reason="this system does not list a process's mappings")
def test_only_embedding_tables_stay_in_the_file(tmp_path: Path) -> None:
    """What is multiplied is copied to an aligned address, where products round as they always did."""
    folder = minimal_model(tmp_path, "bert")
    model = load_base(section_of(folder, "bert"), bytes(32), "float32").model
    mapped = {name for name, parameter in model.named_parameters() if _in_file(parameter, folder)}
    tables = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding)}
    assert mapped == tables


def _in_file(tensor: torch.Tensor, folder: Path) -> bool:
    for line in MAPS.read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= tensor.data_ptr() < last:
            return line.endswith(str(folder / "model.safetensors"))
    return False


def _auto(section: ModelSection) -> object:
    import transformers

    return getattr(transformers, models._AUTO_CLASSES[section.kind])
