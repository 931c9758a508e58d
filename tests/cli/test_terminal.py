"""What strangers wrote is shown on a terminal, and does nothing there."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from deltaproof.chain.contracts.money import Money
from deltaproof.cli import history
from deltaproof.cli.common import told_on_stderr
from deltaproof.cli.reporting import ConsoleReporter
from deltaproof.cli.terminal import Terminal
from deltaproof.errors import SpecError
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.wire.encoding import encode_document

ERASE = "\x1b[1A\x1b[2K"
"""Takes back the line above."""
WRITTEN = f"nothing{ERASE}\x9b2K\u202e"
SHOWN = "".join("\N{REPLACEMENT CHARACTER}" if sign in "\x1b\x9b\u202e" else sign for sign in WRITTEN)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def terminal(out: io.StringIO) -> Terminal:
    return Terminal(file=out, highlight=False, force_terminal=True, width=200)


def test_escape_codes_of_strangers_are_signs_like_others(terminal: Terminal, out: io.StringIO) -> None:
    """Attack: be a verifier, and let your attestation take back `FAIL: ...` above it in somebody's audit."""
    terminal.print("FAIL: the settlement differs", style="bold red", markup=False)
    terminal.print(f"FAIL: {WRITTEN}", style="bold red", markup=False, soft_wrap=True)
    assert out.getvalue().count("\x1b[1;31m") == 2, "its own colours stay"
    assert f"FAIL: {SHOWN}" in out.getvalue()
    assert ERASE not in out.getvalue()


def test_escape_codes_in_what_a_role_is_told_are_signs_like_others(
    terminal: Terminal, out: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attack: let a reward token, or a store, refuse in words that draw another line of the role, in more lines."""
    report = ConsoleReporter(terminal)
    report("delayed", f"claiming waits: {WRITTEN}\n12:00:00  paid 1000")
    told_on_stderr("downloading", WRITTEN)
    assert SHOWN in out.getvalue()
    assert ERASE not in out.getvalue()
    assert " " * 10 + "12:00:00" in out.getvalue().splitlines()[1], "a further line is none of its own"
    assert capsys.readouterr().err == SHOWN + "\n"


def test_key_of_a_strangers_spec_comes_into_the_error_as_it_is() -> None:
    """Why what is shown is made harmless where it is shown: here it comes in."""
    with pytest.raises(Exception, match="unknown key") as caught:
        TaskSpec.from_document(encode_document("task", {WRITTEN: 1}))
    assert ERASE in str(caught.value)
    assert not isinstance(caught.value, SpecError)


@pytest.mark.parametrize(("name", "symbol"), [("[/]", "DEMO"), ("demo", "[/b]"), ("[link=https://example.org]me", "x")])
def test_name_of_a_task_or_token_in_a_history_is_no_markup(
    name: str, symbol: str, terminal: Terminal, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: call a task, or its reward token, `[/]`, so that nobody sees any task's history."""
    gateway: Any = SimpleNamespace(
        money=lambda token: Money(symbol, 18), registry=SimpleNamespace(token=lambda: "0x" + "11" * 20)
    )
    round_ = {"round": 1, "slashes": [], "trainers": [], "emulators": []}
    monkeypatch.setattr(history, "console", terminal)
    history._print_history({"tasks": [{"task": 1, "name": name, "token": "0x", "history": [round_]}]}, gateway)
    assert name in out.getvalue()
    assert symbol in out.getvalue()
