"""docs/commands.md tells every event that a command can print, with its fields, and none that does not exist."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from deltaproof.cli.documents.catalogue import EVENTS_ONLY
from tests.test_architecture import REPOSITORY, module_of, product_files

PAGE = REPOSITORY / "docs" / "commands.md"
SPEAKERS = (
    "trainer",
    "verifier",
    "deltaproof.agent",
    "deltaproof.api",
    "deltaproof.chain.admissions",
    "deltaproof.cli",
    "deltaproof.disputing",
    "deltaproof.relaying",
    "deltaproof.sponsor",
    "deltaproof.tuning.hub",
)
SAYS = {"report", "_report", "_once", "self", "_noted", "observed"}
"""What a reporter is called where it is called."""
SAYS_WITH_ROUND = {"_tell", "_tell_once"}
"""Methods that report once what they are told, with the round."""
NOT_LITERAL = {
    "ready": {"contract"},
    "delayed": {"owner", "pause_seconds", "trace"},
    "uploading": {"path", "bytes", "total"},
    "phase": {"task", "round", "phase", "deadline", "seconds_left"},
}
"""Fields that are put together elsewhere than in the call."""


LIVES = {
    "trainer": "trainer",
    "verifier": "verifier",
    "deltaproof.sponsor": "sponsor",
    "deltaproof.relaying": "relay run",
}
"""What the page calls whoever lives in a room of its own."""


def reports() -> Iterator[tuple[str, str, set[str]]]:
    """Module, event and fields of every place that reports one."""
    for file in product_files():
        module = module_of(file)
        if not module.startswith(SPEAKERS):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            event = node.args[0]
            if called not in SAYS | SAYS_WITH_ROUND or not isinstance(event, ast.Constant):
                continue
            fields = {keyword.arg for keyword in node.keywords if keyword.arg}
            yield module, str(event.value), fields | ({"round"} if called in SAYS_WITH_ROUND else set())


def told_by_code() -> dict[str, set[str]]:
    """Fields of each event, from every place that reports it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for _, event, fields in reports():
        found[event] |= fields
    for event, fields in NOT_LITERAL.items():
        found[event] |= fields
    return dict(found)


def section() -> str:
    return PAGE.read_text("utf-8").split("### Events")[1].split("\n## ")[0]


def rows_of_page() -> list[tuple[str, str, str]]:
    """Event, who tells it, fields."""
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]*) \| [^|]+ \|$", section(), flags=re.MULTILINE)
    assert len(rows) == len({event for event, _, _ in rows}), "an event stands twice"
    return rows


def told_by_page() -> dict[str, set[str]]:
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, _, fields in rows_of_page()}


def test_page_has_every_event_with_its_fields_and_no_other() -> None:
    assert told_by_page() == told_by_code()


def test_page_names_whoever_tells_an_event() -> None:
    by = {event: who for event, who, _ in rows_of_page()}
    lives = (
        (LIVES.get(module.partition(".")[0]) or LIVES.get(".".join(module.split(".")[:2])), event)
        for module, event, _ in reports()
    )
    assert not [
        (life, event) for life, event in lives if life and life not in by[event] and "all roles" not in by[event]
    ]


def test_page_names_every_command_that_prints_events() -> None:
    intro = section().split("| event |")[0]
    assert not [command for command in EVENTS_ONLY if f"`{command}`" not in intro]
