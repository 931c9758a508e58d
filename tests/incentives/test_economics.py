"""What terms are worth: against counting, and against the payout rule."""

from __future__ import annotations

import tomllib
from fractions import Fraction

import pytest

from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount
from incentives.economics import economics, unseen
from tests.protocol.test_spec import TOML


def changed(**sections: dict[str, object]) -> TaskSpec:
    spec = parse_spec(tomllib.loads(TOML))
    updates = {name: getattr(spec, name).model_copy(update=values) for name, values in sections.items()}
    return spec.model_copy(update=updates)


@pytest.mark.parametrize(("steps", "samples", "honest"), [(10, 2, 1), (10, 2, 3), (10, 2, 4), (10, 3, 9), (2, 1, 1)])
def test_unseen_is_what_the_draw_leaves_out(steps: int, samples: int, honest: int) -> None:
    verifiers = {Address(f"0x{i:040x}"): TokenAmount(1) for i in range(1, honest + 1)}
    drawn = draw_samples(
        Digest32(b"\x07" * 32),
        TaskId(1),
        RoundIndex(1),
        Address("0x" + "aa" * 20),
        verifiers,
        steps=steps,
        extra=samples,
    )
    seen = {step for each in drawn.values() for step in each} - {0, steps - 1}
    between = max(steps - 2, 0)
    assert unseen(steps, samples, honest) == (1 - Fraction(len(seen), between) if between else 0)


def test_nobody_honest_sees_nothing() -> None:
    assert unseen(10, 2, 0) == 1
    with pytest.raises(ValueError, match="not between"):
        economics(changed(), honest=99)


def test_stake_that_deters_is_where_the_warning_ends() -> None:
    spec = changed(verification={"slash_bps": 5_000}, training={"steps": 100})
    needed = economics(spec, honest=1).trainer_stake
    assert needed > 0
    for stake, warned in ((needed - 2, True), (needed + 2, False)):
        tried = changed(verification={"slash_bps": 5_000, "min_trainer_stake": stake}, training={"steps": 100})
        assert any("min_trainer_stake" in line for line in economics(tried, honest=1).warnings) is warned


def test_quorum_that_decides_over_more_than_it_loses_is_named() -> None:
    budget = 1_000_000
    for stake, warned in ((1, True), (10 * budget, False)):
        tried = changed(
            rewards={"budget_per_round": budget}, verification={"min_verifier_stake": stake, "slash_bps": 5_000}
        )
        assert any("min_verifier_stake" in line for line in economics(tried).warnings) is warned


def test_free_checking_is_named() -> None:
    assert any("verifier_fee_bps" in line for line in economics(changed(rewards={"verifier_fee_bps": 0})).warnings)
    assert economics(changed(rewards={"verifier_fee_bps": 1_000, "budget_per_round": 10**9})).fee > 0
