"""Between the tuples that the ABI speaks and the typed values of this package.

A dataclass or pydantic model that mirrors a Solidity struct lists the struct's fields in order, under the same names in
snake case; its type hints drive the conversion in both directions.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from deltaproof.errors import ChainError, EncodingError
from deltaproof.protocol.types import Address, Digest32, address, digest32

__all__ = ["decode", "encode", "field_names"]


def decode(hint: Any, value: Any) -> Any:
    """The ABI value as the type that `hint` names. Raises ChainError if it does not fit."""
    try:
        return _decode(hint, value)
    except (EncodingError, ValueError, TypeError) as error:
        raise ChainError(f"the chain answered with a malformed {getattr(hint, '__name__', hint)}: {error}") from error


def encode(value: Any) -> Any:
    """Typed values as what the ABI encoder takes: records become tuples, enums integers."""
    if isinstance(value, IntEnum):
        return int(value)
    if dataclasses.is_dataclass(value) or isinstance(value, BaseModel):
        record: type = type(value)
        return tuple(encode(getattr(value, name)) for name in field_names(record))
    if isinstance(value, (tuple, list)):
        return type(value)(encode(item) for item in value)
    return value


def field_names(record: type) -> tuple[str, ...]:
    """Names of a record's fields in order. Raises TypeError for any other type."""
    if issubclass(record, BaseModel):
        return tuple(record.model_fields)
    if dataclasses.is_dataclass(record):
        return tuple(field.name for field in dataclasses.fields(record))
    raise TypeError(f"{record} is no record")


@lru_cache(maxsize=256)
def _hints(record: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(record)
    return tuple((name, hints[name]) for name in field_names(record))


def _decode(hint: Any, value: Any) -> Any:
    if get_origin(hint) is tuple:
        return _decode_tuple(get_args(hint), _items(value))
    if hint in _LEAVES:
        return _LEAVES[hint](value)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return hint(value)
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel)):
        pairs = zip(_hints(hint), _items(value), strict=True)
        return hint(**{name: _decode(part, item) for (name, part), item in pairs})
    expected = getattr(hint, "__supertype__", hint)  # NewTypes of int
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise TypeError(f"{value!r} is not {expected}")
    return value


def _decode_tuple(parts: tuple[Any, ...], values: list[Any]) -> tuple[Any, ...]:
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_decode(parts[0], item) for item in values)
    return tuple(_decode(part, item) for part, item in zip(parts, values, strict=True))


def _items(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else list(value)


def _digest(value: Any) -> Digest32:
    return digest32(bytes(value))


_LEAVES: dict[Any, Callable[[Any], Any]] = {Digest32: _digest, Address: address, bytes: bytes}
