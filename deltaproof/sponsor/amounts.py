"""Amounts of a draft: tokens as people write them become the smallest units of the spec.

A draft may say `budget_per_round = "100 DEMO"`, `"100 tokens"` for whatever the token is called, or `"5wei"`. Whole
numbers without a unit are smallest units, as in the finished spec. The finished spec knows smallest units alone: its
digest must not depend on what a token on some chain says of itself, so nothing but drafts may write tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deltaproof.chain.contracts.money import Amount, Money
from deltaproof.errors import Problem, UsageError
from deltaproof.protocol.terms.costs import verifier_fee
from deltaproof.protocol.terms.spec import TaskSpec

__all__ = ["ASSUMED", "Tokens", "money_lines", "take_amounts"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a task pays in, and what its participants stake."""

    reward: Money
    stake: Money

    def of(self, key: str) -> Money | None:
        """The token of a spec's key; None if the key says no amount."""
        return self.reward if key == PAID else self.stake if key in STAKED else None

    def written(self, key: str, value: int) -> str:
        """A key's value as a draft may say it."""
        money = self.of(key)
        return str(value) if money is None else f'"{money.exact(value)}"' if money.symbol else f'"{value}"'


PAID = "rewards.budget_per_round"
"""The spec's key in reward tokens."""
STAKED = ("verification.commit_bond", "verification.min_trainer_stake", "verification.min_verifier_stake")
"""Its keys in stake tokens."""
ASSUMED = Tokens(Money("", 18), Money("", 18))
"""While no chain was asked: 18 decimals, as most tokens have, and any symbol."""


def take_amounts(tables: dict[str, object], tokens: Tokens) -> list[Problem]:
    """Write smallest units in place of amounts with a unit. What is no amount at all is left for the spec's check."""
    return [problem for key in (PAID, *STAKED) for problem in _taken(tables, key, tokens.of(key) or tokens.stake)]


def _taken(tables: dict[str, object], key: str, money: Money) -> Iterator[Problem]:
    section, _, name = key.partition(".")
    table = tables.get(section)
    said = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(said, str) or (said.isascii() and said.isdigit()):
        return
    try:
        amount = Amount.read(said, key)
        if amount.unit:
            table[name] = str(amount.within(money))
            return
        yield Problem(key, f"{said!r} does not say of what", f"write '{said} {money.symbol or 'tokens'}'")
    except UsageError as error:
        what = str(error).removeprefix(f"{key}: ")
        yield Problem(key, what, 'write "100 tokens", or a whole number of smallest units')
    table[name] = "1"  # told once; the rest is checked without it


def money_lines(spec: TaskSpec, tokens: Tokens) -> Iterator[str]:
    """The terms about money, as people read them."""
    budget, terms = spec.rewards.budget_per_round, spec.verification
    fee, paid, staked = verifier_fee(spec.rewards), tokens.reward.text, tokens.stake.text
    yield (
        f"a round pays up to {paid(budget)} to trainers and {paid(fee)} to verifiers: "
        f"{paid((budget + fee) * spec.rewards.rounds)} for all {spec.rewards.rounds}"
    )
    yield (
        f"a trainer stakes {staked(terms.min_trainer_stake)}, a verifier {staked(terms.min_verifier_stake)} or more; "
        f"a commitment without a reveal costs {staked(terms.commit_bond)}; {terms.max_trainers} trainers at most take "
        "part at a time"
    )
