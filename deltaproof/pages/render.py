"""One HTML file without any request to the outside: style, scripts and, for a report, the data are in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

__all__ = ["render", "script"]

SCRIPTS = ("noble.js", "verify.js", "arithmetic.js", "blocks.js", "tables.js", "charts.js", "pictures.js", "page.js")
"""In the order in which they need each other."""


def render(data: Mapping[str, Any] | None) -> str:
    """The page; with `data` (answers by path) it shows these, without it asks the server that it came from."""
    parts = {"/*CSS*/": _asset("page.css"), "/*DATA*/": _embedded(data), "/*SCRIPT*/": script(*SCRIPTS)}
    # Attack: call a task, or oneself, `/*SCRIPT*/`. Put in one after the other, the program would stand in the middle
    # of the data, and the report show nothing at all.
    return re.sub("|".join(map(re.escape, parts)), lambda found: parts[found[0]], _asset("page.html"))


def script(*names: str) -> str:
    """Parts of the pages' program, one after the other."""
    return "\n".join(_asset(name) for name in names)


def _asset(name: str) -> str:
    return (resources.files("deltaproof.pages") / "static" / name).read_text("utf-8")


def _embedded(data: Mapping[str, Any] | None) -> str:
    """JSON that cannot end the script element it stands in, whatever the chain and the store hold."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
