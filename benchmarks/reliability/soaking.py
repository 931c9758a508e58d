"""A soak: roles as commands for hours, killed and frozen while nodes and chain fail."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reliability.counting import losses_of
from benchmarks.reliability.kinds import Kind, Stage
from benchmarks.reliability.of_processes import Commanded
from benchmarks.reliability.playing import Injector, code_state, staged
from deltaproof.errors import ChainError

__all__ = ["Sample", "Soaked", "soak"]

SAMPLE_SECONDS = 60.0
KEPT_SECONDS = 120
"""How long a round's work can be asked for; homes are pruned of it then."""
ROUNDS_A_MINUTE = 2
"""More than there is time for."""
LAST_ROUND_SECONDS = 600.0
"""How long the round that runs when time is up may take to its end, without faults."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a soak saw by one moment."""

    minute: float
    round: int
    faults: int
    kills: int
    memory_mib: float
    """Of all roles together: what is theirs alone, and their part of what they share (PSS)."""
    homes_kib: float
    store_kib: float
    logs_kib: float | None = None
    """What of the homes is logs; older soaks did not look."""


@dataclasses.dataclass(frozen=True)
class Soaked:
    """What a soak saw by its end, or until it was interrupted (`losses` is empty then)."""

    seed: int
    commit: str
    minutes: float
    faults: dict[str, int]
    """By kind."""
    rounds: int
    samples: list[Sample]
    felt: int = 0
    ended: tuple[str, ...] = ()
    unforeseen: tuple[str, ...] = ()
    losses: dict[str, Any] = dataclasses.field(default_factory=dict)


def soak(kind: Kind, minutes: float, seed: int, save: Callable[[Soaked], None]) -> Soaked:
    """Play one task for so long; `save` gets what was seen, each minute and at the end."""
    commit = code_state()
    with staged(kind, seed, max(3, int(ROUNDS_A_MINUTE * minutes)), KEPT_SECONDS) as stage:
        began, samples = time.monotonic(), list[Sample]()
        injector = Injector(kind, stage)
        stage.world.start()

        def seen(**end: Any) -> Soaked:
            passed = round((time.monotonic() - began) / 60, 1)
            return Soaked(seed, commit, passed, dict(stage.drawn), samples[-1].round, samples, **end)

        round_ = 0
        while time.monotonic() < began + 60 * minutes and stage.living():
            phase, round_ = _look(stage, round_)
            injector.look(phase)
            if time.monotonic() >= began + SAMPLE_SECONDS * len(samples):
                samples.append(_sample(stage, (time.monotonic() - began) / 60, round_))
                save(seen())
            time.sleep(0.1)
        injector.stop()
        patience = time.monotonic() + LAST_ROUND_SECONDS
        while stage.living() and time.monotonic() < patience:
            phase, round_ = _look(stage, round_)
            if phase == "IDLE":
                break
            time.sleep(0.1)
        samples.append(_sample(stage, (time.monotonic() - began) / 60, round_))
        ended = tuple(f"{role.name}: {role.error!r}" for role in stage.world.roles if not role.living and role.error)
        for role in stage.world.roles:
            role.stop()
        told = [event for role in stage.world.roles for event, _ in role.events]
        found = seen(
            felt=told.count("delayed"),
            ended=ended,
            unforeseen=tuple(sorted({trace for role in stage.world.roles for trace in role.traces})),
            losses=dataclasses.asdict(losses_of(stage.world, round_)),
        )
        save(found)
        return found


def _look(stage: Stage, round_: int) -> tuple[str, int]:
    """Phase and last round of the task; while the chain is away, the round that is known."""
    try:
        view = stage.world.gateway.tasks.phase(stage.world.task)
    except ChainError:
        return "AWAY", round_
    return view.phase.name, view.round


def _sample(stage: Stage, minute: float, round_: int) -> Sample:
    processes = [role.process for role in stage.world.roles if isinstance(role, Commanded) and not role.down]
    homes = [role.folder / role.name for role in stage.world.roles]
    return Sample(
        minute=round(minute, 1),
        round=round_,
        faults=sum(stage.drawn.values()),
        kills=stage.drawn["SIGKILL"],
        memory_mib=round(sum(_share_of_memory(process.pid) for process in processes if process) / 1024, 1),
        homes_kib=round(sum(_size(home) for home in homes) / 1024, 1),
        store_kib=round(_size(stage.world.store_folder) / 1024, 1),
        logs_kib=round(sum(_size(home / "logs") for home in homes) / 1024, 1),
    )


def _share_of_memory(pid: int | None) -> int:
    """PSS of a process in KiB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _size(folder: Path) -> int:
    """Bytes of all files; one that vanishes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
