"""Delta-tuning methods by name (docs/methods.md). A method attaches trainable tensors to a frozen base model.

The trainable tensors are the state that transcripts commit to; the folder that `export` writes is the deliverable. Most
come from peft, whose folders `PeftModel.from_pretrained` reads; `load_adapter` reads both kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from deltaproof.protocol.terms.spec import MethodSection
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.adalora import AdaLora
from deltaproof.tuning.methods.adapters import Houlsby, Pfeiffer
from deltaproof.tuning.methods.base import Method, PeftMethod
from deltaproof.tuning.methods.deliverable import METHOD_FILE, read_description
from deltaproof.tuning.methods.diff_pruning import DiffPruning
from deltaproof.tuning.methods.fusion import Fusion
from deltaproof.tuning.methods.lora import Dora, Lora, RsLora
from deltaproof.tuning.methods.products import Loha, Lokr, Miss, Oft, Vera
from deltaproof.tuning.methods.prompts import PrefixTuning, PromptTuning, PTuning
from deltaproof.tuning.methods.scaling import Ia3, LayerNormTuning
from deltaproof.tuning.methods.selection import BitFit, FullFineTuning, LastLayers
from deltaproof.tuning.methods.sparse import MagnitudeSelection, SensitivitySelection

__all__ = ["METHODS", "Method", "create_method", "load_adapter", "method_names"]

METHODS: Mapping[str, type[Method]] = {
    "houlsby": Houlsby,
    "pfeiffer": Pfeiffer,
    "fusion": Fusion,
    "prefix": PrefixTuning,
    "prompt": PromptTuning,
    "p_tuning": PTuning,
    "ia3": Ia3,
    "bitfit": BitFit,
    "layer_norm": LayerNormTuning,
    "last_layers": LastLayers,
    "diff_pruning": DiffPruning,
    "sensitivity": SensitivitySelection,
    "shira": MagnitudeSelection,
    "full": FullFineTuning,
    "lora": Lora,
    "rslora": RsLora,
    "dora": Dora,
    "adalora": AdaLora,
    "vera": Vera,
    "loha": Loha,
    "lokr": Lokr,
    "oft": Oft,
    "miss": Miss,
}
"""By family: addition, specification, reparameterisation."""


def method_names() -> tuple[str, ...]:
    """Every name that `[method]` can have, sorted."""
    return tuple(sorted(METHODS))


def create_method(section: MethodSection) -> Method:
    """The method of a task. Raises MethodError for an unknown name or option."""
    try:
        method = METHODS[section.name]
    except KeyError:
        raise MethodError(f"unknown PEFT method {section.name!r}; known: {', '.join(method_names())}") from None
    return method(section.options)


def load_adapter(base: nn.Module, folder: Path) -> nn.Module:
    """The base model, a transformers model of the task's kind, with a deliverable's adapter. Raises MethodError."""
    if not (folder / METHOD_FILE).is_file():
        return PeftMethod.load(base, folder, {})
    name, options = read_description(folder)
    if name not in METHODS:
        raise MethodError(f"{folder} holds an adapter of the unknown method {name!r}")
    return METHODS[name].load(base, folder, options)
