"""A quorum that lies where a contract can see it: a stranger with a key proves it, and the signers lose stake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.participation import lock_stake
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.demands import DemandDesk, leaf_answer
from deltaproof.disputing.desk import SettlementDesk
from deltaproof.disputing.spending import own_pay
from deltaproof.disputing.watching import Watcher
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, Verdict, leaves_tree, verdicts_digest
from deltaproof.protocol.types import TokenAmount
from deltaproof.store import ArtifactStore
from tests.disputing.conftest import FIRST, Heard, Stage, moment

Lie = Callable[[Stage, list[SettlementLeaf]], tuple[list[SettlementLeaf], Settlement]]


def overpaid(stage: Stage, leaves: list[SettlementLeaf]) -> tuple[list[SettlementLeaf], Settlement]:
    """One unit from one trainer to another: only all leaves together show it."""
    first, second = leaves[0], leaves[1]
    moved = [
        first.model_copy(update={"payout": first.payout + 1}),
        second.model_copy(update={"payout": second.payout - 1}),
    ]
    wrong = moved + leaves[2:]
    return wrong, stage.play.settlement(wrong)


def wrong_total(stage: Stage, leaves: list[SettlementLeaf]) -> tuple[list[SettlementLeaf], Settlement]:
    right = stage.play.settlement(leaves)
    return leaves, right.model_copy(update={"total_payout": right.total_payout - 1})


def unrevealed(stage: Stage, leaves: list[SettlementLeaf]) -> tuple[list[SettlementLeaf], Settlement]:
    """Who revealed is called unrevealed: one leaf shows it."""
    wrong = stage.play.leaves({leaves[0].trainer: Verdict.UNREVEALED})
    return wrong, stage.play.settlement(wrong)


@pytest.mark.parametrize("lie", [overpaid, wrong_total, unrevealed])
def test_wrong_settlement_is_proved_by_a_stranger_who_earns_and_signers_are_slashed(
    stage: Stage, stranger: Gateway, store: ArtifactStore, lie: Lie
) -> None:
    stage.to_settle()
    world, task = stage.play.world, stage.play.task
    wrong, settlement = lie(stage, stage.play.leaves())
    signers = [world.verifiers[0].account, world.verifiers[1].account]
    stage.play.settle(settlement, signers)
    stage.publish(wrong, settlement)
    heard = Heard()
    watcher = Watcher(stranger, store, task, heard)
    before = stranger.registry.credit_of(stranger.account)
    watcher.mind_settlement(moment(stranger, task))
    assert "proved" in heard.names(), heard.events
    assert stage.play.phase is Phase.SETTLE
    watcher.mind_settlement(moment(stranger, task))
    stakes = [world.sponsor.verifiers.enrolment(task, v.account).stake for v in world.verifiers]
    assert stakes == [world.terms.verifier_stake // 2] * 2 + [world.terms.verifier_stake]
    assert stranger.registry.credit_of(stranger.account) > before


def test_honest_settlement_is_left_alone(stage: Stage, stranger: Gateway, store: ArtifactStore) -> None:
    stage.to_settle()
    leaves = stage.play.leaves()
    settlement = stage.play.settlement(leaves)
    stage.play.settle(settlement)
    stage.publish(leaves, settlement)
    heard = Heard()
    Watcher(stranger, store, stage.play.task, heard).mind_settlement(moment(stranger, stage.play.task))
    assert heard.names() == ["checked"]
    assert stage.play.phase is Phase.WINDOW


def test_watcher_without_key_tells_and_sends_nothing(stage: Stage, store: ArtifactStore) -> None:
    stage.to_settle()
    wrong, settlement = overpaid(stage, stage.play.leaves())
    stage.play.settle(settlement)
    stage.publish(wrong, settlement)
    world = stage.play.world
    reading = Gateway(world.connection, world.deployment)
    heard = Heard()
    watcher = Watcher(reading, store, stage.play.task, heard, prove=False)
    watcher.mind_settlement(moment(reading, stage.play.task))
    assert "settlement-fault" in heard.names()
    assert stage.play.phase is Phase.WINDOW


def test_two_signatures_of_one_attempt_are_proved(stage: Stage, stranger: Gateway, store: ArtifactStore) -> None:
    stage.to_settle()
    world, task = stage.play.world, stage.play.task
    leaves = stage.play.leaves()
    other = stage.play.leaves({leaves[0].trainer: Verdict.REJECTED})
    posted, second = stage.play.settlement(leaves), stage.play.settlement(other)
    stage.sign(second, 2)
    stage.sign(posted, 2)
    stage.sign(posted, 1)
    stage.publish(other, second, verifier=2)
    stage.play.settle(posted)
    stage.publish(leaves, posted, verifier=0)
    heard = Heard()
    Watcher(stranger, store, task, heard).mind_settlement(moment(stranger, task))
    stakes = [world.sponsor.verifiers.enrolment(task, v.account).stake for v in world.verifiers]
    assert stakes == [world.terms.verifier_stake] * 2 + [world.terms.verifier_stake // 2], heard.events


def test_signatures_of_two_attempts_are_no_equivocation(stage: Stage, stranger: Gateway, store: ArtifactStore) -> None:
    """After a settlement fell everybody signs again, with other verdicts if a fault came out: that is safe."""
    stage.to_settle()
    world, task = stage.play.world, stage.play.task
    wrong, settlement = unrevealed(stage, stage.play.leaves())
    stage.sign(settlement, 2)
    stage.play.settle(settlement, [world.verifiers[0].account, world.verifiers[1].account])
    stage.publish(wrong, settlement)
    heard = Heard()
    watcher = Watcher(stranger, store, task, heard)
    watcher.mind_settlement(moment(stranger, task))
    leaves = stage.play.leaves()
    right = stage.play.settlement(leaves)
    stage.sign(right, 2)
    stage.publish(leaves, right, verifier=2)
    watcher.mind_settlement(moment(stranger, task))
    assert "equivocation" not in heard.names()
    assert world.sponsor.verifiers.enrolment(task, world.verifiers[2].account).stake == world.terms.verifier_stake


def test_hidden_leaves_are_demanded_with_a_bond_and_the_settlement_falls(
    stage: Stage, stranger: Gateway, store: ArtifactStore
) -> None:
    stage.to_settle()
    world, task = stage.play.world, stage.play.task
    stage.play.settle(stage.play.settlement(stage.play.leaves()))
    heard, bond = Heard(), stranger.court.params().demand_bond
    careful, watcher = Watcher(stranger, store, task, heard), Watcher(stranger, store, task, heard, spend=bond)
    stranger.token(stranger.registry.token()).mint(stranger.account, bond)
    lock_stake(stranger, Role.CHALLENGER, TokenAmount(bond))
    watcher.mind_settlement(moment(stranger, task))
    assert "demanded" not in heard.names(), "the first quarter of the window is left to the signers"
    world.node("evm_increaseTime", 1_200)
    world.node("evm_mine")
    careful.mind_settlement(moment(stranger, task))
    assert "demanded" not in heard.names(), "nobody said that it may spend anything"
    watcher.mind_settlement(moment(stranger, task))
    assert "demanded" in heard.names()
    world.node("evm_increaseTime", 90_000)
    world.node("evm_mine")
    watcher.demands.mind(moment(stranger, task).now)
    assert stage.play.phase is Phase.SETTLE
    assert stranger.registry.stake_of(stranger.account, Role.CHALLENGER).free == bond
    stranger.registry.request_unbond(Role.CHALLENGER, TokenAmount(bond))
    stranger.registry.withdraw(Role.CHALLENGER)


def misordered(stage: Stage, leaves: list[SettlementLeaf]) -> tuple[list[SettlementLeaf], Settlement]:
    """Two leaves in each other's place: the order of addresses puts together another tree."""
    wrong = [leaves[1], leaves[0], *leaves[2:]]
    changes = {"leaves_root": leaves_tree(wrong).root, "verdicts_digest": verdicts_digest(wrong)}
    return wrong, stage.play.settlement(leaves).model_copy(update=changes)


