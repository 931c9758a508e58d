"""A trainer with a relay: it leaves things to it, believes the chain alone, and is never late because of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deltaproof.agent.loop import Moment
from deltaproof.chain import Gateway, TransactionSender, connect, load_account
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.events.participants import BatchCommitted, BatchRevealed, BondForfeited, TrainerSlashed
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.events.rounds import Claimed
from deltaproof.chain.local_node import start_node
from deltaproof.errors import UsageError
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Digest32, RoundIndex
from deltaproof.relaying.life import Relayer
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import LocalBackend
from tests.chaos.chaos_world import chaos_world
from tests.relaying.conftest import Relayed, moment_at
from trainer.life import Trainer
from trainer.relay import Relay

SEALED, OTHER = Digest32(32 * b"\x05"), Digest32(32 * b"\x06")
PHASE = 600


@pytest.fixture
def liar() -> Iterator[ThreadingHTTPServer]:
    """Takes everything, and does nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status = 202  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def commit(relayed: Relayed) -> Moment:
    """A commit phase with all of its time left."""
    play, _ = relayed.start()
    head = relayed.gateway.connection.head()
    moment = moment_at(relayed.gateway, play.task, head)
    return replace(moment, now=moment.view.deadline - PHASE)


def relay_of(relayed: Relayed, url: str, folder: Path) -> tuple[Relay, list[str]]:
    told: list[str] = []
    trainer = relayed.world.trainers[0]
    task = relayed.world.start_task().task
    return Relay(url, trainer, task, folder, lambda event, message, **_: told.append(f"{event}: {message}")), told


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_liar_took_goes_by_itself_when_a_quarter_of_the_phase_is_left(
    relayed: Relayed, commit: Moment, liar: ThreadingHTTPServer, tmp_path: Path
) -> None:
    relay, told = relay_of(relayed, url_of(liar), tmp_path)
    assert relay.leaves_commitment(commit, PHASE, SEALED)
    until(lambda: relay._requests["commitment"].ended is not None)
    assert relay.leaves_commitment(replace(commit, now=commit.view.deadline - PHASE // 2), PHASE, SEALED)
    late = replace(commit, now=commit.view.deadline - PHASE // 4)
    assert not relay.leaves_commitment(late, PHASE, SEALED)
    assert not relay.leaves_commitment(commit, PHASE, SEALED), "and stays with it, whatever clocks say"
    assert "it has not brought it in time" in told[-1]
    next_round = replace(commit, view=replace(commit.view, round=RoundIndex(2)))
    assert relay.leaves_commitment(next_round, PHASE, SEALED)


def test_relay_that_refuses_again_and_again_or_is_silent_is_left_out_at_once(
    relayed: Relayed, commit: Moment, liar: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.relay.RETRY_SECONDS", 0.0)
    liar.status = 503  # type: ignore[attr-defined]
    relay, told = relay_of(relayed, url_of(liar), tmp_path)
    until(lambda: not relay.leaves_commitment(commit, PHASE, SEALED))
    assert "it answers with status 503" in told[-1]
    assert relay._requests["commitment"].attempt == 3

    monkeypatch.setattr("trainer.relay.ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        relay, told = relay_of(relayed, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "silent")
        began = time.monotonic()
        assert relay.leaves_commitment(commit, PHASE, SEALED), "nobody waits for the answer here"
        assert time.monotonic() - began < 5
        until(lambda: not relay.leaves_commitment(commit, PHASE, SEALED))
    with pytest.raises(UsageError, match="--relay"):
        relay_of(relayed, "relay.example", tmp_path)


def test_two_commitments_of_one_round_are_never_signed(
    relayed: Relayed, commit: Moment, liar: ThreadingHTTPServer, tmp_path: Path
) -> None:
    """After a reorganisation drew another order, a relay could still bring the first: the bond would be lost."""
    relay, _ = relay_of(relayed, url_of(liar), tmp_path)
    assert relay.leaves_commitment(commit, PHASE, SEALED)
    restarted, told = relay_of(relayed, url_of(liar), tmp_path)
    assert not restarted.leaves_commitment(commit, PHASE, OTHER)
    assert "another commitment of this round was signed before" in told[-1]


def test_trainers_live_through_a_round_with_a_relay_and_one_with_a_liar(
    tmp_path: Path, serve: Callable[..., str], liar: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        start_node("anvil", accounts=8) as node,
        chaos_world(node, tmp_path, trainers=2, verifiers=1, rounds=2, seconds=120) as world,
    ):
        own = connect(node.rpc_url)
        store = ArtifactStore(LocalBackend(world.store_folder))
        with TransactionSender(own, load_account(node.private_keys[7]), state_folder=tmp_path / "relay") as sender:
            gateway = Gateway(own, world.gateway.deployment, sender)
            relayer = Relayer(gateway, store, world.task, tmp_path / "relay", lambda *a, **f: None, poll_seconds=0.1)
            thread = threading.Thread(target=relayer.live, daemon=True)
            thread.start()
            url = serve(relayer)
            trainers = [role.agent for role in world.of(Trainer)]
            for agent in trainers:
                assert isinstance(agent, Trainer)
                folder = tmp_path / f"signed-{agent.account}"
                agent.relay = Relay(url, agent.gateway, world.task, folder, agent.report)
            world.start()

            def change_relay() -> None:
                view = world.gateway.tasks.phase(world.task)
                if view.round == 1 and view.phase > Phase.REVEAL:
                    monkeypatch.setattr("trainer.relay.OWN_SHARE", 0.95)
                    for agent in trainers:
                        agent.relay.url = url_of(liar)  # type: ignore[attr-defined]

            world.wait_until_done(300, change_relay)
            relayer.end()
            thread.join(30)
        events = [found.event for found in gateway.events.read(0, own.block_number())]
        assert [event.round for event in events if isinstance(event, BatchCommitted | BatchRevealed)] == [1, 1]
        assert not [event for event in events if isinstance(event, BondForfeited | TrainerSlashed)]
        paid = [(event.round, event.trainer) for event in events if isinstance(event, Claimed)]
        assert len(paid) == len(set(paid))
        for number in (1, 2):
            assert world.outcome(number) is Outcome.SETTLED
            assert set(world.verdicts(number).values()) == {Verdict.ACCEPTED}, world.story()
        assert {event.round for event in claims_of(gateway)} == {1}, "the relay claims for those whom it brought"


def claims_of(gateway: Gateway) -> list[Claimed]:
    """Claims in transactions of the relay."""
    web3, found = gateway.connection.web3, list[Claimed]()
    reader = LogReader(gateway.connection, [gateway.vault.address])
    for logged in reader.read(0, gateway.connection.block_number(), (Claimed,)):
        sent = web3.eth.get_transaction(logged.transaction_hash)  # type: ignore[arg-type]
        if sent["from"] == gateway.account:
            assert isinstance(logged.event, Claimed)
            found.append(logged.event)
    return found
