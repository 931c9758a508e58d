"""Files, folders and ports that a person names and that cannot be used: one line each, and nothing was sent."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from eth_account import Account

from deltaproof.chain import connect
from deltaproof.chain.local_node import Node
from deltaproof.cli.named_files import named_refusal
from deltaproof.protocol.types import address
from tests.cli.conftest import Run, read_options

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """A place below what is no folder, where not even root can write."""
    (tmp_path / "file").write_text("no folder")
    return tmp_path / "file" / "out"


def nonce(node: Node) -> int:
    """How many transactions the deployer has sent."""
    account = address(Account.from_key(node.private_keys[0]).address)
    return connect(node.rpc_url).web3.eth.get_transaction_count(account)


@pytest.mark.parametrize(
    "command", [("history", "--csv"), ("history", "--parquet"), ("audit", "--report"), ("report", "--html")]
)
def test_output_that_cannot_be_written_is_named_in_one_line(
    run: Run, deployed: list[str], below: Path, tmp_path: Path, command: tuple[str, str]
) -> None:
    (tmp_path / "store").mkdir()
    code, _, err = run(command[0], *read_options(deployed), command[1], str(below))
    assert code == 1
    assert str(below) in err
    assert "Not a directory; name another" in err
    assert "Traceback" not in err


def test_draft_into_a_file_is_refused_in_one_line(run: Run, draft: Path, below: Path) -> None:
    rows, model = str(draft.parent / "rows.jsonl"), f"path:{draft.parent / 'model'}"
    convert = ("data", "convert", rows, "--spec", str(draft), "--out")
    code, _, err = run(*convert, str(below))
    assert (code, "Not a directory; name another" in err) == (1, True)
    many = draft.parent / "many.jsonl"
    many.write_text("".join(json.dumps({"text": f"row {i}", "label": i % 2}) + "\n" for i in range(60)))
    code, _, err = run(
        "task", "init", "--model", model, "--data", str(many), "--rounds", "1", "--out", str(below.parent)
    )
    assert (code, "File exists; name another" in err) == (1, True)


def test_file_that_nobody_named_and_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["deltaproof", "export", "--out", str(tmp_path / "round.zip")])
    monkeypatch.setenv("DELTAPROOF_HOME", str(tmp_path / "home"))
    refused = "[Errno 13] x"
    named = [tmp_path / "round.zip", tmp_path / "round.zip.partial", tmp_path, tmp_path / "home" / "secret"]
    for path in named:
        assert "name another" in (named_refusal(PermissionError(errno.EACCES, refused, str(path))) or "")
    for other in (tmp_path / "other.zip", Path("/usr/lib/python"), tmp_path.parent / "x"):
        assert named_refusal(PermissionError(errno.EACCES, refused, str(other))) is None, "a fault of the program"
    assert named_refusal(OSError(errno.EIO, "no file")) is None
    assert "make room" in (named_refusal(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) or "")


def test_deploy_sends_nothing_for_a_file_or_token_that_cannot_be_used(run: Run, node: Node, below: Path) -> None:
    deploy, before = ("deploy", "--rpc", node.rpc_url, "--key", node.private_keys[0]), nonce(node)
    code, _, err = run(*deploy, "--out", str(below))
    assert (code, f"cannot write deployment {below}" in err) == (1, True)
    nobody = "0x" + "aa" * 20
    code, _, err = run(*deploy, "--token", nobody)
    assert (code, "is no ERC-20 token on chain 31337" in err) == (1, True)
    kept = below.parent.with_name("kept.json")
    kept.write_text("kept")
    run(*deploy, "--token", nobody, "--out", str(kept))
    assert kept.read_text() == "kept"
    assert nonce(node) == before


def test_deploy_tells_the_token_that_is_staked(run: Run, node: Node, deployed: list[str]) -> None:
    code, out, _ = run("faucet", *deployed[:4], *deployed[6:8], "0x" + "17" * 20, "--json")
    token = json.loads(out)["token"]
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", node.private_keys[0], "--token", token, "--json")
    assert (code, json.loads(out)["token"]) == (0, token), err


def test_task_is_not_created_for_a_store_that_nobody_can_write_to(
    run: Run, deployed: list[str], draft: Path, below: Path
) -> None:
    away = [*deployed]
    away[away.index("--store") + 1] = str(below.parent)
    code, _, err = run("task", "create", str(draft), *away, "--fund", "1100wei", "--accept-risk", "--dry-run")
    assert (code, f"--store: {below.parent} is no folder that can be written to" in err) == (1, True)


@pytest.mark.parametrize("command", [("audit",), ("history",)])
def test_store_to_read_that_is_not_there_is_refused(
    run: Run, deployed: list[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, _, err = run(*command, *deployed[:4], "--store", str(tmp_path / "typo"))
    assert (code, err) == (1, f"deltaproof: there is no folder {tmp_path / 'typo'}; check --store\n")


@pytest.mark.parametrize("command", [("serve",), ("store", "serve")])
def test_port_in_use_is_named(run: Run, deployed: list[str], tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "store").mkdir()
    own = ["--home", str(tmp_path / "gateway")] if command[0] == "store" else ["--index", str(tmp_path / "i.sqlite")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run(*command, *read_options(deployed), *own, "--port", str(port))
    assert (code, f"cannot listen on port {port} of 127.0.0.1" in err) == (1, True)


def test_chain_up_names_accounts_with_keys_and_says_that_it_keeps_nothing() -> None:
    command = [sys.executable, "-m", "deltaproof", "chain", "up", "--accounts", "2", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        ready = json.loads(run.stdout.readline())
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGINT)
        told, _ = run.communicate(timeout=60)
    assert [Account.from_key(key).address for key in ready["private_keys"]] == ready["accounts"]
    assert len(ready["accounts"]) == 2
    assert run.returncode == 130
    assert "the chain is gone: --state FOLDER keeps the next one" in json.loads(told)["message"]


def test_chain_up_whose_node_ended_says_so_and_fails() -> None:
    command = [sys.executable, "-m", "deltaproof", "chain", "up", "--accounts", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        assert json.loads(run.stdout.readline())["event"] == "ready"
        (node,) = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        os.kill(int(node), signal.SIGKILL)
        told, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "anvil ended by itself" in json.loads(told)["message"]
