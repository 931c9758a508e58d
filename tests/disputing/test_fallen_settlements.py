"""What agents do about cases and demands whose settlement falls while they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.chain import Gateway, TransactionSender, connect
from deltaproof.chain.abi.dispute_structs import CasePhase, Demand
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import ScoreLeaf, ScorePair
from deltaproof.chain.local_node import Node
from deltaproof.chain.participation import lock_stake
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.disputing.demands import DemandDesk
from deltaproof.disputing.jury import JuryDesk, vote_salt
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.outcome.settlement import leaves_tree, scores_tree
from deltaproof.protocol.types import ZERO_DIGEST, TokenAmount
from tests.chain.node_calls import funded_account
from tests.disputing.conftest import Heard, Stage, moment
from tests.worlds.gateways import GatewayWorld, world_of
from tests.worlds.simulated import Terms

HOUR = 3_600


@pytest.fixture(scope="module")
def world(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    """Of these tests alone: every task takes a part of what its people have staked."""
    terms, state = Terms(window_seconds=HOUR), tmp_path_factory.mktemp("state")
    with world_of(connect(node.rpc_url), state, terms, people=2, trainers=1) as running:
        yield running


@pytest.fixture
def challenger(world: GatewayWorld, tmp_path: Path) -> Iterator[Gateway]:
    """Somebody of this test alone."""
    with TransactionSender(world.connection, funded_account(world.connection), state_folder=tmp_path) as sender:
        yield Gateway(world.connection, world.deployment, sender)


@pytest.fixture
def settled(stage: Stage) -> Stage:
    """A settlement that nobody publishes, after stakes have lain long enough to vote."""
    skip(stage, 48 * HOUR)
    stage.to_settle()
    stage.play.settle(stage.play.settlement(stage.play.leaves()))
    return stage


def skip(stage: Stage, seconds: int) -> None:
    stage.play.world.node("evm_increaseTime", seconds)
    stage.play.world.node("evm_mine")


def bring(challenger: Gateway, bond: int) -> None:
    token = challenger.token(challenger.registry.token())
    token.mint(challenger.account, TokenAmount(bond))
    lock_stake(challenger, Role.CHALLENGER, TokenAmount(bond))


def fall(stage: Stage, challenger: Gateway, demand: int) -> None:
    """Nobody shows the leaf."""
    skip(stage, 24 * HOUR)
    challenger.court.close_demand(demand)
    assert stage.play.phase is Phase.SETTLE


def test_case_about_a_fallen_settlement_is_closed_and_its_bond_comes_back(
    settled: Stage, challenger: Gateway, tmp_path: Path
) -> None:
    task, heard = settled.play.task, Heard()
    bring(challenger, challenger.jury.params().bond + challenger.court.params().demand_bond)
    demand, _ = challenger.court.demand_leaf(
        task, challenger.posted_digest(task), settled.play.world.trainers[0].account
    )
    case, _ = challenger.jury.open_case(task, challenger.posted_digest(task), ZERO_DIGEST)
    desk = JuryDesk(challenger, vote_salt(HomeSecret.of(tmp_path)), lambda _case: None, heard)
    desk.mind(moment(challenger, task).now)
    assert challenger.jury.case(case).phase not in (CasePhase.MOOT, CasePhase.CLOSED)
    fall(settled, challenger, demand)
    desk.mind(moment(challenger, task).now)
    assert challenger.jury.case(case).phase is CasePhase.MOOT
    assert challenger.registry.stake_of(challenger.account, Role.CHALLENGER).locked == 0
    desk.mind(moment(challenger, task).now)
    assert heard.events[-1][1].endswith("fell otherwise")
    assert case not in desk.open_cases


def test_score_demand_about_a_fallen_settlement_is_left_to_lapse(settled: Stage, challenger: Gateway) -> None:
    play, heard = settled.play, Heard()
    verifier, trainer = play.world.verifiers[0], play.world.trainers[0].account
    bring(challenger, 2 * challenger.court.params().demand_bond)
    hidden, _ = challenger.court.demand_leaf(play.task, challenger.posted_digest(play.task), trainer)
    skip(settled, HOUR // 2)
    asked, _ = challenger.court.demand_score(play.task, challenger.posted_digest(play.task), verifier.account, trainer)
    leaves = play.leaves()

    def answer(number: int, _demand: Demand) -> Receipt | None:
        index = next(i for i, leaf in enumerate(leaves) if leaf.trainer == trainer)
        leaf = leaves[index]
        pair = ScorePair(
            verifier=verifier.account,
            index=index,
            attested=ScoreLeaf(trainer, leaf.verdict, leaf.score_nanos),
            attested_proof=tuple(scores_tree(leaves).proof(index)),
            settled=leaf,
            settled_proof=tuple(leaves_tree(leaves).proof(index)),
        )
        return verifier.court.answer_score(number, pair)

    desk = DemandDesk(verifier, play.task, heard, lambda demand: demand.respondent == verifier.account, answer)
    skip(settled, 47 * HOUR // 2 + 1)
    challenger.court.close_demand(hidden)
    desk.mind(moment(verifier, play.task).now)
    assert not challenger.court.demand(asked).closed
    assert heard.names() == []
    skip(settled, HOUR)
    challenger.court.close_demand(asked)
    assert challenger.registry.stake_of(challenger.account, Role.CHALLENGER).locked == 0
