"""Every field of every message, from the models themselves. A new field is a new kind of lie, foreseen or not."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from eth_utils.address import to_checksum_address
from pydantic import BaseModel

__all__ = ["abi_paths", "change_at", "changed", "model_paths", "plain_paths"]

PICK = {"findings": lambda item: item["verdict"] == 1}
"""Which item of a list a lie is about, where the first will not do: an accepted trainer's finding."""


def model_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Leaves of a document, such as `game.coalitions[].value_nanos`, and lists as a whole, such as `findings[]`."""
    for name, field in model.model_fields.items():
        yield from _annotated(field.annotation, f"{prefix}{name}")


def _annotated(hint: Any, path: str) -> Iterator[str]:
    if typing.get_origin(hint) is typing.Annotated:
        yield from _annotated(typing.get_args(hint)[0], path)
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        yield from _annotated(next(a for a in typing.get_args(hint) if a is not type(None)), path)
    elif typing.get_origin(hint) is tuple:
        yield f"{path}[]"
        item = typing.get_args(hint)[0]
        if isinstance(item, type) and issubclass(item, BaseModel):
            yield from model_paths(item, f"{path}[].")
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        yield from model_paths(hint, f"{path}.")
    else:
        yield path


def abi_paths(inputs: Sequence[Mapping[str, Any]], name_of: Callable[[str], str], prefix: str = "") -> Iterator[str]:
    """Leaves of an event's or a call's arguments."""
    for item in inputs:
        path = f"{prefix}{name_of(item['name'])}"
        if item["type"].startswith("tuple"):
            lists = "[]" if item["type"].endswith("]") else ""
            yield from abi_paths(item["components"], name_of, f"{path}{lists}.")
        else:
            yield f"{path}[]" if item["type"].endswith("]") else path


def plain_paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Leaves of JSON that has no model: a block header, an answer."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from plain_paths(item, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
        yield from plain_paths(value[0], f"{prefix}[]")
    else:
        yield prefix


def change_at(value: Any, path: str, change: Callable[[Any], Any] | None = None) -> bool:
    """Alter the leaf at a path of plain JSON, in place; False if there is nothing."""
    name, _, rest = path.partition(".")
    if name.endswith("[]") and rest:
        items = value[name[:-2]]
        chosen = next(filter(PICK.get(name[:-2], bool), reversed(items) if "coalitions" in name else items), None)
        return chosen is not None and change_at(chosen, rest, change)
    name = name.removesuffix("[]")
    if rest:
        return value.get(name) is not None and change_at(value[name], rest, change)
    if value.get(name) is None or (path.endswith("[]") and not value[name]):
        return False
    value[name] = (change or changed)(value[name])
    return True


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, (bool, int, float)):
        return _other_number(value)
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01"
    if isinstance(value, str):
        return _other_text(value)
    if isinstance(value, dict):
        return {**value, **{name: changed(item) for name, item in list(value.items())[:1]}} or {"other": 1}
    if isinstance(value, (list, tuple)):
        return value[:-1]
    raise TypeError(f"no other value of {value!r}")


def _other_number(value: float) -> float:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value + 0.25 if value < 0.5 else value - 0.25


def _other_text(value: str) -> str:
    if value.startswith("0x") and len(value) > 2:
        other = value[:-1] + ("0" if value[-1] != "0" else "1")
        return str(to_checksum_address(other)) if len(value) == 42 else other
    return str(int(value) + 1) if value.isdigit() else value + "x"
