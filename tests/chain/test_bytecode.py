"""Code that is nearly ours, byte by byte."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.abi.structs import Modules
from deltaproof.chain.contracts.bytecode import CONTRACTS, creation_problem, modules_hash, runtime_problem
from deltaproof.protocol.types import address

HERE = Modules(**{field.name: address(f"0x{i + 1:040x}") for i, field in enumerate(fields(Modules))})


def code_of(name: str, modules: Modules = HERE) -> bytearray:
    """What a constructor leaves on chain; immutables that do not name the deployment are 7."""
    contract = compiled(name)
    code = bytearray(contract.deployed)
    for variable, offsets in contract.immutables.items():
        place = getattr(modules, variable.lower(), None)
        value = bytes.fromhex(place[2:]) if place and variable.isupper() else b"\7"
        for offset in offsets:
            code[offset : offset + 32] = (modules_hash(modules) if variable == "modulesHash" else value).rjust(
                32, b"\0"
            )
    return code


def test_every_place_takes_its_own_contracts_and_no_other() -> None:
    assert list(CONTRACTS) == [field.name for field in fields(Modules)]
    for place, names in CONTRACTS.items():
        for name in (name for others in CONTRACTS.values() for name in others):
            found = runtime_problem(place, bytes(code_of(name)), HERE)
            assert (found is None) == (name in names), (place, name, found)
            assert (creation_problem(place, compiled(name).bytecode + b"arguments") is None) == (name in names)


@pytest.mark.parametrize("position", [0, 0.3, 0.7, 0.99])
def test_one_bit_of_an_instruction_is_seen(position: float) -> None:
    code = code_of("RewardVault")
    free = [i for i in range(len(code) - 60) if not within_immutable("RewardVault", i)]
    code[free[int(position * len(free))]] ^= 1
    assert runtime_problem("vault", bytes(code), HERE)
    data = bytearray(compiled("RewardVault").bytecode)
    data[int(position * (len(data) - 60))] ^= 1
    assert creation_problem("vault", bytes(data))


def within_immutable(name: str, i: int) -> bool:
    return any(at <= i < at + 32 for offsets in compiled(name).immutables.values() for at in offsets)


def test_compilers_note_about_sources_does_not_count() -> None:
    code = code_of("RewardVault")
    code[-20] ^= 1
    assert runtime_problem("vault", bytes(code), HERE) is None


def test_contract_of_another_set_is_seen() -> None:
    elsewhere = replace(HERE, court=address("0x" + "99" * 20))
    assert "belongs to another deployment" in str(
        runtime_problem("vault", bytes(code_of("RewardVault", elsewhere)), HERE)
    )
    # The hash alone is right, and the court is a stranger.
    code = code_of("RewardVault")
    for at in compiled("RewardVault").immutables["COURT"]:
        code[at : at + 32] = bytes.fromhex("99" * 20).rjust(32, b"\0")
    assert "its COURT is" in str(runtime_problem("vault", bytes(code), HERE))


def test_variable_with_two_values_is_seen() -> None:
    code = code_of("StakeRegistry")
    at = compiled("StakeRegistry").immutables["_token"][-1]
    code[at + 31] ^= 1
    assert "several values of _token" in str(runtime_problem("registry", bytes(code), HERE))


@pytest.mark.parametrize("code", [b"", b"\0", b"\xff\xff", b"\xef\x01\x00" + b"\x11" * 20])
def test_odd_code_is_not_ours(code: bytes) -> None:
    for place in CONTRACTS:
        assert runtime_problem(place, code, HERE)
        assert creation_problem(place, code)
