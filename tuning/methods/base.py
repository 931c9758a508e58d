"""What every PEFT method does, and the base class of those that peft implements."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import peft
from torch import nn

from protocol.spec import OptionValue
from tuning._quiet import quiet
from tuning.errors import MethodError
from tuning.randomness import SeededFills

__all__ = ["Method", "PeftMethod"]

_TASK_TYPES = {"sequence-classification": "SEQ_CLS", "causal-lm": "CAUSAL_LM", "image-classification": None}
_FIXED_OPTIONS = frozenset(
    {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision", "task_type"}
)
"""Fields of a peft configuration that the task determines elsewhere."""


class Method(ABC):
    """A way to make a base model trainable with few values."""

    @abstractmethod
    def attach(self, base: nn.Module, kind: str, seed: bytes) -> nn.Module:
        """The model with its trainable tensors, initialised from `seed` alone. `kind` is the spec's `model.kind`.

        Raises MethodError if the method does not fit the model.
        """

    @abstractmethod
    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        """Write the adapter so that `PeftModel.from_pretrained(base, folder)` loads it."""


class PeftMethod(Method):
    """A method of the peft library, named by its configuration class; options are that class's fields."""

    config_class: type[peft.PeftConfig]
    head_names: tuple[str, ...] = ("classifier", "score")

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        """Raises MethodError for an option that the configuration does not have."""
        known = set(inspect.signature(self.config_class).parameters) - _FIXED_OPTIONS
        if unknown := sorted(set(options) - known):
            raise MethodError(f"{self.config_class.__name__} has no option {', '.join(map(repr, unknown))}")
        self.options = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}

    def attach(self, base: nn.Module, kind: str, seed: bytes) -> nn.Module:
        key = sha256(b"deltaproof/adapter/v1\x00" + seed).digest()
        options: dict[str, Any] = dict(self.options)
        if kind == "image-classification":
            options.setdefault("modules_to_save", [n for n in self.head_names if hasattr(base, n)])
        try:
            config = self.config_class(task_type=_TASK_TYPES[kind], **options)
            with quiet(), SeededFills(key):
                model = peft.get_peft_model(base, config, autocast_adapter_dtype=False)
        except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError) as error:
            raise MethodError(f"{self.config_class.__name__} does not fit this model: {error}") from error
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise MethodError(f"{self.config_class.__name__} leaves nothing to train in this model")
        return model.eval()  # type: ignore[no-any-return]

    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        if not isinstance(model, peft.PeftModel):
            raise TypeError("only a model that this method attached to can be exported")
        config = model.peft_config["default"]
        config.base_model_name_or_path = source
        model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
