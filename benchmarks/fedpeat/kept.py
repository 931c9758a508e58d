"""Measured cells of benchmarks.fedpeat: each in a file of its own, named by all that it depends on.

So several runs go on beside each other. Published figures carry these names, and a run elsewhere goes on from them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.fedpeat.tasks import ARMS, TASKS, Arm
from benchmarks.shared.cells import cell
from benchmarks.shared.places import BUILD, ROOT
from deltaproof.protocol.wire.encoding import canonical_json

__all__ = ["Place", "adopt", "known_cells", "measured", "played_at", "publish"]

KEPT = BUILD / "fedpeat" / "cells"
ANY_RATE = 1e-3
"""What does not depend on the learning rate is measured at this one."""


@dataclass(frozen=True)
class Place:
    """What is measured of which arm; `rate` where the result depends on the learning rate."""

    task: str
    what: str
    arm: str = "-"
    seed: int = 0
    rate: float | None = None

    @property
    def key(self) -> str:
        """Names the cell."""
        rate = "" if self.rate is None else f" / {self.rate:g}"
        return f"{self.task} / {self.what} / {self.arm} / {self.seed}{rate}"

    @cached_property
    def digest(self) -> str:
        """Names all that the cell depends on."""
        arm = next((arm.settings for arm in ARMS[self.task] if arm.name == self.arm), None)
        settings = {} if self.what == "bare" else {**TASKS[self.task]().settings, "arm": arm}
        return sha256(canonical_json([self.key, settings])).hexdigest()[:16]


def measured(place: Place) -> dict[str, Any]:
    """The cell, from a process of its own if no run has measured it before."""
    rate = ANY_RATE if place.rate is None else place.rate
    arguments = (place.what, place.task, place.arm, str(place.seed), repr(rate))
    found: dict[str, Any] = cell(KEPT, f"{place.key} {place.digest}", lambda: {place.key: _run(*arguments)})[place.key]
    return found


def known_cells() -> dict[str, Any]:
    """Every cell that was measured, or published, with today's settings, by key."""
    found: dict[str, Any] = {}
    for path in sorted(KEPT.glob("*.json")):
        for key, one in json.loads(path.read_text("utf-8")).items():
            if path.stem.endswith(_place(key).digest):
                found[key] = one
    return found


def played_at(cells: dict[str, Any], task: str, arm: Arm, rate: float) -> list[dict[str, Any]]:
    """Results on held-out rows at a rate, of all seeds."""
    keys = [key for key in sorted(cells) if key.startswith(f"{task} / quality / {arm.name} / ")]
    return [cells[key] for key in keys if _place(key).rate == rate]


def adopt(published: Path) -> None:
    """Keep the published cells of today's settings, where no run here has its own."""
    for key, one in json.loads(published.read_text("utf-8")).items():
        digest = one.pop("settings")
        if digest == _place(key).digest:
            cell(KEPT, f"{key} {digest}", partial(dict, {key: one}))


def publish(cells: dict[str, Any], to: Path) -> None:
    """Write cells, each with the name of what it depends on."""
    named = {key: {**one, "settings": _place(key).digest} for key, one in cells.items()}
    to.write_text(json.dumps(named, indent=1, sort_keys=True) + "\n", "utf-8")


def _place(key: str) -> Place:
    task, what, arm, seed, *rate = key.split(" / ")
    return Place(task, what, arm, int(seed), float(rate[0]) if rate else None)


def _run(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.fedpeat.cells", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
