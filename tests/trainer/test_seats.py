"""Verifiers who are seated first could settle a round alone: trainers do not work in it, sponsors do not open it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from deltaproof.chain import Gateway, TransactionSender, connect, load_account
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import FOREVER, VerifierEnrolment
from deltaproof.chain.local_node import start_node
from deltaproof.chain.seats import GRACE_SECONDS, SeatWatch, weigh
from deltaproof.errors import ChainError
from deltaproof.protocol.types import RoundIndex, TokenAmount
from tests.trainer.test_life import Counting, Heard
from tests.worlds.roles import FUND, RoleWorld, build_world, shard_rows, silent
from trainer.life import Trainer
from verifier.life import Verifier

DAY = 86_400
FIRST, SECOND, THIRD = RoundIndex(1), RoundIndex(2), RoundIndex(3)
SEATED = VerifierEnrolment(
    1, FIRST, RoundIndex(FOREVER), TokenAmount(100), TokenAmount(100), RoundIndex(0), RoundIndex(0), DAY, 0
)
WAITING = replace(SEATED, active_from=RoundIndex(0), active_until=RoundIndex(0), stake=TokenAmount(300), weight=0)


def test_round_is_not_worked_for_nor_opened_while_the_larger_stake_waits_for_its_seat(tmp_path: Path) -> None:
    """Attack: enrol first with the least stake, and open the round in the first second of one's seat."""
    with start_node("anvil", accounts=10) as node:
        world = build_world(node, tmp_path, honest=1, verifiers=1, phases=f"activation = {DAY}")
        first, second = world.trainers
        world.skip_time(DAY)
        world.verifiers[0].keep_standing()
        honest = Verifier(person(world, tmp_path, 7), world.store, world.task, tmp_path / "late", silent,
                          stake=TokenAmount(300))  # fmt: skip
        honest.join()

        told = Heard()
        world.sponsor._once._report = told
        world.sponsor.open_round(FIRST)
        assert world.gateway.tasks.phase(world.task).round == 0
        assert "less than half" in told.events[-1][1]
        newcomer = trainer(world, tmp_path / "newcomer", person(world, tmp_path, 8), shard_rows(20, seed=50))[0]
        with pytest.raises(ChainError, match="less than half"):
            newcomer.join()
        assert not newcomer.joined()

        world.open_round()  # a sponsor that is in league with the small ones
        careful, conduct, heard = trainer(world, first.home, first.gateway, first.shard.rows)
        for _ in range(2):
            careful.commit(FIRST)
        assert heard.names().count("skipped") == 1
        assert conduct.trained == []
        assert not world.gateway.trainers.has_committed(world.task, FIRST, careful.account)
        told_so, _, _ = trainer(world, second.home, second.gateway, second.shard.rows, any_quorum=True)
        told_so.commit(FIRST)
        assert world.gateway.trainers.has_committed(world.task, FIRST, told_so.account)

        world.until(Phase.IDLE)
        world.skip_time(DAY)
        honest.keep_standing()
        world.sponsor._idle_since = time.monotonic() - 60  # one of two trainers has lost its bond: half is enough
        world.sponsor.open_round(SECOND)
        world.until(Phase.COMMIT)
        careful.commit(SECOND)
        assert world.gateway.trainers.has_committed(world.task, SECOND, careful.account)
        world.close()


def test_what_waits_counts_until_it_could_have_its_seat_and_no_round_that_began_before_it() -> None:
    def outside(now: int, opened_at: int) -> int:
        return weigh([SEATED, WAITING], FIRST, DAY, now, opened_at).outside

    assert outside(0, 0) == outside(DAY + GRACE_SECONDS, 0) == 300
    assert outside(DAY + GRACE_SECONDS + 1, 0) == 0, "stake that takes no seat keeps nobody from working"
    assert outside(10, -1) == 0, "it enrolled when the round was open"
    seated_later = replace(WAITING, active_from=SECOND, active_until=RoundIndex(FOREVER))
    assert weigh([SEATED, seated_later], FIRST, DAY, DAY, 0).too_few
    assert not weigh([SEATED, seated_later], SECOND, DAY, DAY, 0).too_few


def test_who_lost_its_seat_for_a_missed_round_counts_in_the_next_and_who_left_does_not() -> None:
    """Attack: charge an honest majority for one missed round, and be the quorum of the next alone."""
    missed = replace(SEATED, active_until=FIRST, stake=TokenAmount(297), weight=TokenAmount(300), misses=1)
    left = replace(missed, stake=TokenAmount(300), misses=0)
    came_back = replace(missed, active_from=RoundIndex(0), active_until=RoundIndex(0), prior_from=FIRST,
                        prior_until=FIRST, active_at=9 * DAY)  # fmt: skip
    for other, seconds, thirds in ((missed, 297, 0), (left, 0, 0), (came_back, 297, 0)):
        assert weigh([SEATED, other], SECOND, DAY, 2 * DAY, 2 * DAY).outside == seconds
        assert weigh([SEATED, other], THIRD, DAY, 2 * DAY, 2 * DAY).outside == thirds


def test_stake_that_comes_and_goes_keeps_trainers_away_for_two_waits_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack on the rule: lock much stake again and again, and take it out before it has a seat."""
    with start_node("anvil", accounts=6) as node:
        world = build_world(node, tmp_path, honest=1, verifiers=1, phases=f"activation = {DAY}")
        seats, now = SeatWatch(world.gateway, world.task), world.gateway.connection.timestamp()
        monkeypatch.setattr(
            type(world.gateway.verifiers), "enrolments",
            lambda self, task: {"0x1": SEATED, "0x2": replace(WAITING, active_at=now + 9 * DAY)},
        )  # fmt: skip
        assert seats.too_few(FIRST, now, now + 8 * DAY)
        assert seats.too_few(FIRST, now + 2 * DAY, now + 8 * DAY)
        assert seats.too_few(FIRST, now + 2 * DAY + 1, now + 8 * DAY) is None
        world.close()


def person(world: RoleWorld, folder: Path, number: int) -> Gateway:
    connection = connect(world.node.rpc_url)
    account = load_account(world.node.private_keys[number])
    sender = TransactionSender(connection, account, state_folder=folder / "state")
    world.senders.append(sender)
    gateway = Gateway(connection, world.gateway.deployment, sender)
    gateway.token(gateway.registry.token()).mint(gateway.account, TokenAmount(FUND))
    return gateway


def trainer(
    world: RoleWorld, home: Path, gateway: Gateway, rows: tuple[bytes, ...], *, any_quorum: bool = False
) -> tuple[Trainer, Counting, Heard]:
    conduct, heard = Counting(), Heard()
    made = Trainer(
        gateway, world.store, world.task, rows, home, conduct, heard, any_quorum=any_quorum, poll_seconds=0.01
    )
    return made, conduct, heard
