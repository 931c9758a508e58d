"""A verifier that was charged: what it comes back with, and when it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import verifier.standing
from deltaproof.agent.heavy import OnThread
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.local_node import start_node
from deltaproof.errors import TaskRefused
from deltaproof.protocol.types import RoundIndex, TokenAmount
from deltaproof.tuning.training.speed import Speed
from tests.disputing.conftest import Heard, moment
from tests.worlds.roles import RoleWorld, build_world
from verifier.life import Verifier
from verifier.standing import SeatDesk, check_pace

FIRST = RoundIndex(1)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RoleWorld]:
    """With two verifiers, or as many as the test says."""
    with start_node("anvil", accounts=10) as node:
        built = build_world(node, tmp_path, rounds=2, honest=1, verifiers=getattr(request, "param", 2))
        yield built
        built.close()


@pytest.mark.parametrize("world", [6], indirect=True)
def test_charged_verifier_comes_back_with_what_it_deposited_and_takes_nothing_from_the_wallet(world: RoleWorld) -> None:
    """Attack: a round that cannot be judged in time, again and again; each absence costs twice the one before."""
    *there, rich, poor = world.verifiers
    world.verifiers = there
    world.play(1)
    least = rich.params.stakes.verifier_stake
    assert all(one.gateway.verifiers.enrolment(world.task, one.account).stake < least for one in (rich, poor))

    wallets = [wallet(one) for one in (rich, poor)]
    assert keep(rich, slow=True) == ["late", "stopped"], "although its stake is enough"
    assert not in_quorum(rich)
    keep(rich)
    assert in_quorum(rich), "its free stake is enough"
    poor.gateway.registry.request_unbond(
        Role.VERIFIER, poor.gateway.registry.stake_of(poor.account, Role.VERIFIER).free
    )
    assert keep(poor) == keep(poor) == ["stopped"]
    assert not in_quorum(poor)
    assert [wallet(one) for one in (rich, poor)] == wallets

    assert keep(poor, slow=True) == ["late", "stopped"]
    assert keep(poor, slow=True, top_up=True) == ["late", "rejoined"]
    assert in_quorum(poor)
    assert wallet(poor) < wallets[1], "with consent"


def test_round_that_is_still_judged_when_its_phase_is_over_was_too_much_work(
    world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, heard, done = world.verifiers[0], Heard(), threading.Event()
    slow.seat = SeatDesk(slow.gateway, world.task, slow.params.stakes.verifier_stake, heard, top_up=False)
    slow.heavy = heavy = OnThread(lambda: None)
    monkeypatch.setattr(slow.attesting, "_attest", lambda *_, **__: done.wait(60) and None)
    world.open_round()
    world.work()
    world.verifiers[1].attest_commit(FIRST)
    slow.attest_commit(FIRST)
    slow.play(moment(slow.gateway, world.task))
    assert heard.names() == []
    world.until(Phase.ATTEST_REVEAL)
    for _ in range(2):
        slow.play(moment(slow.gateway, world.task))
    assert heard.names() == ["late"]
    done.set()
    heavy.close()


def test_work_that_does_not_fit_into_its_phase_is_said_and_not_joined_without_consent(
    world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, heard = world.verifiers[0], Heard()
    place = (judge.gateway, world.task, judge.examiner, heard)
    check_pace(*place, top_up=False)
    assert heard.names() == ["pace"]
    monkeypatch.setattr(verifier.standing, "speed_of", lambda *_: Speed(1.0, 300.0, 1.0))
    with pytest.raises(TaskRefused, match=r"of 2 trainers takes .* its phase leaves"):
        check_pace(*place, top_up=False)
    check_pace(*place, top_up=True)


def keep(one: Verifier, *, slow: bool = False, top_up: bool = False) -> list[str]:
    """What its standing tells, as after a restart."""
    heard = Heard()
    standing = SeatDesk(one.gateway, one.task_id, one.params.stakes.verifier_stake, heard, top_up=top_up)
    if slow:
        standing.was_too_slow(FIRST)
    standing.keep([FIRST])
    standing.keep([FIRST])
    return heard.names()


def in_quorum(one: Verifier) -> bool:
    return one.gateway.verifiers.enrolment(one.task_id, one.account).in_quorum(RoundIndex(2))


def wallet(one: Verifier) -> TokenAmount:
    return one.gateway.token(one.gateway.registry.token()).balance_of(one.account)
