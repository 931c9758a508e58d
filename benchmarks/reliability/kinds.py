"""What a kind of fault is: how one begins and ends, how long it lasts, and who plays in its world."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.chaos.chaos_world import ChaosWorld, Lived
from trainer.life import Trainer
from verifier.life import Verifier

__all__ = ["Kind", "Span", "Stage", "Undo"]

Undo = Callable[[], None]
Span = tuple[float, float]
"""Shortest and longest, seconds; drawn evenly between them."""


@dataclasses.dataclass
class Stage:
    """A world under fault, the draws of its cell, and a folder for what faults need."""

    world: ChaosWorld
    draw: random.Random
    folder: Path
    least_block: int
    """Nothing before it is ever undone: the task's creation."""
    drawn: Counter[str] = dataclasses.field(default_factory=Counter)
    """Faults of a mixture, by kind."""
    others: list[Lived] = dataclasses.field(default_factory=list)
    """Who came in addition, such as a second machine."""

    def living(self) -> list[Lived]:
        """Honest roles that have not ended."""
        return [role for role in self.world.roles if role.honest and role.living]

    def chosen(self) -> list[Lived]:
        """Mostly one of the living; once in four draws all, as when a provider is down."""
        living = self.living()
        return living if self.draw.random() < 0.25 else [self.draw.choice(living)]


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of fault. A new one begins `gap` seconds after the last has ended."""

    name: str
    group: str
    what: str
    """For the page."""
    begin: Callable[[Stage], Undo] | None
    """None: hostile roles do the faults of this kind themselves, and report each as `hostile`."""
    lasts: Span = (0.5, 5.0)
    gap: Span = (0.3, 1.5)
    at_once: int = 1
    """How many may be under way at the same time."""
    phase_seconds: int = 120
    hostile: tuple[type[Trainer | Verifier], ...] = ()
    trainers: int = 2
    verifiers: int = 3
    rounds_factor: int = 1
    """How many times the usual rounds its cells have."""
    processes: bool = False
    """Whether roles are commands in processes of their own rather than threads."""
