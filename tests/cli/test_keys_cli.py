"""`deltaproof keys account`: a new account that every command can use, and what keeps one from being lost."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaproof.chain.local_node import Node
from deltaproof.chain.rpc.keys import PASSWORD_VARIABLE, create_keystore
from deltaproof.cli.passwords import unlocked
from deltaproof.errors import UsageError
from tests.cli.conftest import Run

LOCAL_MODES = 3
"""Their place in what `termios.tcgetattr` answers."""


def test_new_account_is_what_a_command_sends_from(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, node: Node
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct")
    file = tmp_path / "mine.json"
    code, printed, _ = run("keys", "account", str(file), "--json")
    assert code == 0
    address = json.loads(printed)["address"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "correct" not in file.read_text()

    code, _, told = run("deploy", "--rpc", node.rpc_url, "--key", str(file))
    assert code != 0
    assert address in told, "the account, which has no coin, was found behind the file"


def test_nobody_loses_a_key_to_a_second_one(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct")
    file = tmp_path / "mine.json"
    assert run("keys", "account", str(file))[0] == 0
    before = file.read_bytes()
    code, _, told = run("keys", "account", str(file))
    assert code != 0
    assert "File exists" in told
    assert file.read_bytes() == before


def test_without_a_password_and_somebody_to_ask_there_is_no_key(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    code, _, told = run("keys", "account", str(tmp_path / "mine.json"), "--json")
    assert code != 0
    assert PASSWORD_VARIABLE in told
    assert not (tmp_path / "mine.json").exists()


NOWHERE = ("--rpc", "http://127.0.0.1:9", "--contract", "0x" + "11" * 20)
WITH_A_KEY = [
    ("deploy", *NOWHERE[:2]), ("stake", "leave", "--task", "1", "--role", "trainer", *NOWHERE),
    ("watch", *NOWHERE, "--once"), ("audit", *NOWHERE, "--store", "."),
]  # fmt: skip


@pytest.mark.parametrize("command", WITH_A_KEY, ids=lambda command: command[0])
def test_keystore_without_a_password_or_somebody_to_ask_says_what_to_set(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    create_keystore(tmp_path / "mine.json", "correct")
    code, _, told = run(*command, "--key", str(tmp_path / "mine.json"))
    assert code != 0
    assert f"nobody to ask for the password of {tmp_path / 'mine.json'}: set {PASSWORD_VARIABLE}" in told


def test_backup_without_a_password_or_somebody_to_ask_says_what_to_set(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    (tmp_path / "home").mkdir()
    code, _, told = run("agent", "backup", "--home", str(tmp_path / "home"), "--out", str(tmp_path / "file"))
    assert (code, f"nobody to ask for the password of the backup: set {PASSWORD_VARIABLE}" in told) == (1, True)


def test_other_keys_need_no_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    (tmp_path / "plain").write_text("11" * 32)
    for key in ("22" * 32, str(tmp_path / "plain"), str(tmp_path / "none"), "https://there:9000#0x" + "11" * 20, ""):
        assert unlocked(key) == key
    monkeypatch.setenv("KEYSTORE", create_keystore_text(tmp_path))
    with pytest.raises(UsageError, match="password of environment variable KEYSTORE"):
        unlocked("env:KEYSTORE")


def create_keystore_text(folder: Path) -> str:
    create_keystore(folder / "text.json", "correct")
    return (folder / "text.json").read_text()


def read_until(terminal: int, enough: Callable[[bytes], bool]) -> bytes:
    """What a terminal shows until then, or until its other end is closed."""
    told, until = b"", time.monotonic() + 120
    while not enough(told):
        assert time.monotonic() < until, told
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                told += os.read(terminal, 4096)
            except OSError:
                break
    return told


def test_password_of_a_keystore_is_asked_for_on_a_terminal(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    made = create_keystore(tmp_path / "mine.json", "correct")
    command = [
        sys.executable,
        "-m",
        "deltaproof",
        "deploy",
        "--rpc",
        node.rpc_url,
        "--key",
        str(tmp_path / "mine.json"),
    ]
    ours, theirs = pty.openpty()
    running = subprocess.Popen(command, stdin=theirs, stderr=theirs, stdout=theirs, start_new_session=True)
    os.close(theirs)
    try:
        read_until(ours, lambda told: b"password of" in told)
        # What is typed before the terminal is told to hide it is thrown away.
        read_until(ours, lambda _: not termios.tcgetattr(ours)[LOCAL_MODES] & termios.ECHO)
        os.write(ours, b"correct\n")
        told = read_until(ours, lambda _: running.poll() is not None)
    finally:
        running.kill()
        running.wait()
    os.close(ours)
    text = "".join(told.decode().split())
    assert made.address in text, "the account, which has no coin, was found behind the file"
    assert "correct" not in text
