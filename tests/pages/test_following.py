"""A follower in the background goes on following, whatever happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from deltaproof.auditor.index import schema
from deltaproof.auditor.index.follower import Follower, IndexedDeployment, Progress, Synced
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.schema import IndexUnusable, open_database
from deltaproof.errors import ChainUnavailable
from deltaproof.pages.serve import LiveIndex
from deltaproof.protocol.types import address

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
        deployed = IndexedDeployment(1, "0x", {"tasks": address("0x" + "11" * 20)}, 0)
        db.execute(insert(schema.deployment).values(key="deployment", value=deployed.to_text()))
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
