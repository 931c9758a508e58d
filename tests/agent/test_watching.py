"""What a running role shows of itself: log, status, health, metrics; also where the disk refuses."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.reliability.of_machine import read_only
from deltaproof.agent import watching
from deltaproof.agent.watching import Observed, serve_health
from deltaproof.api.living import Settings, live
from deltaproof.cli.reporting import ConsoleReporter, reporter
from deltaproof.errors import UsageError
from tests.cli.conftest import run as run_command

run = run_command


class Told:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, event: str, message: str, **_fields: object) -> None:
        self.lines.append((event, message))

    def of(self, event: str) -> list[str]:
        return [message for kind, message in self.lines if kind == event]


def moment(task: int, **changed: object) -> dict[str, Any]:
    seen = {
        "task": task, "account": "0xAB", "block": 7, "round": 2, "phase": "commit", "phase_number": 2,
        "deadline": 1000, "seconds_left": 30, "at_stake": "",
    }  # fmt: skip
    return seen | changed


def logged(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "logs" / "trainer.jsonl").read_text().splitlines() if line]


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """A home whose log is on a device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "trainer.jsonl").symlink_to("/dev/full")
    return tmp_path


def test_full_disk_is_told_once_and_the_log_goes_on_when_there_is_room(full_disk: Path) -> None:
    told = Told()
    observed = Observed(told, "trainer", full_disk)
    for number in range(3):
        observed("committed", f"round {number}")
    (told_once,) = told.of("disk")
    assert told_once.startswith("the log cannot be written: No space left")
    assert observed.status()["errors"], "who asks for the status sees it as well"

    (full_disk / "logs" / "trainer.jsonl").unlink()
    observed("committed", "round 3")
    observed("committed", "round 4")
    assert told.of("disk")[1:] == ["the log is written again; 3 lines of it were lost"]
    assert [line["message"] for line in logged(full_disk)] == ["round 3", "round 4"]
    assert len(told.of("committed")) == 5, "nothing was kept from whoever listens"


