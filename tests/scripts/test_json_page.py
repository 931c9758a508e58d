"""docs/json.md is what the code says, of every command that prints JSON and of no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from deltaproof.cli.commands import COMMANDS, command_of
from deltaproof.cli.documents.catalogue import EVENTS_ONLY, RESULTS, adapter_of, schema_of
from deltaproof.errors import UsageError
from scripts.docsite.json_page import PAGE, json_page


def printing_json(command: Any, name: str) -> Iterator[str]:
    """Names of the commands below this one that take `--json`."""
    if any("--json" in option.opts for option in command.params):
        yield name
    for below, each in getattr(command, "commands", {}).items():
        yield from printing_json(each, f"{name} {below}")


def test_page_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == json_page(), "run python -m scripts.docsite.json_page"


def test_every_command_with_json_states_its_document() -> None:
    found = {name for top in COMMANDS for name in printing_json(command_of(top), top)}
    assert found == {*RESULTS, *EVENTS_ONLY}
    assert not set(RESULTS) & set(EVENTS_ONLY)


def test_a_part_has_one_meaning_on_the_page() -> None:
    """Parts stand once, by their names: two types of one name would hide each other."""
    parts: dict[str, Mapping[str, Any]] = {}
    for command in RESULTS:
        for name, part in schema_of(command).get("$defs", {}).items():
            assert parts.setdefault(name, part) == part, name


def test_schema_takes_keys_of_later_versions_and_the_tests_do_not() -> None:
    later = {"task": 1, "funded": "5", "balance": "7", "new": True}
    assert "additionalProperties" not in schema_of("task fund")
    with pytest.raises(ValueError, match="new"):
        adapter_of("task fund").validate_python(later)


@pytest.mark.parametrize("command", ["trainer run", "task", "nonsense"])
def test_schema_of_a_command_without_result_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match="task show"):
        schema_of(command)
