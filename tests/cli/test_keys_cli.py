"""`deltaproof keys account`: a new account that every command can use, and what keeps one from being lost."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from deltaproof.chain.local_node import Node
from deltaproof.chain.rpc.keys import PASSWORD_VARIABLE
from tests.cli.conftest import Run


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
