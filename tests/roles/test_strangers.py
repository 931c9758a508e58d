"""Six strangers who know one RPC URL and one address: a private task over a gateway with S3 behind it.

Sponsor, two trainers, two verifiers and an auditor share no folder and no password. The store's URL stands on chain.
The gateway dies in the middle. Rows and adapters are sealed: the store serves them to nobody but those they are for.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from deltaproof.cli import app
from deltaproof.demo.processes import Supervisor
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.protocol.types import hex_of
from deltaproof.tuning.base_models.presets import minimal_model
from tests.worlds.market import DRAFT, PATIENCE, Market

PRIVATE = """[data]
visibility = "verifiers"
auditors = ["{auditor}"]
[adapter]
visibility = "participants"
[codec]"""


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """An S3 service with the bucket `artifacts`: the environment of who may use it."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    place = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    yield {**place, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    server.stop()


def audit(market: Market, *arguments: str) -> dict[str, Any]:
    """An audit by somebody who knows the RPC URL and the contract's address."""
    place = ("--rpc", market.environment["DELTAPROOF_RPC"], "--contract", market.environment["DELTAPROOF_CONTRACT"])
    done = CliRunner().invoke(app, ["audit", *place, "--task", market.task, "--json", *arguments])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(("node", "each"), [("anvil", 2), ("ganache", 1)])
def test_round_among_strangers_is_paid_and_audited_though_the_gateway_dies_in_between(
    tmp_path: Path, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch, node: str, each: int
) -> None:
    """Trainers and verifiers, so many of each; one suffices for what Ganache does in its own way, and it is slow."""
    model, auditor = minimal_model(tmp_path / "model", "bert"), ReadingKey.create(tmp_path / "auditor.key")
    private = PRIVATE.format(auditor=hex_of(auditor.public))
    draft = DRAFT.format(model=model).replace("= 60\n", "= 600\n").replace("[codec]", private)
    (tmp_path / "task.toml").write_text(draft)
    for name in ("rows", "ann", "bob"):
        write_shard(
            tmp_path / f"{name}.jsonl", [canonical_row({"text": f"{name} {i}", "label": i % 2}) for i in range(12)]
        )
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    objects = boto3.client("s3")
    objects.create_bucket(Bucket="artifacts")
    for name in bucket:  # the gateway alone may use it
        monkeypatch.delenv(name)
    serving = ("--store", "s3://artifacts/tasks", "--home", str(tmp_path / "gateway"))
    with Supervisor(tmp_path / "logs", {"OMP_NUM_THREADS": "1", "DELTAPROOF_POLL": "0.3"}, preload=True) as commands:
        market = Market.open(commands, tmp_path, gateway=serving, behind=bucket, told=False, node=node)
        assert "DELTAPROOF_STORE" not in market.environment
        assert market.server is not None
        url = market.url
        verifiers = [market.role(name, number, "verifier") for name, number in (("vera", 4), ("victor", 5))[:each]]
        trainers = [market.trainer(name, number) for name, number in (("ann", 2), ("bob", 3))[:each]]
        sponsor = market.role("sponsor", 0, "sponsor", "--trainers", str(each), "--verifiers", str(each))
        for trainer in trainers:  # with one uncommitted, the others would have nothing to ask the store for
            market.wait(trainer, "committed")
        os.killpg(market.server.process.pid, signal.SIGKILL)
        market.wait(trainers[0], "delayed")
        again = ["store", "serve", "--port", str(urlsplit(url).port), *serving]
        server = commands.start("gateway-again", again, {**market.environment, **bucket})
        commands.wait_for(server, "ready", PATIENCE)
        for worker in (*verifiers, *trainers, sponsor):
            assert market.ended(worker) == 0, worker.tail(20)
        assert server.process.poll() is None, server.tail(20)
        outsider = audit(market)
        report = audit(market, "--reading-key", str(tmp_path / "auditor.key"))
        metrics = requests.get(f"{url}/metrics", timeout=5).text
    assert report["failures"] == []
    # Ganache serves no receipts of whole blocks: an audit says that it could not look for events that were left out.
    unseen = {"events in block"} if node == "ganache" else set()
    assert {check["name"] for check in report["unchecked"]} == unseen
    assert (report["sealedRows"], report["sealedAdapters"]) == (0, 0)
    assert outsider["failures"] == []
    assert outsider["sealedRows"] > 0
    assert outsider["sealedAdapters"] >= 1 + each, "the start, each delta, and what follows from them"
    listed = [entry["Key"] for entry in objects.list_objects_v2(Bucket="artifacts", Prefix="tasks/")["Contents"]]
    kinds = {key.split("/")[1] for key in listed}
    assert kinds >= {"sealed", "admissions", "envelopes", "openings", "attestations", "keys"}
    assert "tensors" not in kinds, "no weights lie in the open"
    served = b"".join(objects.get_object(Bucket="artifacts", Key=key)["Body"].read() for key in listed)
    assert not any(f"{name} {number}".encode() in served for name in ("ann", "bob") for number in range(12))
    assert 'deltaproof_gateway_requests_total{kind="openings",method="PUT",status="201"}' in metrics
