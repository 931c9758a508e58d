"""Drafts may write tokens; the spec that comes of them has smallest units, and the same digest as one that says so."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from deltaproof.chain.contracts.money import Money
from deltaproof.errors import SpecError
from deltaproof.protocol.terms.spec import parse_spec
from deltaproof.sponsor.amounts import ASSUMED, Tokens, money_lines, take_amounts
from tests.protocol.test_spec import TOML

TOKENS = Tokens(Money("USDC", 6), Money("DEMO", 18))


def tables(budget: object, stake: object = "100 DEMO") -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(TOML)
    found["rewards"]["budget_per_round"] = budget
    found["verification"]["min_trainer_stake"] = stake
    return found


def test_tokens_in_a_draft_become_the_smallest_units_of_the_spec() -> None:
    written, plain = tables("1.5 USDC"), tables("1500000", str(100 * 10**18))
    assert take_amounts(written, TOKENS) == []
    assert parse_spec(written).digest() == parse_spec(plain).digest()
    wei = tables("1500000wei", "100 tokens")
    assert take_amounts(wei, TOKENS) == []
    assert parse_spec(wei).digest() == parse_spec(plain).digest()


def test_whole_numbers_in_a_draft_stay_smallest_units() -> None:
    for budget in (1500000, "1500000"):
        written = tables(budget, "77")
        assert take_amounts(written, TOKENS) == []
        spec = parse_spec(written)
        assert (spec.rewards.budget_per_round, spec.verification.min_trainer_stake) == (1500000, 77)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("1.5", "does not say of what"),
        ("5 DEMO", "another token than USDC"),
        ("0.1234567 USDC", "6 digits"),
        ("much", "no amount"),
    ],
)
def test_amount_of_a_draft_that_is_none_is_told_with_its_key(said: str, message: str) -> None:
    (problem,) = take_amounts(tables(said), TOKENS)
    assert problem.key == "rewards.budget_per_round"
    assert message in problem.what


def test_without_a_chain_any_symbol_has_eighteen_decimals() -> None:
    written = tables("2 ANY", "3 OTHER")
    assert take_amounts(written, ASSUMED) == []
    assert parse_spec(written).rewards.budget_per_round == 2 * 10**18


def test_finished_spec_never_depends_on_what_a_token_says() -> None:
    with pytest.raises(SpecError, match="budget_per_round"):
        parse_spec(tables("1.5 USDC"))


def test_money_lines_say_what_a_task_costs_and_asks() -> None:
    written = tables("100 USDC", "300 DEMO")
    take_amounts(written, TOKENS)
    written["rewards"]["verifier_fee_bps"] = 1_000
    spec = parse_spec(written)
    paid, staked = money_lines(spec, TOKENS)
    assert "100.00 USDC to trainers and 10.00 USDC to verifiers" in paid
    assert TOKENS.reward.text(110 * 10**6 * spec.rewards.rounds) in paid
    assert "a trainer stakes 300.00 DEMO" in staked
