"""What a gateway tells Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["GatewayMetrics"]


class GatewayMetrics:
    """Counters of one server."""

    def __init__(self, name: str = "gateway") -> None:
        """`name` stands in those of its numbers: `deltaproof_NAME_requests_total`."""
        self._name = name
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "requests", "Requests by method, kind of artifact and status", "method kind status"
        )
        self.refusals = self._counter("refusals", "Refused requests by reason", "code")
        self.received = self._counter("received_bytes", "Bytes of artifacts that arrived", "")
        self.sent = self._counter("sent_bytes", "Bytes of artifacts that left", "")
        self.swept = self._counter("swept", "Artifacts whose time was over", "how")
        self.failures = self._counter("failures", "Work in the background that failed", "what")
        self.seconds = Histogram(
            f"deltaproof_{name}_request_seconds", "From request to end of answer", ["method"], registry=self.registry
        )

    def watch(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """A number that is asked for when it is wanted."""
        Gauge(f"deltaproof_{self._name}_{name}", help_, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Everything in Prometheus's format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_: str, labels: str) -> Counter:
        return Counter(f"deltaproof_{self._name}_{name}_total", help_, labels.split(), registry=self.registry)
