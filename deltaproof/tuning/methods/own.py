"""Base class of methods that peft does not have. They train parameters of the model in place, under its own names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from torch import nn

from deltaproof.protocol.terms.spec import OptionValue
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.base import Method, Options, head_names, refuse_bombs
from deltaproof.tuning.methods.deliverable import assign, read_tensors, trainable, write_deliverable

__all__ = ["OwnMethod"]


class OwnMethod(Method):
    """Options are checked against `defaults`, by name and type."""

    name: ClassVar[str]
    defaults: ClassVar[Options] = {}

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        if unknown := sorted(set(options) - set(self.defaults)):
            raise MethodError(f"{self.name} has no option {', '.join(map(repr, unknown))}")
        self.options: dict[str, OptionValue] = {**self.defaults, **options}
        for key, default in self.defaults.items():
            value = self.options[key]
            if isinstance(default, tuple) and isinstance(value, str):
                self.options[key] = value = (value,)
            number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
            refuse_bombs(f"{self.name}: {key}", value)
            if type(value) is not type(default) and not number:
                raise MethodError(f"{self.name}: {key} must be like {default!r}, not {value!r}")

    def attach(self, base: nn.Module, kind: str, seed: bytes) -> nn.Module:
        base.requires_grad_(False)
        self.prepare(base, seed)
        for name in head_names(base):
            base.get_submodule(name).requires_grad_(True)
        if not any(parameter.requires_grad for parameter in base.parameters()):
            raise MethodError(f"{self.name} leaves nothing to train in this model")
        return base.eval()

    def prepare(self, base: nn.Module, seed: bytes) -> None:
        """Mark or add what is trained, initialised from `seed`; every other parameter is frozen."""
        raise NotImplementedError

    def export(self, model: nn.Module, folder: Path, source: str) -> None:
        write_deliverable(folder, self.name, self.options, source, trainable(model))

    @classmethod
    def load(cls, base: nn.Module, folder: Path, options: Mapping[str, OptionValue]) -> nn.Module:
        method = cls(options)
        method.restore(base)
        assign(base, read_tensors(folder))
        return base.eval()

    def restore(self, base: nn.Module) -> None:
        """Make the modules that a deliverable's tensors belong to."""
        self.prepare(base, bytes(32))

    def count(self, key: str) -> int:
        """A whole number above zero among the options."""
        value = self.options[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise MethodError(f"{self.name}: {key} must be a whole number above 0, not {value!r}")
        return value

    def number(self, key: str) -> float:
        return float(self.options[key])  # type: ignore[arg-type]  # checked on construction

    def words(self, key: str) -> tuple[str, ...]:
        return tuple(str(word) for word in self.options[key])  # type: ignore[union-attr]  # checked on construction

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.options})"
