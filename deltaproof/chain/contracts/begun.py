"""A deployment that was broken off, so that the next call of its key goes on with it.

Where all contracts come to stand follows from the deployer's nonce before the first of them. It is written down before
that one is sent, with the token and the terms. As long as the key sends nothing else, what is lacking can be added.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from web3.types import Nonce
from web3.utils import get_create_address

from deltaproof.chain.abi.structs import Modules
from deltaproof.chain.contracts.bytecode import CONTRACTS, runtime_problem
from deltaproof.chain.contracts.deployment import DeployParams
from deltaproof.chain.rpc.connection import Connection
from deltaproof.chain.rpc.sender import TransactionSender
from deltaproof.errors import DeploymentError
from deltaproof.folders import write_whole
from deltaproof.protocol.types import Address, AddressField, address

__all__ = ["Begun", "DeploymentNote", "modules_from", "next_nonce"]


class Begun(BaseModel):
    """What a deployment was begun with."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    first: int = Field(ge=0)
    """Nonce of the first contract."""
    block: int = Field(ge=0)
    """The chain's height before it."""
    token: AddressField
    """What is staked: the token of the terms, or the demo token that was made for it."""
    terms: str

    def made(self, connection: Connection, deployer: Address) -> int | None:
        """How many of the contracts are there, in their order; None if it cannot be gone on with: the key sent
        something else, or a contract was not made or is not ours."""
        many = next_nonce(connection, deployer) - self.first
        if not 0 <= many <= len(CONTRACTS):
            return None
        modules = modules_from(deployer, self.first)
        there = [(place, connection.code(getattr(modules, place))) for place in list(CONTRACTS)[:many]]
        ours = all(code and runtime_problem(place, code, modules) is None for place, code in there)
        return many if ours else None


class DeploymentNote:
    """Where it is written down, for one key on one chain."""

    def __init__(self, sender: TransactionSender, params: DeployParams) -> None:
        """Beside what the key has in flight."""
        self.path = sender.beside("deployment")
        self._terms = hashlib.sha256(repr(params).encode()).hexdigest()

    def read(self) -> Begun | None:
        """A deployment of the same terms that was begun. Raises DeploymentError for a damaged file."""
        try:
            begun = Begun.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise DeploymentError(f"{self.path} is unreadable; remove it, and the deployment begins anew") from error
        return begun if begun.terms == self._terms else None

    def write(self, first: int, block: int, token: Address) -> None:
        """On disk before this returns. Raises OSError."""
        begun = Begun(first=first, block=block, token=token, terms=self._terms)
        write_whole(self.path, begun.model_dump_json().encode())

    def clear(self) -> None:
        """All contracts are there."""
        self.path.unlink(missing_ok=True)


def modules_from(deployer: Address, first: int) -> Modules:
    """Addresses of the contracts that this key makes from that nonce on, in the order of `Modules`."""
    names = [field.name for field in fields(Modules)]
    return Modules(
        **{name: address(get_create_address(cast(Any, deployer), Nonce(first + i))) for i, name in enumerate(names)}
    )


def next_nonce(connection: Connection, deployer: Address) -> int:
    """How many transactions of the key are in blocks."""
    with connection.translated("eth_getTransactionCount"):
        return int(connection.web3.eth.get_transaction_count(cast(Any, deployer), "latest"))
