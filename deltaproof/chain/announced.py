"""Where a task's artifacts are, by the word of its sponsor on chain: so that one RPC URL and one address are enough.

The URLs stand behind the arguments of the call that created the task. Contracts ignore what follows their arguments,
and tools read it from the end, as ERC-8021 does with attributions. Content proves itself, so a false URL can only
withhold; whoever knows another store says `--store`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.events.rounds import TaskCreated
from deltaproof.chain.origin import first_block
from deltaproof.errors import ChainError
from deltaproof.protocol.types import TaskId, hex_of
from deltaproof.store import ArtifactStore

__all__ = ["Stores", "announced_in", "announced_stores", "announcement", "read_announcement"]

Stores = Callable[[TaskId], ArtifactStore]
"""The store of a task, for whoever looks at several."""
MAGIC = b"deltaproof/stores/v1"
MAX_BYTES = 1_024
MOST_STORES = 8


def announcement(url: str) -> bytes:
    """What follows the arguments of `createTask` for a `--store`: those of its places that are gateways; else nothing.

    Folders and buckets are not told: others cannot write there, and nobody should write where a chain tells it to.
    """
    text = ",".join(part for part in map(str.strip, url.split(",")) if _is_gateway(part)).encode()
    return text + len(text).to_bytes(2, "big") + MAGIC if 0 < len(text) <= MAX_BYTES else b""


def read_announcement(calldata: bytes) -> str:
    """The `--store` at the end of untrusted calldata; empty if there is none, or none to be used."""
    if not calldata.endswith(MAGIC):
        return ""
    rest = calldata[: -len(MAGIC)]
    size = int.from_bytes(rest[-2:], "big")
    if not 0 < size <= min(MAX_BYTES, len(rest) - 2):
        return ""
    parts = rest[-2 - size : -2].decode("ascii", errors="replace").split(",")
    return ",".join([part for part in parts if _is_gateway(part)][:MOST_STORES])


def announced_in(recipient: str | None, calldata: bytes, place: str) -> str:
    """What the transaction announced that created a task; nothing where it called another contract than the one at
    `place`, which did so."""
    return read_announcement(calldata) if (recipient or "").lower() == place.lower() else ""


def announced_stores(gateway: Gateway, task_id: TaskId) -> str:
    """The `--store` that a task's sponsor announced; empty if it did not, or created the task through a contract.

    Raises ChainError.
    """
    connection, place = gateway.connection, gateway.terms.address
    first, last = first_block(gateway, task_id, None), connection.read_block.number
    reader = LogReader(connection, [place])
    for logged in reader.read(first, last, [TaskCreated]):
        if isinstance(logged.event, TaskCreated) and logged.event.task_id == task_id:
            with connection.translated("eth_getTransactionByHash"):
                found = connection.web3.eth.get_transaction(hex_of(logged.transaction_hash))  # type: ignore[arg-type]
            return announced_in(found.get("to"), bytes(found["input"]), place)
    raise ChainError(f"task {task_id} was created in no block from {first} to {last}")


def _is_gateway(part: str) -> bool:
    """Whether a part of a `--store` is a gateway's URL without credentials, in plain characters."""
    try:
        url = urlsplit(part)
    except ValueError:
        return False
    plain = part.isascii() and part.isprintable() and " " not in part
    place = bool(url.hostname) and "@" not in url.netloc and not (url.query or url.fragment)
    return plain and url.scheme in ("http", "https") and place
