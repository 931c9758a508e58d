"""Every term of a task in words: what a key's page says of it, with its value as people write it.

The words are those of the spec's own sections, so a new key is told without anybody thinking of it. Keys that nothing
of the task reads (momentum without that optimiser) are left out; a spec that sets them is refused anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from deltaproof.protocol.rules import BPS, NANOS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import hex_of
from deltaproof.reporting import printable, span
from deltaproof.sponsor.amounts import Tokens

__all__ = ["terms_in_words"]

MOST_LISTED = 3
"""Of a list's items, those that are shown."""
_TOLD_ABOVE = {"task.name", "task.description"}
_UNITS = re.compile(r"[,;] (?:in )?(?:smallest units[^.]*|(?:basis points|nano-nats|seconds)[^.;]*)")
_BOUNDED = ("bound_tensor", "bound_total", "bound_floor", "drift_sigmas", "gradient_dtype")
_READ_IF: Mapping[str, Callable[[TaskSpec], bool]] = {
    **dict.fromkeys(
        ("optimizer.beta1", "optimizer.beta2", "optimizer.eps"), lambda spec: spec.optimizer.name in ("adam", "adamw")
    ),
    **dict.fromkeys((f"training.{key}" for key in _BOUNDED), lambda spec: spec.training.numeric == "bounded"),
    **dict.fromkeys(("scoring.beta_a", "scoring.beta_b"), lambda spec: spec.scoring.index == "beta_shapley"),
    "optimizer.momentum": lambda spec: spec.optimizer.name == "momentum",
    "aggregation.trim_fraction": lambda spec: spec.aggregation.rule == "trimmed_mean",
    "aggregation.byzantine": lambda spec: spec.aggregation.rule == "multi_krum",
}
"""Keys that only some tasks read."""


def terms_in_words(spec: TaskSpec, tokens: Tokens) -> Iterator[str]:
    """Lines for a person, one a key, below a line for each section."""
    for name, field in type(spec).model_fields.items():
        section = getattr(spec, name)
        if section is None:
            continue
        if not isinstance(section, BaseModel):
            yield f"{name.replace('_', ' ')}: {_written(name, section, tokens)} ({_words(field.description)})"
            continue
        yield f"{name} – {_words(type(section).__doc__)}"
        yield from (f"  {line}" for line in _section(spec, name, section, tokens))


def _section(spec: TaskSpec, name: str, section: BaseModel, tokens: Tokens) -> Iterator[str]:
    for key, field in type(section).model_fields.items():
        place, value = f"{name}.{key}", getattr(section, key)
        if place in _TOLD_ABOVE or not _READ_IF.get(place, _always)(spec):
            continue
        yield f"{key.replace('_', ' ')}: {_written(place, value, tokens)} ({_words(field.description)})"


def _always(spec: TaskSpec) -> bool:
    return True


def _words(text: str | None) -> str:
    """The words of a key or section, without the units that its value now has, on one line."""
    return _UNITS.sub("", " ".join((text or "").replace("`", "").split())).rstrip(".")


def _written(place: str, value: Any, tokens: Tokens) -> str:
    """A value as people write it: amounts in tokens, shares in per cent, times in their largest unit."""
    if (money := tokens.of(place)) is not None:
        return money.exact(int(value))
    if isinstance(value, BaseModel):
        return "; ".join(f"{name} {_written(place, getattr(value, name), tokens)}" for name in type(value).model_fields)
    if isinstance(value, Mapping):
        return (
            ", ".join(f"{printable(name)} = {_written(place, item, tokens)}" for name, item in value.items()) or "none"
        )
    if isinstance(value, (tuple, list)):
        shown = [_written(place, item, tokens) for item in value[:MOST_LISTED]]
        more = [f"and {len(value) - MOST_LISTED} more"] if len(value) > MOST_LISTED else []
        return ", ".join([*shown, *more]) or "none"
    return _one(place, value)


def _one(place: str, value: Any) -> str:
    if isinstance(value, bytes):
        return hex_of(value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if place.endswith("_bps"):
        return f"{100 * value / BPS:g} %"
    if place.endswith("_nanos"):
        return f"{value / NANOS:g} nats"
    return span(value) if place.startswith("phases.") else printable(str(value))
