"""Every command that the pages print exists, with its options, its arguments, and amounts that can be read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deltaproof.chain.contracts.money import Amount
from deltaproof.cli.amounts import AMOUNT
from deltaproof.cli.commands import COMMANDS, command_of
from deltaproof.errors import UsageError
from tests.test_architecture import REPOSITORY, relative, tracked

PAGES = [REPOSITORY / "README.md", *(path for path in tracked("docs/*.md") if "docs/results/" not in relative(path))]
INLINE = re.compile(r"`(deltaproof [^`]+)`")
BLOCK = re.compile(r"^\s*(?:\$ )?(deltaproof .*)$")
PLACEHOLDER = re.compile(r"[A-Z]+|\.\.\.|…|N")


def printed(page: Path) -> Iterator[str]:
    """Commands in code blocks and in the text, without comments."""
    for piece in re.split(r"(```.*?```)", page.read_text("utf-8"), flags=re.DOTALL):
        if piece.startswith("```"):
            lines = piece.replace("\\\n", " ").splitlines()
            yield from (match[1] for line in lines if (match := BLOCK.match(line)))
        else:
            yield from INLINE.findall(piece)


def words(line: str) -> list[str]:
    line = re.sub(r"\s[>|&].*$", "", re.sub(r"\[(--[^\]]*)\]", r"\1", line))
    return shlex.split(line, comments=True)[1:]


def resolved(line: list[str]) -> tuple[Any, list[str]] | None:
    """The command and the words after its name; None where only a group, or the program, is named."""
    if not line or line[0].startswith("-"):
        return None
    assert line[0] in COMMANDS, f"there is no command {line[0]}"
    command = command_of(line[0])
    rest = line[1:]
    while hasattr(command, "commands"):
        if not rest or rest[0].startswith("-") or rest[0] == "|":
            return None
        assert rest[0] in command.commands, f"{command.name} has no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def checked(command: Any, rest: list[str]) -> None:
    options = {
        name: p for p in command.params if p.param_type_name == "option" for name in (*p.opts, *p.secondary_opts)
    }
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    most = 99 if any(p.nargs == -1 for p in arguments) else len(arguments)
    given = 0
    while rest:
        word, rest = rest[0], rest[1:]
        if word in ("...", "…", "--help"):
            continue
        if not word.startswith("--"):
            if given < len(arguments) and arguments[given].metavar == AMOUNT:
                amount(word)
            given += 1
            continue
        name, _, value = word.partition("=")
        assert name in options, f"{command.name} has no option {name}"
        if not options[name].is_flag and not value and rest:
            value, rest = rest[0], rest[1:]
        if options[name].metavar == AMOUNT and value:
            amount(value)
    assert given <= most, f"{command.name} takes {most} arguments, not {given}"


def check(line: str) -> None:
    """Raises AssertionError or UsageError for what the command line would refuse."""
    if found := resolved(words(line)):
        checked(*found)


def amount(text: str) -> None:
    if not PLACEHOLDER.fullmatch(text):
        Amount.read(text, "the page")


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_of_a_page_exist_as_it_prints_them(page: Path) -> None:
    wrong = []
    for line in printed(page):
        try:
            check(line)
        except (AssertionError, UsageError, ValueError) as error:
            wrong.append(f"{line}: {error}")
    assert not wrong


def test_pages_print_many_commands() -> None:
    assert sum(1 for page in PAGES for _ in printed(page)) > 60


@pytest.mark.parametrize(
    "mistake",
    ["nonsense", "task nonsense", "task fund 5 6 --task 1", "task list --nonsense", "faucet A --amount 1e18"],
)
def test_mistake_on_a_page_is_found(mistake: str) -> None:
    with pytest.raises((AssertionError, UsageError)):
        check(f"deltaproof {mistake}")
