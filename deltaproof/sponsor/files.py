"""The table `[sponsor]` of a draft: files that never leave the sponsor's machine, read and checked.

[sponsor]
validation = "validation.jsonl"   # rows of all rounds, cut into sets of validation.rows
test = "test.jsonl"               # the final held-out set
shards = ["a.jsonl", "b.jsonl"]   # if only these may be trained on: their roots become data.roots
public = "public.jsonl"           # with [federation]: rows that everybody may see
start = "adapter.safetensors"     # with [federation]: the adapter to start from
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltaproof.errors import DeltaproofError, Problem
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard, distinct_rows, read_shard
from deltaproof.protocol.types import hex_of

__all__ = ["SPONSOR_KEYS", "DraftFiles", "Rows", "read_files"]

Rows = tuple[bytes, ...]
"""Canonical rows, as bytes."""
SPONSOR_KEYS = ("validation", "test", "shards", "public", "start")
"""Keys of a draft's table [sponsor]."""
_FEDERATED = ("public", "start")


@dataclass(frozen=True, slots=True)
class DraftFiles:
    """Canonical rows by the name of their file; empty where the draft names none or it cannot be read."""

    validation: Rows = field(repr=False)
    test: Rows = field(repr=False)
    shards: Mapping[str, Rows] = field(repr=False)
    public: Rows = field(repr=False)
    start: Path | None
    names: Mapping[str, str]
    """File name of each key that names one."""

    @property
    def shard_roots(self) -> list[str]:
        """Roots of the shards under public salts, which a trainer who was given one of them finds as well."""
        return [hex_of(Shard(distinct_rows(rows), PUBLIC_SALTS).root) for rows in self.shards.values() if rows]

    def by_name(self) -> dict[str, tuple[str, Rows]]:
        """Key and rows of every file of rows that was read."""
        single = {name: (f"sponsor.{key}", getattr(self, key)) for key, name in self.names.items()}
        return single | {name: ("sponsor.shards", rows) for name, rows in self.shards.items()}


def read_files(tables: dict[str, object], folder: Path) -> tuple[DraftFiles, list[Problem]]:
    """Take `[sponsor]` out of the draft's tables and read what it names, with everything that is wrong."""
    sponsor = tables.pop("sponsor", None)
    federated = "federation" in tables
    if not isinstance(sponsor, Mapping):
        missing = Problem("sponsor", "missing", "add a table [sponsor] with the files of the hidden rows")
        return DraftFiles((), (), {}, (), None, {}), [missing]
    known = [key for key in SPONSOR_KEYS if federated or key not in _FEDERATED]
    problems = [
        Problem(f"sponsor.{key}", f"unknown key {key!r} in [sponsor]", f"it has {', '.join(known)}")
        for key in sponsor
        if key not in known
    ]
    rows: dict[str, Rows] = {}
    names: dict[str, str] = {}
    for key in ("validation", "test", *(("public",) if federated else ())):
        if key not in sponsor:
            problems.append(Problem(f"sponsor.{key}", f"[sponsor] lacks {key!r}", "name a file of rows, JSON Lines"))
            continue
        rows[key], names[key] = _rows(key, sponsor[key], folder, problems), str(sponsor[key])
    start = folder / str(sponsor["start"]) if federated and "start" in sponsor else None
    if start is not None and not start.is_file():
        problems.append(Problem("sponsor.start", f"{start} is no file", "name an adapter of the artifact store"))
    shards = _shards(sponsor.get("shards"), folder, problems) if "shards" in sponsor else {}
    read = DraftFiles(rows.get("validation", ()), rows.get("test", ()), shards, rows.get("public", ()), start, names)
    return read, problems


def _shards(value: object, folder: Path, problems: list[Problem]) -> dict[str, Rows]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        problems.append(Problem("sponsor.shards", "shards must be a list of files", 'write shards = ["a.jsonl"]'))
        return {}
    shards: dict[str, Rows] = {}
    seen: dict[Rows, str] = {}
    for name in value:
        rows = _rows("shards", name, folder, problems)
        if rows in seen and rows:
            problems.append(
                Problem("sponsor.shards", f"{seen[rows]} and {name} hold the same rows", "name each shard once")
            )
        seen.setdefault(rows, name)
        shards[name] = rows
    return shards


def _rows(key: str, name: object, folder: Path, problems: list[Problem]) -> Rows:
    if not isinstance(name, str):
        problems.append(Problem(f"sponsor.{key}", f"expected the name of a file, got {name!r}", "write it in quotes"))
        return ()
    try:
        rows = read_shard(folder / name)
    except DeltaproofError as error:
        problems.append(Problem(f"sponsor.{key}", str(error), "mend the file, or name another"))
        return ()
    if not rows:
        problems.append(Problem(f"sponsor.{key}", f"{name} has no rows", "write one JSON object a line"))
    return rows
