"""Phases that only test chains take: elsewhere the contract leaves people and agents more time (`TaskRules`).

A draft is checked without a chain, and drafts for trying are short. So the check tells what a real chain would refuse,
all of it at once, and creating a task there refuses it before a model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deltaproof.chain.rpc.blocks import LOCAL_CHAINS
from deltaproof.errors import Problem
from deltaproof.protocol.rules import MIN_NOTICE_SECONDS, MIN_PHASE_SECONDS
from deltaproof.protocol.terms.spec import PhasesSection

__all__ = ["short_phases", "short_phases_note", "takes_short_phases"]

LEAST_SECONDS: Mapping[str, int] = {
    **dict.fromkeys(
        ("commit", "reveal", "opening", "attest_commit", "attest_reveal", "settle"), MIN_PHASE_SECONDS
    ),
    **dict.fromkeys(("window", "slash", "activation"), MIN_NOTICE_SECONDS),
}  # fmt: skip
"""By the key of `[phases]`."""


def takes_short_phases(chain_id: int) -> bool:
    """Whether the contracts on this chain take phases of seconds."""
    return chain_id in LOCAL_CHAINS


def short_phases(tables: Mapping[str, object]) -> Iterator[Problem]:
    """One problem for each phase of a draft that a real chain would refuse. What is no number of seconds is told
    elsewhere."""
    phases = tables.get("phases")
    if not isinstance(phases, Mapping):
        return
    seconds = {name: phases.get(name, field.default) for name, field in PhasesSection.model_fields.items()}
    known = {name: value for name, value in seconds.items() if isinstance(value, int) and not isinstance(value, bool)}
    for name, least in LEAST_SECONDS.items():
        if name in known and known[name] < least:
            yield _short(name, known[name], least)
    if known.keys() >= {"claim", "slash"} and known["claim"] < (least := known["slash"] + MIN_NOTICE_SECONDS):
        yield _short("claim", known["claim"], least)


def short_phases_note(tables: Mapping[str, object]) -> str | None:
    """The same as one line for who checks a draft without a chain; None if every chain takes it."""
    found = [f"{problem.key} {problem.what.partition(';')[0]}" for problem in short_phases(tables)]
    if not found:
        return None
    return f"for test chains alone, as it stands: elsewhere the contract refuses that {', '.join(found)}"


def _short(name: str, value: int, least: int) -> Problem:
    tests = " and ".join(map(str, sorted(LOCAL_CHAINS)))
    what = f"is {value:,} seconds, below {least:,}; only test chains (ids {tests}) take that"
    return Problem(f"phases.{name}", what, f"set it to {least} or more")
