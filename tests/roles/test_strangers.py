"""Sponsor, trainer and verifier that share nothing but the URL of a gateway: the round is paid and audited.

Its openings are sealed, so that the gateway serves rows to nobody but the verifier and whom the trainer invites."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from deltaproof.demo.processes import Supervisor
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.tuning.base_models.presets import minimal_model
from tests.worlds.market import DRAFT, PATIENCE, Market

SEALED = '[data]\nvisibility = "verifiers"\n'


def test_round_over_a_gateway_that_dies_in_between_is_paid_and_audited(tmp_path: Path) -> None:
    model = minimal_model(tmp_path / "model", "bert")
    draft = DRAFT.format(model=model).replace("= 60\n", "= 600\n").replace("[codec]", f"{SEALED}[codec]")
    (tmp_path / "task.toml").write_text(draft)
    for name in ("rows", "ann"):
        write_shard(
            tmp_path / f"{name}.jsonl", [canonical_row({"text": f"{name} {i}", "label": i % 2}) for i in range(12)]
        )
    serving = ("--store", str(tmp_path / "behind"), "--home", str(tmp_path / "gateway"))
    with Supervisor(tmp_path / "logs", {"OMP_NUM_THREADS": "1"}) as commands:
        market = Market.open(commands, tmp_path, gateway=serving)
        url = market.environment["DELTAPROOF_STORE"]
        mirror = tmp_path / "mirror"
        vera = market.role("vera", 4, "verifier", "--store", f"{url},{mirror}")
        ann = market.trainer("ann", 2)
        sponsor = market.role("sponsor", 0, "sponsor")
        market.wait(ann, "committed")
        assert market.server is not None
        os.killpg(market.server.process.pid, signal.SIGKILL)
        market.wait(ann, "delayed")
        again = ["store", "serve", "--port", str(urlsplit(url).port), *serving]
        server = commands.start("gateway-again", again, market.environment)
        commands.wait_for(server, "ready", PATIENCE)
        for worker in (vera, ann, sponsor):
            assert market.ended(worker) == 0, worker.tail(20)
        assert server.process.poll() is None, server.tail(20)
        stranger: Any = market.run("audit", "audit", "--task", market.task)
        report: Any = market.run(
            "audit", "audit", "--task", market.task, "--reading-key", str(tmp_path / "homes" / "vera")
        )
        metrics = requests.get(f"{url}/metrics", timeout=5).text
    assert (report["failures"], report["unchecked"], report["sealedRows"]) == ([], [], 0)
    assert (stranger["failures"], stranger["sealedRows"] > 0) == ([], True)
    served = b"".join(file.read_bytes() for file in (tmp_path / "behind").rglob("*") if file.is_file())
    assert not any(f"ann {number}".encode() in served for number in range(12))
    assert {file.parent.name for file in mirror.rglob("*") if file.is_file()} >= {"attestations", "tensors"}
    assert 'deltaproof_gateway_requests_total{kind="openings",method="PUT",status="201"}' in metrics
