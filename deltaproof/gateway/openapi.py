"""What the description at /openapi.json says beyond what the routes themselves say."""

from __future__ import annotations

from typing import Any

from deltaproof.store.paths import PATTERNS, Kind

__all__ = ["PROBLEMS", "description_of", "parameters_of", "template_of"]

_PROBLEM = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "A stable word for programs."},
    },
}
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_STORED = {
    "type": "object",
    "required": ["stored"],
    "properties": {
        "stored": {"type": "boolean"},
        "new": {"type": "boolean"},
        "upload": {"type": "string"},
        "offset": {"type": "integer"},
        "size": {"type": "integer"},
        "part_bytes": {"type": "integer"},
    },
}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _PROBLEM}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem("The request broke off."),
    404: _problem("There is no such artifact, upload or name."),
    405: _problem("There is no such method here."),
    408: _problem("The body came too slowly."),
    422: _problem("A header is missing or malformed, or the bytes are not what their name or digest promises."),
    429: _problem("Too many requests from this address, or too many uploads at once."),
    503: _problem("The chain or the store behind the gateway does not answer; try again."),
}
"""What any request may be answered with."""
_WRITE_PROBLEMS = {
    401: _problem("The permit expired, or its signature is none."),
    403: _problem("The account has no role in the task that allows this artifact."),
    409: _problem("Other bytes stand under this name, or the upload stands elsewhere."),
    411: _problem("Content-Length is missing."),
    413: _problem("Larger than the task, the account's quota or the gateway allows."),
    507: _problem("The gateway's disk is full."),
}
_JSON = {"application/json": {"schema": _STORED}}
_DONE = {
    200: {"description": "These bytes stand already.", "content": _JSON},
    201: {"description": "Stored.", "content": _JSON},
}
_OBJECT = {"application/json": {"schema": {"type": "object"}}}
_OPERATIONS: dict[str, dict[str, Any]] = {
    "read": {
        "summary": "An artifact, whole or one range of it.",
        "responses": {
            200: {"description": "The artifact.", "content": _BYTES},
            206: {"description": "The range.", "content": _BYTES},
            304: {"description": "The caller has it already."},
            416: _problem("The range lies outside."),
        },
    },
    "write": {"summary": "Write an artifact of one part.", "responses": {**_DONE, **_WRITE_PROBLEMS}},
    "begin": {
        "summary": "Begin, or go on with, an upload in parts.",
        "responses": {
            **_DONE,
            201: {"description": "The upload, and the byte to go on with; or stored.", "content": _JSON},
            **_WRITE_PROBLEMS,
        },
    },
    "stand": {
        "summary": "How far an upload has come.",
        "responses": {200: {"description": "Its offset.", "content": _JSON}},
    },
    "add": {
        "summary": "The next part; the last one is answered when the whole was checked and stored.",
        "responses": {
            **_DONE,
            200: {"description": "The part is there; or the whole stood already.", "content": _JSON},
            **_WRITE_PROBLEMS,
        },
    },
    "about": {
        "summary": "Which deployment the gateway serves, and its limits.",
        "responses": {200: {"description": "As said.", "content": _OBJECT}},
    },
    "health": {
        "summary": "Whether chain and store answer.",
        "responses": {
            200: {"description": "They do.", "content": _OBJECT},
            503: {"description": "One does not.", "content": _OBJECT},
        },
    },
    "metrics": {
        "summary": "Counters for Prometheus.",
        "responses": {200: {"description": "As said.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    },
}


def description_of(operation: str) -> dict[str, Any]:
    """Summary and answers of an operation, as arguments of its route."""
    return _OPERATIONS[operation]


def template_of(kind: Kind) -> str:
    """The path of artifacts of a kind, with its parts in braces."""
    return "/".join([kind.value, *(f"{{{part}}}" for part in PATTERNS[kind])])


def parameters_of(kind: Kind) -> list[dict[str, Any]]:
    """The parts of that path."""
    return [
        {"name": part, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{pattern}$"}}
        for part, pattern in PATTERNS[kind].items()
    ]
