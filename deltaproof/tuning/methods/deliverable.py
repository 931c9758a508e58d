"""The deliverable of methods that peft does not have: `adapter_model.safetensors` and `adapter_method.json`.

Any program reads the tensors; `deltaproof.tuning.methods.load_adapter(base, folder)` puts them into a base model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deltaproof.protocol.terms.spec import OptionValue
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.tuning.errors import MethodError

__all__ = [
    "METHOD_FILE",
    "assign",
    "read_description",
    "read_tensors",
    "tensors_digest",
    "trainable",
    "write_deliverable",
]

METHOD_FILE = "adapter_method.json"
"""Says which method a deliverable of our own is of."""
_TENSORS_FILE = "adapter_model.safetensors"


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """Trained tensors by name, float32."""
    return {n: p.detach().float().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}


def write_deliverable(
    folder: Path, name: str, options: Mapping[str, OptionValue], source: str, tensors: Mapping[str, Tensor]
) -> None:
    """Write both files, replacing what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / _TENSORS_FILE)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    (folder / METHOD_FILE).write_bytes(canonical_json({"base_model": source, "method": name, "options": values}))


def read_description(folder: Path) -> tuple[str, dict[str, OptionValue]]:
    """Method and options of a deliverable. Raises MethodError."""
    try:
        fields = json.loads((folder / METHOD_FILE).read_text("utf-8"))
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in fields["options"].items()}
        return str(fields["method"]), options
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MethodError(f"no adapter of ours in {folder}: {error}") from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Tensors of a deliverable by name. Raises MethodError."""
    try:
        return load_file(folder / _TENSORS_FILE)
    except (OSError, SafetensorError) as error:
        raise MethodError(f"no adapter tensors in {folder}: {error}") from error


def tensors_digest(tensors: Mapping[str, Tensor]) -> Digest32:
    """Digest of a deliverable's tensors: names, types, shapes and content, whatever the file's order."""
    digest = sha256(b"deltaproof/deliverable/v1\x00")
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        digest.update(canonical_json([name, str(values.dtype), list(values.shape)]) + b"\x00")
        digest.update(sha256(values.reshape(-1).view(torch.uint8).numpy().data).digest())
    return Digest32(digest.digest())


def assign(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors over the model's parameters of the same names. Raises MethodError if one does not fit."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, values in tensors.items():
            target = parameters.get(name)
            if target is None or target.shape != values.shape or not bool(torch.isfinite(values).all()):
                raise MethodError(f"the adapter's tensor {name!r} does not fit the model")
            target.copy_(values)
