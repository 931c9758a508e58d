"""The keys of a task spec as pages: meaning, type, bounds and default of each, from the models' JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from deltaproof.protocol.terms.spec import TaskSpec

__all__ = ["spec_pages"]

_KINDS = {
    "address": "address, 0x and 40 hexadecimal digits",
    "amount": "whole number in smallest units of the token, as an integer or a decimal string",
    "array": "list",
    "boolean": "true or false",
    "digest": "32 bytes, 0x and 64 hexadecimal digits",
    "integer": "whole number",
    "number": "number",
    "object": "table",
    "string": "text",
}
_BOUNDS = {
    "minimum": "at least {:,}",
    "exclusiveMinimum": "above {:,}",
    "maximum": "at most {:,}",
    "exclusiveMaximum": "below {:,}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
}

Schema = dict[str, Any]


def spec_pages() -> dict[str, str]:
    """A page for each section of the spec, by path; each key has its dotted name for an anchor."""
    whole: Schema = TaskSpec.model_json_schema()
    pages = {}
    overview = ["# The task spec", "", whole["description"], "", "| key | what |", "|---|---|"]
    for name, schema in whole["properties"].items():
        table = _table(schema, whole)
        if table is None:
            overview.append(f"| `{name}` | {_cell(schema.get('description', ''))} |")
            continue
        overview.append(f"| [`[{name}]`]({name}.md) | {_cell(table['description'])} |")
        keys = _keys(name, table, whole)
        pages[f"spec/{name}.md"] = "\n".join([f"# [{name}] {{#{name}}}", "", table["description"], "", *keys])
    return {"spec/index.md": "\n".join(overview) + "\n", **pages}


def _keys(prefix: str, table: Schema, whole: Schema) -> Iterator[str]:
    for name, schema in table["properties"].items():
        key = f"{prefix}.{name}"
        inner = _table(schema, whole)
        yield from (f"## {key} {{#{key}}}", "")
        yield from (f"*{_kind(schema)}; {_default(name, schema, table)}*", "")
        if described := schema.get("description", inner["description"] if inner else ""):
            yield from (described, "")
        if inner is not None:
            yield from _keys(key, inner, whole)


def _table(schema: Schema, whole: Schema) -> Schema | None:
    """The table that a key holds: itself, optional, or as the entry of a list."""
    if "$ref" in schema:
        found: Schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        return found if "properties" in found else None
    parts = [*schema.get("anyOf", []), *([schema["items"]] if isinstance(schema.get("items"), dict) else [])]
    return next((found for part in parts if (found := _table(part, whole))), None)


def _kind(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    kind = _KINDS[schema.get("format") or schema.get("type", "object")]
    if isinstance(entries := schema.get("items"), dict) and "$ref" not in entries:
        kind += f" of: {_kind(entries)}"
    return ", ".join([kind, *(text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema)])


def _default(name: str, schema: Schema, table: Schema) -> str:
    if name in table.get("required", []):
        return "required"
    default = schema.get("default")
    return "optional" if default in (None, [], {}, "") else f"default `{json.dumps(default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).replace("|", "\\|")
