"""A role whose `--store` is not the task's: what the sponsor announced on chain is used beside it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deltaproof.api.connecting import task_store
from deltaproof.chain.announced import announcement
from deltaproof.protocol.types import Digest32, TaskId, TokenAmount
from deltaproof.store import open_store
from tests.worlds.gateways import GatewayWorld, world_alone
from tests.worlds.simulated import validation_sets

SPEC = b"a spec"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *told: object) -> None:
        pass


@contextmanager
def announced(folder: Path) -> Iterator[str]:
    """A store that serves a folder, and takes nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    with world_alone(tmp_path_factory.mktemp("state"), people=1, trainers=1) as running:
        yield running


def task_of(world: GatewayWorld, spec: Digest32, store: str) -> TaskId:
    """A task without money whose calldata announces a store."""
    token = world.sponsor.registry.token()
    params = world.terms.params(token)
    params = dataclasses.replace(params, spec_hash=spec)
    _, commitments = validation_sets(world.terms.rounds + 1)
    task, _ = world.sponsor.terms.create_task(params, commitments, TokenAmount(0), announcement(store))
    return task


def test_store_that_lacks_the_spec_is_not_the_only_one_that_a_role_writes_to(
    world: GatewayWorld, tmp_path: Path
) -> None:
    """A trainer that starts again with another task's folder would publish its openings where no verifier looks."""
    digest, told = open_store(str(tmp_path / "right")).put_blob(SPEC), list[str]()

    def report(event: str, message: str, **fields: object) -> None:
        told.append(f"{event}: {message}")

    with announced(tmp_path / "right") as url:
        task = task_of(world, digest, url)
        store = task_store(str(tmp_path / "wrong"), world.trainers[0], task, report)
        assert store.get_blob(digest, 100) == SPEC
        assert len(told) == 1
        assert told[0].startswith("elsewhere: ")
        assert url in told[0]
        task_store(str(tmp_path / "right"), world.trainers[0], task, report)
        assert len(told) == 1, "the gateway's own folder is the task's store"
    task_store(str(tmp_path / "wrong"), world.trainers[0], task_of(world, digest, ""), report)
    assert len(told) == 1, "that task announces nothing"
