"""An honest reader of a gateway alone, and beside a thousand connections that say nothing or never end their head."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from deltaproof.gateway.server import GatewayOptions
from deltaproof.gateway.traffic import ConnectionLimits, room_for
from tests.gateway.conftest import Scene, Served, serving
from tests.gateway.test_hostile import descriptors, eventually, resident_bytes, thousand

__all__ = ["hostile_figures"]

READS = 200
HEAD_SECONDS = 600.0
"""So that nobody is thrown out while it is measured."""


def hostile_figures(scene: Scene, folder: Path) -> dict[str, Any]:
    """Seconds of a read, alone and beside them; files and memory of the process, which holds both ends."""
    room_for(3_000)
    limits = ConnectionLimits(head_seconds=HEAD_SECONDS)
    options = GatewayOptions(
        str(folder / "store"), folder / "home", "benchmark", connections=limits, reads_per_second=1e6
    )
    with serving(scene, options) as served:
        served.publish_spec()
        alone, files, memory = _read(served), descriptors(), resident_bytes()
        with thousand(served):
            eventually(lambda: served.server.protocol.open.total() >= 1_000)
            beside = _read(served)
            taken = {"files": descriptors() - files, "bytes": resident_bytes() - memory}
        eventually(lambda: served.server.protocol.open.total() == 0)
        return {"alone": alone, "beside": beside, **taken, "files_left": descriptors() - files}


def _read(served: Served) -> dict[str, float]:
    path = f"blob/{served.scene.world.gateway.terms.params(served.scene.task).spec_hash.hex()}"
    client, size, taken = served.client(), len(served.scene.files[path]), []
    for _ in range(READS):
        begun = time.perf_counter()
        client.read(path, size)
        taken.append(time.perf_counter() - begun)
    return {"median": median(taken), "slowest of a hundred": sorted(taken)[-READS // 100]}