@pytest.mark.parametrize("lie", [overpaid, misordered])
def test_hidden_leaves_that_are_shown_one_by_one_are_put_together_and_the_lie_is_proved(
    stage: Stage, stranger: Gateway, store: ArtifactStore, lie: Lie
) -> None:
    """A bought quorum publishes nothing, and answers whoever asks for a leaf."""
    stage.to_settle()
    world, task = stage.play.world, stage.play.task
    wrong, settlement = lie(stage, stage.play.leaves())
    liar, heard, bond = world.verifiers[0], Heard(), stranger.court.params().demand_bond
    stage.play.settle(settlement, [liar.account, world.verifiers[1].account])
    watcher = Watcher(stranger, store, task, heard, spend=TokenAmount(3 * bond))
    world.node("evm_increaseTime", 1_200)
    world.node("evm_mine")
    asked = stranger.court.demand_count()

    def look_and_answer(bonds: int) -> int:
        """How many leaves were asked for."""
        nonlocal asked
        stranger.token(stranger.registry.token()).mint(stranger.account, TokenAmount(bonds * bond))
        lock_stake(stranger, Role.CHALLENGER, TokenAmount(bonds * bond))
        watcher.mind_settlement(moment(stranger, task))
        before, asked = asked, stranger.court.demand_count()
        for number in range(before + 1, asked + 1):
            leaf_answer(liar, number, liar.court.demand(number), wrong)
        return asked - before

    assert [look_and_answer(2), look_and_answer(2)] == [2, 1], "as many as are paid for, each once"
    assert heard.names().count("demanded") == 3
    assert stage.play.phase is Phase.WINDOW, "each leaf alone is in order"
    watcher.mind_settlement(moment(stranger, task))
    assert "proved" in heard.names(), heard.events
    assert stage.play.phase is Phase.SETTLE
    watcher.mind_settlement(moment(stranger, task))
    stakes = [world.sponsor.verifiers.enrolment(task, v.account).stake for v in world.verifiers]
    assert stakes == [world.terms.verifier_stake // 2] * 2 + [world.terms.verifier_stake]
    stranger.registry.request_unbond(Role.CHALLENGER, TokenAmount(bond))
    stranger.registry.withdraw(Role.CHALLENGER)


def test_hidden_leaves_of_a_right_settlement_cost_no_more_than_may_be_spent(stage: Stage, store: ArtifactStore) -> None:
    """Attack: settle rightly, publish no leaves, and answer each demand for a half of its bond."""
    stage.to_settle()
    world, task, leaves = stage.play.world, stage.play.task, stage.play.leaves()
    stage.play.settle(stage.play.settlement(leaves))
    asking, answering = world.trainers[1], world.verifiers[0]
    bond, params = asking.court.params().demand_bond, asking.terms.params(task)
    lock_stake(asking, Role.CHALLENGER, TokenAmount(10 * bond))
    world.node("evm_increaseTime", 1_200)
    world.node("evm_mine")

    def asked() -> int:
        """By a process that starts now, which looks three times, and is answered each time."""
        log = TaskLog(asking, [asking.tasks.address, asking.trainers.address], task)
        desk = SettlementDesk(asking, store, task, params, log, Heard(), spend=lambda _round: 3 * bond - 1)
        answered = before = asking.court.demand_count()
        for _ in range(3):
            log.refresh(FIRST)
            desk.demand_hidden(moment(asking, task), log.sorted_trainers)
            for number in range(answered + 1, asking.court.demand_count() + 1):
                leaf_answer(answering, number, answering.court.demand(number), leaves)
            answered = asking.court.demand_count()
        return answered - before

    assert len(leaves) == 3
    assert asked() == 2
    assert asked() == 0, "what it asked for before a restart counts"


def test_trainer_and_verifier_risk_an_equal_part_of_what_the_round_pays_their_kind(stage: Stage) -> None:
    stage.to_settle()
    world, task = stage.play.world, stage.play.task
    anybody, params = world.sponsor, world.sponsor.terms.params(task)
    assert own_pay(anybody, task, params, Role.TRAINER, FIRST) == world.terms.budget // len(world.trainers)
    assert own_pay(anybody, task, params, Role.VERIFIER, FIRST) == world.terms.fee // len(world.verifiers)
    elsewhere = replace(params, token=anybody.account)
    assert own_pay(anybody, task, elsewhere, Role.TRAINER, FIRST) == anybody.court.params().demand_bond


def test_demanded_leaf_is_answered_from_the_store_for_most_of_the_bond(
    stage: Stage, stranger: Gateway, store: ArtifactStore
) -> None:
    stage.to_settle()
    world, task = stage.play.world, stage.play.task
    leaves = stage.play.leaves()
    settlement = stage.play.settlement(leaves)
    stage.play.settle(settlement)
    stage.publish(leaves, settlement)
    hostile, honest = world.trainers[0], world.verifiers[0]
    bond = hostile.court.params().demand_bond
    lock_stake(hostile, Role.CHALLENGER, TokenAmount(bond))
    hostile.court.demand_leaf(task, hostile.posted_digest(task), leaves[0].trainer)
    log = TaskLog(honest, [honest.tasks.address], task)
    desk = SettlementDesk(honest, store, task, honest.terms.params(task), log, Heard())
    demands = DemandDesk(honest, task, Heard(), lambda demand: True, desk.answer_leaf)
    before = honest.registry.credit_of(honest.account)
    demands.mind(moment(honest, task).now)
    assert honest.registry.credit_of(honest.account) - before == bond // 2
    assert stage.play.phase is Phase.WINDOW
