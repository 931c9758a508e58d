"""Whoever runs the store loses or hides the leaves of a settlement: verifiers and trainers go on from their homes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from deltaproof.chain.abi.enums import Outcome, Phase, Role
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import lock_stake
from deltaproof.disputing.demands import leaf_answer
from deltaproof.errors import StoreUnavailable
from deltaproof.protocol.types import RoundIndex, TokenAmount
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import Nowhere
from tests.disputing.conftest import Heard, moment
from tests.worlds.roles import RoleWorld, build_world, silent
from trainer.keeping import KeptClaims, _KeptClaim, kept_claims
from verifier.life import Verifier


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    with start_node("anvil", accounts=8) as node:
        built = build_world(
            node, tmp_path_factory.mktemp("world"), rounds=2, honest=1, verifiers=1, window_seconds=3_600
        )
        yield built
        built.close()


def to_window(world: RoleWorld) -> RoundIndex:
    round_ = world.open_round()
    world.work()
    world.attest()
    world.post()
    return round_


def lose_proposals(world: RoleWorld) -> None:
    shutil.rmtree(world.store_folder / "proposals")


def finalize(world: RoleWorld) -> None:
    world.skip_time(3_601)
    world.gateway.tasks.finalize(world.task)


def demand(world: RoleWorld, *kinds: str) -> list[int]:
    """The sponsor asks, about the honest trainer; the numbers of its demands."""
    sponsor, trainer, verifier = world.gateway, world.trainers[0].account, world.verifiers[0].account
    bonds = TokenAmount(len(kinds) * sponsor.court.params().demand_bond)
    sponsor.token(sponsor.registry.token()).mint(sponsor.account, bonds)
    lock_stake(sponsor, Role.CHALLENGER, bonds)
    posted = sponsor.posted_digest(world.task)
    asked = {
        "leaf": lambda: sponsor.court.demand_leaf(world.task, posted, trainer),
        "score": lambda: sponsor.court.demand_score(world.task, posted, verifier, trainer),
    }
    return [asked[kind]()[0] for kind in kinds]


def test_store_that_loses_the_leaves_takes_neither_answers_nor_pay(
    world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, verifier, heard = world.trainers[0], world.verifiers[0], Heard()
    round_ = to_window(world)
    trainer.claims.mind(moment(trainer.gateway, world.task))
    lose_proposals(world)
    numbers = demand(world, "leaf", "score")
    before = verifier.gateway.registry.credit_of(verifier.account)
    # Also after a restart while no store answers at all.
    back = Verifier(verifier.gateway, ArtifactStore(Nowhere()), world.task, verifier.home, silent, poll_seconds=0.01)
    back.join()
    back.disputes.answer_demands(moment(verifier.gateway, world.task))
    assert all(verifier.gateway.court.demand(number).closed for number in numbers)
    assert verifier.gateway.registry.credit_of(verifier.account) > before, "answers are paid out of the bonds"

    # It looks for what it signed as one who has a bond to spare, and asks nobody for it.
    bond = TokenAmount(10 * verifier.gateway.court.params().demand_bond)
    verifier.gateway.token(verifier.gateway.registry.token()).mint(verifier.account, bond)
    lock_stake(verifier.gateway, Role.CHALLENGER, bond)
    now = moment(verifier.gateway, world.task)
    second_quarter = replace(now, now=now.view.deadline - 2_000)
    asked = verifier.gateway.court.demand_count()
    verifier.disputes.mind_settlement(second_quarter)
    assert verifier.gateway.court.demand_count() == asked

    # While the store refuses, that is told and keeps nobody from anything else; then the leaves are there again.
    monkeypatch.setattr(verifier.proposals, "report", heard)
    monkeypatch.setattr(verifier.proposals._once, "_report", heard)
    with monkeypatch.context() as away:
        away.setattr(ArtifactStore, "put_proposal", refused)
        verifier.proposals.mind(now)
        told = heard.names()
        verifier.proposals.mind(now)
    assert set(told) == {"unshown"}
    assert heard.names() == told, "once for each round"
    verifier.proposals.mind(replace(now, block=replace(now.block, timestamp=now.block.timestamp + 3_600)))
    assert set(heard.names()[len(told) :]) == {"republished"}
    assert verifier.disputes.settlements.leaves(round_, world.gateway.tasks.round(world.task, round_))
    assert (world.store_folder / "proposals").is_dir()

    lose_proposals(world)
    finalize(world)
    trainer.accounts.settle(round_)
    assert trainer.gateway.vault.has_claimed(world.task, round_, trainer.account)
    cheat = world.trainers[-1].account
    verifier.close_rounds(round_)
    assert world.gateway.trainers.enrolment(world.task, cheat).stake < verifier.params.stakes.trainer_stake


def test_pay_is_claimed_by_a_leaf_that_only_an_answer_on_chain_shows(
    world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer saw nothing in the window; what its home holds afterwards is checked against the posted root."""
    trainer, verifier = world.trainers[0], world.verifiers[0]
    round_ = to_window(world)
    lose_proposals(world)
    trainer.claims.mind(moment(trainer.gateway, world.task))
    (number,) = demand(world, "leaf")
    asked = world.gateway.court.demand(number)
    view = world.gateway.tasks.round(world.task, round_)
    kept = verifier.proposals.of(round_, view.settlement)
    assert kept is not None
    assert leaf_answer(verifier.gateway, number, asked, kept.leaves) is not None
    finalize(world)
    monkeypatch.setattr(ArtifactStore, "get_proposal", refused)  # a store that says that it is away
    trainer.accounts.settle(round_)
    assert trainer.gateway.vault.has_claimed(world.task, round_, trainer.account)
    assert world.gateway.tasks.round(world.task, round_).outcome == Outcome.SETTLED
    assert world.gateway.tasks.phase(world.task).phase is Phase.IDLE

    # A kept file that does not fit the posted root, or a damaged one, is no claim.
    folder = trainer.home / f"task-{world.task}"
    (path,) = folder.glob(f"claim-{round_}-*")
    told = Heard()
    again = KeptClaims(folder, trainer.gateway, world.store, world.task, told)
    assert again.of(round_, view.settlement) is not None
    of_home = kept_claims(trainer.home, trainer.gateway, told)
    assert of_home(world.task, round_, view.settlement) == again.of(round_, view.settlement), "`claim --home`"
    kept_claim = _KeptClaim.from_document(path.read_bytes())
    path.write_bytes(kept_claim.model_copy(update={"index": 1 - kept_claim.index}).to_document())
    assert again.of(round_, view.settlement) is None
    path.write_bytes(b"")
    assert again.of(round_, view.settlement) is None
    assert told.names() == ["unusable"]


def refused(*_arguments: object) -> None:
    raise StoreUnavailable("proposals", "away")
