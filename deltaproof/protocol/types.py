"""Newtypes for what the protocol passes around, and the one place that checks their form."""

from __future__ import annotations

from typing import Annotated, NewType

from eth_utils.address import is_address, to_checksum_address
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from deltaproof.errors import EncodingError

__all__ = [
    "MAX_AMOUNT",
    "ZERO_DIGEST",
    "Address",
    "AddressField",
    "AmountField",
    "Digest32",
    "DigestField",
    "RoundIndex",
    "StepIndex",
    "TaskId",
    "TokenAmount",
    "address",
    "address_bytes",
    "digest32",
    "hex_of",
]

Digest32 = NewType("Digest32", bytes)
"""32 bytes: a SHA-256 or Keccak-256 value, or a 32-byte secret such as a salt or seed."""

Address = NewType("Address", str)
"""An account in EIP-55 check-summed form."""

TaskId = NewType("TaskId", int)
"""Tasks count from 1, in the order of their creation on a TaskManager."""
RoundIndex = NewType("RoundIndex", int)
"""Rounds count from 1, as on chain; 0 means none."""
StepIndex = NewType("StepIndex", int)
"""Steps count from 0; record N of an N-step round holds the final state."""
TokenAmount = NewType("TokenAmount", int)
"""Smallest units of the reward token (no decimals)."""

ZERO_DIGEST = Digest32(bytes(32))
"""32 zero bytes: no value, or a missing leaf."""
MAX_AMOUNT = 2**128 - 1
"""Largest amount that a contract holds, smallest units."""


def digest32(value: bytes | str) -> Digest32:
    """32 bytes, or 64 hexadecimal digits with or without `0x`, as a digest. Raises EncodingError."""
    if isinstance(value, str):
        digits = value.removeprefix("0x")
        try:
            value = bytes.fromhex(digits) if len(digits) == 64 and digits.isalnum() else b""
        except ValueError:
            value = b""
        if not value:
            raise EncodingError("expected 32 bytes as 64 hexadecimal digits")
    if len(value) != 32:
        raise EncodingError(f"expected 32 bytes, got {len(value)}")
    return Digest32(bytes(value))


def address(value: str | bytes) -> Address:
    """A 20-byte account as an EIP-55 address; mixed-case input must carry the right check sum. Raises EncodingError."""
    if not is_address(value):
        raise EncodingError(f"not an address: {value!r}")
    return Address(str(to_checksum_address(value)))


def address_bytes(value: Address) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(value[2:])


def hex_of(value: bytes) -> str:
    """`0x` and lower-case hexadecimal digits."""
    return "0x" + value.hex()


def _digest_field(value: object) -> Digest32:
    if not isinstance(value, (str, bytes)):
        raise ValueError("expected 32 bytes as 64 hexadecimal digits")
    try:
        return digest32(value)
    except EncodingError as error:
        raise ValueError(str(error)) from error


def _address_field(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("expected an address as 40 hexadecimal digits")
    try:
        return address(value)
    except EncodingError as error:
        raise ValueError(str(error)) from error


def _amount_field(value: object) -> TokenAmount:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 39:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_AMOUNT:
        raise ValueError("expected a whole number of token units from 0 to 2^128-1, as an integer or a decimal string")
    return TokenAmount(value)


DigestField = Annotated[
    Digest32,
    PlainValidator(_digest_field),
    PlainSerializer(hex_of, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "digest"}),
]
"""A digest in a document: 64 hexadecimal digits, with or without 0x."""
AddressField = Annotated[
    Address, PlainValidator(_address_field), WithJsonSchema({"type": "string", "format": "address"})
]
"""An account in a document."""
AmountField = Annotated[
    TokenAmount,
    PlainValidator(_amount_field),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "amount"}),
]
"""An amount of money in a document: an integer or a decimal string."""
