"""What terms are worth: against counting, and that the better terms which are proposed leave no attack worth it."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from incentives.economics import Assumptions, Attack, Economics, economics, unseen
from tests.protocol.test_spec import TOML

UNIT = 10**18


def changed(**sections: dict[str, object]) -> TaskSpec:
    spec = parse_spec(tomllib.loads(TOML))
    updates = {name: getattr(spec, name).model_copy(update=values) for name, values in sections.items()}
    return spec.model_copy(update=updates)


def terms(**values: Any) -> TaskSpec:
    """Terms that nobody can cheat: a budget of 1,000, three verifiers. `values` are keys without their section."""
    sections: dict[str, dict[str, object]] = {
        "rewards": {"budget_per_round": 1_000 * UNIT, "verifier_fee_bps": 3_000, "base_bps": 2_000},
        "verification": {
            "samples": 8, "quorum_bps": 6_600, "slash_bps": 5_000, "prover_bps": 2_000, "absence_bps": 100,
            "min_verifiers": 3, "committee": 0,
            "min_trainer_stake": 1_000 * UNIT, "min_verifier_stake": 1_250 * UNIT, "commit_bond": 10 * UNIT,
        },
        "training": {"steps": 12},
    }  # fmt: skip
    for name, value in values.items():
        next(part for part in sections.values() if name in part)[name] = value
    return changed(**sections)


def better(spec: TaskSpec, found: Economics) -> TaskSpec:
    for key, value in found.better.items():
        section, name = key.split(".")
        spec = spec.model_copy(update={section: getattr(spec, section).model_copy(update={name: value})})
    return spec


def attack(spec: TaskSpec, who: str, says: str = "") -> Attack:
    (found,) = [a for a in economics(spec).attacks if a.who == who and says in a.does]
    return found


@pytest.mark.parametrize(("steps", "samples"), [(10, 0), (10, 2), (10, 8), (10, 30), (2, 1), (1, 0)])
def test_unseen_is_what_the_draw_leaves_out(steps: int, samples: int) -> None:
    trainer = Address("0x" + "aa" * 20)
    drawn = draw_samples(Digest32(b"\x07" * 32), TaskId(1), RoundIndex(1), trainer, steps=steps, extra=samples)
    seen = {*drawn} - {0, steps - 1}
    between = max(steps - 2, 0)
    assert unseen(steps, samples) == (1 - Fraction(len(seen), between) if between else 0)


@pytest.mark.parametrize(("steps", "samples", "run"), [(62, 20, 10), (60, 20, 10), (12, 4, 2), (9, 3, 3)])
def test_a_step_of_a_run_is_unseen_as_often_as_its_run(steps: int, samples: int, run: int) -> None:
    runs = -(-(steps - 2) // run)
    assert unseen(steps, samples, run) == 1 - Fraction(samples // run, runs)


def test_good_terms_leave_nobody_a_reason() -> None:
    found = economics(terms())
    assert found.risks == ()
    assert found.better == {}
    assert {a.who for a in found.attacks} >= {"trainer", "verifier", "stallers", "griefer", "briber", "coalition"}


def test_forged_step_pays_by_the_sample_however_many_verifiers_replay_it() -> None:
    """Two of eight steps between, counted by hand. Each verifier more replays the same two."""
    for verifiers in (1, 3, 10):
        spec = terms(steps=10, samples=2, min_verifiers=verifiers, min_trainer_stake=2_500 * UNIT)
        assert attack(spec, "trainer", "makes up").nets == (750 * UNIT - 250 * UNIT,)
    nets = [attack(terms(steps=10, samples=k), "trainer", "makes up").nets[0] for k in range(9)]
    assert nets == sorted(nets, reverse=True)
    assert nets[-1] < 0 < nets[0]


def test_stallers_below_a_half_only_lose() -> None:
    nets = attack(terms(min_verifiers=10), "stallers").nets
    assert nets[0] == 0
    # One per cent of each one's stake, of which a fifth comes back to who charges itself.
    assert [-net // (10 * UNIT) for net in nets[1:]] == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("term", "value", "who", "fixed_by"),
    [
        ("min_trainer_stake", UNIT, "trainer", "verification.min_trainer_stake"),
        ("slash_bps", 0, "trainer", "verification.slash_bps"),
        ("samples", 0, "trainer", "verification.samples"),
        ("min_verifier_stake", UNIT, "briber", "verification.min_verifier_stake"),
        ("verifier_fee_bps", 0, "verifier", "rewards.verifier_fee_bps"),
    ],
)
def test_term_under_which_somebody_cheats_is_named_and_mended(term: str, value: int, who: str, fixed_by: str) -> None:
    spec = terms(**{term: value})
    found = economics(spec)
    assert who in {a.who for a in found.risks}
    assert fixed_by in found.better
    assert economics(better(spec, found)).risks == ()


def test_stake_that_is_proposed_is_the_least_that_deters() -> None:
    spec = terms(min_trainer_stake=1)
    needed = economics(spec).better["verification.min_trainer_stake"]
    assert economics(terms(min_trainer_stake=needed)).risks == ()
    assert economics(terms(min_trainer_stake=needed - 10)).risks != ()


def test_fault_that_its_owner_shows_costs_no_more_than_what_is_burned() -> None:
    """Attack: whoever sees that it will be found proves its own fault from another account, before anybody else."""
    spec = terms(prover_bps=5_000)
    assert {a.who for a in economics(spec).risks} == {"briber"}
    assert attack(spec, "briber").nets == (1_000 * UNIT - 2 * 625 * UNIT // 2,)
    assert economics(better(spec, economics(spec))).risks == ()


def test_sponsors_own_power_is_shown_and_refused_to_nobody() -> None:
    own = [a for a in economics(terms()).attacks if a.own]
    assert {a.nets for a in own} == {(800 * UNIT,)}
    assert not any(a.pays for a in own)


def test_bonds_of_the_deployment_are_what_griefers_lose() -> None:
    found = economics(terms(), Assumptions(demand_bond=7, case_bond=9))
    assert [a.nets for a in found.attacks if a.who == "griefer"] == [(-7,), (-9,)]


@settings(max_examples=200, deadline=None)
@given(
    budget=st.integers(10**6, 10**24),
    fee=st.integers(0, 10_000),
    steps=st.integers(2, 2_000),
    samples=st.integers(0, 40),
    verifiers=st.integers(1, 40),
    committee=st.sampled_from([0, 0, 2, 3, 8, 30]),
    quorum=st.integers(5_001, 10_000),
    slash=st.integers(0, 10_000),
    trainer=st.integers(1, 10**24),
    verifier=st.integers(1, 10**24),
)
def test_better_terms_leave_no_attack_worth_it(
    budget: int,
    fee: int,
    steps: int,
    samples: int,
    verifiers: int,
    committee: int,
    quorum: int,
    slash: int,
    trainer: int,
    verifier: int,
) -> None:
    spec = terms(
        budget_per_round=budget, verifier_fee_bps=fee, steps=steps, samples=samples, min_verifiers=verifiers,
        committee=committee, quorum_bps=quorum, slash_bps=slash, min_trainer_stake=trainer, min_verifier_stake=verifier,
    )  # fmt: skip
    found = economics(spec)
    mended = better(spec, found)
    assert bool(found.risks) == bool(found.better)
    left = {a.who for a in economics(mended).risks}
    # Where even a fee of the whole budget pays for no checking, more verifiers than the task can pay are asked for.
    assert left <= ({"verifier"} if mended.rewards.verifier_fee_bps == 10_000 else set())


def test_whoever_may_own_a_committee_is_counted_and_a_larger_one_is_proposed() -> None:
    """Nine verifiers, two for each trainer: 49 % are four of nine, and own one committee in six."""
    drawn = terms(min_verifiers=9, committee=2, min_trainer_stake=100 * UNIT, samples=12)
    owns = attack(drawn, "coalition", "all of its committee")
    assert owns.nets[0] < 0 < owns.nets[-1], "without a verifier of its own it only loses"
    caught = Fraction(5, 6) * Fraction(4, 10) * 100 * UNIT
    assert owns.nets[-1] == ceil(Fraction(1, 6) * 1_000 * UNIT - caught)
    found = economics(drawn)
    assert found.better["verification.committee"] == 4, "all four are one committee of 126"
    assert not economics(better(drawn, found)).risks
    for size in (0, 9, 20):
        everybody = economics(terms(min_verifiers=9, committee=size, min_trainer_stake=100 * UNIT, samples=12))
        assert not [a for a in everybody.attacks if "committee" in a.does], "everybody replays everybody"
        assert everybody.risks
        assert "verification.committee" not in everybody.better, "nothing is wrong with that"
