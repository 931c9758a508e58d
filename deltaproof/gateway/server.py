"""A gateway put together from its parts, and served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.gateway.admission import Doorkeeper
from deltaproof.gateway.app import GatewayParts, create_app
from deltaproof.gateway.facts import ChainFacts
from deltaproof.gateway.intake import Intake
from deltaproof.gateway.ledger import Ledger
from deltaproof.gateway.metrics import GatewayMetrics
from deltaproof.gateway.reading import Shelves
from deltaproof.gateway.retention import Retention
from deltaproof.gateway.serving import HttpServer
from deltaproof.gateway.traffic import ConnectionLimits, GuardedProtocol, RequestRate, guarded
from deltaproof.protocol.types import Address
from deltaproof.store import ArtifactStore
from deltaproof.store.depots import open_depot

__all__ = ["GatewayOptions", "StoreServer"]


@dataclass(frozen=True)
class GatewayOptions:
    """What an operator chooses."""

    store: str
    home: Path
    version: str
    """Of the package."""
    archive: str = ""
    keep_seconds: float = 30 * 86_400.0
    """How long artifacts stay after the last claim and slashing of their tasks."""
    max_artifact_bytes: int = 2**30
    sponsors: frozenset[Address] = frozenset()
    """Whose tasks are served; everybody's if there are none."""
    reads_per_second: float = 200.0
    writes_per_second: float = 50.0
    burst_seconds: float = 10.0
    """For how long an address may ask at many times its rate, in seconds of that rate."""
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    proxies: str = ""
    """Addresses whose word on who asks is believed, separated by commas."""


class StoreServer(HttpServer):
    """One gateway, on one port."""

    def __init__(self, chain: Gateway, options: GatewayOptions, host: str, port: int) -> None:
        """Raises StoreUnavailable or UsageError if it cannot be served from there. Port 0: any that is free."""
        depot = open_depot(options.store)
        archive = open_depot(options.archive) if options.archive else None
        home = options.home
        ledger = Ledger(home / "ledger.sqlite")
        facts = ChainFacts(chain, ArtifactStore(depot), home / "chain")
        doorkeeper = Doorkeeper(facts, options.max_artifact_bytes, options.sponsors)
        incoming = home / "incoming"
        intake = Intake(doorkeeper, depot, ledger, incoming)
        self.metrics = GatewayMetrics()
        retention = Retention(facts, depot, archive, ledger, incoming, options.keep_seconds, intake.only_one)
        self.parts = GatewayParts(
            doorkeeper, intake, Shelves(depot, archive, ledger), retention, ledger, self.metrics,
            reads=RequestRate(options.reads_per_second, int(options.burst_seconds * options.reads_per_second)),
            writes=RequestRate(options.writes_per_second, int(options.burst_seconds * options.writes_per_second)),
        )  # fmt: skip
        self.protocol = guarded(options.connections)
        self._watch(ledger, intake, self.protocol)
        app = create_app(self.parts, options.version)
        super().__init__(app, self.protocol, options.connections, host, port, proxies=options.proxies)
        self._ledger = ledger

    def serve(self, ready: Callable[[int], None] = lambda port: None) -> None:
        """See `HttpServer`."""
        try:
            super().serve(ready)
        finally:
            self._ledger.close()

    def _watch(self, ledger: Ledger, intake: Intake, protocol: type[GuardedProtocol]) -> None:
        watch = self.metrics.watch
        watch("artifacts", "Artifacts in the store", lambda: ledger.totals()[0])
        watch("stored_bytes", "Bytes of artifacts in the store", lambda: ledger.totals()[1])
        watch("uploads", "Unfinished uploads", lambda: intake.unfinished)
        watch("connections", "Open connections", protocol.open.total)
        watch("refused_connections", "Connections closed for being too many or silent", protocol.refused.total)
