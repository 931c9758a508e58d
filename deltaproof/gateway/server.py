"""A gateway put together from its parts, and served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from deltaproof.chain import Gateway
from deltaproof.gateway.admission import Doorkeeper
from deltaproof.gateway.app import GatewayParts, create_app
from deltaproof.gateway.facts import ChainFacts
from deltaproof.gateway.intake import Intake
from deltaproof.gateway.ledger import Ledger
from deltaproof.gateway.metrics import GatewayMetrics
from deltaproof.gateway.reading import Shelves
from deltaproof.gateway.retention import Retention
from deltaproof.gateway.traffic import ConnectionLimits, GuardedProtocol, RequestRate, guarded
from deltaproof.store import ArtifactStore
from deltaproof.store.depots import open_depot

__all__ = ["GatewayOptions", "StoreServer"]

HEAD_BYTES = 16 * 1024
"""Most bytes of a request's head."""


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
    reads_per_second: float = 200.0
    writes_per_second: float = 50.0
    burst_seconds: float = 10.0
    """For how long an address may ask at many times its rate, in seconds of that rate."""
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    proxies: str = ""
    """Addresses whose word on who asks is believed, separated by commas."""


class StoreServer:
    """One gateway, on one port."""

    def __init__(self, chain: Gateway, options: GatewayOptions, host: str, port: int) -> None:
        """Raises StoreUnavailable or UsageError if it cannot be served from there. Port 0: any that is free."""
        depot = open_depot(options.store)
        archive = open_depot(options.archive) if options.archive else None
        home = options.home
        ledger = Ledger(home / "ledger.sqlite")
        facts = ChainFacts(chain, ArtifactStore(depot), home / "chain")
        doorkeeper = Doorkeeper(facts, options.max_artifact_bytes)
        incoming = home / "incoming"
        intake = Intake(doorkeeper, depot, ledger, incoming)
        self.metrics = GatewayMetrics()
        self.parts = GatewayParts(
            doorkeeper, intake, Shelves(depot, archive, ledger),
            Retention(facts, depot, archive, ledger, incoming, options.keep_seconds), ledger, self.metrics,
            reads=RequestRate(options.reads_per_second, int(options.burst_seconds * options.reads_per_second)),
            writes=RequestRate(options.writes_per_second, int(options.burst_seconds * options.writes_per_second)),
        )  # fmt: skip
        self.protocol = guarded(options.connections)
        self._watch(ledger, intake, self.protocol)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(self.parts, options.version),
                host=host,
                port=port,
                http=self.protocol,
                ws="none",
                log_config=None,
                access_log=False,
                backlog=options.connections.total,
                h11_max_incomplete_event_size=HEAD_BYTES,
                proxy_headers=bool(options.proxies),
                forwarded_allow_ips=options.proxies or None,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        self._ledger = ledger

    @property
    def started(self) -> bool:
        """Whether it answers."""
        return self._server.started

    @property
    def port(self) -> int:
        """The port that it listens on, once it has started."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Make `serve` return."""
        self._server.should_exit = True

    def serve(self, ready: Callable[[int], None] = lambda port: None) -> None:
        """Serve until interrupted or stopped; `ready` is told the port."""

        async def run() -> None:
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.01)
            if self._server.started:
                ready(self.port)
            await serving

        try:
            asyncio.run(run())
        finally:
            self._ledger.close()

    def _watch(self, ledger: Ledger, intake: Intake, protocol: type[GuardedProtocol]) -> None:
        watch = self.metrics.watch
        watch("artifacts", "Artifacts in the store", lambda: ledger.totals()[0])
        watch("stored_bytes", "Bytes of artifacts in the store", lambda: ledger.totals()[1])
        watch("uploads", "Unfinished uploads", lambda: intake.unfinished)
        watch("connections", "Open connections", protocol.open.total)
        watch("refused_connections", "Connections closed for being too many or silent", protocol.refused.total)
