"""Compiled contracts, as `scripts/compile_contracts.py` leaves them in `deltaproof/chain/artifacts/`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from deltaproof.errors import DeploymentError

__all__ = ["CompiledContract", "compiled", "custom_errors"]


@dataclass(frozen=True)
class CompiledContract:
    """One contract's interface, creation code, and code on chain."""

    name: str
    abi: list[dict[str, Any]] = field(repr=False)
    bytecode: bytes = field(repr=False)
    deployed: bytes = field(repr=False)
    """With zeros where the constructor writes immutable variables."""
    immutables: Mapping[str, tuple[int, ...]] = field(repr=False)
    """Offsets of their values of 32 bytes in `deployed`, by name."""


@lru_cache(maxsize=64)
def compiled(name: str) -> CompiledContract:
    """The contract of that name. Raises DeploymentError if it was not compiled."""
    file = resources.files("deltaproof.chain") / "artifacts" / f"{name}.json"
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DeploymentError(f"contract {name} is not compiled; run `make contracts`") from error
    return CompiledContract(
        name,
        content["abi"],
        bytes.fromhex(content["bytecode"].removeprefix("0x")),
        bytes.fromhex(content["deployedBytecode"].removeprefix("0x")),
        {variable: tuple(offsets) for variable, offsets in content["immutables"].items()},
    )


@lru_cache(maxsize=1)
def custom_errors() -> dict[bytes, dict[str, Any]]:
    """ABI entries of every custom error of every compiled contract, by selector (4 bytes)."""
    errors: dict[bytes, dict[str, Any]] = {}
    folder = resources.files("deltaproof.chain") / "artifacts"
    if not folder.is_dir():
        raise DeploymentError("no contract is compiled; run `make contracts`")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".json"):
            for entry in json.loads(file.read_text("utf-8"))["abi"]:
                if entry["type"] == "error":
                    errors[keccak(text=abi_to_signature(entry))[:4]] = entry
    return errors
