"""Synthetic cells of the benchmark of methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.methods.rates import rate_of
from benchmarks.methods.results import ROWS, SPLIT, Key, Measured, kind_of

__all__ = ["DIGITS", "NO_IMAGES", "Cells"]

DIGITS = ("rotated digits", "noisy digits", "inverted digits", "odd digits", "large digits", "prime digits")
NO_IMAGES = ("prefix", "prompt", "p_tuning")


class Cells:
    """Synthetic cells of whole tasks: every method alike, but for what a test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory: dict[str, dict[str, float]] = {}

    def task(self, task: str, seeds: int = 1, **accuracy: float | Callable[[int], float]) -> dict[str, dict[str, Any]]:
        """Cells by key; `accuracy` of a method, which may depend on the seed."""
        kind, cells = kind_of(task), {}
        for seed in range(seeds):
            for method in (m for m in ROWS if kind != "language" or m not in ("full", "head")):
                found = accuracy.get(method, 0.5)
                value = found if isinstance(found, float) else found(seed)
                plain = method == "head" or (kind == "text" and method == "full")
                cell = {
                    "accuracy": value,
                    "loss": 6.0 - value,
                    "values": 1000,
                    "rate": rate_of(kind, method),
                    "lost": 0.0,
                    **({} if plain else {"train_seconds": 1.0}),
                }
                refused = kind == "digits" and method in NO_IMAGES
                key = Key("plain" if plain else "ours", method, seed).text()
                cells[key] = {"refused": "no tokens"} if refused else cell
            cells[f"untouched / untouched / {seed}"] = {"accuracy": 0.1, "loss": 5.4}
        return cells

    def write(self, task: str, cells: Mapping[str, dict[str, Any]]) -> None:
        text = json.dumps({**cells, SPLIT: {"digest": "aa"}})
        (self.folder / f"{task.replace(' ', '-')}.json").write_text(text)

    def read(self) -> Measured:
        (self.folder / "memory.json").write_text(json.dumps(self.memory))
        return Measured.read(self.folder)
