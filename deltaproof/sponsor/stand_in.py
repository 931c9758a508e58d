"""A draft read as a whole spec before its digests are known, for whoever asks about its other terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltaproof.errors import SpecError, UsageError
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec, read_toml
from deltaproof.protocol.types import ZERO_DIGEST, hex_of
from deltaproof.sponsor.amounts import ASSUMED, take_amounts
from deltaproof.sponsor.open_pay import choose_open_pay

__all__ = ["read_draft"]

_ZERO = hex_of(ZERO_DIGEST)


def read_draft(path: Path) -> TaskSpec:
    """The spec with zeros for the digests that the draft leaves out. Raises SpecError for whatever else is wrong.

    Raises UsageError for a draft with emulators: what trainers hold is known once the task is made.
    """
    tables: dict[str, Any] = read_toml(path)
    if "federation" in tables:
        raise UsageError(f"{path} has emulators, which `deltaproof task create` makes: say --task N afterwards")
    sponsor = tables.pop("sponsor", None)
    named = isinstance(sponsor, dict) and bool(sponsor.get("shards"))
    if problems := [*take_amounts(tables, ASSUMED), *choose_open_pay(tables, named=named)]:
        raise SpecError.of(str(path), problems)
    rounds = _table(tables, "rewards").get("rounds")
    _table(tables, "validation").setdefault("commitments", [_ZERO] * (rounds + 1 if isinstance(rounds, int) else 2))
    _table(tables, "model").setdefault("weights_digest", _ZERO)
    _table(tables, "method").setdefault("seed", _ZERO)
    tables.setdefault("start_digest", _ZERO)
    if _table(tables, "adapter").get("visibility") == "participants":
        _table(tables, "adapter").setdefault("secret", "0x" + "01" * 32)
    return parse_spec(tables, origin=str(path))


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.setdefault(name, {})
    return table if isinstance(table, dict) else {}
