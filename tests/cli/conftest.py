"""What tests of commands share: running one, a chain, contracts on it, and a draft of a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from eth_account import Account

from deltaproof.chain.local_node import Node, start_node
from deltaproof.cli import main
from deltaproof.cli.documents.catalogue import RESULTS, adapter_of
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.tuning.base_models.presets import minimal_model
from tests.worlds.market import DRAFT

Run = Callable[..., tuple[int, str, str]]


def keeps_to_its_document(arguments: Sequence[str], printed: str) -> None:
    """Whatever test runs a command: its result has the keys and types of docs/json.md, and no others."""
    command = next((name for name in (" ".join(arguments[:2]), arguments[0]) if name in RESULTS), None)
    if command is not None:
        adapter_of(command).validate_json(printed.splitlines()[-1])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output and standard error of a command."""
    # Wide enough that no message is cut into lines.
    monkeypatch.setenv("COLUMNS", "400")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["deltaproof", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        code = int(left.value.code or 0)
        if code == 0 and "--json" in arguments:
            keeps_to_its_document(arguments, printed.out)
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with start_node("anvil") as chain:
        yield chain


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    model = minimal_model(tmp_path / "model", "bert")
    rows = [canonical_row({"text": f"row {i}", "label": i % 2}) for i in range(8)]
    write_shard(tmp_path / "rows.jsonl", rows)
    path = tmp_path / "task.toml"
    path.write_text(DRAFT.format(model=model))
    return path


@pytest.fixture
def deployed(node: Node, run: Run, tmp_path: Path) -> list[str]:
    """Options that name a fresh deployment, a store, a funded key and a home."""
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", node.private_keys[0], "--json")
    assert code == 0, err
    contract = json.loads(out)["tasks"]
    chain = ["--rpc", node.rpc_url, "--contract", contract]
    account = Account.from_key(node.private_keys[0]).address
    code, out, err = run("faucet", *chain, "--key", node.private_keys[0], account, "--amount", "1000", "--json")
    assert code == 0, err
    return [*chain, "--store", str(tmp_path / "store"), "--key", node.private_keys[0], "--home", str(tmp_path / "home")]


def read_options(deployed: list[str]) -> list[str]:
    return deployed[:6]
