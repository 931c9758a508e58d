"""Calls are the bytes that web3 makes of them, for every function of every interface."""

from __future__ import annotations

import re
from typing import Any

import pytest
from web3 import Web3

from deltaproof.chain.abi.calls import function_of
from deltaproof.chain.abi.compiled import compiled
from deltaproof.errors import EncodingError

INTERFACES = (
    "IDisputeCourt", "IJury", "IRewardVault", "IStakeRegistry", "ITaskManager", "ITaskTerms", "ITrainerPool",
    "IVerifierFees", "IVerifierPool", "DemoToken",
)  # fmt: skip


def value_of(entry: dict[str, Any]) -> Any:
    """Something of an ABI type."""
    kind: str = entry["type"]
    if array := re.fullmatch(r"(.+)\[(\d*)\]", kind):
        return [value_of({**entry, "type": array[1]}) for _ in range(int(array[2] or 2))]
    if kind == "tuple":
        return tuple(value_of(part) for part in entry["components"])
    if kind.startswith("bytes"):
        return b"\x07" * int(kind.removeprefix("bytes") or 33)
    plain = {"address": "0x" + "11" * 20, "bool": True, "string": "what web3 says"}
    return plain.get(kind, -3 if kind.startswith("int") else 5)


@pytest.mark.parametrize("interface", INTERFACES)
def test_every_function_is_called_with_the_bytes_that_web3_makes(interface: str) -> None:
    abi = compiled(interface).abi
    contract = Web3().eth.contract(abi=abi)
    for entry in (entry for entry in abi if entry["type"] == "function"):
        arguments = [value_of(one) for one in entry["inputs"]]
        expected = contract.encode_abi(entry["name"], args=arguments)
        assert "0x" + function_of(interface, entry["name"], len(arguments)).call(arguments).hex() == expected


def test_argument_that_does_not_fit_and_function_that_is_not_there_are_named() -> None:
    with pytest.raises(EncodingError, match=r"TaskManager.roundOf: an argument does not fit \(uint64, uint32\)"):
        function_of("ITaskManager", "roundOf", 2).call([2**64, 1])
    with pytest.raises(ValueError, match="0 functions roundOf of 7 inputs"):
        function_of("ITaskManager", "roundOf", 7)
