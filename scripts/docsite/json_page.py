"""docs/json.md: what every command prints with `--json`, and its exit codes, from the types that the commands state.

``python -m scripts.docsite.json_page`` writes it; a test compares it with the code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from deltaproof.cli.documents.catalogue import EVENTS_ONLY, RESULTS, Failure, schema_of
from deltaproof.cli.exit_codes import MEANINGS

__all__ = ["PAGE", "json_page"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "json.md"
Schema = dict[str, Any]

_WORDS = {
    "address": "address",
    "amount": "amount",
    "boolean": "true or false",
    "digest": "32 bytes",
    "gain": "amount, may be negative",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "string": "text",
    "time": "moment",
}
_BEGIN = """# JSON and exit codes

This page is made from the code (`python -m scripts.docsite.json_page`): the types that commands state for what they
print, which their tests hold them to. `deltaproof schema COMMAND` prints the JSON schema of a command's result, for
generators and validators.

With `--json` standard output holds JSON alone, one object a line; standard error stays for people. The last line is the
command's result. Keys may be added in later versions; those that are there keep their meaning.

| type | written as |
|---|---|
| amount | smallest units of the token, a decimal string |
| address | `0x` and 40 hexadecimal digits, with its check sum (EIP-55) |
| 32 bytes | `0x` and 64 hexadecimal digits, lower case: digests, hashes, public keys |
| moment | seconds since the epoch, a whole number; 0 for none |
| table | an object, whose keys the text names |

`audit`, `history`, `explain` and `index` write their keys `likeThis`, and amounts as JSON numbers of smallest units, as
the files that they write."""


def json_page() -> str:
    """The page."""
    parts: dict[str, Schema] = {}
    results = [line for command in RESULTS for line in _command(command, parts)]
    failure = TypeAdapter(Failure).json_schema()
    events = ", ".join(f"`{command}`" for command in EVENTS_ONLY)
    lines = [
        *(_BEGIN, "", "## Exit codes", "", "| code | meaning |", "|---|---|"),
        *(f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()),
        *("", "Anything else is a fault of the program, with a traceback: please report it.", ""),
        *("## Errors", "", "When a command leaves with 1 or 130, its last line is this:", "", *_table(failure)),
        "A command that did its work and found something, such as `audit`, prints its result and no error.",
        *("", "## Events", "", f"{events} print [events](commands.md#events) until they end.", ""),
        *("## Results", "", *results, "## Parts", ""),
        *(line for name in sorted(parts) for line in (f"### {name}", "", *_described(parts[name]))),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _command(command: str, parts: dict[str, Schema]) -> Iterator[str]:
    """A command's section; what its result is made of goes to `parts`."""
    schema = schema_of(command)
    defined: dict[str, Schema] = schema.get("$defs", {})
    whole = [defined.pop(_named(part)) for part in schema["anyOf"]] if "anyOf" in schema else [schema]
    parts |= defined
    yield from (f"### deltaproof {command}", "")
    for number, document in enumerate(whole):
        yield from (*(["or", ""] if number else []), *_described(document))


def _described(schema: Schema) -> Iterator[str]:
    yield from (" ".join(schema["description"].split()), "", *_table(schema))


def _table(schema: Schema) -> Iterator[str]:
    yield from ("| key | type | meaning |", "|---|---|---|")
    for key, value in schema["properties"].items():
        left_out = "" if key in schema.get("required", ()) else "; may be missing"
        meaning = " ".join(value.get("description", "").split()).replace("|", "\\|")
        yield f"| `{key}` | {_kind(value)}{left_out} | {meaning} |"
    yield ""


def _kind(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "$ref" in schema:
        name = _named(schema)
        return f"[{name}](#{name.lower()})"
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    if schema["type"] == "object":
        entries = schema.get("additionalProperties")
        return f"table of {_kind(entries)}" if isinstance(entries, dict) else "table"
    return _WORDS[schema.get("format", schema["type"])]


def _named(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


if __name__ == "__main__":
    PAGE.write_text(json_page(), encoding="utf-8")
