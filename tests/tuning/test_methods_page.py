"""docs/methods.md names every option that a method has here, with its default, and what of peft's cannot be set."""

from __future__ import annotations

import re

import pytest

from deltaproof.tuning.methods import METHODS
from deltaproof.tuning.methods.base import PeftMethod
from deltaproof.tuning.methods.own import OwnMethod
from tests.test_architecture import REPOSITORY

PAGE = REPOSITORY / "docs" / "methods.md"


def table() -> dict[str, tuple[str, str, str]]:
    """By method: whose class, what is set here, what cannot be set."""
    text = PAGE.read_text("utf-8").split("### Options")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]*) \| ([^|]*)\| ([^|]*)\|$", text, flags=re.MULTILINE)
    return {name: (kind.strip("` "), here, fixed) for names, kind, here, fixed in rows for name in named(names)}


def named(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def with_default(cell: str) -> dict[str, str]:
    return {name: value.strip("`") for name, value in re.findall(r"`(\w+)` \(([^;)]+)", cell)}


def test_page_has_every_method() -> None:
    assert set(table()) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_page_has_the_options_of_the_method(name: str) -> None:
    method, (kind, here, fixed) = METHODS[name], table()[name]
    if issubclass(method, PeftMethod):
        assert kind == method.config_class.__name__
        assert named(fixed) - {"MLP"} == set(method.forced) | set(method.refused)
        assert with_default(here) == {key: str(value) for key, value in method.defaults.items()}
    else:
        assert issubclass(method, OwnMethod)
        assert kind == "own"
        known = {key: str(value) for key, value in method.defaults.items() if value != ()}
        assert with_default(here) == known
        assert set(method.defaults) <= named(here)
