"""What a draft's round asks of its participants: deadlines, the cost of verification, and the money for every round."""

from __future__ import annotations

from typing import Any

import pytest

from deltaproof.chain.contracts.money import Amount
from deltaproof.protocol.terms.costs import round_cost
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec
from deltaproof.sponsor.amounts import take_amounts
from deltaproof.sponsor.workload import MOST_TRAINERS, Workload
from deltaproof.tuning.training.speed import Speed, evaluations_of, replays_of
from tests.sponsor.test_amounts import TOKENS, tables

SPEED = Speed(step=0.5, replay=1.0, evaluation=0.25)


def terms(**changes: dict[str, Any]) -> TaskSpec:
    written = tables("100.5 USDC", "300 DEMO")
    for section, keys in changes.items():
        written[section] |= keys
    take_amounts(written, TOKENS)
    return parse_spec(written)


def test_most_trainers_just_fit_into_what_a_late_opening_leaves_of_the_phase() -> None:
    work = Workload(terms(phases={"attest_commit": 600}), SPEED, 10, 40)
    assert 0 < work.most_trainers < MOST_TRAINERS
    assert SPEED.verifying(work.spec, work.most_trainers) <= 240
    assert SPEED.verifying(work.spec, work.most_trainers + 1) > 240


def test_free_machine_takes_any_number_and_the_count_ends() -> None:
    work = Workload(terms(), Speed(0.0, 0.0, 0.0), 10, 40)
    assert work.most_trainers == MOST_TRAINERS
    assert any("enough for any number" in line for line in work.lines(TOKENS))


@pytest.mark.parametrize("fee", [0, 1_000])
def test_fund_that_is_named_pays_every_round_to_the_last_unit(fee: int) -> None:
    spec = terms(rewards={"verifier_fee_bps": fee})
    line = list(Workload(spec, SPEED, 10, 40).lines(TOKENS))[-1]
    told = Amount.read(line.partition("--fund '")[2].rstrip("'"), "--fund").within(TOKENS.reward)
    assert told == round_cost(spec.rewards) * spec.rewards.rounds
    assert Workload(spec, SPEED, 10, 40).record()["funding"] == {
        "per_round": str(round_cost(spec.rewards)), "rounds": spec.rewards.rounds, "total": str(told),
    }  # fmt: skip


def test_bytes_of_a_codec_are_told_beside_those_of_its_values() -> None:
    coded = next(line for line in Workload(terms(), SPEED, 9_986, 2_617).lines(TOKENS) if "bytes a round" in line)
    assert coded.endswith("at most 2,617 bytes a round besides openings, where 9,986 values in float32 have 39,944")
    plain = next(line for line in Workload(terms(), SPEED, 10, 40).lines(TOKENS) if "bytes a round" in line)
    assert plain.endswith("at most 40 bytes a round besides openings")


def test_verification_costs_what_a_verifier_computes() -> None:
    spec = terms(rewards={"verifier_fee_bps": 1_000})
    work = Workload(spec, SPEED, 10, 40)
    replays, evaluations = replays_of(spec, work.trainers), evaluations_of(spec, work.trainers)
    told: Any = work.record()["verification"]
    assert told["seconds"] == replays * SPEED.replay + evaluations * SPEED.evaluation
    assert told["fee"] == str(spec.rewards.budget_per_round // 10)
    lines = list(work.lines(TOKENS))
    assert f"{replays} replays and {evaluations} evaluations" in lines[2]
    assert "10.05 USDC a round in fees, 10 % of the trainers' pay" in lines[-2]
