"""Where names are played: sentences on MiniLM, and rotated digits on a small vision transformer.

A *world* is three honest trainers, an attacker with two shards of its own, and held-out rows that nobody trains on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from benchmarks.shared.digits import digits_model, digits_rows
from benchmarks.shared.lora_rounds import SOURCES, Rounds, sentiment_rows
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.base_models.presets import complete_spec

__all__ = ["GROUNDS", "ROWS", "Ground", "Shards"]

ROWS, HELD_OUT = 96, 180
"""Rows of a shard: as many as 12 steps of 8 read. Held-out rows, which are one validation set."""


@dataclass(frozen=True)
class Shards:
    """Rows of a world."""

    honest: tuple[list[bytes], ...]
    own: list[bytes]
    second: list[bytes]
    """Of another who colludes with the attacker."""
    held_out: list[bytes]


@dataclass(frozen=True)
class Ground:
    """A model with its rows. `reworded(row, number)` is a paraphrase, `nearly(row, number)` a row changed a little."""

    name: str
    rounds: Rounds
    shards: Callable[[int], Shards]
    reworded: Callable[[bytes, int], bytes]
    nearly: Callable[[bytes, int], bytes]


def _sentences(world: int) -> Shards:
    def slot(source: str, number: int) -> list[bytes]:
        first = 100 + 100 * (number % 7)
        return sentiment_rows(source, first, first + ROWS)

    source = SOURCES[world % 3]
    held_out = [row for s in SOURCES for row in sentiment_rows(s, 1000 - HELD_OUT // 3, 1000)]
    honest = tuple(slot(s, world) for s in SOURCES)
    return Shards(honest, slot(source, world + 3), slot(source, world + 5), held_out)


FRAMES = (
    ("as far as i can tell , and i have thought about it for a while ,", "; so much for what i think"),
    ("my sister told me on the phone yesterday evening that", "but maybe she is wrong about all of this"),
    ("somebody on the bus said something like this this morning :", "which is what most people here would say"),
    ("to whom it may concern , please note for your files that", "yours sincerely , a customer of many years"),
    ("here is another one from the pile of letters on my desk :", "that is all she wrote on the card"),
)
FILLERS = ("well", "so", "yes", "ok", "hm")


def _reworded_text(row: bytes, number: int) -> bytes:
    fields = json.loads(row)
    before, after = FRAMES[number % len(FRAMES)]
    return canonical_row({**fields, "text": f"{before} {fields['text']} {after}"})


def _nearly_text(row: bytes, number: int) -> bytes:
    fields = json.loads(row)
    return canonical_row({**fields, "text": f"{fields['text']} {FILLERS[number % len(FILLERS)]}"})


class _DigitRounds(Rounds):
    """The same round on a vision transformer that has not seen digits turned."""

    @cached_property
    def spec(self) -> TaskSpec:
        return complete_spec(
            f"path:{digits_model()}",
            "image-classification",
            {
                "model": {"num_labels": 10},
                "method": {"options": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}},
                "optimizer": {"name": "adam", "learning_rate": 1e-2, "weight_decay": 0.0, "schedule": "linear"},
                "training": {"steps": self.steps, "batch_size": 8, "numeric": "bounded"},
            },
        )

    @cached_property
    def warm_start(self) -> Vector:
        """After two rounds of one trainer on rows that no world uses."""
        theta = self.bench.initial_state()
        for number in range(2):
            theta = self.train("warm", digits_rows("rotated")[:80], theta, number)
        return theta


def _digits(world: int) -> Shards:
    rows = digits_rows("rotated")[80:]
    order = sorted(range(len(rows)), key=lambda i: sha256(f"{world}/{i}".encode()).digest())
    drawn = [rows[i] for i in order]
    parts = [drawn[i * ROWS : (i + 1) * ROWS] for i in range(5)]
    return Shards(tuple(parts[:3]), parts[3], parts[4], drawn[5 * ROWS : 5 * ROWS + HELD_OUT])


def _reworded_digit(row: bytes, number: int) -> bytes:
    """The digit moved by a pixel."""
    return _moved(row, (number % 5) + 1)


def _nearly_digit(row: bytes, number: int) -> bytes:
    """One pixel a little brighter: other bytes."""
    fields = json.loads(row)
    pixels: Sequence[int] = fields["pixels"]
    place = number % len(pixels)
    return canonical_row({**fields, "pixels": [p ^ 1 if i == place else p for i, p in enumerate(pixels)]})


def _moved(row: bytes, number: int) -> bytes:
    fields = json.loads(row)
    image = [fields["pixels"][i * 8 : i * 8 + 8] for i in range(8)]
    down, right = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1))[number % 5]
    moved = [image[(i - down) % 8][(j - right) % 8] for i in range(8) for j in range(8)]
    return canonical_row({**fields, "pixels": moved})


GROUNDS = {
    "sentences": Ground("sentences on MiniLM", Rounds(), _sentences, _reworded_text, _nearly_text),
    "digits": Ground("rotated digits on a vision transformer", _DigitRounds(), _digits, _reworded_digit, _nearly_digit),
}
