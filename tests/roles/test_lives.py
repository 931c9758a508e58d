"""Working lives as separate processes on a real chain, killed at bad moments: nothing is lost, everybody is paid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from deltaproof.chain.drand_node import DrandNode, serving
from deltaproof.chain.local_node import development_keys
from deltaproof.demo.processes import Supervisor, Worker
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.tuning.base_models.presets import minimal_model
from tests.chain.signer_server import SignerServer
from tests.chain.signer_server import serving as serving_keys
from tests.worlds.market import DRAFT, PATIENCE, Market


def files(folder: Path, steps: int) -> None:
    """A task's spec, its model and everybody's rows."""
    model = minimal_model(folder / "model", "bert")
    text = DRAFT.format(model=model).replace("= 60\n", "= 600\n")
    (folder / "task.toml").write_text(text.replace("steps = 4", f"steps = {steps}"))
    for name in ("rows", "ann", "ben"):
        rows = [canonical_row({"text": f"{name} {i}", "label": i % 2}) for i in range(12)]
        write_shard(folder / f"{name}.jsonl", rows)


def supervised(folder: Path, **environment: str) -> Supervisor:
    settings = {"DELTAPROOF_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1", **environment}
    return Supervisor(folder / "logs", settings, preload=True)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    files(tmp_path, steps=60)
    with supervised(tmp_path) as commands:
        yield Market.open(commands, tmp_path)


def settled_round(market: Market) -> dict[str, Any]:
    """The one round of the market's task, as `history` tells it."""
    shown: Any = market.commands.run(
        "history", ["history", "--task", market.task], timeout=PATIENCE, environment=market.environment
    )
    (round_,) = shown["tasks"][0]["history"]
    assert round_["outcome"] == "settled"
    return dict(round_)


@pytest.fixture
def bens_signer() -> Iterator[SignerServer]:
    """Ben's key stays in a web3signer."""
    with serving_keys(31337, account=Account.from_key(development_keys(10)[3])) as signer:
        yield signer


def test_roles_killed_at_bad_moments_continue_and_are_paid(market: Market, bens_signer: SignerServer) -> None:
    vera = market.role("vera", 4, "verifier", "--max-disk", "1", "--max-memory", "4")
    ann, ben = market.trainer("ann", 2), market.trainer("ben", 3, "--max-disk", "1", key=bens_signer.key)
    sponsor = market.role("sponsor", 0, "sponsor", "--trainers", "2", "--verifiers", "1")

    market.wait(ann, "trained-step")
    kill(ann, signal.SIGKILL)
    ann = market.trainer("ann", 2, "--checkpointing")  # the same bits, so that it may go on where it was
    market.wait(ann, "committed")
    kill(ann, signal.SIGINT)
    assert ann.process.returncode == 130, ann.tail(20)
    ann = market.trainer("ann", 2)
    market.wait(ann, "revealed")
    market.wait(vera, "attested")
    kill(vera, signal.SIGKILL)
    vera = market.role("vera", 4, "verifier")

    for worker in (vera, ann, ben, sponsor):
        assert market.ended(worker) == 0, worker.tail(20)
    round_ = settled_round(market)
    assert [leaf["verdict"] for leaf in round_["trainers"]] == ["accepted", "accepted"]
    assert round_["verifiers"][0]["fee"] == 100
    assert all(leaf["claimed"] for leaf in round_["trainers"] if leaf["payout"])
    assert not round_["slashes"]
    assert set(bens_signer.asked) == {"eth_accounts", "eth_signTransaction"}


def test_interrupted_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs", {}) as commands:
        chain = commands.start("chain", ["chain", "up"])
        commands.wait_for(chain, "ready", PATIENCE)
        group = chain.process.pid
    assert chain.process.poll() is not None
    deadline = time.monotonic() + 10
    while _alive(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(group)


def kill(worker: Worker, number: signal.Signals) -> None:
    os.killpg(worker.process.pid, number)
    worker.process.wait(PATIENCE)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_seeds_of_a_round_come_from_drand_although_a_relay_is_down(tmp_path: Path) -> None:
    """The sponsor and the verifier fetch each round that a seed waits for and publish it; nobody else is needed."""
    files(tmp_path, steps=4)
    node = DrandNode(SecretKey(0xD0), int(time.time()), 1)
    with serving(node) as url, supervised(tmp_path, DELTAPROOF_DRAND=f"http://127.0.0.1:9,{url}") as commands:
        deploying = ("--beacon", "drand", "--drand-network", url, "--drand-lead", "3")
        market = Market.open(commands, tmp_path, deploying=deploying)
        vera, ann = market.role("vera", 4, "verifier"), market.trainer("ann", 2)
        sponsor = market.role("sponsor", 0, "sponsor")
        for worker in (vera, ann, sponsor):
            assert market.ended(worker) == 0, worker.tail(20)
        assert settled_round(market)["trainers"][0]["verdict"] == "accepted"
        shown: Any = commands.run("beacon", ["beacon", "show"], timeout=PATIENCE, environment=market.environment)
        assert (shown["beacon"], shown["missing"]) == ("drand", [])
