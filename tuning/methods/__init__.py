"""PEFT methods by name. A method attaches trainable tensors to a frozen base model and exports them for peft.

The trainable tensors are the state that transcripts commit to; the folder that `export` writes is the deliverable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocol.spec import MethodSection, OptionValue
from tuning.errors import MethodError
from tuning.methods.base import Method
from tuning.methods.lora import Lora

__all__ = ["Method", "create_method", "method_names"]

_METHODS: dict[str, Callable[[Mapping[str, OptionValue]], Method]] = {"lora": Lora}


def method_names() -> tuple[str, ...]:
    return tuple(sorted(_METHODS))


def create_method(section: MethodSection) -> Method:
    """The method of a task. Raises MethodError for an unknown name or option."""
    try:
        method = _METHODS[section.name]
    except KeyError:
        raise MethodError(f"unknown PEFT method {section.name!r}; known: {', '.join(method_names())}") from None
    return method(section.options)
