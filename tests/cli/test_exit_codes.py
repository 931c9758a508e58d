"""Exit codes are those of docs/json.md, which is made of `MEANINGS`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deltaproof.cli.exit_codes import MEANINGS, ExitCode
from tests.cli.conftest import Run
from tests.test_architecture import REPOSITORY


def test_every_code_has_a_meaning_and_is_tested_here() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert [code.value for code in ExitCode] == [0, 1, 2, 130]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("--version",), 0), (("methods", "--help"), 0), (("audit",), 1),
        (("task", "fund", "much", "--rpc", "x", "--contract", "x", "--key", "x", "--task", "1"), 1),
        (("task", "results", "--rpc", "x", "--contract", "x", "--store", "x", "--task", "1", "--push", "a/b"), 1),
        (("task", "fund"), 2), (("nonsense",), 2), (("chain", "up", "--port", "x"), 2), (("deploy", "--nonsense"), 2),
    ],
)  # fmt: skip
def test_command_leaves_with_its_code(run: Run, command: tuple[str, ...], code: int) -> None:
    assert run(*command)[0] == code


def test_error_of_a_script_is_the_last_line_of_json(run: Run, tmp_path: Path) -> None:
    draft = tmp_path / "task.toml"
    draft.write_text("[task]\n")
    code, out, err = run("task", "check", str(draft), "--json")
    assert code == 1
    told = json.loads(out.splitlines()[-1])
    assert told["event"] == "error"
    assert set(told["problems"][0]) == {"key", "problem", "remedy"}
    assert err.startswith("deltaproof: ")


def test_stopped_command_leaves_with_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deltaproof", "beacon", "serve", "--home", str(tmp_path), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        assert json.loads(run.stdout.readline())["event"] == "ready"
        time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 130
