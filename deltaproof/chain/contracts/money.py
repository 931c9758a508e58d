"""Amounts as people write and read them: the one parser and the one formatter.

People write tokens: `330`, `1.5`, `1.5 DEMO`. Scripts may write smallest units with the suffix `wei`, for every token:
`1500000000000000000wei`. The contracts, documents and `--json` know smallest units alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Self

from deltaproof.chain.contracts.registry import Token
from deltaproof.errors import ChainError, ChainUnavailable, UsageError
from deltaproof.protocol.types import MAX_AMOUNT, TokenAmount

__all__ = ["SMALLEST", "UNNAMED", "Amount", "Money", "usable_symbol"]

SMALLEST = "wei"
"""The suffix of smallest units, whatever the token calls them; short, and known from Ether."""
TOKENS = "tokens"
"""The unit that fits every token; what those without a usable name are called."""
MOST_SYMBOL, MOST_DECIMALS = 12, 36
LEAST_SHOWN, MOST_SHOWN = 2, 4
"""Digits behind the point in text; the pages show the same."""
LARGEST_PLAIN = 10**12
"""From so many tokens on a number needs a unit: more likely it is meant in smallest units, which
commands once took."""
_WRITTEN = re.compile(
    r"(?P<number>[0-9]{1,78}(\.[0-9]{1,78})?)((?P<glued>[^\s0-9.,_'+-][^\s0-9]*)|\s+(?P<apart>[^\s0-9.,_'+-]\S*))?",
    re.ASCII,
)
"""A symbol with digits stands apart, so that `1e18` and `0x10` are no amounts of tokens `e18` and `x10`."""


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount as it was written, before its token is known."""

    number: Fraction
    unit: str
    """`wei`, a token's symbol, `tokens`, or nothing."""
    where: str
    """The option, argument or key that says it, for messages."""

    @classmethod
    def read(cls, text: str, where: str) -> Self:
        """Raises UsageError, naming `where`, for what is no amount or could be meant in two ways."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"{where}: {text!r} is no amount; write 330, 1.5, '1.5 DEMO', or smallest units as 330wei")
        number, unit = Fraction(found["number"]), found["glued"] or found["apart"] or ""
        if unit.lower() == SMALLEST:
            unit = SMALLEST
            if number.denominator != 1:
                raise UsageError(f"{where}: {text!r}: nothing is smaller than 1wei")
        if not unit and number >= LARGEST_PLAIN:
            digits = found["number"]
            raise UsageError(
                f"{where}: {digits} would be {number.numerator // number.denominator:,} tokens; for smallest units "
                f"write {digits}{SMALLEST}, for so many tokens add the token's symbol"
            )
        return cls(number, unit, where)

    def __str__(self) -> str:
        """As it can be read again."""
        with localcontext(prec=200):
            digits = Decimal(self.number.numerator) / Decimal(self.number.denominator)
        return f"{digits:f}{'' if self.unit == SMALLEST else ' '}{self.unit}".strip()

    def with_unit(self) -> str:
        """The same for a draft, where a number alone would be smallest units."""
        return str(self if self.unit else replace(self, unit=TOKENS))

    def part(self, divisor: int) -> Self:
        """An even part of it; of smallest units at least one."""
        number = self.number / divisor
        return replace(self, number=max(Fraction(1), Fraction(number // 1)) if self.unit == SMALLEST else number)

    def within(self, money: Money) -> TokenAmount:
        """Smallest units of that token. Raises UsageError if it is of another token, or no whole number of units."""
        if self.unit == SMALLEST:
            units = self.number
        elif money.decimals is None:
            raise UsageError(
                f"{self.where}: the token does not say its decimals; write smallest units, as 330{SMALLEST}"
            )
        elif self.unit not in ("", TOKENS) and money.symbol and self.unit.lower() != money.symbol.lower():
            raise UsageError(f"{self.where}: {self.unit} is another token than {money.symbol}, which is asked for")
        else:
            units = self.number * 10**money.decimals
        if units.denominator != 1:
            raise UsageError(f"{self.where}: the token has {money.decimals} digits behind the point, and no more")
        if units > MAX_AMOUNT:
            raise UsageError(f"{self.where}: more than any contract holds; write at most 2^128-1 smallest units")
        return TokenAmount(units.numerator)

    def positive(self, money: Money) -> TokenAmount:
        """The same where it has to be more than nothing. Raises UsageError."""
        units = self.within(money)
        if not units:
            raise UsageError(f"{self.where}: say more than nothing")
        return units


@dataclass(frozen=True, slots=True)
class Money:
    """How amounts of one token are written and read."""

    symbol: str
    """As the token calls itself, if that can be printed; empty while no token is known: any symbol will do."""
    decimals: int | None
    """Digits behind the point; None for a token that does not say, whose amounts stay in smallest units."""

    @classmethod
    def of(cls, token: Token) -> Self:
        """As the token says of itself. Raises ChainUnavailable: an outage is no token without a name."""
        try:
            decimals = token.decimals()
        except ChainUnavailable:
            raise
        except ChainError:
            return cls(SMALLEST, None)
        if decimals > MOST_DECIMALS:
            return cls(SMALLEST, None)
        try:
            symbol = usable_symbol(token.symbol())
        except ChainUnavailable:
            raise
        except ChainError:
            symbol = TOKENS
        return cls(symbol, decimals)

    def text(self, amount: int) -> str:
        """For example `1,025.92 DEMO`; rounded towards zero, and never to zero."""
        return self._named(self.number(amount))

    def number(self, amount: int) -> str:
        """The same without the symbol, for the cells of a table."""
        if self.decimals is None:
            return f"{amount:,}"
        digits, one = min(self.decimals, MOST_SHOWN), 10**self.decimals
        whole, rest = divmod(abs(amount), one)
        part = f"{rest:0{self.decimals}d}"[:digits] if self.decimals else ""
        sign = "-" if amount < 0 else ""
        if amount and not whole and not int(part or "0"):
            return f"{'> -' if sign else '< '}0.{'1'.zfill(digits)}"
        part = part.rstrip("0").ljust(min(LEAST_SHOWN, digits), "0")
        return f"{sign}{whole:,}{'.' if part else ''}{part}"

    def exact(self, amount: int) -> str:
        """Every digit that counts, as `Amount.read` takes it: `1000.000001 DEMO`."""
        if self.decimals is None:
            return f"{amount}{self.symbol}"
        whole, rest = divmod(abs(amount), 10**self.decimals)
        part = f"{rest:0{self.decimals}d}".rstrip("0") if rest else ""
        return self._named(f"{'-' if amount < 0 else ''}{whole}{'.' if part else ''}{part}")

    def _named(self, number: str) -> str:
        return f"{number} {self.symbol}".rstrip()


UNNAMED = Money(SMALLEST, None)
"""Of a token that does not say how it is written."""


def usable_symbol(said: str) -> str:
    """A token's name for itself, without what could disturb a terminal or be taken for smallest units."""
    kept = "".join(character for character in said if character.isprintable() and not character.isspace())
    kept = kept[:MOST_SYMBOL]
    readable = kept and not kept[0].isdecimal() and kept[0] not in ".,_'+-" and kept.lower() != SMALLEST
    return kept if readable else TOKENS
