"""A trainer that lost its seat while its work was judged, and took it again: its openings still come in."""

from __future__ import annotations

from pathlib import Path

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import FOREVER
from deltaproof.chain.local_node import start_node
from deltaproof.gateway.server import GatewayOptions
from deltaproof.protocol.types import RoundIndex
from tests.gateway.conftest import scene_of, serving
from tests.worlds.roles import build_world
from trainer.conduct import Honest


def test_who_was_put_out_and_came_back_while_its_round_runs_publishes_the_work_of_that_round(tmp_path: Path) -> None:
    """Attack: after a round that a trainer missed, free its seat while the next one runs. It takes the seat again, the
    chain says that it takes part from the round after, and what it committed to would count as withheld."""
    with start_node("anvil") as node:
        world = build_world(node, tmp_path / "world", rounds=3, honest=1, cheat=Honest(), verifiers=1, max_trainers=2)
        try:
            ann, ben = world.trainers
            world.trainers = [ann]
            world.play(1)
            world.trainers = [ann, ben]
            world.open_round()
            world.work()
            world.until(Phase.ATTEST_COMMIT)
            ann.gateway.trainers.vacate(world.task, ben.account)
            ben.mind_stake()
            assert ben.gateway.trainers.enrolment(world.task, ben.account).active_until == FOREVER

            scene = scene_of(world)
            work = {path: data for path, data in scene.files.items() if path.startswith(("openings/", "blob/"))}
            log = ben.log
            log.refresh(RoundIndex(2))
            reveal = log.reveals(RoundIndex(2))[ben.account]
            mine = [path for path in work if reveal.transcript_root.hex() in path or reveal.delta_digest.hex() in path]
            assert len(mine) > 1
            options = GatewayOptions(store=str(tmp_path / "store"), home=tmp_path / "gateway", version="test")
            with serving(scene, options) as served:
                served.publish_spec()
                answers = [served.put("ben", path, work[path]) for path in mine]
                assert [answer.status_code for answer in answers] == [201] * len(mine), answers[0].text
        finally:
            world.close()
