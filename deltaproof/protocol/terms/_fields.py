"""Types of a spec's keys that several sections share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator, StringConstraints

from deltaproof.protocol.rules import BPS, MAX_PHASE_SECONDS

__all__ = [
    "BasisPoints",
    "Name",
    "NonNegative",
    "OptionValue",
    "Options",
    "Positive",
    "Seconds",
]

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
BasisPoints = Annotated[int, Field(ge=0, le=BPS)]
Seconds = Annotated[int, Field(ge=1, le=MAX_PHASE_SECONDS)]
NonNegative = Annotated[float, Field(ge=0.0)]

Scalar = bool | int | float | str
OptionValue = Scalar | tuple[Scalar, ...]


def _option_value(value: object) -> object:
    if isinstance(value, list) and all(isinstance(item, (bool, int, float, str)) for item in value):
        return tuple(value)
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError("expected true/false, a number, text, or a list of these")


def _option_json(value: OptionValue) -> object:
    return list(value) if isinstance(value, tuple) else value


Options = dict[str, Annotated[OptionValue, PlainValidator(_option_value), PlainSerializer(_option_json)]]
