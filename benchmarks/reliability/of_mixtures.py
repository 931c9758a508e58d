"""Everything at once, for longer: a soak."""

from __future__ import annotations

from benchmarks.reliability.kinds import Kind, Stage, Undo
from benchmarks.reliability.of_chain import CHAIN
from benchmarks.reliability.of_machine import MACHINE
from benchmarks.reliability.of_network import NETWORK
from benchmarks.reliability.of_processes import PROCESSES

__all__ = ["MIXTURES"]

SLOW = ("hanging", "fee spikes", "two machines")
"""Left out, because a soak is to see many faults."""
AROUND_PROCESSES = ("node", "chain")
"""Faults of these groups reach commands, too: they are made outside of the roles."""


def any_of(kinds: list[Kind]) -> Kind:
    """A kind whose faults are drawn from others."""

    def begin(stage: Stage) -> Undo:
        kind = stage.draw.choice(kinds)
        assert kind.begin is not None
        stage.drawn[kind.name] += 1
        return kind.begin(stage)

    return Kind(
        "everything", "soak", "drawn from the kinds above, one after the other", begin, gap=(0.2, 0.8), rounds_factor=3
    )


def with_kills() -> Kind:
    """Commands that are killed while nodes and chain fail."""
    around = [kind for kind in [*NETWORK, *CHAIN] if kind.group in AROUND_PROCESSES and kind.name not in SLOW]
    drawn = any_of([*around, *(kind for kind in PROCESSES for _ in range(len(around) // 2))])
    assert drawn.begin is not None
    what = "commands that are killed and frozen while node and chain fail"
    return Kind("everything and SIGKILL", "soak", what, drawn.begin, gap=(2.0, 6.0), processes=True, rounds_factor=3)


MIXTURES = [
    any_of([kind for kind in [*NETWORK, *CHAIN, *MACHINE] if kind.name not in SLOW]),
    with_kills(),
]
