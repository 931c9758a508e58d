"""What a round costs its sponsor, as `TaskManager` sets it aside: the budget, and the verifiers' fee on top."""

from __future__ import annotations

from typing import Protocol

from deltaproof.protocol.rules import BPS
from deltaproof.protocol.types import TokenAmount

__all__ = ["PaidRound", "round_cost", "verifier_fee"]


class PaidRound(Protocol):
    """The terms of a round's pay: a spec's `rewards`, or the chain's."""

    @property
    def budget_per_round(self) -> int:
        """Most that the trainers of one round earn together, smallest units of the reward token."""

    @property
    def verifier_fee_bps(self) -> int:
        """Basis points of the budget."""


def verifier_fee(rewards: PaidRound) -> TokenAmount:
    """What the verifiers of a settled round share, smallest units."""
    return TokenAmount(rewards.budget_per_round * rewards.verifier_fee_bps // BPS)


def round_cost(rewards: PaidRound) -> TokenAmount:
    """What a round sets aside when it opens, smallest units."""
    return TokenAmount(rewards.budget_per_round + verifier_fee(rewards))
