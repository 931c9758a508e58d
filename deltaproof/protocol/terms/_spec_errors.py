"""Turn pydantic's findings about a spec into problems that a person can act on."""

from __future__ import annotations

import difflib
import math
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from deltaproof.errors import Problem

__all__ = ["explain"]


def explain(root: type[BaseModel], details: ErrorDetails) -> Problem:
    """The wrong key, what is wrong, and the nearest right name or what the key is for."""
    location = list(details["loc"])
    key = ".".join(str(part) for part in location) or "(whole spec)"
    match details["type"]:
        case "extra_forbidden":
            known = list(_section_at(root, location[:-1]).model_fields)
            return Problem(key, "unknown key", _suggest(str(location[-1]), known))
        case "missing":
            return Problem(key, "missing", f"add it: {_purpose(root, location)}")
        case "literal_error":
            allowed = str(details.get("ctx", {}).get("expected", ""))
            choices = [choice.strip("' ") for choice in allowed.replace(" or ", ",").split(",")]
            near = _near(str(details["input"]), choices)
            return Problem(
                key, f"{details['input']!r} is not one of {', '.join(choices)}", near or "choose one of these"
            )
        case "model_type" | "model_attributes_type":
            return Problem(key, f"expected a table [{key}], got {_short(details['input'])}", "write its keys below it")
        case _:
            message = details["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(details["input"], dict) else f" (got {_short(details['input'])})"
            what = f"{message[:1].lower()}{message[1:]}{shown}"
            return Problem(key, what, f"it is: {_purpose(root, location)}")


def _section_at(root: type[BaseModel], location: list[int | str]) -> type[BaseModel]:
    section = root
    for part in location:
        if isinstance(part, int):
            continue
        section = next(c for c in _within(section.model_fields[part].annotation) if _is_section(c))  # type: ignore[assignment]
    return section


def _within(annotation: object) -> list[object]:
    """An annotation and everything that it is made of."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _within(part))]


def _is_section(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)


def _purpose(root: type[BaseModel], location: list[int | str]) -> str:
    """The description of the deepest key in a location."""
    section, text = root, ""
    for part in location:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part)
        if field is None:
            break
        text = field.description or text
        inner = [c for c in _within(field.annotation) if _is_section(c)]
        if not inner:
            break
        section = inner[0]  # type: ignore[assignment]
    return " ".join(text.split()).rstrip(".") or "see docs/tutorials/sponsor.md"


def _suggest(word: str, known: list[str]) -> str:
    return _near(word, known) or f"known here: {', '.join(known)}"


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def _short(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
