"""What a gateway does by itself: it goes on whatever fails, and takes nothing away that somebody was told stands."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from deltaproof.errors import StoreUnavailable
from deltaproof.gateway import app
from deltaproof.gateway.admission import Grant
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.gateway.retention import Swept
from deltaproof.protocol.types import TaskId
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store.paths import parse_path
from deltaproof.store.permits import WritePermit
from tests.gateway.conftest import PATIENCE, Serve, Served

OTHER = TaskId(999)


def fill(served: Served, *kinds: str) -> list[str]:
    """Publish the spec, and an artifact of each kind."""
    served.publish_spec()
    paths = [served.scene.path(kind) for kind in kinds]
    for path in paths:
        served.client(served.scene.maker(path)).write(path, served.scene.files[path])
    return paths


def end_task(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last claim of the scene's task be over; of another task the chain knows nothing."""
    facts, scene = served.server.parts.doorkeeper.facts, served.scene
    over = replace(facts.task(scene.task), closes_at=1)

    def task(number: TaskId) -> object:
        if number != scene.task:
            raise RequestRefused(403, "no-task", "there is no such task")
        return over

    monkeypatch.setattr(facts, "task", task)


def test_what_fails_once_ends_nothing_that_a_gateway_does_by_itself(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses one sweep: whoever watches the gateway's health would take it out for ever."""
    monkeypatch.setattr(app, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(app, "STALE_SECONDS", 2.0)
    served = serve(archive=str(tmp_path / "archive"), keep_seconds=0.0)
    (path,) = fill(served, "openings")
    incoming = tmp_path / "gateway" / "incoming"
    shutil.rmtree(incoming)
    end_task(served, monkeypatch)
    time.sleep(3.0)
    assert requests.get(f"{served.url}/health", timeout=PATIENCE).status_code == 200
    incoming.mkdir()
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "archive" / path).exists():
        assert time.monotonic() < deadline, "nothing is swept any more"
        time.sleep(0.05)


def test_artifact_that_another_task_comes_to_hold_during_a_sweep_stays(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sponsor's next task starts from what the last one ended with: it is told that the adapter stands already."""
    monkeypatch.setattr(app, "LOOK_SECONDS", 3_600.0)
    served = serve(keep_seconds=0.0)
    fill(served, "openings", "validation")
    parts = served.server.parts
    end_task(served, monkeypatch)
    remove, kept = parts.intake.depot.remove, list[str]()

    def slowly(path: str) -> None:
        remove(path)
        if kept:
            return
        kept.append(next(file for file in served.scene.files if (tmp_path / "store" / file).is_file()))
        data = served.scene.files[kept[0]]
        permit = WritePermit(OTHER, kept[0], len(data), sha256(data), 0)
        grant = Grant(
            parse_path(kept[0]), permit, served.scene.account("sponsor"), "sponsor", parts.doorkeeper.facts.task(
                served.scene.task).round, len(data), None, 0, None,
        )  # fmt: skip
        assert parts.intake.stands(grant)

    monkeypatch.setattr(parts.intake.depot, "remove", slowly)
    assert parts.retention.sweep() == Swept(0, 2)
    assert (tmp_path / "store" / kept[0]).read_bytes() == served.scene.files[kept[0]]
    assert parts.retention.sweep() == Swept(0, 0), "and a task that the node does not show keeps what it holds"


def test_artifact_that_cannot_be_taken_away_keeps_no_other_there(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOOK_SECONDS", 3_600.0)
    served = serve(keep_seconds=0.0)
    fill(served, "openings")
    parts = served.server.parts
    end_task(served, monkeypatch)
    remove = parts.intake.depot.remove

    def refusing(path: str) -> None:
        if path.startswith("blob/"):
            raise StoreUnavailable(path, "busy")
        remove(path)

    monkeypatch.setattr(parts.intake.depot, "remove", refusing)
    with pytest.raises(StoreUnavailable, match="busy"):
        parts.retention.sweep()
    assert parts.ledger.totals()[0] == 1
