"""An HTTP server for strangers, on one port, with the bounds of `deltaproof.gateway.traffic`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from deltaproof.errors import UsageError
from deltaproof.gateway.traffic import ConnectionLimits, GuardedProtocol, room_for

__all__ = ["HEAD_BYTES", "GentleServer", "HttpServer", "require_port"]

HEAD_BYTES = 16 * 1024
"""Most bytes of a request's head."""


class GentleServer(uvicorn.Server):
    """Ends in its bounded time, however often it is interrupted: uvicorn breaks off at the second signal, and prints
    the traceback of what it broke off."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does."""
        if not self.should_exit:
            super().handle_exit(sig, frame)


class HttpServer:
    """Serves one application."""

    def __init__(
        self,
        app: FastAPI,
        protocol: type[GuardedProtocol],
        connections: ConnectionLimits,
        host: str,
        port: int,
        *,
        proxies: str = "",
    ) -> None:
        """Port 0: any that is free. `proxies`: addresses whose word on who asks is believed, separated by commas.

        Raises UsageError where the system allows too few open files for so many connections.
        """
        room_for(connections.total)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._server = GentleServer(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=protocol,
                ws="none",
                log_config=None,
                access_log=False,
                backlog=connections.total,
                h11_max_incomplete_event_size=HEAD_BYTES,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies or None,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )

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
        """Serve until interrupted or stopped; `ready` is told the port. Raises UsageError if it cannot be had."""
        require_port(self._server.config.host, self._server.config.port)

        async def run() -> None:
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.01)
            if self._server.started:
                ready(self.port)
            await serving

        asyncio.run(run())


def require_port(host: str, port: int) -> None:
    """Raises UsageError unless a server could listen there now."""
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                # As a server would: ports in TIME_WAIT count as free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port} of {host}: {error.strerror}; choose others with --host and --port"
        ) from error
