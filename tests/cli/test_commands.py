"""The list of commands agrees with the commands, and help needs none of the libraries that do the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import deltaproof.cli
from deltaproof.cli.commands import COMMANDS, command_of

MODULES = {path.stem for path in Path(deltaproof.cli.__file__).parent.glob("*.py")}
HEAVY = {
    "eth_abi", "eth_account", "eth_utils", "fsspec", "numpy", "peft", "py_ecc", "requests", "sqlalchemy", "torch",
    "transformers", "web3",
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_listed_with_the_first_paragraph_of_its_own_help(name: str) -> None:
    command = command_of(name)
    assert command.name == name
    assert " ".join(command.help.split("\n\n", maxsplit=1)[0].split()) == COMMANDS[name].help


def test_every_module_with_a_command_is_listed() -> None:
    shared = {
        "__init__",
        "amounts",
        "commands",
        "common",
        "exit_codes",
        "interrupts",
        "named_files",
        "passwords",
        "reporting",
        "terminal",
    }
    shared |= {"data_target", "task_choice", "task_create", "task_init", "task_list", "task_watch"}
    assert {place.module for place in COMMANDS.values()} == MODULES - shared


def loaded_by(program: str, **environment: str) -> set[str]:
    """Modules that a fresh process has loaded after a program, however it ended."""
    told = f"import sys\ntry:\n    {program}\nfinally: print('+', *sys.modules)"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DELTAPROOF_")}
    finished = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, env=kept | environment, check=False
    )
    return set(finished.stdout.rpartition("+")[2].split())


def test_help_and_errors_of_usage_come_without_the_libraries_that_do_the_work() -> None:
    """One process asks for the help of every group and of its commands, and makes a mistake in one."""
    asked = [["--version"], ["--help"], ["task", "list"], ["task", "fund", "--no-such-option"]]
    asked += [[name, "--help"] for name in COMMANDS]
    asked += [[name, below, "--help"] for name in COMMANDS for below in getattr(command_of(name), "commands", {})]
    program = f"""from deltaproof.cli import app
    for words in {asked!r}:
        try: app(words, prog_name="deltaproof")
        except SystemExit as left: assert left.code in (0, 2), words"""
    loaded = loaded_by(program)
    assert "deltaproof.cli.task_create" in loaded
    assert not HEAVY & loaded


def test_completion_comes_without_the_libraries_that_do_the_work() -> None:
    loaded = loaded_by(
        "import sys; sys.argv[:] = ['deltaproof']; from deltaproof.cli import main; main()",
        _DELTAPROOF_COMPLETE="complete_bash", COMP_WORDS="deltaproof task list --", COMP_CWORD="3",
    )  # fmt: skip
    assert "deltaproof.cli.task_list" in loaded
    assert not HEAVY & loaded


def test_package_is_imported_without_any_library() -> None:
    loaded = loaded_by("import deltaproof, deltaproof.chain, deltaproof.store")
    assert "deltaproof.chain" in loaded
    assert not (HEAVY | {"typer", "pydantic"}) & loaded
