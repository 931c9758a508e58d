"""Where tasks are: a chain, the contracts on it, and the store of what they name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deltaproof.errors import UsageError

if TYPE_CHECKING:
    from deltaproof.auditor.auditing import AuditSource
    from deltaproof.auditor.facts.stores import AnnouncedStores
    from deltaproof.auditor.index.reader import Index
    from deltaproof.chain import Gateway
    from deltaproof.store import ArtifactStore

__all__ = ["Network", "key_of"]

MEMORY = "sqlite://"


def _said(name: str) -> Callable[[], str]:
    return lambda: os.environ.get(name, "")


@dataclass(frozen=True)
class Network:
    """A chain, contracts and a store. What is left out is read from the variables that the commands read.

    Nothing is asked before it is needed. Every method raises UsageError where the field it needs is empty.
    """

    rpc: str = field(default_factory=_said("DELTAPROOF_RPC"))
    """JSON-RPC URL of the chain; several, separated by commas, take over for each other. `DELTAPROOF_RPC`."""
    contract: str = field(default_factory=_said("DELTAPROOF_CONTRACT"))
    """Address of the TaskManager; the other contracts are read from it. `DELTAPROOF_CONTRACT`."""
    store: str = field(default_factory=_said("DELTAPROOF_STORE"))
    """Artifact store: a folder or any fsspec URL; several, separated by commas, mirror each other. Where it is empty, a
    task's own: the gateways that its sponsor announced on chain. `DELTAPROOF_STORE`."""

    def gateway(self) -> Gateway:
        """The contracts, to be read. Raises ChainError, DeploymentError."""
        from deltaproof.api.connecting import read_only_gateway

        return read_only_gateway(self._need("rpc"), self._need("contract"))

    @contextmanager
    def acting(self, key: str) -> Iterator[Gateway]:
        """The contracts with a key to act with, as `--key` takes it. Raises SigningKeyError, too."""
        from deltaproof.api.connecting import open_gateway

        with open_gateway(self._need("rpc"), self._need("contract"), key) as gateway:
            yield gateway

    def artifacts(self, task: int | None = None, reading_key: str | Path | None = None) -> ArtifactStore:
        """The store, or the gateways that a task's sponsor announced on chain, to be read.

        `reading_key`: a file or home whose keys open what is sealed. Raises StoreUnavailable, SigningKeyError.
        """
        from deltaproof.api.connecting import store_url
        from deltaproof.store import open_store
        from deltaproof.store.readers import Keyring

        place = self._need("store") if task is None else store_url(self.store, self.gateway(), task)
        return open_store(place).reading_with(Keyring.load(Path(reading_key) if reading_key is not None else None))

    def index(self, database: str = MEMORY) -> Index:
        """All events of the contracts up to the newest block, in a database; by default one in memory."""
        from deltaproof.api.connecting import parse_address
        from deltaproof.auditor.index.rpc import Rpc
        from deltaproof.auditor.session import open_index

        found, _ = open_index(Rpc(self._need("rpc")), parse_address(self._need("contract"), "contract"), database)
        return found

    def source(
        self,
        database: str = MEMORY,
        witness: str = "",
        reading_key: str | Path | None = None,
        task: int | None = None,
    ) -> AuditSource:
        """What an audit of a task (None: of all) reads. `witness`: a second endpoint that has to know the same blocks;
        `reading_key`: a file or home whose keys open what is sealed."""
        from deltaproof.auditor.auditing import AuditSource
        from deltaproof.auditor.index.rpc import Rpc

        second, found = Rpc(witness) if witness else None, self.index(database)
        one = self.store or task is not None
        store = self.artifacts(task, reading_key) if one else self.announced(found, reading_key)
        return AuditSource(found, store, Rpc(self.rpc), second)

    def announced(self, index: Index, reading_key: str | Path | None = None) -> AnnouncedStores:
        """What the sponsor of each task in an index announced on chain. No gateway of it is waited for long."""
        from deltaproof.auditor.facts.stores import AnnouncedStores
        from deltaproof.auditor.index.rpc import Rpc
        from deltaproof.store.readers import Keyring

        keyring = Keyring.load(Path(reading_key) if reading_key is not None else None)
        return AnnouncedStores(index, Rpc(self._need("rpc")), keyring)

    def _need(self, name: str) -> str:
        value = str(getattr(self, name))
        if not value:
            raise UsageError(f"say {name}= to deltaproof.Network, or set DELTAPROOF_{name.upper()}")
        return value


def key_of(key: str | None) -> str:
    """A key as it was given, or as `DELTAPROOF_KEY` says. Raises UsageError without either."""
    found = key or os.environ.get("DELTAPROOF_KEY", "")
    if not found:
        raise UsageError("say key=, or set DELTAPROOF_KEY: a file with a private key, a keystore, or its digits")
    return found
