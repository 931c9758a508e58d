"""The list of commands agrees with the commands, and help needs none of the libraries that do the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import deltaproof.cli
from deltaproof.cli.commands import COMMANDS, command_of

MODULES = {path.stem for path in Path(deltaproof.cli.__file__).parent.glob("*.py")}
HEAVY = {"eth_abi", "numpy", "peft", "torch", "transformers", "web3"}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_listed_with_the_first_paragraph_of_its_own_help(name: str) -> None:
    command = command_of(name)
    assert command.name == name
    assert " ".join(command.help.split("\n\n", maxsplit=1)[0].split()) == COMMANDS[name].help


def test_every_module_with_a_command_is_listed() -> None:
    shared = {"__init__", "amounts", "commands", "common", "connect", "interrupts", "living", "reporting"}
    shared |= {"task_create", "task_init", "task_list", "task_watch"}
    assert {place.module for place in COMMANDS.values()} == MODULES - shared


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"]])
def test_help_comes_without_the_libraries_that_do_the_work(arguments: list[str]) -> None:
    program = (
        "import sys; sys.argv[1:] = {}\nfrom deltaproof.cli import main\ntry: main()\nfinally: print('+', *sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program.format(arguments)], capture_output=True, text=True, check=True
    )
    loaded = finished.stdout.rpartition("+")[2].split()
    assert "typer" in loaded
    assert not HEAVY & set(loaded)
