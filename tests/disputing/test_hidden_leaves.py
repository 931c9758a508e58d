"""Leaves that no store shows: whoever claims or audits finds them in a home, or among the answers on chain."""

from __future__ import annotations

from pathlib import Path

from deltaproof.agent.proposals import KeptProposals
from deltaproof.auditor.facts.leaves import find_leaves
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.session import open_index
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.claims import claim_all, settled_claims
from deltaproof.chain.participation import lock_stake
from deltaproof.disputing.demands import leaf_answer
from deltaproof.protocol.outcome.settlement import SettlementLeaf, SettlementProposal
from deltaproof.protocol.types import Address, TokenAmount
from deltaproof.store import ArtifactStore, open_store
from tests.disputing.conftest import FIRST, Heard, Stage


def settled_and_hidden(stage: Stage) -> list[SettlementLeaf]:
    stage.to_settle()
    leaves = stage.play.leaves()
    stage.play.settle(stage.play.settlement(leaves))
    return leaves


def show(stage: Stage, asking: Gateway, leaves: list[SettlementLeaf], trainers: list[Address]) -> None:
    """Demand these leaves, and answer."""
    task, verifier = stage.play.task, stage.play.world.verifiers[0]
    bonds = TokenAmount(len(trainers) * asking.court.params().demand_bond)
    asking.token(asking.registry.token()).mint(asking.account, bonds)
    lock_stake(asking, Role.CHALLENGER, bonds)
    for trainer in trainers:
        number, _ = asking.court.demand_leaf(task, asking.posted_digest(task), trainer)
        assert leaf_answer(verifier, number, verifier.court.demand(number), leaves) is not None


def test_pay_is_claimed_and_audited_by_leaves_that_only_answers_on_chain_show(
    stage: Stage, stranger: Gateway, store: ArtifactStore
) -> None:
    world, task, leaves = stage.play.world, stage.play.task, settled_and_hidden(stage)
    trainers = [trainer.account for trainer in world.trainers]
    show(stage, stranger, leaves, trainers[:2])
    view = stranger.tasks.round(task, FIRST)
    claims, complete = settled_claims(stranger, store, task, FIRST, view, trainers)
    assert (set(claims), complete) == (set(trainers[:2]), False), "what was not shown may still come"
    assert settled_claims(stranger, store, task, FIRST, view, trainers, search=False) == ({}, False)
    index, _ = open_index(Rpc(world.connection.url), world.sponsor.tasks.address)
    assert find_leaves(index, load_round(index, load_task(index, task), FIRST), None, store) is None

    show(stage, stranger, leaves, trainers[2:])
    claims, complete = settled_claims(stranger, store, task, FIRST, view, trainers)
    assert (set(claims), complete) == (set(trainers), True)
    index, _ = open_index(Rpc(world.connection.url), world.sponsor.tasks.address)
    assert find_leaves(index, load_round(index, load_task(index, task), FIRST), None, store) == tuple(leaves)

    stage.play.finalize()
    away_store = open_store("/dev/null/nowhere")
    for trainer, place in zip(trainers, (store, away_store, store), strict=True):
        (paid,) = claim_all(stranger, lambda _, place=place: place, [task], trainer).done
        assert paid.amount == next(leaf.payout for leaf in leaves if leaf.trainer == trainer) > 0


def test_pay_is_claimed_by_leaves_that_a_verifiers_home_keeps(
    stage: Stage, stranger: Gateway, store: ArtifactStore, tmp_path: Path
) -> None:
    task, leaves = stage.play.task, settled_and_hidden(stage)
    home, view = tmp_path / "home", stranger.tasks.round(task, FIRST)
    kept = KeptProposals(home / f"task-{task}", stranger, store, task, Heard())
    proposal = SettlementProposal(settlement=view.settlement, leaves=tuple(leaves))
    kept.keep(FIRST, stranger.posted_digest(task), proposal)
    stage.play.finalize()
    trainer = leaves[0].trainer
    assert claim_all(stranger, lambda _: store, [task], trainer).done == []
    (name,) = (path.name for path in (home / f"task-{task}").glob("proposal-*"))
    with_home = open_store(f"{tmp_path / 'store'},home:{home}")
    (paid,) = claim_all(stranger, lambda _: with_home, [task], trainer).done
    assert (paid.amount, name.startswith("proposal-1-")) == (leaves[0].payout, True)
    assert list((tmp_path / "store").rglob("proposals")) == [], "a home is only read"
