"""What a verifier keeps free of its stake, and what it is told when it cannot."""

from __future__ import annotations

from fractions import Fraction

import pytest

from deltaproof.chain import Gateway, LocalAccount
from deltaproof.chain.free_share import FREE_SHARE, beside, free_share_of, require_stake
from deltaproof.errors import InsufficientFunds, OverLimit
from deltaproof.protocol.types import TokenAmount
from tests.chain.conftest import SenderFactory
from tests.worlds.gateways import GatewayWorld


@pytest.mark.parametrize(
    ("locked", "share", "free"), [(125, 0.2, 32), (100, 0.2, 25), (100, 0, 0), (0, 0.2, 0), (1, 0.9, 9)]
)
def test_free_stake_is_the_least_that_makes_up_its_share(locked: int, share: float, free: int) -> None:
    fraction = free_share_of(share)
    assert beside(locked, fraction) == free
    assert free >= fraction * (locked + free)
    assert free == 0 or free - 1 < fraction * (locked + free - 1)


def test_verifier_brings_its_free_share_or_is_told_what_it_lacks(
    world: GatewayWorld, make_sender: SenderFactory, account: LocalAccount
) -> None:
    gateway = Gateway(world.connection, world.deployment, make_sender(account))
    token = gateway.token(gateway.registry.token())
    token.mint(gateway.account, TokenAmount(499))
    kept = gateway.money(token.address).exact(TokenAmount(100))
    with pytest.raises(InsufficientFunds, match=f"{kept} of it would stay free, .*; --free-share 0"):
        require_stake(gateway, TokenAmount(400), FREE_SHARE)
    assert require_stake(gateway, TokenAmount(400), Fraction(0)) == 400
    token.mint(gateway.account, TokenAmount(1))
    assert require_stake(gateway, TokenAmount(400), FREE_SHARE) == 500
    gateway.max_stake = TokenAmount(499)
    with pytest.raises(OverLimit, match="--free-share 0"):
        require_stake(gateway, TokenAmount(400), FREE_SHARE)
