"""What is odd about one trainer's work keeps nobody from looking at the others'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deltaproof.chain import connect
from deltaproof.chain.local_node import Node
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.workdesk import WorkDesk
from deltaproof.errors import ContractRevert, StoreUnavailable
from deltaproof.protocol.types import Address
from deltaproof.store import ArtifactStore
from tests.disputing.conftest import Heard, Stage, moment
from tests.worlds.gateways import GatewayWorld, world_of
from tests.worlds.simulated import Terms


@pytest.fixture(scope="module")
def world(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    """Of this file alone: every task takes a part of what its people have staked."""
    with world_of(connect(node.rpc_url), tmp_path_factory.mktemp("state"), Terms(window_seconds=3_600)) as running:
        yield running


def at_the_desk(stage: Stage, store: ArtifactStore) -> tuple[WorkDesk, TaskLog]:
    """Somebody who watches a round whose openings are shown, and the log that it reads."""
    watcher, task = stage.play.world.sponsor, stage.play.task
    stage.play.play_to_opening()
    stage.play.publish()
    log = TaskLog(watcher, [watcher.trainers.address], task)
    return WorkDesk(watcher, store, task, watcher.terms.params(task), log, Heard()), log


def test_failure_about_one_trainer_leaves_the_others_looked_at_once(
    stage: Stage, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, task, looked = stage.play.world.sponsor, stage.play.task, list[Address]()
    desk, _ = at_the_desk(stage, store)
    odd, *others = [trainer.account for trainer in stage.play.world.trainers]

    def look(_round: Any, _view: Any, trainer: Address, *_digests: Any) -> tuple[None, bool]:
        looked.append(trainer)
        if trainer == odd:
            raise ContractRevert("FaultProver.prove", "NotCommittedWork", {"trainer": trainer})
        return None, False

    monkeypatch.setattr(desk, "_look", look)
    for _ in range(2):
        with pytest.raises(ContractRevert):
            desk.mind(moment(watcher, task))
    assert sorted(looked) == sorted([odd, odd, *others])


def test_store_that_is_away_for_one_trainers_work_alone_keeps_nobody_elses_from_being_looked_at(
    stage: Stage, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: an accomplice runs one of two mirrors, and withholds an opening that only that one could have."""
    watcher, task, looked = stage.play.world.sponsor, stage.play.task, list[Address]()
    desk, log = at_the_desk(stage, store)
    log.refresh(watcher.tasks.phase(task).round)
    odd, *others = log.reveals(watcher.tasks.phase(task).round)

    def look(_round: Any, _view: Any, trainer: Address, *_digests: Any) -> tuple[None, bool]:
        looked.append(trainer)
        if trainer == odd:
            raise StoreUnavailable("openings", "503")
        return None, False

    monkeypatch.setattr(desk, "_look", look)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            desk.mind(moment(watcher, task))
    assert looked == [odd, *others, odd]
