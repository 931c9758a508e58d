"""What an audit of a given depth cannot see, said by the audit itself.

docs/results/tampering.md has a row for each lie and the least audit that finds it; these are its sums in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["blind_to"]

ALWAYS = (
    "steps that no verifier drew; what rounding explains; withheld work of which neither a receipt nor a clock speaks"
)


def blind_to(options: Mapping[str, Any]) -> list[str]:
    """Lies that an audit with these options of its report lets pass, and what to do about each."""
    blind = []
    if not options.get("models", True):
        blind.append(
            "steps, losses, accuracies, the next adapter, who is a copy, which rows count, and whether a rejection was "
            "right: load the model (no --without-model)"
        )
    if not options.get("rescore", False):
        blind.append("coalition values, scores made of them, and standard errors: --rescore")
    if not options.get("official_replays", False):
        blind.append("a trainer whom a quorum accepts although one of its verifiers' own steps fails: --full")
    if options.get("bundle", False):
        blind.append("balances, stakes and other rounds, which are not in a bundle")
    if not options.get("witness", False):
        more = " and all of them" if options.get("bundle", False) else ""
        blind.append(f"whether these blocks are the chain that others know{more}: --witness URL")
    return [*blind, ALWAYS]
