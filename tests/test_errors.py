"""Every exception class of the product stands in the one tree that `deltaproof.errors` draws."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import deltaproof.errors
from deltaproof.errors import DeltaproofError, cause_of

PRODUCT = ("deltaproof", "incentives", "trainer", "verifier")
CONTROL_FLOW = {
    "deltaproof.chain.local_node._EndedEarly",
    "deltaproof.cli.interrupts._Interrupted",
    "deltaproof.protocol.terms.spec._BrokenRules",
    "deltaproof.tuning.numerics.workers._BeginAnew",
}
"""Private exceptions that one function hands another of the same module; they never reach a caller."""


def modules() -> Iterator[str]:
    for top in PRODUCT:
        package = importlib.import_module(top)
        yield top
        yield from (found.name for found in pkgutil.walk_packages(package.__path__, f"{top}."))


@pytest.fixture(scope="module")
def defined() -> dict[str, type[BaseException]]:
    """Every exception class by its full name, from the module that defines it."""
    found = {}
    for name in modules():
        if name == "deltaproof.__main__":  # importing it runs the command line
            continue
        for value in vars(importlib.import_module(name)).values():
            if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == name:
                found[f"{name}.{value.__qualname__}"] = value
    return found


def drawn_parents(drawing: str) -> dict[str, str | None]:
    """Parent of each class in a drawing with box characters; None for the root."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in drawing.splitlines():
        match = re.match(r"    ((?:│   |    )*)(?:[├└]── )?([A-Z]\w+)(?: {2,}|$| \[)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + bool(re.search("[├└]── ", line))
        path[depth:] = [match[2]]
        parents[match[2]] = path[depth - 1] if depth else None
    return parents


def test_every_exception_is_a_deltaproof_error(defined: dict[str, type[BaseException]]) -> None:
    assert len(defined) > 30, "the walk over the product misses modules"
    strangers = {name for name, cls in defined.items() if not issubclass(cls, DeltaproofError)}
    assert strangers == CONTROL_FLOW


def test_drawing_shows_every_public_exception_below_its_parent(defined: dict[str, type[BaseException]]) -> None:
    public = {cls.__name__: cls for name, cls in defined.items() if not cls.__name__.startswith("_")}
    bases = {name: None if cls is DeltaproofError else cls.__bases__[0].__name__ for name, cls in public.items()}
    assert drawn_parents(deltaproof.errors.__doc__ or "") == bases


def test_every_exception_says_what_it_means(defined: dict[str, type[BaseException]]) -> None:
    assert not {name for name, cls in defined.items() if not cls.__name__.startswith("_") and not cls.__doc__}


def test_drawn_parents_of_a_small_tree() -> None:
    drawing = "    Root\n    ├── First    one\n    │   └── Inner    two\n    └── Last\n"
    assert drawn_parents(drawing) == {"Root": None, "First": "Root", "Inner": "First", "Last": "Root"}


def wrapped(inner: Exception) -> BaseException:
    """As libraries wrap it, twice."""
    try:
        try:
            raise inner
        except Exception as error:
            raise ValueError("http://there/v2/ACCESS-KEY") from error
    except ValueError:
        try:
            raise KeyError("http://there/v2/ACCESS-KEY")
        except KeyError as outer:
            return outer


def test_cause_is_what_the_system_said_and_no_url_unless_words_may_be_told() -> None:
    refused = wrapped(ConnectionRefusedError(111, "Connection refused"))
    assert cause_of(refused) == cause_of(refused, words=True) == "Connection refused"
    broken = wrapped(EOFError("5 bytes of 7"))
    assert (cause_of(broken), cause_of(broken, words=True)) == ("KeyError", "EOFError: 5 bytes of 7")
