"""The demo's cheat is a program of its own: no command of the product cheats."""

from __future__ import annotations

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from deltaproof.chain.local_node import development_keys
from deltaproof.cli import app
from deltaproof.demo.nursery import Nursery
from deltaproof.protocol.evidence.rows import canonical_row, write_shard


def test_trainer_run_offers_no_way_to_cheat() -> None:
    refused = CliRunner().invoke(app, ["trainer", "run", "--conduct", "skip-half"])
    assert refused.exit_code == 2
    assert "No such option" in refused.output


def test_cheat_takes_the_demo_s_options_and_fails_as_commands_do(tmp_path: Path) -> None:
    write_shard(tmp_path / "rows.jsonl", [canonical_row({"text": "row", "label": 0})])
    arguments = ["--task", "1", "--data", str(tmp_path / "rows.jsonl"), "--home", str(tmp_path / "home")]
    settings = {
        "DELTAPROOF_RPC": "http://127.0.0.1:9",
        "DELTAPROOF_CONTRACT": "0x" + "11" * 20,
        "DELTAPROOF_STORE": str(tmp_path / "store"),
        "DELTAPROOF_KEY": development_keys(1)[0],
    }
    environment = {**os.environ, **settings}
    ended = Nursery(environment).run("deltaproof.demo.cheat", [*arguments, "--json"], environment, timeout=120)
    assert ended.returncode == 1, ended.stderr
    event = json.loads(ended.stdout.splitlines()[-1])
    assert event["event"] == "error"
    assert "127.0.0.1:9" in event["message"]
