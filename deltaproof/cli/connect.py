"""From command-line options to open connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deltaproof.chain import Deployment, Gateway, TransactionSender, connect, load_account
from deltaproof.errors import EncodingError, UsageError
from deltaproof.protocol.types import Address, address

__all__ = ["open_gateway", "parse_address", "read_only_gateway"]


@contextmanager
def open_gateway(rpc: str, contract: str, key: str) -> Iterator[Gateway]:
    """The deployment behind a TaskManager address, with a key to act with."""
    account = load_account(key)
    connection = connect(rpc)
    deployment = Deployment.at(connection, parse_address(contract, "--contract"))
    with TransactionSender(connection, account) as sender:
        yield Gateway(connection, deployment, sender)


def read_only_gateway(rpc: str, contract: str) -> Gateway:
    """The same without a key."""
    connection = connect(rpc)
    return Gateway(connection, Deployment.at(connection, parse_address(contract, "--contract")))


def parse_address(value: str, option: str) -> Address:
    """Raises UsageError naming the option."""
    try:
        return address(value)
    except EncodingError as error:
        raise UsageError(f"{option}: {error}") from error
