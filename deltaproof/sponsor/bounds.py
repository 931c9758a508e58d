"""Calibrated bounds, written into a draft without touching anything else in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from deltaproof.errors import UsageError
from deltaproof.folders import write_whole
from deltaproof.protocol.terms.spec import read_toml

__all__ = ["write_bounds"]

_TABLE = re.compile(r"^\s*\[(?P<name>[^\[\]]+)\]\s*(#.*)?$")


def write_bounds(path: Path, bounds: Mapping[str, float]) -> dict[str, float]:
    """Set keys of the draft's table `[training]`; a larger value that stands there stays. Returns what stands now.

    So a run for each pair of devices leaves the largest. Raises SpecError for a file that is no TOML, UsageError where
    its table is written in a way that this cannot edit.
    """
    before = read_toml(path)
    training = before.get("training")
    if not isinstance(training, dict):
        raise UsageError(f"{path} has no table [training]: add it, or put the bounds where they belong by hand")
    wanted = {key: max(value, float(training.get(key, 0.0))) for key, value in bounds.items()}
    text = _edited(path.read_text("utf-8"), wanted)
    expected = {**before, "training": {**training, **wanted}}
    if tomllib.loads(text) != expected:
        raise UsageError(f"{path}: [training] is written in a way that cannot be edited; put in by hand: {wanted}")
    write_whole(path, text.encode("utf-8"))
    return wanted


def _edited(text: str, wanted: Mapping[str, float]) -> str:
    lines: list[str] = []
    left, table, begin = dict(wanted), "", 0
    for line in text.splitlines():
        key, (_, hash_, comment) = line.partition("=")[0].strip(), line.partition("#")
        if match := _TABLE.match(line):
            table = match["name"].strip()
        if table == "training" and key in left:
            lines.append(f"{key} = {left.pop(key)!r}{'  ' + hash_ + comment if hash_ else ''}")
        else:
            lines.append(line)
        if match and table == "training":
            begin = len(lines)
    lines[begin:begin] = [f"{key} = {value!r}" for key, value in left.items()]
    return "\n".join(lines) + "\n"
