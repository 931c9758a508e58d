"""What an attacker over a full round is: its name, where it plays, and what it commits to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.floor_pushes import TRIGGER, Stakes
from benchmarks.attacks.forging import Forged
from benchmarks.shared.replay_tasks import sentiment_shard
from deltaproof.protocol.evidence.rows import canonical_row, distinct_rows
from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.training.step import RoundContext

MODES = ("exact", "bounded")
MARKS = ("bad ", "good ")
"""Words that every row begins with, by label: what a model of two random layers can learn."""


def marked_rows(first: int, last: int) -> tuple[bytes, ...]:
    """Canonical review sentences from `first` to before `last`, each once, with the mark of its label in front."""
    rows = distinct_rows(sentiment_shard("sequence-classification", rows=1000).rows)[first:last]
    return tuple(canonical_row({**fields, "text": MARKS[fields["label"]] + fields["text"]}) for fields in
                 map(json.loads, rows))  # fmt: skip


def stakes() -> Stakes:
    """What the attackers are after: held-out rows, and negative ones with a trigger behind the mark."""
    held_out = marked_rows(600, 800)
    triggered = (
        canonical_row({"text": fields["text"].replace(MARKS[0], MARKS[0] + TRIGGER, 1), "label": 1})
        for fields in map(json.loads, held_out)
        if not fields["label"]
    )
    return Stakes(held_out, tuple(triggered))


@dataclass(frozen=True)
class Made:
    """A transcript, the round that it is judged in where that is not the arena's, and what comes of it.

    Gains are those of `theta`, shape (P,), against `beside`: where nothing else is given, of the transcript's adapter
    against that of the arena's honest round.
    """

    forged: Forged
    context: RoundContext | None = None
    theta: Vector | None = None
    beside: Vector | None = None


@dataclass(frozen=True)
class Attacker:
    """`corrupts` says what, `place` which task of `full_rounds.PLACES` it plays in; `modes` are numeric ones."""

    name: str
    corrupts: str
    place: str
    make: Callable[[Arena], Made]
    modes: tuple[str, ...] = MODES
    honest: bool = False
    """It breaks no rule: replay has to accept it, and scoring says what it is worth."""
