"""Cells of a benchmark that are kept on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["cell", "kept"]


def cell(folder: Path, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` gives, from the folder if it was computed before; remove the folder to start anew.

    Several processes may keep cells of one folder at a time.
    """
    path = _path(folder, name)
    if path.is_file():
        return kept(folder, name)
    print(f"{name} ...", file=sys.stderr, flush=True)
    found = compute()
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(found), "utf-8")
    partial.replace(path)
    return found


def kept(folder: Path, name: str) -> dict[str, Any]:
    """What was computed before; empty if it was not."""
    path = _path(folder, name)
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _path(folder: Path, name: str) -> Path:
    return folder / f"{''.join(c if c.isalnum() else '-' for c in name)}.json"
