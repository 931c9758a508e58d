"""The contracts themselves: their code is ours, and our constructors made their first state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from web3.types import Nonce
from web3.utils import get_create_address

from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain.abi.structs import Modules
from deltaproof.chain.contracts.bytecode import creation_problem, runtime_problem
from deltaproof.errors import ChainError
from deltaproof.protocol.types import Address

__all__ = ["check_deployment"]

SEARCHED_BLOCKS = 256
"""From the deployment's first block: one key sends its twelve transactions one after the other."""
BLOCKS_AT_ONCE = 16


def check_deployment(index: Index, rpc: Rpc | None, subject: Subject) -> Iterator[Check]:
    """Code and creation of every contract of the deployment.

    Whoever writes the constructor can give the same code any balances, stakes and tasks to begin with, so both are
    compared (`deltaproof.chain.contracts.bytecode`)."""
    if rpc is None:
        yield subject.unchecked("contract code", "no RPC endpoint to ask")
        return
    for name, check in (("contract code", _check_code), ("contract creation", _check_creation)):
        try:
            yield from check(index, rpc, subject)
        except ChainError as error:
            yield subject.unchecked(name, f"the endpoint does not show it: {error}")


def _check_code(index: Index, rpc: Rpc, subject: Subject) -> list[Check]:
    contracts, checks = index.deployment.contracts, []
    codes = rpc.batch([("eth_getCode", [at, hex(index.head().number)]) for at in contracts.values()])
    for (place, at), code in zip(contracts.items(), codes, strict=True):
        with _answer("eth_getCode"):
            problem = runtime_problem(place, bytes.fromhex(code[2:]), Modules(**contracts))
        about = subject.of(participant=at)
        checks.append(about.that("contract code", problem is None, f"the {place} contract {problem}"))
    return checks


def _check_creation(index: Index, rpc: Rpc, subject: Subject) -> list[Check]:
    contracts, checks, name = index.deployment.contracts, [], "contract creation"
    first = index.deployment.first_block
    last = min(first + SEARCHED_BLOCKS, index.head().number)
    created = _creations(rpc, contracts, first, last)
    for place, at in contracts.items():
        about, where = subject.of(participant=at), f"in blocks {first} to {last}"
        if at in created:
            transaction, data = created[at]
            problem = creation_problem(place, data)
            about = about.of(transaction=transaction)
            checks.append(about.that(name, problem is None, f"the {place} contract {problem}"))
        elif _appeared(rpc, at, first, last):
            reason = f"no transaction {where} made it: what another contract wrote into it is unknown"
            checks.append(about.failed(name, reason))
        else:
            checks.append(about.unchecked(name, f"it was not made {where}"))
    return checks


def _creations(rpc: Rpc, contracts: Mapping[str, Address], first: int, last: int) -> dict[Address, tuple[str, bytes]]:
    """Hash and data of the transactions that made these contracts, as far as they are in these blocks."""
    wanted = {at.lower(): at for at in contracts.values()}
    found: dict[Address, tuple[str, bytes]] = {}
    for start in range(first, last + 1, BLOCKS_AT_ONCE):
        numbers = range(start, min(start + BLOCKS_AT_ONCE, last + 1))
        for block in rpc.batch([("eth_getBlockByNumber", [hex(number), True]) for number in numbers]):
            with _answer("eth_getBlockByNumber"):
                for transaction in block["transactions"]:
                    if transaction.get("to") is None:
                        nonce = Nonce(int(transaction["nonce"], 16))
                        made = get_create_address(cast(Any, transaction["from"]), nonce).lower()
                        if made in wanted:
                            data = bytes.fromhex(transaction["input"][2:])
                            found[wanted[made]] = str(transaction["hash"]), data
        if len(found) == len(wanted):
            break
    return found


@contextmanager
def _answer(method: str) -> Iterator[None]:
    """Turns what a malformed answer leads to into ChainError."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ChainError(f"{method}: malformed answer: {error}") from error


def _appeared(rpc: Rpc, at: Address, first: int, last: int) -> bool:
    """Whether the contract came into being in these blocks. False where the node keeps no state so old."""
    try:
        before = rpc.call("eth_getCode", at, hex(first - 1)) if first else "0x"
        return bool(before == "0x" and rpc.call("eth_getCode", at, hex(last)) != "0x")
    except ChainError:
        return False
