"""The index follows the chain: in ranges of any size, after a kill, over reorganisations, through a bad line."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from deltaproof.auditor.index import schema
from deltaproof.auditor.index.follower import Follower
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import AnswerTooLarge, Call, Rpc
from deltaproof.auditor.index.schema import IndexUnusable, open_database
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.local_node import start_node
from deltaproof.errors import ChainUnavailable, DeploymentError
from deltaproof.protocol.types import TokenAmount, address
from tests.worlds.roles import RoleWorld, build_world

CHAIN_TABLES = (schema.blocks, schema.seeds, schema.transactions, schema.events, schema.mentions)


def rows_of(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as db:
        return {table.name: sorted(tuple(row) for row in db.execute(select(table))) for table in CHAIN_TABLES}


def indexed(world: RoleWorld, rpc: Rpc | None = None, **options: Any) -> Engine:
    engine = open_database("sqlite://")
    Follower(engine, rpc or world.rpc, world.contract, **options).sync()
    return engine


def test_sync_small_ranges_same_rows(world: RoleWorld) -> None:
    whole = rows_of(indexed(world))
    assert rows_of(indexed(world, range_blocks=7)) == whole
    assert rows_of(indexed(world, range_blocks=1, first_block=0)) == whole
    assert len(whole["events"]) > 100


def test_sync_resumes_after_kill_same_rows(world: RoleWorld, tmp_path: Path) -> None:
    class Dying(Rpc):
        """Breaks for good after a number of batches, as a killed process would."""

        left = 12

        def batch(self, calls: Sequence[Call]) -> list[Any]:
            self.left -= 1
            if self.left < 0:
                raise ChainUnavailable("gone")
            return super().batch(calls)

    path = str(tmp_path / "index.sqlite")
    for _ in range(40):
        engine = open_database(path)
        try:
            Follower(engine, Dying(world.node.rpc_url), world.contract, range_blocks=5).sync()
            break
        except ChainUnavailable:
            engine.dispose()
    else:
        raise AssertionError("never finished")
    assert rows_of(engine) == rows_of(indexed(world))


def test_sync_node_limits_ranges_halved_until_they_pass(world: RoleWorld) -> None:
    class Limited(Rpc):
        """Answers at most ten blocks, in the words of a public provider."""

        refused = 0

        def batch(self, calls: Sequence[Call]) -> list[Any]:
            for method, params in calls:
                if method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= 10:
                    self.refused += 1
                    raise AnswerTooLarge("query returned more than 10000 results")
            return super().batch(calls)

    rpc = Limited(world.node.rpc_url)
    assert rows_of(indexed(world, rpc)) == rows_of(indexed(world))
    assert rpc.refused > 0


def test_rpc_flaky_line_retried_then_given_up(world: RoleWorld) -> None:
    class Flaky(Rpc):
        failures = 0

        def _once(self, calls: Sequence[Call]) -> list[Any]:
            self.failures += 1
            if self.failures % 3:
                raise ValueError("connection reset")
            return super()._once(calls)

    assert rows_of(indexed(world, Flaky(world.node.rpc_url, pause_seconds=0.0))) == rows_of(indexed(world))
    with pytest.raises(ChainUnavailable, match="after 2 attempts"):
        Rpc("http://127.0.0.1:1", attempts=2, pause_seconds=0.0).call("eth_chainId")


@pytest.mark.parametrize("status", [200, 401])
def test_access_key_of_a_node_is_in_no_error(status: int) -> None:
    """Errors of the node come into `/health` of an explorer, and into reports that are published."""

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"no JSON")

        def log_message(self, format: str, *args: object) -> None:
            """The standard library would write to the terminal."""

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = []
        for port in (server.server_port, 9):
            rpc = Rpc(f"http://me:mine@127.0.0.1:{port}/v3/access-key", attempts=1)
            for calls in (1, 2):
                with pytest.raises(ChainUnavailable) as caught:
                    rpc.batch([("eth_chainId", [])] * calls)
                told.append(str(caught.value))
        server.shutdown()
    assert not [line for line in told if "access-key" in line or "mine" in line]
    assert all("127.0.0.1" in line for line in told)
    assert status == 200 or "status 401" in told[0]


def test_sync_reorganisation_rolled_back_to_fork(tmp_path: Path) -> None:
    with start_node("anvil", accounts=12) as node:
        world = build_world(node, tmp_path, rounds=2, honest=1, verifiers=1)
        world.open_round()
        engine = open_database("sqlite://")
        follower = Follower(engine, world.rpc, world.contract, range_blocks=10)
        snapshot = world.raw("evm_snapshot")
        fork = int(world.raw("eth_blockNumber"), 16)
        _allow(world)
        world.gateway.vault.fund(world.task, TokenAmount(5))
        world.gateway.registry.deposit(Role.CHALLENGER, TokenAmount(7))
        follower.sync()
        assert any(e.args["amount"] == 7 for e in Index(engine).events(names=["StakeDeposited"]))

        world.raw("evm_revert", snapshot)
        world.raw("anvil_mine", "0x3")  # other blocks at the same heights
        _allow(world)
        world.gateway.registry.deposit(Role.CHALLENGER, TokenAmount(9))
        synced = follower.sync()
        assert synced.rolled_back_to is not None
        assert synced.rolled_back_to <= fork
        deposits = [e.args["amount"] for e in Index(engine).events(names=["StakeDeposited"])]
        assert 9 in deposits
        assert 7 not in deposits
        assert rows_of(engine) == rows_of(indexed(world))
        world.close()


def _allow(world: RoleWorld) -> None:
    token = world.gateway.token(world.gateway.registry.token())
    token.approve(world.gateway.vault.address, TokenAmount(100))
    token.approve(world.gateway.registry.address, TokenAmount(100))


def test_follower_other_contract_or_chain_refused(world: RoleWorld, database: Path, tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="no TaskManager"):
        Follower(open_database("sqlite://"), world.rpc, address("0x" + "11" * 20))
    with start_node("anvil", accounts=2) as other, pytest.raises(IndexUnusable, match="genesis"):
        Follower(open_database(str(database)), Rpc(other.rpc_url), world.contract)
    with pytest.raises(IndexUnusable, match="cannot open"):
        open_database(str(tmp_path / "no" / "such" / "folder.sqlite"))
    with pytest.raises(IndexUnusable, match="empty"):
        Index(open_database("sqlite://"))


def test_events_text_and_back_same_arguments(index: Index) -> None:
    from deltaproof.auditor.index.events import event_types

    by_name = {(kind.contract, kind.name): kind for kind in event_types().values()}
    for event in index.events():
        kind = by_name[event.contract, event.name]
        assert kind.load(kind.dump(event.args)) == event.args
