"""A deployment with three trainers whose work is simulated, and a relay for their task, on a real Anvil."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_account import Account

from deltaproof.agent.loop import Moment
from deltaproof.chain import Gateway, TransactionSender, connect, load_account
from deltaproof.chain.local_node import start_node
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.chain.signed_commits import CommitPermit
from deltaproof.protocol.types import RoundIndex, TaskId, hex_of
from deltaproof.relaying.life import Relayer
from deltaproof.relaying.server import RelayOptions, RelayServer
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import LocalBackend
from tests.worlds.gateways import GatewayWorld, Play, running_world
from tests.worlds.simulated import UNIT, Terms, seal_work, work_of

PATIENCE = 30.0
MALLORY = Account.from_key("0x" + 31 * "00" + "77")


@dataclass
class Relayed:
    """A world, the relay's own gateway, and what it reported."""

    world: GatewayWorld
    gateway: Gateway
    folder: Path
    told: list[tuple[str, str]]

    def start(self) -> tuple[Play, Relayer]:
        """A task in its first commit phase, and a relayer that has looked at it."""
        play = self.world.start_task()
        play.open()
        relayer = self.relayer(play.task)
        self.look(relayer)
        return play, relayer

    def relayer(self, task: TaskId, **options: Any) -> Relayer:
        def report(event: str, message: str, **_fields: object) -> None:
            self.told.append((event, message))

        self.told.clear()
        store = ArtifactStore(LocalBackend(self.folder / "store"))
        return Relayer(self.gateway, store, task, self.folder / "relay", report, **options)

    def look(self, relayer: Relayer, **changed: Any) -> None:
        """Every duty once, at the newest block."""
        head = self.gateway.connection.head()
        with self.gateway.connection.reading_at(head):
            moment = moment_at(self.gateway, relayer.task_id, head, **changed)
            for duty in relayer.duties():
                duty.act(moment)

    def permit(self, play: Play, number: int) -> CommitPermit:
        trainer = self.world.trainers[number]
        return CommitPermit(play.task, play.round, seal_work(play.domain, trainer.account))

    def commitment(self, play: Play, number: int, **changed: Any) -> dict[str, Any]:
        """A trainer's signed commitment, as it is handed in."""
        trainer, permit = self.world.trainers[number], self.permit(play, number)
        assert trainer.sender is not None
        signature = trainer.sender.sign_message(permit.message(trainer))
        body = {"task": int(permit.task), "round": int(permit.round), "commitment": hex_of(permit.commitment)}
        return {**body, "signature": f"0x{signature.hex()}", **changed}

    def reveal(self, play: Play, number: int, **changed: Any) -> dict[str, Any]:
        account = self.world.trainers[number].account
        work = work_of(play.domain, account)
        fields = ("delta_digest", "transcript_root", "salt")
        shown = {name: hex_of(getattr(work, name)) for name in fields}
        return {"task": int(play.task), "round": int(play.round), "trainer": account, **shown, **changed}


def moment_at(gateway: Gateway, task: TaskId, head: BlockRef, *, now: int | None = None) -> Moment:
    view, ended = gateway.tasks.phase(task), gateway.tasks.is_ended(task)
    return Moment(head, view, ended, head.timestamp if now is None else now)


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    folder = tmp_path_factory.mktemp("relayed")
    with start_node("anvil", accounts=8) as node:
        connection = connect(node.rpc_url)
        accounts = [load_account(key) for key in node.private_keys[:5]]
        terms = Terms(budget=90 * UNIT, verifier_stake=100 * UNIT, rounds=2, window_seconds=2)
        with running_world(connection, accounts, folder, terms) as world:
            own = connect(node.rpc_url)
            with TransactionSender(own, load_account(node.private_keys[7]), state_folder=folder) as sender:
                yield Relayed(world, Gateway(own, world.deployment, sender), folder, [])


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serves relayers over HTTP; returns the URL."""
    servers: list[tuple[RelayServer, threading.Thread]] = []

    def served(*relayers: Relayer, **options: Any) -> str:
        server = RelayServer(relayers[0].gateway, relayers, RelayOptions("test", **options), "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        deadline = time.monotonic() + PATIENCE
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.port}"

    yield served
    for server, thread in servers:
        server.stop()
        thread.join(PATIENCE)


def post(url: str, what: str, body: Any) -> tuple[int, str]:
    """Status, and the code of a refusal."""
    answer = requests.post(f"{url}/{what}", json=body, timeout=PATIENCE)
    return answer.status_code, answer.json().get("code", "")


FIRST = RoundIndex(1)
