"""A relay put together from its parts: one HTTP server before the relayers of all its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from deltaproof.chain import Gateway
from deltaproof.gateway.metrics import GatewayMetrics
from deltaproof.gateway.serving import HttpServer
from deltaproof.gateway.traffic import ConnectionLimits, RequestRate, guarded
from deltaproof.relaying.app import create_relay_app
from deltaproof.relaying.life import Relayer

__all__ = ["RelayOptions", "RelayServer"]


@dataclass(frozen=True)
class RelayOptions:
    """What an operator chooses."""

    version: str
    """Of the package."""
    claims: bool = True
    """Told to whoever asks; the relayers know for themselves."""
    requests_per_second: float = 20.0
    """Of one address."""
    burst_seconds: float = 10.0
    """For how long an address may ask at many times its rate, in seconds of that rate."""
    connections: ConnectionLimits = field(default_factory=lambda: ConnectionLimits(total=512, per_address=32))
    proxies: str = ""
    """Addresses whose word on who asks is believed, separated by commas."""


class RelayServer(HttpServer):
    """One relay, on one port."""

    def __init__(
        self, gateway: Gateway, relayers: Sequence[Relayer], options: RelayOptions, host: str, port: int
    ) -> None:
        """Port 0: any that is free."""
        self.metrics = GatewayMetrics("relay")
        burst = int(options.burst_seconds * options.requests_per_second)
        app = create_relay_app(
            gateway,
            {relayer.task_id: relayer.desk for relayer in relayers},
            self.metrics,
            reads=RequestRate(options.requests_per_second, burst),
            writes=RequestRate(options.requests_per_second, burst),
            claims=options.claims,
            version=options.version,
        )
        protocol = guarded(options.connections)
        super().__init__(app, protocol, options.connections, host, port, proxies=options.proxies)
