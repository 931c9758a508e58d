"""How a task of anybody's data pays, where its draft does not say: by the value that names cannot buy.

The spec's own default, the Shapley value of everybody who comes, is for groups that know each other and for shards that
the task names. Whoever leaves the choice out of an open task gets `aumann_shapley` of distinct rows; where the rest of
the draft rules that out, the draft is refused with the reason, and says itself what it wants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deltaproof.errors import Problem

__all__ = ["OPEN_PAY", "choose_open_pay", "why_no_shares"]

OPEN_PAY: Mapping[str, Mapping[str, str]] = {
    "scoring": {"index": "aumann_shapley", "rows": "distinct"},
    "aggregation": {"weights": "rows"},
}
"""Keys of the value that names cannot buy."""
_RULED_OUT = {
    "aggregation.rule": "mean",
    "aggregation.weights": "rows",
    "scoring.method": "auto",
}
"""Keys that have to have this value, if they are there."""


def choose_open_pay(tables: dict[str, object], *, named: bool) -> list[Problem]:
    """Write OPEN_PAY into a draft's tables, if it takes anybody's data and has no `scoring.index`.

    `named`: whether files of `[sponsor]` name its shards. Returns what rules it out; the tables are then as before.
    """
    if named or not _takes_anybodys_data(tables) or "index" in _table(tables, "scoring"):
        return []
    if obstacles := list(_obstacles(tables)):
        what = f"the task takes anybody's data and does not say how it pays; names gain nothing by aumann_shapley of \
distinct rows, but {'; '.join(obstacles)}"
        remedy = 'change that, name the shards, or write index = "shapley": then k names are paid like k trainers'
        return [Problem("scoring.index", what, remedy)]
    for section, keys in OPEN_PAY.items():
        table = tables.setdefault(section, {})
        if isinstance(table, dict):
            for key, value in keys.items():
                table.setdefault(key, value)
    return []


def why_no_shares(method: str) -> str:
    """Why deltas of a method have no shares that `aumann_shapley` could pay for; empty if they have."""
    from deltaproof.tuning.methods import METHODS

    found = METHODS.get(method)
    return "" if found is None or found.has_shares() else f"deltas of {method} do not add up to a step"


def _takes_anybodys_data(tables: Mapping[str, object]) -> bool:
    """Neither roots nor trainers are named; in a federation the owner of the model chooses whom it hands emulators."""
    return not _table(tables, "data").get("roots") and "federation" not in tables


def _obstacles(tables: Mapping[str, object]) -> Iterator[str]:
    from deltaproof.tuning.codecs import sends_a_part

    for key, value in _RULED_OUT.items():
        section, name = key.split(".")
        if (found := _table(tables, section).get(name, value)) != value:
            yield f"{key} is {found!r}"
    if reason := why_no_shares(str(_table(tables, "method").get("name"))):
        yield reason
    if sends_a_part(codec := str(_table(tables, "codec").get("name"))):
        yield f"the codec {codec} leaves each trainer a part of the values"


def _table(tables: Mapping[str, object], name: str) -> dict[str, Any]:
    table = tables.get(name)
    return table if isinstance(table, dict) else {}
