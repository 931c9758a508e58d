"""The demo's data: sentences from three sources, cut into disjoint shards, validation sets and a test set.

Three natural shards (films, restaurants, products) for honest trainers, a mixed one with most labels flipped for an
honest trainer with bad data, and a mixed one for the cheat, of which a part is for whoever has several names. All
draws come from the demo's seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deltaproof.errors import UsageError

__all__ = ["SOURCES", "DemoData", "prepare_data"]

SOURCES = ("imdb", "yelp", "amazon")
"""Names of the data sets, one natural shard each."""
TEST_ROWS = 100
MIXED_ROWS = 100
NAMED_ROWS = 144
"""As many as a round reads, so that every name of `demo --sybil` has the same rows to show."""
FLIPPED = 0.9

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class DemoData:
    """Files of one run: a shard per trainer name, the validation rows of all rounds, and the test rows."""

    shards: dict[str, Path]
    validation: Path
    test: Path


def prepare_data(assets: Path, folder: Path, *, seed: int, rounds: int, validation_rows: int) -> DemoData:
    """Write the demo's JSONL files into `folder`. Raises UsageError if the data sets were not laid out."""
    draw = random.Random(f"deltaproof demo data {seed}")
    per_source = validation_rows // len(SOURCES)
    test: list[Row] = []
    validation: list[list[Row]] = [[] for _ in range(rounds)]
    shards: dict[str, list[Row]] = {}
    noisy: list[Row] = []
    cheat: list[Row] = []
    for source in SOURCES:
        rows = _read(assets / "sentiment" / f"{source}.jsonl")
        draw.shuffle(rows)
        take = iter(rows)
        test += _next(take, TEST_ROWS)
        for round_rows in validation:
            round_rows.extend(_next(take, per_source))
        noisy += _next(take, MIXED_ROWS)
        cheat += _next(take, MIXED_ROWS)
        shards[source] = list(take)
    for row in noisy:
        if draw.random() < FLIPPED:
            row["label"] = 1 - int(str(row["label"]))
    draw.shuffle(noisy)
    draw.shuffle(cheat)
    shards |= {"noisy": noisy, "cheat": cheat, "names": cheat[:NAMED_ROWS]}

    folder.mkdir(parents=True, exist_ok=True)
    return DemoData(
        shards={name: _write(folder / f"{name}.jsonl", rows) for name, rows in shards.items()},
        validation=_write(folder / "validation.jsonl", [row for part in validation for row in part]),
        test=_write(folder / "test.jsonl", test),
    )


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        raise UsageError(
            f"the demo needs a checkout of the repository, whose `make setup` lays out its data: no {path}"
        )
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [{"label": int(row["label"]), "text": str(row["text"])} for row in rows]


def _next(rows: Iterable[Row], count: int) -> list[Row]:
    return [row for _, row in zip(range(count), rows, strict=False)]


def _write(path: Path, rows: Iterable[Row]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
