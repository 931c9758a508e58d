"""All verifiers of a round replay one sample, so they find the same, whatever a trainer forges or shows to whom.

Attacks: forge one step in the middle, and be outvoted for the one verifier that drew it; publish openings for some
verifiers and not for others, so that no verdict has a majority, and the round ends without a settlement.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import settled_leaves
from deltaproof.demo.cheat import Forged, Forger
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.evidence.transcript import StepRecord
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, RoundIndex
from deltaproof.tuning.training.optimizers import clip_scale
from deltaproof.tuning.training.recording import Progress, batch_rows
from deltaproof.tuning.training.step import apply_update, final_record, run_step, start_state, state_root
from tests.worlds.roles import RoleWorld, build_world
from trainer.conduct import RoundWork
from trainer.life import Trainer

FIRST = RoundIndex(1)
STEPS, BAD_STEP = 4, 2


class OneStep(Forger):
    """Trains all steps but one in the middle, whose gradient it makes up: the opposite of the right one, ten times."""

    def forge(self, work: RoundWork, progress: Progress) -> Forged:
        """See `Forger`."""
        bench, context = work.bench, work.context
        state = start_state(bench, work.start)
        forged: Forged = []
        for step in range(STEPS):
            result = run_step(bench, context, state, step, batch_rows(bench, context, work.shard, step))
            if step != BAD_STEP:
                forged.append((result.record, state, result.gradient))
                state = result.next_state
                continue
            gradient = (np.float32(-10.0) * result.gradient).astype(np.float32)
            scale = clip_scale(gradient, bench.spec.optimizer.clip_norm)
            record = StepRecord(
                step=step, state_root=state_root(state, context.error_root), grad_root=component_root(gradient),
                rows_root=result.record.rows_root, clip_scale=scale, loss=result.record.loss,
            )  # fmt: skip
            forged.append((record, state, gradient))
            state = apply_update(bench, state, step, torch.from_numpy(gradient.copy()), scale)
        forged.append((final_record(STEPS, state, context.error_root), state, np.zeros_like(work.start)))
        return forged


def test_verifiers_find_the_same_of_a_forged_step_and_of_half_shown_openings(tmp_path: Path) -> None:
    """Four verifiers: a fault that two of them saw, or an opening that two of them missed, would be a tie."""
    with start_node("anvil", accounts=12) as node:
        world = build_world(node, tmp_path, rounds=1, honest=3, verifiers=4, steps=STEPS, cheat=OneStep())
        honest, hiding, altering, forging = world.trainers
        _show_all_but_the_middle(hiding)
        _show_another_gradient_and_not_the_last(altering)
        world.open_round()
        world.work()
        _attest_late(world)
        found = [_verdicts(world, number) for number in range(4)]
        seen = BAD_STEP in _sample(world, forging)
        assert found == [found[0]] * 4
        assert found[0] == {
            honest.account: Verdict.ACCEPTED,
            hiding.account: Verdict.WITHHELD,
            altering.account: Verdict.WITHHELD,
            forging.account: Verdict.REJECTED if seen else Verdict.ACCEPTED,
        }

        world.settle()
        view = world.gateway.tasks.round(world.task, FIRST)
        assert view.outcome is Outcome.SETTLED
        proposal = settled_leaves(world.gateway, world.store, world.task, FIRST, view)
        assert proposal is not None
        assert {leaf.trainer: leaf.verdict for leaf in proposal.leaves} == found[0]
        assert not any(leaf.payout for leaf in proposal.leaves if leaf.verdict is not Verdict.ACCEPTED)
        fees = {world.gateway.fees.claimable(world.task, FIRST, verifier.account).fee for verifier in world.verifiers}
        assert len(fees) == 1, "nobody loses its fee for what it saw"
        world.close()


def _show_all_but_the_middle(trainer: Trainer) -> None:
    trainer._drawn_steps = lambda *_: (0, STEPS - 1)  # type: ignore[method-assign]


def _show_another_gradient_and_not_the_last(trainer: Trainer) -> None:
    """Bytes that nobody committed, and a missing opening: neither is a fault that some see and others do not."""
    drawn_steps, store = trainer._drawn_steps, trainer.workshop.store
    put = store.put_opening

    def put_opening(root: Any, trainer: Any, opening: Any, secret: Any = None) -> None:
        if opening.before.step not in (0, STEPS - 1):
            opening = dataclasses.replace(opening, gradient=opening.gradient * 2)
        put(root, trainer, opening, secret)

    store.put_opening = put_opening  # type: ignore[assignment, method-assign]
    trainer._drawn_steps = lambda *of: drawn_steps(*of)[:-1]  # type: ignore[method-assign]


def _attest_late(world: RoleWorld) -> None:
    """What is missing is looked for again, and called withheld late in the phase."""
    for verifier in world.verifiers:
        verifier.attest_commit(FIRST)
    world.skip_time(450)
    world.attest()
    assert world.gateway.tasks.phase(world.task).phase is Phase.SETTLE


def _verdicts(world: RoleWorld, number: int) -> dict[Address, Verdict]:
    own = world.verifiers[number].own.of(FIRST)
    assert own is not None
    return {finding.trainer: finding.verdict for finding in own.findings}


def _sample(world: RoleWorld, trainer: Trainer) -> tuple[int, ...]:
    seed = world.gateway.tasks.round(world.task, FIRST).challenge_seed
    samples = trainer.spec.verification.samples
    return draw_samples(seed, world.task, FIRST, trainer.account, steps=STEPS, extra=samples)
