"""A follower in the background goes on following, whatever happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import uvicorn
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from deltaproof.auditor.index import schema
from deltaproof.auditor.index.follower import Follower, IndexedDeployment, Progress, Synced
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.schema import IndexUnusable, open_database
from deltaproof.errors import ChainUnavailable
from deltaproof.pages import serve
from deltaproof.pages.data import PageData
from deltaproof.pages.serve import LiveIndex, create_app
from deltaproof.protocol.types import address

DEPLOYED = IndexedDeployment(1, "0x", {"tasks": address("0x" + "11" * 20)}, 0)
TROUBLE = (
    ChainUnavailable("no proper answer"), IndexUnusable("full"), KeyError("parentHash"), TypeError("None is no block"),
    OperationalError("SELECT secret", {}, Exception("database is locked")),
)  # fmt: skip


class Troubled(Follower):
    """Fails in every way once, then works."""

    def __init__(self) -> None:
        self.left: Iterator[Exception] = iter(TROUBLE)
        self.live: LiveIndex | None = None
        self.told: list[str | None] = []

    def sync(self, progress: Progress | None = None) -> Synced:
        assert self.live is not None
        self.told.append(self.live.problem)
        if (error := next(self.left, None)) is not None:
            raise error
        return Synced(head=7)


def test_follower_of_an_explorer_outlives_a_full_disk_and_a_node_that_answers_nonsense(tmp_path: Path) -> None:
    """Accident: the database restarts, or a node answers a block without its parent, and the explorer shows the chain
    as it was then, for ever."""
    engine = open_database(str(tmp_path / "index.sqlite"))
    with engine.begin() as db:
        db.execute(insert(schema.deployment).values(key="deployment", value=DEPLOYED.to_text()))
    follower = Troubled()
    live = follower.live = LiveIndex(follower, Index(engine), 0.0)
    live.start()
    end = time.monotonic() + 20
    while live.synced.head != 7 and time.monotonic() < end:
        time.sleep(0.01)
    live.stop()
    assert live.synced.head == 7
    assert live.healthy
    assert follower.told[1:6] == [
        "no proper answer", "full", *(f"the index cannot follow the chain ({type(e).__name__})" for e in TROUBLE[2:]),
    ]  # fmt: skip


def test_so_many_pages_are_told_of_new_blocks_and_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: open ten thousand streams, and whoever serves the pages does nothing but look after them."""
    monkeypatch.setattr(serve, "MOST_LISTENING", 2)
    engine = open_database(str(tmp_path / "index.sqlite"))
    with engine.begin() as db:
        db.execute(insert(schema.deployment).values(key="deployment", value=DEPLOYED.to_text()))
    index, follower = Index(engine), Troubled()
    live = follower.live = LiveIndex(follower, index, 0.1)
    server = uvicorn.Server(uvicorn.Config(create_app(PageData(index, None), live), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    listening = [requests.get(f"{url}/events", stream=True, timeout=20) for _ in range(2)]
    lines = [answer.iter_lines() for answer in listening]
    assert [next(each) for each in lines] == [b"event: block"] * 2
    assert requests.get(f"{url}/events", stream=True, timeout=20).status_code == 503
    assert requests.get(url, timeout=20).status_code == 200
    listening.pop().close()
    until(lambda: live.listening == 1)
    assert requests.get(f"{url}/events", stream=True, timeout=20).status_code == 200
    server.should_exit = server.force_exit = True
    thread.join(20)


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)
