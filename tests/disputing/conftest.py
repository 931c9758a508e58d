"""A deployment on Anvil with short times, three trainers, three verifiers, and a store; nobody trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.agent.loop import Moment
from deltaproof.chain import Gateway, TransactionSender, connect
from deltaproof.chain.local_node import Node, start_node
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN
from deltaproof.protocol.outcome.settlement import PostedLeaves, Settlement, SettlementLeaf
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId
from deltaproof.store import ArtifactStore, open_store
from tests.chain.node_calls import funded_account
from tests.worlds.gateways import GatewayWorld, Play, world_of
from tests.worlds.simulated import UNIT, Terms

FIRST = RoundIndex(1)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    with start_node("anvil") as running:
        yield running


@pytest.fixture(scope="session")
def world(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    terms = Terms(budget=90 * UNIT, verifier_stake=100 * UNIT, quorum_bps=6_000, rounds=3, window_seconds=3_600)
    with world_of(connect(node.rpc_url), tmp_path_factory.mktemp("state"), terms) as running:
        yield running


@pytest.fixture(scope="session")
def stranger(world: GatewayWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Somebody with gas and nothing else."""
    account, folder = funded_account(world.connection), tmp_path_factory.mktemp("stranger")
    with TransactionSender(world.connection, account, state_folder=folder) as sender:
        yield Gateway(world.connection, world.deployment, sender)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(str(tmp_path / "store"))


@dataclasses.dataclass
class Stage:
    """A played round, and how its settlement gets where watchers look."""

    play: Play
    store: ArtifactStore

    def publish(self, leaves: list[SettlementLeaf], settlement: Settlement, verifier: int = 0) -> None:
        """As a signer does: leaves, and what it signed, in the store."""
        who, digest = self.play.world.verifiers[verifier].account, self.digest(settlement)
        self.store.put_proposal(digest, PostedLeaves(settlement=settlement, leaves=tuple(leaves)))
        self.store.put_signed(self.play.task, self.play.round, who, digest)

    def sign(self, settlement: Settlement, verifier: int) -> None:
        who, digest = self.play.world.verifiers[verifier].account, self.digest(settlement)
        self.store.put_signature(digest, who, self.play.world.keys[who].sign(SETTLEMENT_DOMAIN, digest))

    def digest(self, settlement: Settlement) -> Digest32:
        """What is signed of a settlement in the running attempt."""
        attempt = self.play.world.sponsor.tasks.round(self.play.task, self.play.round).attempts
        return settlement.signing_digest(self.play.domain, attempt)

    def to_settle(self) -> None:
        """A round in which everybody worked and attested alike."""
        self.play.play_to_opening()
        self.play.publish()
        self.play.attest(self.play.leaves())


@pytest.fixture
def stage(world: GatewayWorld, store: ArtifactStore) -> Stage:
    return Stage(world.start_task(), store)


def moment(gateway: Gateway, task: TaskId) -> Moment:
    """The task as a role sees it now."""
    block = BlockRef.of(gateway.connection.block())
    return Moment(block, gateway.tasks.phase(task), gateway.tasks.is_ended(task), block.timestamp)


class Heard:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, event: str, message: str, **_fields: object) -> None:
        self.events.append((event, message))

    def names(self) -> list[str]:
        return [event for event, _ in self.events]
