"""The Python mirror of the contracts' surface (structs, enumerations, events, functions) against the compiler's."""

from __future__ import annotations

import inspect
import re
import typing
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from deltaproof.chain.abi import dispute_structs, enums, structs
from deltaproof.chain.abi.codec import field_names
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.contracts import beacon, disputes, outcomes, pools, registry, tasks, vault
from deltaproof.chain.events.reader import EVENT_TYPES, INTERFACES
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, Verdict
from deltaproof.protocol.types import Address, Digest32

INTERFACE_SOURCES = Path(__file__).resolve().parents[2] / "contracts" / "interfaces"
CLIENTS = {
    client.INTERFACE: client
    for client in (
        beacon.Beacon,
        disputes.DisputeCourt,
        disputes.FaultProver,
        outcomes.Jury,
        outcomes.SettlementProver,
        pools.TrainerPool,
        pools.VerifierFees,
        pools.VerifierPool,
        registry.StakeRegistry,
        tasks.TaskManager,
        tasks.TaskTerms,
        vault.RewardVault,
    )
}
OTHER_NAME_IN_PYTHON = {
    "IDrandBeacon.Network": structs.BeaconNetwork,
    "ISettlementProver.Check": dispute_structs.SettlementCheck,
    "IVerifierPool.Attestation": structs.AttestationStatus,
    "ITrainerPool.Enrolment": structs.TrainerEnrolment,
    "ITrainerPool.Progress": structs.TrainerProgress,
    "ITrainerPool.Work": structs.TrainerWork,
    "IVerifierPool.Enrolment": structs.VerifierEnrolment,
    "IVerifierPool.Progress": structs.VerifierProgress,
    "IRewardVault.Claim": vault.Claim,
    "Settlement": Settlement,
    "SettlementLeaf": SettlementLeaf,
}
NOT_MIRRORED = {"PayoutRule.Terms"}
CALLED_BY_CONTRACTS_ONLY = {
    "IDrandBeacon": {"request"},
    "IRewardVault": {
        "open",
        "prepare",
        "reserve",
        "allocate",
        "allocateBase",
        "payFee",
        "hold",
        "resume",
        "block_",
    },
    "IStakeRegistry": {"lock", "unlock", "slash", "fine", "burnCredit"},
    "ITaskManager": {"completePhase", "countDispute", "voidSettlement"},
    "ITrainerPool": {"openRound", "punish"},
    "IVerifierPool": {"openRound", "compareScore", "disqualify", "punish"},
    "IVerifierFees": {"fixFees", "addSlashRewards"},
}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() + "_" * (name == "from")


def abi_structs() -> dict[str, list[dict[str, Any]]]:
    """Components of every struct in any signature, by its qualified Solidity name."""
    found: dict[str, list[dict[str, Any]]] = {}

    def walk(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if "components" in entry:
                found[re.sub(r"\[\d*\]$", "", entry["internalType"]).removeprefix("struct ")] = entry["components"]
                walk(entry["components"])

    for interface in INTERFACES:
        for entry in compiled(interface).abi:
            walk(entry.get("inputs", []) + entry.get("outputs", []))
    return found


def mirror_of(struct: str) -> type:
    if struct in OTHER_NAME_IN_PYTHON:
        return OTHER_NAME_IN_PYTHON[struct]
    name = struct.rsplit(".", maxsplit=1)[-1]
    mirror: type | None = getattr(structs, name, None) or getattr(dispute_structs, name, None)
    assert mirror is not None, f"no mirror of {struct}"
    return mirror


def assert_fits(hint: Any, entry: dict[str, Any]) -> None:
    """Whether a Python type is what an ABI type decodes to."""
    solidity = entry["internalType"]
    if solidity.endswith("]"):
        item = {
            **entry,
            "internalType": re.sub(r"\[\d*\]$", "", solidity),
            "type": re.sub(r"\[\d*\]$", "", entry["type"]),
        }
        assert typing.get_origin(hint) is tuple, (hint, entry)
        assert_fits(typing.get_args(hint)[0], item)
    elif solidity.startswith("struct "):
        assert hint is mirror_of(solidity.removeprefix("struct ")), (hint, entry)
    elif solidity.startswith("enum "):
        assert hint.__name__ == solidity.split(" ")[1].split(".")[-1], (hint, entry)
    else:
        if hint is Verdict:  # a number on the wire, so that the contract can name a code that does not exist
            hint = int
        expected = {"address": Address, "bytes32": Digest32, "bool": bool, "bytes": bytes}.get(entry["type"], int)
        assert hint is expected or getattr(hint, "__supertype__", hint) is expected, (hint, entry)


def test_structs_have_the_compiled_fields_in_order() -> None:
    compared = 0
    for struct, components in abi_structs().items():
        if struct in NOT_MIRRORED:
            continue
        mirror = mirror_of(struct)
        assert list(field_names(mirror)) == [snake(entry["name"]) for entry in components], struct
        hints = typing.get_type_hints(mirror)
        for name, entry in zip(field_names(mirror), components, strict=True):
            assert_fits(hints[name], entry)
        compared += 1
    assert compared >= 25


def test_enumerations_have_the_declared_values() -> None:
    sources = "".join(path.read_text("utf-8") for path in sorted(INTERFACE_SOURCES.glob("*.sol")))
    mirrors: dict[str, type[IntEnum]] = {
        name: value
        for module in (enums, dispute_structs)
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, IntEnum) and value is not IntEnum
    } | {"Verdict": Verdict}
    declared = dict(re.findall(r"^\s*enum (\w+) \{([^}]*)\}", sources, re.MULTILINE))
    assert set(declared) == set(mirrors)
    for name, body in declared.items():
        members = [snake(member.strip()).upper() for member in body.split(",")]
        assert [member.name for member in mirrors[name]] == members, name
        assert [int(member) for member in mirrors[name]] == list(range(len(members))), name


def test_events_have_the_compiled_arguments_in_order() -> None:
    compiled_events = {
        entry["name"]: entry
        for interface in INTERFACES
        for entry in compiled(interface).abi
        if entry["type"] == "event"
    }
    assert set(EVENT_TYPES) == set(compiled_events)
    for name, entry in compiled_events.items():
        kind = EVENT_TYPES[name]
        assert list(field_names(kind)) == [snake(argument["name"]) for argument in entry["inputs"]], name
        hints = typing.get_type_hints(kind)
        for field, argument in zip(field_names(kind), entry["inputs"], strict=True):
            assert_fits(hints[field], argument)


@pytest.mark.parametrize("interface", INTERFACES)
def test_clients_cover_every_function_that_participants_call(interface: str) -> None:
    source = inspect.getsource(CLIENTS[interface])
    written = set(re.findall(r'self\._write\(\s*"(\w+)"', source))
    callable_ = {
        entry["name"]
        for entry in compiled(interface).abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    assert written == callable_ - CALLED_BY_CONTRACTS_ONLY.get(interface, set())


@pytest.mark.parametrize("interface", INTERFACES)
def test_clients_read_existing_views(interface: str) -> None:
    read = set(re.findall(r'self\._read(?:_list)?\([^"]*"(\w+)"', inspect.getsource(CLIENTS[interface])))
    views = {
        entry["name"]
        for entry in compiled(interface).abi
        if entry["type"] == "function" and entry["stateMutability"] in ("view", "pure")
    }
    assert read <= views
