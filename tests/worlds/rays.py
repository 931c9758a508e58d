"""A Ray cluster of several node processes on this machine, in little memory. Its head has no place for workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

STORE_BYTES = 80 << 20
"""The least that Ray takes."""


@contextmanager
def ray_cluster(nodes: int) -> Iterator[Any]:
    """Yields Ray's `Cluster` with so many nodes of one CPU each. Skips the test where Ray is not installed."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # Sooner than Ray's half a minute; where other tests have the processors, a second was too short for living nodes.
    config = {"health_check_initial_delay_ms": 3000, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
    config["worker_niceness"] = 0  # at Ray's 15, workers beside other tests get hardly any time, and count as silent
    head = {
        "num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES, "_system_config": config,
    }  # fmt: skip
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """One more node of one CPU."""
    return cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)


def kill_node(cluster: Any, node: Any) -> None:
    """End it as a power cut does: nobody is told."""
    cluster.remove_node(node, allow_graceful=False)
