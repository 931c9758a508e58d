"""From command-line options to open connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deltaproof.agent.patience import HOPELESS, insist
from deltaproof.errors import DeploymentError, EncodingError, UsageError
from deltaproof.reporting import Reporter

if TYPE_CHECKING:
    from deltaproof.chain import Connection, Deployment, Gateway
    from deltaproof.chain.rpc.blocks import Depth
    from deltaproof.chain.rpc.relays import Relays
    from deltaproof.protocol.types import Address
    from deltaproof.store import ArtifactStore

__all__ = ["open_gateway", "parse_address", "parse_depth", "parse_relays", "read_only_gateway", "task_store"]


@contextmanager
def open_gateway(
    rpc: str,
    contract: str,
    key: str,
    *,
    max_gas_gwei: float | None = None,
    wait: Reporter | None = None,
    drand: str = "",
) -> Iterator[Gateway]:
    """The deployment behind a TaskManager address, with a key to act with.

    With `wait`, which is told of it, an outage is waited out. `drand`: what `--drand` says.
    """
    from deltaproof.chain import (
        Deployment,
        Gateway,
        RemoteSigner,
        SenderPolicy,
        TransactionSender,
        connect,
        load_signer,
    )

    account, place = load_signer(key), parse_address(contract, "--contract")

    def reach() -> tuple[Connection, Deployment]:
        if isinstance(account, RemoteSigner):
            account.check()
        connection = connect(rpc)
        return connection, Deployment.at(connection, place)

    if wait is None:
        connection, deployment = reach()
    else:
        hopeless = (*HOPELESS, DeploymentError)
        connection, deployment = insist(reach, "reaching the chain", account.address, wait, hopeless)
    policy = SenderPolicy(max_fee_wei=None if max_gas_gwei is None else int(max_gas_gwei * 10**9))
    with TransactionSender(connection, account, policy=policy) as sender:
        yield Gateway(connection, deployment, sender, parse_relays(drand))


def task_store(url: str, gateway: Gateway, task: int, report: Reporter | None = None) -> ArtifactStore:
    """The store at a URL, for somebody who writes to it as a participant of a task.

    `report` hears how large artifacts get on. Raises StoreUnavailable.
    """
    from deltaproof.protocol.types import TaskId
    from deltaproof.store import open_store
    from deltaproof.store.permits import Writer

    assert gateway.sender is not None
    writer = Writer(gateway.sender.sign_message, gateway.permit_domain, TaskId(task))
    return open_store(url, writer, report)


def parse_depth(value: str) -> Depth | None:
    """What `--confirmations` says; None for the chain's default. Raises UsageError."""
    if value == "finalized":
        return "finalized"
    if not value:
        return None
    if not value.isdecimal():
        raise UsageError(f"--confirmations is a number of blocks or `finalized`, not {value!r}")
    return int(value)


def parse_relays(value: str) -> Relays:
    """What `--drand` says; empty for the network's public relays."""
    from deltaproof.chain.rpc.relays import Relays

    return Relays([source.strip() for source in value.split(",") if source.strip()])


def read_only_gateway(rpc: str, contract: str) -> Gateway:
    """The same without a key."""
    from deltaproof.chain import Deployment, Gateway, connect

    connection = connect(rpc)
    return Gateway(connection, Deployment.at(connection, parse_address(contract, "--contract")))


def parse_address(value: str, option: str) -> Address:
    """Raises UsageError naming the option."""
    from deltaproof.protocol.types import address

    try:
        return address(value)
    except EncodingError as error:
        raise UsageError(f"{option}: {error}") from error
