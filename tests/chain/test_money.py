"""Amounts: what people write is what is paid, and what could be meant in two ways is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.chain.contracts.money import UNNAMED, Amount, Money, usable_symbol
from deltaproof.chain.contracts.registry import Token
from deltaproof.errors import ChainUnavailable, ContractRevert, UsageError
from deltaproof.protocol.types import MAX_AMOUNT

DEMO = Money("DEMO", 18)
SHOWN = [
    (330 * 10**18, 18, "330.00 T"),
    (1_500_000_000_000_000_000, 18, "1.50 T"),
    (12_345_678, 6, "12.3456 T"),
    (7, 0, "7 T"),
    (0, 18, "0.00 T"),
    (1_234_567 * 10**6, 6, "1,234,567.00 T"),
    (99_999, 18, "< 0.0001 T"),
    (99, 1, "9.9 T"),
]
"""Units, decimals and text; the pages show the same (tests/pages)."""


def units(text: str, money: Money = DEMO) -> int:
    return Amount.read(text, "--fund").within(money)


@pytest.mark.parametrize(("amount", "decimals", "text"), SHOWN)
def test_text_has_the_symbol_and_two_to_four_digits(amount: int, decimals: int, text: str) -> None:
    assert Money("T", decimals).text(amount) == text


def test_text_of_losses_is_rounded_towards_zero_and_never_to_zero() -> None:
    assert DEMO.text(-1_234_567_899_999_999_999) == "-1.2345 DEMO"
    assert DEMO.text(-1) == "> -0.0001 DEMO"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("330", 330 * 10**18), ("1.5", 15 * 10**17), ("1.5 DEMO", 15 * 10**17), ("1.5demo", 15 * 10**17),
        ("2 tokens", 2 * 10**18), ("330wei", 330), ("330 WEI", 330), ("0", 0), ("0.000000000000000001", 1),
        ("330000000000000000000wei", 330 * 10**18), ("1000000000000 DEMO", 10**30),
    ],
)  # fmt: skip
def test_amount_is_tokens_unless_its_unit_says_otherwise(text: str, expected: int) -> None:
    assert units(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("330000000000000000000", "330,000,000,000,000,000,000 tokens"), ("330" + "0" * 18, "330000000000000000000wei"),
        ("1000000000000", "add the token's symbol"),
        ("1,000", "is no amount"), ("1_000", "is no amount"), ("1'000", "is no amount"),
        ("1e18", "is no amount"), ("-1", "is no amount"),
        ("", "is no amount"), (".5", "is no amount"), ("5.", "is no amount"), ("٣", "is no amount"),
        ("1 2", "is no amount"), ("nan", "is no amount"), ("0x10", "is no amount"), ("1" * 79, "is no amount"),
        ("5 USDC", "--fund: USDC is another token than DEMO"), ("1.5wei", "nothing is smaller"),
        ("0.0000000000000000001", "18 digits behind the point"), (f"{MAX_AMOUNT + 1}wei", "2^128-1"),
    ],
)  # fmt: skip
def test_amount_that_could_be_meant_otherwise_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        units(text)
    assert message in str(refused.value)
    assert str(refused.value).startswith("--fund")


@given(st.integers(0, MAX_AMOUNT), st.integers(0, 36))
def test_exact_text_reads_back_as_the_same_amount(amount: int, decimals: int) -> None:
    money = Money("DEMO", decimals)
    assert units(money.exact(amount), money) == amount
    assert units(str(Amount.read(money.exact(amount), "")), money) == amount
    assert units(UNNAMED.exact(amount), UNNAMED) == amount


def test_token_that_does_not_say_its_decimals_takes_smallest_units_only() -> None:
    assert units("5wei", UNNAMED) == 5
    with pytest.raises(UsageError, match="does not say its decimals"):
        units("5", UNNAMED)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("DEMO", "DEMO"), ("\x1b[31mUSDC", "[31mUSDC"), ("A B\n", "AB"), ("", "tokens"), ("wei", "tokens"),
        ("WEI", "tokens"), ("1INCH", "tokens"), ("-5", "tokens"), ("USD0", "USD0"),
        ("A" * 99, "A" * 12), ("\u202eabc", "abc"),
    ],
)  # fmt: skip
def test_symbol_disturbs_no_terminal_and_is_never_taken_for_smallest_units(said: str, name: str) -> None:
    assert usable_symbol(said) == name


class Told(Token):
    """A token that answers as it is told to."""

    def __init__(self, symbol: object, decimals: object) -> None:
        self._symbol, self._decimals = symbol, decimals

    def symbol(self) -> str:
        return str(told(self._symbol))

    def decimals(self) -> int:
        return int(str(told(self._decimals)))


def told(answer: object) -> object:
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_token_without_metadata_is_not_confused_with_a_node_that_is_away() -> None:
    refused = ContractRevert("symbol", "", {})
    assert Money.of(Told("T", 6)) == Money("T", 6)
    assert Money.of(Told(refused, 6)) == Money("tokens", 6)
    assert Money.of(Told("T", refused)) == UNNAMED
    assert Money.of(Told("T", 255)) == UNNAMED, "no cut decimals: they would move the point"
    for token in (Told(ChainUnavailable("away"), 6), Told("T", ChainUnavailable("away"))):
        with pytest.raises(ChainUnavailable):
            Money.of(token)
