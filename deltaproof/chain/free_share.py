"""What a verifier keeps free of its stake.

A verifier that lost some of a task's stake to an absence comes back into the quorum with it, and fines of jurors come
from it (`Jury.settleVote`). A vote needs none: who has put all of its stake into tasks votes all the same, and pays no
fine for a vote. Bonds of demands and of cases are other stake, a challenger's, which nobody risks but by depositing it.
"""

from __future__ import annotations

from fractions import Fraction

from deltaproof.chain.abi.enums import Role
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.participation import lacking_stake
from deltaproof.errors import InsufficientFunds, OverLimit
from deltaproof.protocol.types import TokenAmount

__all__ = ["FREE_SHARE", "beside", "free_share_of", "require_stake", "told_free"]

FREE_SHARE = Fraction(1, 5)
"""Of all stake, by default: four absences in a row at the usual hundredth, of which each costs twice as much as the one
before, and many fines of votes."""


def free_share_of(share: float) -> Fraction:
    """The share as it was written, 0.2 for a fifth."""
    return Fraction(str(share))


def beside(locked: int, share: Fraction) -> TokenAmount:
    """Free stake that belongs beside so much locked stake: the least with which it is `share` of both together."""
    return TokenAmount(-(-locked * share.numerator // (share.denominator - share.numerator)))


def require_stake(gateway: Gateway, locking: TokenAmount, share: Fraction) -> TokenAmount:
    """Free stake that a verifier needs before it locks so much more, so that `share` of its stake is free after it.

    Raises InsufficientFunds or OverLimit, saying what is kept free, if the account cannot bring it.
    """
    locked = gateway.registry.stake_of(gateway.account, Role.VERIFIER).locked
    kept = beside(locked + locking, share)
    needed = TokenAmount(locking + kept)
    try:
        lacking_stake(gateway, Role.VERIFIER, needed)
    except (InsufficientFunds, OverLimit) as error:
        if not kept:
            raise
        money = gateway.money(gateway.registry.token())
        raise type(error)(
            f"{error}; {money.exact(kept)} of it would stay free, for fines and to come back after an absence; "
            "--free-share 0, or free_share = 0 in the policy, keeps nothing free"
        ) from error
    return needed


def told_free(gateway: Gateway, share: Fraction) -> str:
    """What is free of a verifier's stake, and what it lacks of the share, for people."""
    stake, money = gateway.registry.stake_of(gateway.account, Role.VERIFIER), gateway.money(gateway.registry.token())
    told = (
        f"{money.text(stake.free)} of {money.text(stake.total)} stay free, for fines and to come back after an absence"
    )
    missing = beside(stake.locked, share) - stake.free
    if missing <= 0:
        return told
    command = f"deltaproof stake deposit {money.exact(missing)} --role verifier"
    return f"{told}; for a share of {float(share):g}: {command}"
