"""The life of a round, with real BLS signatures and money."""

from __future__ import annotations

import brownie
import pytest
from brownie import chain
from world import UNIT, Outcome, Phase, TaskTerms, World, digest

from protocol.settlement import Verdict


def test_round_all_honest_pays_by_the_rule(world: World) -> None:
    task = world.start_task()
    leaves = task.play_round()
    token, vault = world.contracts.token, world.contracts.vault
    assert task.phase is Phase.IDLE
    assert task.outcome(1) is Outcome.SETTLED
    assert sum(leaf.payout for leaf in leaves) == task.terms.budget
    for i, leaf in enumerate(leaves):
        before = token.balanceOf(leaf.trainer)
        task.claim(1, leaves, i)
        assert token.balanceOf(leaf.trainer) - before == leaf.payout
    assert vault.potOf(task.id, 1)[1] == 0
    with brownie.reverts():
        task.claim(1, leaves, 0)
    fees = 0
    for verifier in task.verifiers:
        before = token.balanceOf(verifier)
        world.contracts.verifiers.claimFees(task.id, [1], verifier, {"from": world.outsider})
        fees += token.balanceOf(verifier) - before
    assert task.terms.fee - 3 < fees <= task.terms.fee
    assert world.contracts.tasks.taskOf(task.id)[3] == "0x" + digest("adapter after", task.id, 1).hex()
