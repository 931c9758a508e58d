"""Amounts as people read them."""

from __future__ import annotations

from decimal import Decimal

from deltaproof.chain.contracts.registry import Token
from deltaproof.errors import ChainError

__all__ = ["Money"]

SHOWN_DIGITS = 2


class Money:
    """Formats amounts of one token. A token that does not say its name or decimals is shown in smallest units."""

    def __init__(self, token: Token) -> None:
        try:
            self._symbol, self._decimals = token.symbol()[:12], min(token.decimals(), 36)
        except ChainError:
            self._symbol, self._decimals = "units", 0

    def text(self, amount: int) -> str:
        """For example `25.92 DEMO`; rounded down, never up."""
        shown = Decimal(amount).scaleb(-self._decimals)
        digits = min(SHOWN_DIGITS, self._decimals)
        whole = shown.quantize(Decimal(1).scaleb(-digits), rounding="ROUND_DOWN")
        return f"{whole:f} {self._symbol}"
