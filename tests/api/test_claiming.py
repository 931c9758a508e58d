"""Pay that a program claims for its owner, also where no store shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import deltaproof
from deltaproof.agent.proposals import KeptProposals
from deltaproof.api.lives import quiet
from deltaproof.chain import connect
from deltaproof.chain.local_node import Node, start_node
from deltaproof.protocol.outcome.settlement import SettlementProposal
from deltaproof.store import open_store
from tests.chain.node_calls import funded_account
from tests.worlds.gateways import running_world
from tests.worlds.simulated import Terms


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with start_node("anvil") as running:
        yield running


def test_claim_finds_pay_in_a_home_where_no_store_shows_it(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DELTAPROOF_STORE", raising=False)
    connection = connect(node.rpc_url)
    accounts = [funded_account(connection) for _ in range(5)]
    with running_world(connection, accounts, tmp_path / "state", Terms(), trainers=2) as world:
        play = world.start_task()
        leaves, trainer = play.play_round(), world.trainers[0]
        settlement = trainer.tasks.round(play.task, play.round).settlement
        home, store = tmp_path / "home", open_store(str(tmp_path / "store"))
        kept = KeptProposals(home / f"task-{play.task}", trainer, store, play.task, quiet)
        digest = trainer.posted_digest(play.task, play.round)
        kept.keep(play.round, digest, SettlementProposal(settlement=settlement, leaves=tuple(leaves)))
        network = deltaproof.Network(rpc=node.rpc_url, contract=world.deployment.modules.tasks)
        task, key = deltaproof.Task(play.task, network), accounts[1].key.hex()
        assert task.claim(key=key) == [], "nobody shows the leaves"
        paid = task.claim(key=key, home=str(home))
        payout = next(leaf.payout for leaf in leaves if leaf.trainer == trainer.account)
        assert [(payment.round, payment.amount) for payment in paid] == [(play.round, payout)]
