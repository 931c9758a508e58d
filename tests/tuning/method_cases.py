"""Every method with options that fit the tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltaproof.protocol.types import hex_of
from deltaproof.tuning.methods.deliverable import read_tensors, tensors_digest
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import minimal_spec, some_rows

CASES: dict[str, dict[str, Any]] = {
    "houlsby": {"size": 4},
    "pfeiffer": {"size": 4, "activation": "gelu"},
    "fusion": {},
    "prefix": {"num_virtual_tokens": 3},
    "prompt": {"num_virtual_tokens": 3},
    "p_tuning": {"num_virtual_tokens": 3, "encoder_hidden_size": 16},
    "ia3": {},
    "bitfit": {},
    "layer_norm": {},
    "last_layers": {"layers": 1},
    "diff_pruning": {"l0": 0.01},
    "sensitivity": {"fraction": 0.05},
    "shira": {"fraction": 0.05},
    "full": {},
    "lora": {"r": 4, "lora_alpha": 8},
    "rslora": {"r": 4, "lora_alpha": 8},
    "dora": {"r": 4, "lora_alpha": 8},
    "adalora": {"init_r": 4, "target_r": 2, "lora_alpha": 8},
    "vera": {"r": 8},
    "loha": {"r": 4, "alpha": 4},
    "lokr": {},
    "oft": {"oft_block_size": 8},
    "miss": {"r": 8},
}


def method_section(name: str, folder: Path, architecture: str = "bert") -> dict[str, Any]:
    """The spec's method section for a tiny model in `folder`; makes what the method is based on."""
    options = dict(CASES[name])
    kind = minimal_spec(folder, architecture).model.kind  # type: ignore[arg-type]
    if name == "sensitivity":
        options["rows"] = [row.decode() for row in some_rows(kind, 6)]
    if name == "fusion":
        options |= _two_adapters(folder, architecture)
    return {"name": name, "options": options}


def _two_adapters(folder: Path, architecture: str) -> dict[str, list[str]]:
    folders = []
    for number, method in enumerate(("pfeiffer", "houlsby")):
        target = folder.parent / f"{folder.name}-{method}"
        if not target.exists():
            section = {"name": method, "seed": hex_of(bytes([number]) * 32), "options": {"size": 3}}
            bench = Workbench.from_spec(minimal_spec(folder, architecture, method=section))  # type: ignore[arg-type]
            theta = bench.initial_state()
            theta += 0.05  # an adapter that changes something
            bench.export(theta, target)
        folders.append(target)
    return {
        "adapters": [str(f) for f in folders],
        "digests": [hex_of(tensors_digest(read_tensors(f))) for f in folders],
    }