def test_home_that_takes_no_file_is_told_once_for_log_and_status(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file where the home should be")
    told = Told()
    observed = Observed(told, "trainer", home)
    for number in range(3):
        observed("committed", f"round {number}")
    assert [message.partition(" cannot")[0] for message in told.of("disk")] == ["the log", "the status file"]
    home.unlink()
    observed("committed", "round 3")
    observed.looked(moment(1))
    assert "the log is written again" in told.of("disk")[2]
    assert json.loads((home / "status-trainer.json").read_text())["tasks"][0]["round"] == 2


@pytest.mark.parametrize("as_json", [True, False])
def test_output_that_nobody_reads_any_more_is_told_once_and_ends_no_role(
    as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trainer run | tee log`, and tee is killed: whoever goes on writing loses lines, not its stake."""
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as piped:
        piped.setattr(sys, "stdout", os.fdopen(writer, "w"))
        observed = Observed(reporter(as_json), "trainer", tmp_path)
        for number in range(3):
            observed("committed", f"round {number}")
    observed("committed", "round 3")
    messages = [line["message"] for line in logged(tmp_path)]
    assert messages[0].startswith("the output cannot be written: Broken pipe")
    assert messages[1:4] == ["round 0", "round 1", "round 2"]
    assert messages[4:] == ["the output is written again; 3 lines of it were lost", "round 3"]


def test_output_on_a_full_disk_ends_no_role_and_is_not_kept(tmp_path: Path) -> None:
    shown = io.StringIO()
    with Path("/dev/full").open("w") as full:
        console = Console(file=full)
        observed = Observed(ConsoleReporter(console), "trainer", tmp_path)
        for number in range(3):
            observed("committed", f"round {number}")
        console.file = shown
        observed("committed", "round 3")
        with contextlib.suppress(OSError):
            full.close()
    assert "round 3" in shown.getvalue()
    assert "round 2" not in shown.getvalue()


def test_line_torn_by_a_kill_spoils_only_itself(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "trainer.jsonl").write_text('{"event": "comm')
    Observed(Told(), "trainer", tmp_path)("committed", "round 1")
    torn, whole = (tmp_path / "logs" / "trainer.jsonl").read_text().splitlines()
    assert torn == '{"event": "comm'
    assert json.loads(whole)["message"] == "round 1"


def test_logs_never_take_more_than_they_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOG_BYTES", 2000)
    observed = Observed(Told(), "trainer", tmp_path)
    for number in range(300):
        observed("committed", f"round {number}")
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == watching.LOG_FILES + 1
    assert sum(file.stat().st_size for file in files) <= 2000 * len(files)
    assert logged(tmp_path)[-1]["message"] == "round 299"


def test_phase_is_told_once_with_its_deadline_and_hides_no_last_event(tmp_path: Path) -> None:
    told = Told()
    observed = Observed(told, "trainer", tmp_path)
    observed("committed", "round 2: committed")
    for left in (30, 29, 28):
        observed.looked(moment(1, seconds_left=left))
    observed.looked(moment(1, phase="reveal"))
    first, second = told.of("phase")
    assert first.startswith("task 1, round 2: commit until ")
    assert first.endswith("30 s left")
    assert "reveal" in second
    assert observed.status()["last"]["message"] == "round 2: committed"  # type: ignore[index]


def test_health_and_metrics_tell_each_task_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    observed = Observed(Told(), "verifier", tmp_path)
    observed.looked(moment(1))
    observed.looked(moment(4, round=9))
    observed("delayed", "round waits")
    observed.counted_call("eth_call", True)
    server = serve_health(observed, 0)
    try:
        place = f"http://127.0.0.1:{server.server_port}"
        with urllib.request.urlopen(f"{place}/metrics") as answer:
            metrics = answer.read().decode()
        assert 'deltaproof_round{role="verifier",task="4"} 9.0' in metrics
        assert 'deltaproof_events_total{event="delayed",role="verifier"} 1.0' in metrics
        with urllib.request.urlopen(f"{place}/health") as answer:
            status = json.load(answer)
        assert [task["task"] for task in status["tasks"]] == [1, 4]
        monkeypatch.setattr(watching, "STALE_SECONDS", -1.0)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{place}/health")
    finally:
        server.shutdown()


def test_status_shows_every_role_of_a_home_with_each_task(tmp_path: Path, run: Any) -> None:
    trainer, verifier = (Observed(Told(), role, tmp_path) for role in ("trainer", "verifier"))
    trainer.looked(moment(1, at_stake="this round's pay"))
    trainer.looked(moment(2, phase="reveal", at_stake="the commit bond"))
    for number in range(5):
        trainer("delayed", f"round waits, {number}")
    verifier("loading", "loading the model")

    code, out, _ = run("agent", "status", "--home", str(tmp_path))
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "trainer (0xAB) runs"
    assert lines[1:5] == [
        "  task 1: round 2, commit, block 7, 30 s left when it looked", "    at stake: this round's pay",
        "  task 2: round 2, reveal, block 7, 30 s left when it looked", "    at stake: the commit bond",
    ]  # fmt: skip
    assert [line for line in lines if "error" in line] == [f"  error: round waits, {n}" for n in (2, 3, 4)]
    assert "verifier (not connected yet) runs" in lines
    assert "  last: loading the model" in lines

    ended = Observed(Told(), "sponsor", tmp_path)
    ended("done", "the task has ended")
    code, out, _ = run("agent", "status", "--home", str(tmp_path))
    assert "sponsor (not connected yet) has nothing left to do and has ended" in out.splitlines()
    (tmp_path / "status-sponsor.json").unlink()
    old = json.loads((tmp_path / "status-trainer.json").read_text())
    (tmp_path / "status-trainer.json").write_text(json.dumps(old | {"at": 0}))
    (tmp_path / "status-odd.json").write_text("{")
    code, out, _ = run("agent", "status", "--home", str(tmp_path))
    assert (code, "stopped?" in out.splitlines()[0]) == (0, True)
    code, out, _ = run("agent", "status", "--home", str(tmp_path), "--json")
    assert [role["role"] for role in json.loads(out)["roles"]] == ["trainer", "verifier"]


def test_busy_health_port_ends_the_command_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings("trainer", "http://127.0.0.1:9", "0x", "", tmp_path, "", "", 1.0, None, port, 1)
        with pytest.raises(UsageError, match=f"--health-port {port}"):
            live(settings, Told(), lambda gateway, task, report: pytest.fail("was made"))


def test_read_only_home_leaves_health_and_brings_the_status_file_back(tmp_path: Path) -> None:
    observed = Observed(Told(), "trainer", tmp_path)
    observed.looked(moment(1))
    end = read_only(f"{tmp_path}/")
    try:
        observed.looked(moment(1, phase="reveal"))
        assert observed.status()["tasks"][0]["phase"] == "reveal"  # type: ignore[index]
        assert json.loads((tmp_path / "status-trainer.json").read_text())["tasks"][0]["phase"] == "commit"
    finally:
        end()
    observed.save()
    assert json.loads((tmp_path / "status-trainer.json").read_text())["tasks"][0]["phase"] == "reveal"
