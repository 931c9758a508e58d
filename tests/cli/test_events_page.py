"""docs/commands.md tells every event that a command can print, with its fields, and none that does not exist."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

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


def told_by_code() -> dict[str, set[str]]:
    """Fields of each event, from every place that reports it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in product_files():
        if not module_of(file).startswith(SPEAKERS):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            event = node.args[0]
            if called not in SAYS | SAYS_WITH_ROUND or not isinstance(event, ast.Constant):
                continue
            found[str(event.value)] |= {keyword.arg for keyword in node.keywords if keyword.arg}
            found[str(event.value)] |= {"round"} if called in SAYS_WITH_ROUND else set()
    for event, fields in NOT_LITERAL.items():
        found[event] |= fields
    return dict(found)


def told_by_page() -> dict[str, set[str]]:
    table = PAGE.read_text("utf-8").split("### Events")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]+ \| ([^|]*) \| [^|]+ \|$", table, flags=re.MULTILINE)
    assert len(rows) == len({event for event, _ in rows}), "an event stands twice"
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def test_page_has_every_event_with_its_fields_and_no_other() -> None:
    assert told_by_page() == told_by_code()
