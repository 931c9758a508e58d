"""The most that an account may have staked holds over all of its roles, whoever deposited what was there before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.participation import lock_stake
from deltaproof.chain.stakes import stakes_of
from deltaproof.errors import OverLimit
from deltaproof.protocol.types import TokenAmount
from tests.worlds.gateways import GatewayWorld


@pytest.fixture
def gateway(world: GatewayWorld) -> Iterator[Gateway]:
    chosen = world.trainers[0]
    yield chosen
    chosen.max_stake = None


def staked(gateway: Gateway) -> int:
    return sum(stake.total for stake in stakes_of(gateway, gateway.account).values())


def test_stake_is_deposited_up_to_the_limit_and_not_one_unit_more(gateway: Gateway) -> None:
    before, token = staked(gateway), gateway.token(gateway.registry.token())
    token.mint(gateway.account, TokenAmount(1000))
    free = gateway.registry.stake_of(gateway.account, Role.TRAINER).free
    gateway.max_stake = TokenAmount(before + 100)
    held = token.balance_of(gateway.account)
    most = gateway.money(token.address).exact(gateway.max_stake)
    with pytest.raises(OverLimit, match=f"staked in all, and --max-stake allows {most}; raise it"):
        lock_stake(gateway, Role.TRAINER, TokenAmount(free + 101))
    assert (staked(gateway), token.balance_of(gateway.account)) == (before, held), "nothing moved"
    lock_stake(gateway, Role.TRAINER, TokenAmount(free + 60))
    lock_stake(gateway, Role.TRAINER, TokenAmount(free + 60))
    assert staked(gateway) == before + 60
    challenger = gateway.registry.stake_of(gateway.account, Role.CHALLENGER).free
    with pytest.raises(OverLimit):
        lock_stake(gateway, Role.CHALLENGER, TokenAmount(challenger + 41))
    lock_stake(gateway, Role.CHALLENGER, TokenAmount(challenger + 40))
    assert staked(gateway) == gateway.max_stake


def test_what_was_deposited_by_hand_counts_although_it_would_be_enough(gateway: Gateway) -> None:
    gateway.token(gateway.registry.token()).mint(gateway.account, TokenAmount(1000))
    free = gateway.registry.stake_of(gateway.account, Role.TRAINER).free
    lock_stake(gateway, Role.TRAINER, TokenAmount(free + 500))
    gateway.max_stake = TokenAmount(staked(gateway) - 1)
    with pytest.raises(OverLimit, match="take free stake out"):
        lock_stake(gateway, Role.TRAINER, TokenAmount(10))
    lock_stake(gateway, Role.TRAINER, TokenAmount(0))  # who needs nothing is not stopped
