"""What a trainer answers demands from: its home, also of work that goes on from an earlier round's delta."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deltaproof.chain.abi.enums import Component
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.types import ZERO_DIGEST, RoundIndex
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import Nowhere
from tests.worlds.roles import build_world, silent
from trainer.conduct import Honest
from trainer.life import Trainer

FEEDBACK = 'name = "two_bit"\noptions = { error_feedback = true }'
SECOND = RoundIndex(2)
PLACES = [(0, Component.THETA), (2, Component.SECOND_MOMENT), (2, Component.ERROR_MEMORY), (3, Component.GRADIENT)]


def test_restarted_trainer_shows_every_vector_of_a_round_with_memory_while_no_store_answers(tmp_path: Path) -> None:
    """Attack: which memory a round took in stands in the delta before it, and whoever runs the store loses that."""
    with start_node("anvil", accounts=6) as node:
        world = build_world(node, tmp_path, rounds=2, honest=1, verifiers=1, codec=FEEDBACK, steps=4)
        world.play(1)
        world.open_round()
        world.work()
        before = world.trainers[0]
        context = before.context(SECOND)
        assert context.error_root != ZERO_DIGEST
        shown = [before.workshop.chunk(context, step, component, 0) for step, component in PLACES]

        back = Trainer(
            before.gateway, ArtifactStore(Nowhere()), world.task, before.shard.rows, before.home, Honest(), silent,
            poll_seconds=0.01,
        )  # fmt: skip
        back.join()
        again = back.context(SECOND)
        assert again == context
        assert [back.workshop.chunk(again, step, component, 0) for step, component in PLACES] == shown
        start = back.workshop.work(again).start
        assert component_root(start) == context.start_digest
        assert np.isfinite(start).all()
        world.close()
