"""Turn pydantic's findings about a spec into lines that a person can act on."""

from __future__ import annotations

import difflib
import math
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

__all__ = ["explain"]


def explain(root: type[BaseModel], details: ErrorDetails) -> str:
    """One line naming the wrong key, what is wrong, and the nearest right name."""
    location = list(details["loc"])
    key = ".".join(str(part) for part in location) or "(whole spec)"
    match details["type"]:
        case "extra_forbidden":
            known = list(_section_at(root, location[:-1]).model_fields)
            return f"{key}: unknown key{_suggest(str(location[-1]), known)}"
        case "missing":
            return f"{key}: missing"
        case "literal_error":
            allowed = str(details.get("ctx", {}).get("expected", ""))
            choices = [choice.strip("' ") for choice in allowed.replace(" or ", ",").split(",")]
            hint = _suggest(str(details["input"]), choices)
            return f"{key}: {details['input']!r} is not one of {', '.join(choices)}{hint}"
        case "model_type" | "model_attributes_type":
            return f"{key}: expected a table [{key}], got {details['input']!r}"
        case _:
            message = details["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(details["input"], dict) else f" (got {_short(details['input'])})"
            return f"{key}: {message[:1].lower()}{message[1:]}{shown}"


def _section_at(root: type[BaseModel], location: list[int | str]) -> type[BaseModel]:
    section = root
    for part in location:
        annotation = section.model_fields[str(part)].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return section


def _suggest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"


def _short(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
