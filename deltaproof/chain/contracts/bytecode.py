"""Whether the code at an address is ours: a deployment is worth as much trust as the code that it runs.

Addresses that name each other prove nothing: a stranger's contracts can answer every question as ours do, take stake
and keep it. So the code itself is compared, byte for byte, with what this package was built with. Two parts may differ:
what the constructor wrote into it (immutable variables, of which those that name the deployment are compared, too), and
the compiler's note about the sources behind the last instruction, which no instruction reads.

Code that is ours can still stand on storage that another constructor filled: an audit compares the creation code, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from deltaproof.chain.abi.compiled import CompiledContract, compiled
from deltaproof.chain.abi.structs import Modules

__all__ = ["CONTRACTS", "creation_problem", "modules_hash", "runtime_problem"]

CONTRACTS: Mapping[str, tuple[str, ...]] = {
    "registry": ("StakeRegistry",),
    "beacon": ("BlockhashBeacon", "DrandBeacon"),
    "terms": ("TaskTerms",),
    "tasks": ("TaskManager",),
    "trainers": ("TrainerPool",),
    "verifiers": ("VerifierPool",),
    "vault": ("RewardVault",),
    "fees": ("VerifierFees",),
    "court": ("DisputeCourt",),
    "jury": ("Jury",),
    "faults": ("FaultProver",),
    "settlements": ("SettlementProver",),
}
"""What may stand in each place of `Modules`, in the order of deployment: nonce after nonce of one account."""

WORD = 32
LENGTH_BYTES = 2
"""The compiler's note ends with its own length."""


def modules_hash(modules: Modules) -> bytes:
    """What `ModuleSet.modulesHash` of each contract of the set is, 32 bytes."""
    return keccak(abi_encode(("address",) * len(CONTRACTS), astuple(modules)))


def runtime_problem(place: str, code: bytes, modules: Modules) -> str | None:
    """What is wrong with the code of one contract of a set, a line for a person; None if it is ours.

    `place` is a name of `Modules`."""
    for name in CONTRACTS[place]:
        contract = compiled(name)
        if len(code) == len(contract.deployed) and _blank(code, contract) == _blank(contract.deployed, contract):
            return _foreign_immutable(name, code, contract, modules)
    return f"is not the code of {' or '.join(CONTRACTS[place])} that this deltaproof was built with"


def creation_problem(place: str, data: bytes) -> str | None:
    """The same for the data of the transaction that created the contract: its constructor is ours."""
    for name in CONTRACTS[place]:
        ours = compiled(name).bytecode
        if _without_note(data[: len(ours)]) == _without_note(ours):
            return None
    return f"was not made by the constructor of {' or '.join(CONTRACTS[place])} that this deltaproof was built with"


def _foreign_immutable(name: str, code: bytes, contract: CompiledContract, modules: Modules) -> str | None:
    expected = {place.upper(): bytes.fromhex(at[2:]).rjust(WORD, b"\0") for place, at in asdict(modules).items()}
    expected["modulesHash"] = modules_hash(modules)
    for variable, offsets in contract.immutables.items():
        values = {code[offset : offset + WORD] for offset in offsets}
        if len(values) > 1:
            return f"is {name}, but holds several values of {variable}, which has one"
        if variable in expected and values != {expected[variable]}:
            return f"is {name}, but belongs to another deployment: its {variable} is 0x{values.pop().hex()}"
    return None


def _blank(code: bytes, contract: CompiledContract) -> bytes:
    """Code with nothing where a constructor writes, and without the compiler's note."""
    blank = bytearray(code)
    for offsets in contract.immutables.values():
        for offset in offsets:
            blank[offset : offset + WORD] = bytes(WORD)
    return _without_note(bytes(blank))


def _without_note(code: bytes) -> bytes:
    note = int.from_bytes(code[-LENGTH_BYTES:], "big") + LENGTH_BYTES
    return code[: max(0, len(code) - note)]
