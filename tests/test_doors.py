"""Every write of the contracts has a door: a command or running role that calls it, or a reason why not."""

from __future__ import annotations

import ast
import re

import pytest

from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.events.reader import INTERFACES
from tests.test_architecture import REPOSITORY, module_of, product_files

# Writes that no code of ours calls, and why nobody needs it to.
NO_DOOR: dict[str, str] = {
    "IDrandBeacon.fulfil": "`advance` and `drawSeats` call it for the seed that they wait for; nobody else waits",
    "IDrandBeacon.request": "asks for a seed that decides nothing here; task manager and jury ask for theirs",
    "IJury.burnJurorPay": "burns what jurors left for 30 days: who sends it gains nothing; unburned it harms nobody",
    "IStakeRegistry.burnCredit": "destroys one's own money, which nobody needs to; the jury does it with its rest",
}
CLIENTS = "deltaproof.chain.contracts"


def writes(interface: str) -> set[str]:
    """Functions of the ABI that change something, without what only modules may call."""
    entries = (e for e in compiled(interface).abi if e["type"] == "function")
    names = {e["name"] for e in entries if e["stateMutability"] in ("nonpayable", "payable")}
    return names - modules_only(interface)


def modules_only(interface: str) -> set[str]:
    """What the interface lists under "Modules only.": other contracts of the deployment call it, nobody else can."""
    text = (REPOSITORY / "contracts" / "interfaces" / f"{interface}.sol").read_text("utf-8")
    section = text.partition("// Modules only.")[2].partition("// Views.")[0]
    return set(re.findall(r"function (\w+)\(", section))


def client_methods() -> dict[str, set[str]]:
    """By name of a contract's function: the methods of ours that send it."""
    found: dict[str, set[str]] = {}
    for file in (f for f in product_files() if module_of(f).startswith(CLIENTS)):
        for owner in (n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.ClassDef)):
            for method in (n for n in owner.body if isinstance(n, ast.FunctionDef)):
                for call in re.findall(r"self\._write\(\s*'(\w+)'", ast.unparse(method)):
                    found.setdefault(call, set()).add(method.name)
    return found


def callers(method: str) -> list[str]:
    """Modules outside the clients that name the method as an attribute."""
    pattern = re.compile(rf"\.{method}\b")
    return [
        name
        for file in product_files()
        if not (name := module_of(file)).startswith(CLIENTS) and pattern.search(file.read_text("utf-8"))
    ]


@pytest.mark.parametrize("interface", INTERFACES)
def test_every_write_of_a_contract_has_a_caller_or_a_reason(interface: str) -> None:
    methods = client_methods()
    closed = {
        f"{interface}.{name}"
        for name in writes(interface)
        if not any(callers(method) for method in methods.get(name, set()))
    }
    assert closed - NO_DOOR.keys() == set(), "open a door, or say in NO_DOOR why nobody needs one"


def test_reasons_are_only_for_doors_that_are_closed() -> None:
    methods = client_methods()
    known = {f"{interface}.{name}" for interface in INTERFACES for name in writes(interface)}
    assert set(NO_DOOR) <= known
    assert not {key for key in NO_DOOR if any(callers(m) for m in methods.get(key.partition(".")[2], set()))}
