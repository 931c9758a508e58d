"""Prometheus metrics of an index that follows a chain."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, start_http_server

from deltaproof.auditor.index.follower import Synced

__all__ = ["IndexMetrics"]


class IndexMetrics:
    """What a follower did, and whether it still does."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.head = Gauge("deltaproof_index_block", "Last block that was indexed", registry=self.registry)
        self.rows = Gauge("deltaproof_index_rows", "Rows of the index", ["table"], registry=self.registry)
        self.synced = Gauge("deltaproof_index_synced_time_seconds", "Time of the last sync", registry=self.registry)
        self.reorganisations = Counter(
            "deltaproof_index_reorganisations", "Times the chain turned", registry=self.registry
        )
        self.failures = Counter("deltaproof_index_failures", "Syncs that failed", registry=self.registry)

    def observe(self, synced: Synced, rows: dict[str, int]) -> None:
        """After a sync that worked."""
        self.head.set(synced.head)
        self.synced.set(time.time())
        for table, count in rows.items():
            self.rows.labels(table).set(count)
        if synced.rolled_back_to is not None:
            self.reorganisations.inc()

    def text(self) -> bytes:
        """In Prometheus' exposition format."""
        return generate_latest(self.registry)

    @classmethod
    def served_on(cls, port: int) -> IndexMetrics:
        """Served by a thread of its own on all interfaces."""
        metrics = cls()
        start_http_server(port, registry=metrics.registry)
        return metrics
