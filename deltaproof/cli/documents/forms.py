"""What documents are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

__all__ = ["AccountAddress", "Gain", "Hex32", "Json", "Printed", "Seconds", "Units"]

Units = Annotated[str, Field(pattern=r"^\d+$", json_schema_extra={"format": "amount"})]
"""An amount in smallest units of its token, as a decimal string."""
Gain = Annotated[str, Field(pattern=r"^-?\d+$", json_schema_extra={"format": "gain"})]
"""The same where something can be lost."""
AccountAddress = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", json_schema_extra={"format": "address"})]
"""With its check sum (EIP-55)."""
Hex32 = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$", json_schema_extra={"format": "digest"})]
"""A digest, hash or public key."""
Seconds = Annotated[int, Field(ge=0, json_schema_extra={"format": "time"})]
"""A moment, since the epoch; 0 for none."""
Json = dict[str, Any]
"""A table whose keys are told elsewhere."""


class Printed(TypedDict):
    """An object of JSON with the keys of its class and no others."""


# Not in the class: for a type checker it would be a key. pydantic finds it there in either place.
Printed.__pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True, strict=True)  # type: ignore[attr-defined]
