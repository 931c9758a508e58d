"""One cell: a task of a few rounds whose roles run while faults of one kind come one after the other."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.reliability.counting import losses_of
from benchmarks.reliability.kinds import Kind, Stage, Undo
from benchmarks.reliability.of_processes import as_processes
from benchmarks.shared.places import ROOT
from deltaproof.chain.local_node import start_node
from tests.chaos.chaos_world import ChaosWorld, Stopped, chaos_world

__all__ = ["Injector", "Played", "code_state", "play", "staged"]

SPARE_BLOCKS = 25
"""Blocks between the task's creation and its first round: more than the deepest reorganisation takes."""
PATIENCE_SECONDS = 60.0
"""How long a task may take in all, beyond three times the phases of its rounds."""
PHASES = 8
PRODUCT = ("contracts", "deltaproof", "incentives", "trainer", "verifier")


@dataclasses.dataclass(frozen=True)
class Played:
    """What one cell saw."""

    kind: str
    seed: int
    rounds: int
    commit: str
    """State of the code that was played, as git names it."""
    faults: int
    phases: dict[str, int]
    """Faults by the phase that they began in."""
    seconds: float
    ended: list[str]
    """Honest roles that ended although the task went on, and why."""
    stuck: list[str]
    """Honest roles that had not ended when patience did, with their last words."""
    felt: int
    """Waits that roles told of."""
    unforeseen: list[str]
    """Last lines of errors that nobody foresaw."""
    memory_mib: list[float]
    """Resident size of the process with all roles, after each round."""
    disk_kib: list[float]
    """All homes together, after each round."""
    losses: dict[str, Any]
    told: list[str] = dataclasses.field(default_factory=list)
    """What honest roles said, where one was not paid: to find out why."""


class Injector:
    """Begins and ends the faults of a cell, as its draws say."""

    def __init__(self, kind: Kind, stage: Stage) -> None:
        self._kind, self._stage = kind, stage
        self._end: Undo | None = None
        self._next = time.monotonic() + stage.draw.uniform(*kind.gap)
        self.phases: Counter[str] = Counter()

    def look(self, phase: str) -> None:
        """Called some ten times a second."""
        if self._kind.begin is None or time.monotonic() < self._next:
            return
        if self._end is not None:
            self.stop()
        elif self._stage.living():
            self.phases[phase] += 1
            self._end = self._kind.begin(self._stage)
            self._next = time.monotonic() + self._stage.draw.uniform(*self._kind.lasts)

    def stop(self) -> None:
        """End what is under way."""
        if self._end is not None:
            self._end()
            self._end = None
        self._next = time.monotonic() + self._stage.draw.uniform(*self._kind.gap)


def play(kind: Kind, seed: int, rounds: int) -> Played:
    """Play a cell to its end. Losses are figures, not errors."""
    began = time.monotonic()
    with staged(kind, seed, rounds) as stage:
        return _played(kind, seed, rounds, stage, began)


@contextmanager
def staged(kind: Kind, seed: int, rounds: int, kept_seconds: int = 0) -> Iterator[Stage]:
    """A world of its own for faults of a kind; `kept_seconds` as in `chaos_world`. Nobody has started yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node = start_node("anvil", accounts=14, state_dir=folder / "chain")
        stack.callback(node.stop)
        options: Any = {"trainers": kind.trainers, "verifiers": kind.verifiers, "hostile": kind.hostile}
        options |= {"seconds": kind.phase_seconds, "poll_seconds": 0.25, "kept_seconds": kept_seconds}
        world = stack.enter_context(chaos_world(node, folder, rounds=rounds, **options))
        stack.callback(lambda: world.node.stop())  # noqa: PLW0108 - a restart puts another node there
        if kind.processes:
            as_processes(world, folder)
        world.raw("anvil_mine", hex(SPARE_BLOCKS))
        yield Stage(world, random.Random(f"{kind.name}/{seed}"), folder, world.gateway.connection.block_number())


def _played(kind: Kind, seed: int, rounds: int, stage: Stage, began: float) -> Played:
    commit = code_state()
    world, injectors = stage.world, [Injector(kind, stage) for _ in range(kind.at_once)]
    patience = time.monotonic() + PATIENCE_SECONDS + 3 * rounds * PHASES * kind.phase_seconds / 4
    memory, disk, phase, round_ = [], [], "IDLE", 0
    world.start()
    while any(role.honest and role.living for role in world.roles) and time.monotonic() < patience:
        for injector in injectors:
            injector.look(phase)
        time.sleep(0.1)
        try:
            view = world.gateway.tasks.phase(world.task)
        except Exception:  # the chain itself may be away: then the phase is the last one seen
            continue
        phase = view.phase.name
        if view.round > round_:
            round_ = view.round
            memory.append(_memory_mib())
            disk.append(_disk_kib(world))
    for injector in injectors:
        injector.stop()
    memory.append(_memory_mib())
    disk.append(_disk_kib(world))
    stuck = [f"{role.name}: {role.events[-3:]}" for role in world.roles if role.honest and role.living]
    for role in [*world.roles, *stage.others]:
        role.stop()
    for role in [*world.roles, *stage.others]:
        if role.thread is not None:
            role.thread.join(20.0)
    told = [event for role in world.roles for event in role.events]
    hostile = [message for event, message in told if event == "hostile"]
    losses = losses_of(world, rounds)
    phases = sum((injector.phases for injector in injectors), Counter[str]())
    return Played(
        kind=kind.name,
        seed=seed,
        rounds=rounds,
        commit=commit,
        faults=sum(phases.values()) + len(hostile),
        phases=dict(phases) or dict(Counter(hostile)),
        seconds=round(time.monotonic() - began, 1),
        ended=[
            f"{role.name}: {role.error!r}"
            for role in [*world.roles, *stage.others]
            if role.honest and role.error is not None and not isinstance(role.error, Stopped)
        ],
        stuck=stuck,
        felt=sum(event == "delayed" for event, _ in told),
        unforeseen=sorted({trace for role in [*world.roles, *stage.others] for trace in role.traces}),
        memory_mib=memory[1:],
        disk_kib=disk[1:],
        losses=dataclasses.asdict(losses),
        told=_told(world) if losses.unpaid or losses.lost else [],
    )


def _told(world: ChaosWorld) -> list[str]:
    roles = (role for role in world.roles if role.honest)
    told = (f"{role.name}: {event}: {message}" for role in roles for event, message in role.events)
    return [line.replace(tempfile.gettempdir(), "")[:300] for line in told]


def code_state() -> str:
    """Commit that changed the product last, `-dirty` if files differ from it; `unknown` where there is no git."""
    if shutil.which("git") is None:
        return "unknown"
    commit, changed = (_git(*command, "--", *PRODUCT) for command in (("log", "-1", "--format=%h"), ("status", "-s")))
    return f"{commit or 'unknown'}{'-dirty' if changed else ''}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _disk_kib(world: ChaosWorld) -> float:
    homes = {role.folder / role.name for role in world.roles}
    files = [path for home in homes for path in home.rglob("*") if path.is_file()]
    return round(sum(path.stat().st_size for path in files) / 1024, 1)
