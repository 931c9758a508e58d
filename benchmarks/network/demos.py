"""The demo through one shared folder, and among strangers: through a gateway, with rows and adapters open or sealed.

Each is the command that a reader types, in a folder of its own, with nothing else on the machine. Each set has a data
split of its own, and every second set is played in the other order.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.shared.cells import cell

__all__ = ["WAYS", "demo_sets"]

SETS = 2
WAYS = {"one folder": ("--folder",), "gateway": (), "gateway, sealed": ("--network",)}
"""The options of `deltaproof demo` by the way in which artifacts change hands."""


def demo_sets(kept: Path) -> list[dict[str, dict[str, Any]]]:
    """For each set, by way: seconds from the start to the last process's end, and whether every promise was kept."""
    return [_set(kept, number) for number in range(SETS)]


def _set(kept: Path, number: int) -> dict[str, dict[str, Any]]:
    order = list(WAYS) if number % 2 == 0 else list(WAYS)[::-1]
    found = {way: cell(kept, f"demo {number} {way}", partial(_played, way, number + 1)) for way in order}
    return {way: found[way] for way in WAYS}


def _played(way: str, seed: int) -> dict[str, Any]:
    """One demo. Raises CalledProcessError if it broke off; a promise that was not kept is told, not raised."""
    with tempfile.TemporaryDirectory() as runs:
        command = (sys.executable, "-m", "deltaproof", "demo", "--runs", runs, "--name", "set", "--seed", str(seed))
        ended = subprocess.run([*command, *WAYS[way]], stdout=subprocess.PIPE, text=True, check=False)
        told = Path(runs) / "set" / "summary.json"
        if not told.is_file():
            raise subprocess.CalledProcessError(ended.returncode, command, ended.stdout)
        summary = json.loads(told.read_text("utf-8"))
    return {
        "seconds": float(summary["seconds"]),
        "kept": bool(summary["kept"]),
        "rounds": len({outcome["round"] for outcome in summary["outcomes"]}),
    }
