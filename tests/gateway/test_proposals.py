"""Settlements at a gateway: named by what is signed of them, a few for each verifier, and the standing one for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deltaproof.chain.local_node import start_node
from deltaproof.gateway.server import GatewayOptions
from deltaproof.protocol.outcome.settlement import PostedLeaves, build_settlement
from deltaproof.protocol.rules import MAX_SIGNED
from deltaproof.protocol.types import RoundIndex
from tests.gateway.conftest import Scene, Serve, Served, scene_of, serving
from tests.worlds.roles import build_world
from trainer.conduct import Honest

FIRST = RoundIndex(1)


def another(scene: Scene, number: int) -> tuple[str, bytes]:
    """The posted leaves under a settlement that differs in its improvement."""
    told = PostedLeaves.from_document(scene.files[scene.path("proposals")])
    s = told.settlement
    other = build_settlement(told.leaves, s.next_start_digest, s.improvement_nanos + number, s.artifact_digest)
    digest = other.signing_digest(scene.world.gateway.domain(scene.task, FIRST), 0)
    return f"proposals/{digest.hex()}", PostedLeaves(settlement=other, leaves=told.leaves).to_document()


def code(served: Served, who: str, path: str, data: bytes) -> tuple[int, str]:
    answer = served.put(who, path, data)
    return answer.status_code, answer.json().get("code", "")


def test_settlements_stand_beside_each_other_a_few_for_each_verifier_and_the_posted_one_has_room(
    scene: Scene, serve: Serve
) -> None:
    served = serve()
    served.publish_spec()
    told = [another(scene, number) for number in range(1, MAX_SIGNED + 2)]
    for path, data in told[:MAX_SIGNED]:
        assert code(served, "vera", path, data)[0] == 201
    assert code(served, "vera", *told[MAX_SIGNED]) == (413, "over-quota")
    assert code(served, "vera", *told[0])[0] == 200, "the same bytes again are welcome"
    assert all(served.client().read(path, len(data)) == data for path, data in told[:MAX_SIGNED])
    posted = scene.path("proposals")
    assert code(served, "vera", posted, scene.files[posted])[0] == 201


def test_leaves_that_do_not_lead_to_the_signed_root_are_no_proposal(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    path, data = another(scene, 1)
    told = PostedLeaves.from_document(data)
    hidden = told.model_copy(update={"leaves": told.leaves[:1]}).to_document()
    assert code(served, "vera", path, hidden) == (422, "wrong-content")


def test_standing_settlement_of_an_earlier_round_is_restored_and_nothing_else_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier puts leaves that it kept at home into the store again, also when it is in no quorum any more."""
    with start_node("anvil") as node:
        world = build_world(node, tmp_path / "world", rounds=3, honest=1, cheat=Honest(), verifiers=1)
        world.play(1)
        scene = scene_of(world)
        world.open_round()
        with serving(scene, GatewayOptions(str(tmp_path / "store"), tmp_path / "gateway", "test")) as served:
            served.publish_spec()
            restored_once(scene, served, monkeypatch)
        world.close()


def restored_once(scene: Scene, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = scene.path("proposals"), scene.files[scene.path("proposals")]
    assert code(served, "vera", *another(scene, 1)) == (422, "wrong-content"), "of round 1, and not the one that stands"
    told = PostedLeaves.from_document(data)
    hidden = told.model_copy(update={"leaves": told.leaves[:1]}).to_document()
    assert code(served, "vera", path, hidden) == (422, "wrong-content")
    assert code(served, "ann", path, data) == (403, "not-yours")
    parts = served.server.parts
    facts = parts.intake.doorkeeper.facts
    monkeypatch.setattr(parts.intake.doorkeeper, "_verifies", lambda *_: None)
    assert code(served, "vera", *another(scene, 1)) == (403, "no-role")
    assert code(served, "vera", path, data)[0] == 201
    assert code(served, "vera", path, data)[0] == 200

    now, ended = facts.task(scene.task), scene.world.gateway.tasks.round(scene.task, FIRST).ended_at
    monkeypatch.setattr(facts, "task", lambda _: replace(now, now=ended + now.params.phases.claim))
    assert code(served, "vera", path, data) == (403, "no-role"), "nothing is claimed any more"
