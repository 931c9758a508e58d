"""Amounts as people read them."""

from __future__ import annotations

from decimal import Decimal

from deltaproof.chain.contracts.registry import Token
from deltaproof.errors import ChainError

__all__ = ["Money", "in_units"]

SHOWN_DIGITS = 2


def in_units(amount: int, decimals: int, digits: int = SHOWN_DIGITS) -> str:
    """An amount of a token with so many decimals, with at most `digits` of them; rounded towards zero."""
    shown = Decimal(amount).scaleb(-decimals)
    return f"{shown.quantize(Decimal(1).scaleb(-min(digits, decimals)), rounding='ROUND_DOWN'):f}"


class Money:
    """Formats amounts of one token. A token that does not say its name or decimals is shown in smallest units."""

    def __init__(self, token: Token) -> None:
        try:
            self._symbol, self._decimals = token.symbol()[:12], min(token.decimals(), 36)
        except ChainError:
            self._symbol, self._decimals = "units", 0

    def text(self, amount: int) -> str:
        """For example `25.92 DEMO`; rounded down, never up."""
        return f"{in_units(amount, self._decimals)} {self._symbol}"
