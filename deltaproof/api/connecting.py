"""From command-line options to open connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deltaproof.agent.patience import HOPELESS, insist
from deltaproof.errors import DeploymentError, EncodingError, UsageError
from deltaproof.reporting import Reporter

if TYPE_CHECKING:
    from pathlib import Path

    from deltaproof.chain import Connection, Deployment, Gateway
    from deltaproof.chain.announced import Stores
    from deltaproof.chain.rpc.blocks import Depth
    from deltaproof.chain.rpc.relays import Relays
    from deltaproof.protocol.types import Address, TaskId
    from deltaproof.store import ArtifactStore

__all__ = [
    "open_gateway",
    "parse_address",
    "parse_depth",
    "parse_relays",
    "read_only_gateway",
    "require_store",
    "store_to_read",
    "store_url",
    "stores",
    "task_store",
    "written_store",
]


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
    """The store at a URL, or announced by a task, for somebody who writes to it as a participant of the task.

    Where the one at the URL does not show the task's spec, what the task announces is written to and read, too: a role
    that starts again has the spec at home, and from a store that nobody else reads its work would count as withheld.

    `report` hears of that, and how large artifacts get on. Raises UsageError, StoreUnavailable, ChainError.
    """
    from deltaproof.chain.announced import announced_stores
    from deltaproof.protocol.types import TaskId

    store = written_store(store_url(url, gateway, task), gateway, task, report)
    if not url or not _lacks_spec(store, gateway, TaskId(task)):
        return store
    given = [part.strip() for part in url.split(",")]
    others = [part for part in announced_stores(gateway, TaskId(task)).split(",") if part and part not in given]
    if not others:
        return store
    if report is not None:
        told = ", ".join(others)
        report(
            "elsewhere", f"--store does not have the spec of task {task}: what the task announces is used, too: {told}"
        )
    return written_store(",".join([url, *others]), gateway, task, report)


def written_store(url: str, gateway: Gateway, task: int, report: Reporter | None = None) -> ArtifactStore:
    """The store at a URL, whatever is there, for a participant who writes to it. Raises StoreUnavailable."""
    from deltaproof.protocol.types import TaskId
    from deltaproof.store import open_store
    from deltaproof.store.permits import Writer

    assert gateway.sender is not None
    writer = Writer(gateway.sender.sign_message, gateway.permit_domain, TaskId(task))
    return open_store(url, writer, report)


def _lacks_spec(store: ArtifactStore, gateway: Gateway, task: TaskId) -> bool:
    """Whether a store says that it has no spec of the task. One that is away has one, as far as anybody knows."""
    from deltaproof.errors import ArtifactError, ArtifactMissing
    from deltaproof.protocol.terms.spec import TaskSpec

    try:
        store.get_blob(gateway.task(task).params.spec_hash, TaskSpec.MAX_BYTES)
    except ArtifactMissing:
        return True
    except ArtifactError:
        return False
    return False


def store_url(url: str, gateway: Gateway, task: int) -> str:
    """What `--store` says, or where the task's sponsor says on chain that its artifacts are. Raises UsageError."""
    from deltaproof.chain.announced import announced_stores
    from deltaproof.chain.participation import require_task
    from deltaproof.protocol.types import TaskId

    if url:
        return url
    require_task(gateway, TaskId(task))
    if found := announced_stores(gateway, TaskId(task)):
        return found
    raise UsageError(f"task {task} announces no store on chain: say --store URL (its sponsor knows it)")


def store_to_read(url: str, gateway: Gateway, task: int, reading_key: Path | None = None) -> ArtifactStore:
    """The store at a URL, or announced by a task, for somebody who only reads.

    `reading_key`: a file or home whose keys open what is sealed. Raises TaskMissing, UsageError, StoreUnavailable,
    SigningKeyError.
    """
    from deltaproof.chain.participation import require_task
    from deltaproof.protocol.types import TaskId
    from deltaproof.store import open_store
    from deltaproof.store.readers import Keyring

    if url and task:  # whoever names the wrong task is told that first
        require_task(gateway, TaskId(task))
    require_store(url)
    return open_store(store_url(url, gateway, task)).reading_with(Keyring.load(reading_key))


def require_store(url: str) -> None:
    """Raises UsageError where a store to read is a folder that is not there: everything would seem to be withheld."""
    from deltaproof.store.backend import absent_folders

    if absent := absent_folders(url):
        raise UsageError(f"there is no folder {', '.join(absent)}; check --store")


def stores(url: str, gateway: Gateway, home: Path | None = None) -> Stores:
    """The store of each task, to be read: the one at the URL, or what the task's sponsor announced, or an empty one;
    and what a home keeps of settlements."""
    from deltaproof.chain.announced import announced_stores
    from deltaproof.store import ArtifactStore, open_store
    from deltaproof.store.backend import Nowhere
    from deltaproof.store.homes import HomeLeaves

    known: dict[int, ArtifactStore] = {}
    given = open_store(url) if url else None

    def of(task: TaskId) -> ArtifactStore:
        if task not in known:
            place = "" if given is not None else announced_stores(gateway, task)
            found = given or (open_store(place) if place else ArtifactStore(Nowhere()))
            known[task] = found if home is None else found.also_from(HomeLeaves(home))
        return known[task]

    return of


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
