"""From the bytes of a revert to an exception that says which rule refused, with the offending values."""

from __future__ import annotations

from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple
from web3.exceptions import ContractLogicError, ContractPanicError

from deltaproof.chain.abi.compiled import custom_errors
from deltaproof.errors import ContractRevert

__all__ = ["revert_of"]

ERROR_STRING = bytes.fromhex("08c379a0")
PANIC = bytes.fromhex("4e487b71")


def revert_of(call: str, error: ContractLogicError) -> ContractRevert:
    """The revert behind a web3 exception, as the contract's own error."""
    data = _revert_bytes(error.data)
    if isinstance(error, ContractPanicError) or data[:4] == PANIC:
        return ContractRevert(call, "Panic", {"code": int.from_bytes(data[4:36], "big") if data else error.message})
    if data[:4] == ERROR_STRING:
        return ContractRevert(call, "Error", {"message": _decoded(["string"], data[4:])[0]})
    entry = custom_errors().get(data[:4])
    if entry is not None:
        names = [item["name"] for item in entry["inputs"]]
        values = _decoded([collapse_if_tuple(item) for item in entry["inputs"]], data[4:])
        return ContractRevert(call, entry["name"], {k: _text(v) for k, v in zip(names, values, strict=True)})
    return ContractRevert(call, "UnknownError", {"message": error.message or "no reason given", "data": data})


def _revert_bytes(data: Any) -> bytes:
    if isinstance(data, dict):  # Ganache wraps it
        data = data.get("result") or data.get("data")
    if not isinstance(data, str) or not data.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return b""


def _decoded(types: list[str], data: bytes) -> tuple[Any, ...]:
    try:
        return tuple(abi_decode(types, data))
    except (DecodingError, ValueError):
        return tuple(data for _ in types)


def _text(value: Any) -> Any:
    """Field names travel as bytes32 text (`InvalidParameter`)."""
    if isinstance(value, bytes) and len(value) == 32:
        text = value.rstrip(b"\x00")
        if 0 < len(text) < 32 and all(32 < byte < 127 for byte in text):
            return text.decode("ascii")
    return value
