"""Bounds on what strangers may ask of the server: connections, and requests per address and second.

The server library bounds neither how long a connection may stay silent before its first request nor how many one
address may hold. `GuardedProtocol` does.
"""

from __future__ import annotations

import ipaddress
import resource
import time
from asyncio import BaseTransport, Semaphore, TimerHandle, Transport
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from deltaproof.errors import UsageError

__all__ = ["ConnectionLimits", "FewEach", "GuardedProtocol", "RequestRate", "guarded", "neighbourhood", "room_for"]

ADDRESSES = 65_536
"""Most addresses whose use is remembered."""
SPARE_DESCRIPTORS = 256
"""For the node, the ledger, a bucket, and the libraries."""


def neighbourhood(host: str) -> str:
    """What counts as one address: an IPv4 address, or a whole /64 of IPv6, which one customer gets."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return host


class RequestRate:
    """A bucket of tokens for each address: `per_second` flow in, `burst` fit, each request takes one."""

    def __init__(self, per_second: float, burst: int) -> None:
        self.per_second, self.burst = per_second, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> float:
        """Zero if a request may pass now, which it then has; else how long until one may."""
        now = time.monotonic()
        tokens, then = self._buckets.pop(address, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - then) * self.per_second)
        passes = tokens >= 1
        self._buckets[address] = (tokens - passes, now)
        while len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1 - tokens) / self.per_second


class FewEach:
    """A few things of each account or address at a time. For one event loop.

    Attack: send hundreds of permits that nobody knows, or of large artifacts that are not what their names say, which
    costs no quota. Whoever comes after waits for all of them, and an opening that waits too long counts as withheld.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._room: dict[str, tuple[Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, whose: str) -> AsyncIterator[None]:
        """Wait until little enough of theirs is being done."""
        room, users = self._room.get(whose, (Semaphore(self._most), 0))
        self._room[whose] = room, users + 1
        try:
            async with room:
                yield
        finally:
            _, users = self._room.pop(whose)
            if users > 1:
                self._room[whose] = room, users - 1


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be, and how long one may take to say what it wants."""

    total: int = 1_024
    per_address: int = 256
    head_seconds: float = 10.0
    """From the connection, or from the end of a request's answer, to the end of the next request's head."""


def room_for(connections: int) -> None:
    """Let this process open as many files as its connections need: a socket each, and a file that is read or written.

    Raises UsageError where the system does not allow it: it would refuse honest clients instead of silent ones.
    """
    needed = 2 * connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"{connections} connections need {needed} open files, and this system allows {hard}: "
            "say fewer --connections, or raise the limit (ulimit -Hn, LimitNOFILE)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 on one connection, within `limits`."""

    limits: ClassVar[ConnectionLimits]
    open: ClassVar[Counter[str]]
    refused: ClassVar[Counter[str]]
    """By reason: `total`, `address`, `slow`, `crowded`."""
    waiting: ClassVar[dict[str, dict[GuardedProtocol, None]]]
    """Connections that expect a head, by address, who has waited longest first."""

    _address: str | None = None
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Take the connection, or close it at once."""
        peer = transport.get_extra_info("peername")
        address = neighbourhood(str(peer[0])) if peer else "local"
        if reason := self._too_many(address):
            self.refused[reason] += 1
            cast(Transport, transport).abort()
            return
        self._address = address
        self.open[address] += 1
        super().connection_made(cast(Transport, transport))
        # For an application whose answer nobody reads.
        self.app_state = {**self.app_state, "abort": self.transport.abort}
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._leave()
        if self.transport is not None:  # else it was closed at once
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._address is None:
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """An answer has left."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._expect_head()

    def _too_many(self, address: str) -> str:
        if self.open[address] >= self.limits.per_address:
            return "address"
        return "total" if self.open.total() >= self.limits.total and not self._room_for(address) else ""

    def _room_for(self, address: str) -> bool:
        """Whether the address that holds most connections lost one that says nothing to one that holds fewer.

        Attack: hold all connections from a handful of addresses, so that nobody else gets one.
        """
        most = max(self.waiting, key=self.open.__getitem__, default=address)
        if self.open[most] <= self.open[address] + 1:
            return False
        next(iter(self.waiting[most]))._give_up("crowded")
        return True

    def _expect_head(self) -> None:
        self._stop_waiting()
        if self._address is not None:
            self.waiting.setdefault(self._address, {})[self] = None
            self._deadline = self.loop.call_later(self.limits.head_seconds, self._give_up, "slow")

    def _stop_waiting(self) -> None:
        if self._deadline is None or self._address is None:
            return
        self._deadline.cancel()
        self._deadline = None
        del self.waiting[self._address][self]
        if not self.waiting[self._address]:
            del self.waiting[self._address]

    def _give_up(self, reason: str) -> None:
        self.refused[reason] += 1
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        """Count no more."""
        self._stop_waiting()
        if self._address is not None:
            self.open[self._address] -= 1
            if not self.open[self._address]:
                del self.open[self._address]
            self._address = None


def guarded(limits: ConnectionLimits) -> type[GuardedProtocol]:
    """The protocol of one server, with counters of its own."""
    counters: dict[str, Any] = {"limits": limits, "open": Counter(), "refused": Counter(), "waiting": {}}
    return type("GuardedProtocol", (GuardedProtocol,), counters)
