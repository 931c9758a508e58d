"""An opening that early verifiers see otherwise than late ones: nobody's verdict depends on when it looked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.evidence.transcript import parse_opening, serialize_opening
from deltaproof.protocol.types import RoundIndex
from deltaproof.sponsor.life import Sponsor
from tests.chaos.chaos_world import chaos_world
from tests.chaos.test_demands import FIRST, until, wait_for
from trainer.life import Trainer
from verifier.life import Verifier


def test_trainer_that_swaps_an_opening_splits_no_quorum(tmp_path: Path) -> None:
    """Attack: one value is off while the first verifier looks, and right for the others: they find different things, no
    settlement has a quorum, and every round ends with the base for everybody and no fee, at no cost to the trainer."""
    with start_node("anvil", accounts=12) as node, chaos_world(
        node, tmp_path, seconds=30, verifiers=2, kept_seconds=20
    ) as world:  # fmt: skip
        for verifier in world.of(Verifier):
            verifier.agent.join()
        world.start(Sponsor, Trainer)
        wait_for(world, "ATTEST_COMMIT")
        attacker = world.of(Trainer)[0].agent
        assert isinstance(attacker, Trainer)
        root = attacker._done[FIRST].trained.transcript_root
        limits = attacker.context(RoundIndex(FIRST)).opening_limits(attacker.spec, attacker.workshop.bench.layout.size)
        place = min((world.store_folder / "openings" / root.hex() / attacker.account.lower()).iterdir())
        right = place.read_bytes()
        opening = parse_opening(right, limits)
        theta = opening.state["theta"].copy()
        theta[0] = np.nextafter(theta[0], np.float32(9))
        place.write_bytes(serialize_opening(replace(opening, state={**opening.state, "theta": theta})))

        early, late = world.of(Verifier)
        early.start()
        until(world, lambda: any(event == "caught" for event, _ in early.events))
        place.write_bytes(right)
        late.start()
        world.wait_until_done(300)
        assert world.outcome() == Outcome.SETTLED, world.story()
        assert not any(event == "slashed" for role in world.roles for event, _ in role.events), world.story()
