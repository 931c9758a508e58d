"""Lines of running roles on a terminal, in a file, and for a script."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from deltaproof.api.connecting import open_gateway
from deltaproof.cli import reporting
from deltaproof.cli.reporting import ConsoleReporter, JsonReporter
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.sponsor.life import Sponsor
from deltaproof.store import open_store
from tests.cli.conftest import Run


def lines(reporter_output: io.StringIO) -> list[str]:
    return [line[10:] for line in reporter_output.getvalue().splitlines()]


def test_equal_lines_in_a_row_are_printed_once() -> None:
    out = io.StringIO()
    report = ConsoleReporter(Console(file=out, highlight=False))
    for _ in range(156):
        report("waiting", "waiting for participants")
    report("round", "round 1 opened")
    report("waiting", "waiting for participants")
    assert lines(out) == ["waiting for participants", "round 1 opened", "waiting for participants"]


def test_progress_in_a_file_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(reporting.time, "monotonic", lambda: clock[0])
    out = io.StringIO()
    report = ConsoleReporter(Console(file=out, highlight=False))
    for step in range(120):
        clock[0] = float(step)
        report("trained-step", f"step {step}")
    report("committed", "committed")
    assert lines(out) == ["step 0", "step 30", "step 60", "step 90", "committed"]


def test_progress_on_a_terminal_is_one_line_that_gives_way_to_what_happened() -> None:
    out = io.StringIO()
    report = ConsoleReporter(Console(file=out, highlight=False, force_terminal=True, width=80))
    for step in range(120):
        report("trained-step", f"step {step}")
    report("committed", "round 1: committed")
    text = out.getvalue()
    assert text.rstrip("\n").count("\n") < 5, "steps scroll nothing away"
    assert "round 1: committed" in text.splitlines()[-1]


def test_markup_in_a_message_is_text() -> None:
    out = io.StringIO()
    ConsoleReporter(Console(file=out, highlight=False))("unusable", "[red]a[/red] name [link=x]")
    assert lines(out) == ["[red]a[/red] name [link=x]"]


def test_sponsor_says_once_who_is_missing(run: Run, deployed: list[str], draft: Path) -> None:
    create = ("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    task = TaskId(json.loads(run(*create)[1])["task"])
    told: list[str] = []
    rpc, contract, store, key, home = deployed[1::2]
    with open_gateway(rpc, contract, key) as gateway:
        sponsor = Sponsor(
            gateway, open_store(store), task, Path(home), lambda event, message, **_: told.append(message),
            trainers=5, verifiers=3,
        )  # fmt: skip
        for _ in range(20):
            sponsor.open_round(RoundIndex(1))
    assert told == ["round 1 waits for participants: 0 of 5 trainers, 0 of 3 verifiers"]


def test_script_gets_every_event_as_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = JsonReporter()
    for step in range(3):
        report("trained-step", "the same", round=1, step=step, root=b"\x01")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["step"] for line in told] == [0, 1, 2]
    assert told[0]["root"] == "0x01"
    assert {"event", "at", "message"} <= told[0].keys()
