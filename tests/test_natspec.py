"""Every function, event and error of the contracts says what it is, in the compiler's own output, with its units."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
COMPILER = REPOSITORY / "scripts" / "solc" / "solc-v0.8.37"
SECTIONS = {"function": "methods", "event": "events", "error": "errors"}
AMOUNT = re.compile(r"uint(96|128)\b")
AMOUNT_WORDS = ("token", "unit")
MOMENT_WORDS = ("second", "block")
NO_MOMENTS = {"drandRound", "round", "taskId"}


@cache
def documented() -> dict[str, Any]:
    """ABI, userdoc and devdoc of all contracts, by file and name."""
    wanted = ["abi", "devdoc", "userdoc"]
    files = sorted((REPOSITORY / "contracts").rglob("*.sol"))
    request = {
        "language": "Solidity",
        "sources": {str(file.relative_to(REPOSITORY)): {"content": file.read_text()} for file in files},
        "settings": {
            "remappings": ["@openzeppelin/contracts=node_modules/@openzeppelin/contracts"],
            "outputSelection": {str(file.relative_to(REPOSITORY)): {"*": wanted} for file in files},
        },
    }
    command = [COMPILER, "--base-path", ".", "--standard-json"]
    done = subprocess.run(command, input=json.dumps(request), text=True, stdout=-1, check=True, cwd=REPOSITORY)
    answer = json.loads(done.stdout)
    assert not [error for error in answer.get("errors", []) if error["severity"] == "error"]
    return {file: made for file, made in answer["contracts"].items() if file.startswith("contracts/")}


def items(kind: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Where each function, event or error of ours is, its ABI, and all that its comments say."""
    for file, contracts in documented().items():
        for contract, made in contracts.items():
            for entry in made["abi"]:
                if entry["type"] != kind:
                    continue
                signature = f"{entry['name']}({','.join(_type(part) for part in entry['inputs'])})"
                found = [made[part].get(SECTIONS[kind], {}).get(signature, {}) for part in ("userdoc", "devdoc")]
                # Several errors may share a signature; the compiler lists the comments of each.
                words = [each for part in found for each in (part if isinstance(part, list) else [part])]
                yield f"{file}: {contract}.{signature}", entry, _texts(words)


def _type(part: dict[str, Any]) -> str:
    kind: str = part["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(each) for each in part['components'])}){kind.removeprefix('tuple')}"


def _texts(words: list[dict[str, Any]]) -> str:
    texts = [str(each[key]) for each in words for key in ("notice", "details") if key in each]
    return " ".join([*texts, *(str(each["params"]) for each in words if texts and "params" in each)])


@pytest.mark.parametrize("kind", SECTIONS)
def test_everything_that_a_caller_can_meet_is_explained(kind: str) -> None:
    found = list(items(kind))
    assert len(found) > 100
    foreign = ("Initializable", "ERC20", "IERC")
    silent = [where for where, _, text in found if not text and not any(word in where for word in foreign)]
    assert not silent, f"without @notice: {silent}"


def _amounts(entry: dict[str, Any]) -> list[str]:
    return [part["name"] for part in entry["inputs"] if AMOUNT.match(part["type"])]


def _moments(entry: dict[str, Any]) -> list[str]:
    return [part["name"] for part in entry["inputs"] if part["type"] == "uint64" and part["name"] not in NO_MOMENTS]


@pytest.mark.parametrize("kind", ["event", "error"])
@pytest.mark.parametrize(("parts", "words"), [(_amounts, AMOUNT_WORDS), (_moments, MOMENT_WORDS)])
def test_every_number_of_an_event_or_error_has_its_unit(
    kind: str, parts: Callable[[dict[str, Any]], list[str]], words: tuple[str, ...]
) -> None:
    unclear = {
        where: parts(entry)
        for where, entry, text in items(kind)
        if parts(entry) and not any(word in text for word in words)
    }
    assert not unclear, f"in what unit? {unclear}"
