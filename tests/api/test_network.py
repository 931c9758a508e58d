"""Where a network comes from, and what is said while a part of it is missing."""

from __future__ import annotations

import pytest

import deltaproof
from deltaproof.api.network import key_of
from deltaproof.errors import UsageError


def test_network_reads_what_commands_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAPROOF_RPC", "http://there")
    monkeypatch.setenv("DELTAPROOF_STORE", "store")
    found = deltaproof.Network(contract="0x12")
    assert (found.rpc, found.contract, found.store) == ("http://there", "0x12", "store")
    assert deltaproof.Task(3).network.rpc == "http://there"


@pytest.mark.parametrize("part", ["rpc", "contract", "store"])
def test_what_is_missing_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    for name in ("RPC", "CONTRACT", "STORE", "KEY"):
        monkeypatch.delenv(f"DELTAPROOF_{name}", raising=False)
    said = {name: "x" for name in ("rpc", "contract", "store") if name != part}
    network = deltaproof.Network(**said)
    ask = network.artifacts if part == "store" else network.gateway
    with pytest.raises(UsageError, match=f"DELTAPROOF_{part.upper()}"):
        ask()
    with pytest.raises(UsageError, match="DELTAPROOF_KEY"):
        key_of(None)


def test_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Tusk"):
        deltaproof.Tusk  # noqa: B018
