"""Which tasks a policy lets in, and how its file is read."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deltaproof.agent.policy import TEMPLATE, PolicyAmounts, TaskPolicy, load_policy
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.abi.structs import PhaseView, TaskView
from deltaproof.chain.contracts.money import Money
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.chain.offers import Offer
from deltaproof.errors import SpecError, UsageError
from deltaproof.protocol.terms.spec import parse_spec
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, TokenAmount, address
from tests.protocol.test_spec import TOML

TOKEN, OTHER, SPONSOR = (address("0x" + 39 * "0" + digit) for digit in "123")
MONEY = Money("DEMO", 0)
SPEC = parse_spec(tomllib.loads(TOML))
STEPS, BUDGET = SPEC.training.steps, SPEC.rewards.budget_per_round
TEXT = f"""
[pay]
"{TOKEN}" = "1wei"
[stake]
most_per_task = "1000000"
most_in_all = "1000000"
[work]
models = ["*"]
"""


def offer(number: int = 1, **changed: Any) -> Offer:
    params = task_params(SPEC, token=TOKEN, parameters=1, constants_root=Digest32(bytes(32)))
    view = TaskView(SPONSOR, False, RoundIndex(0), SPEC.start_digest, changed.pop("params", params))
    fields: dict[str, Any] = {
        "number": TaskId(number), "view": view, "phase": PhaseView(RoundIndex(0), Phase.IDLE, 0, False), "ended": False,
        "balance": TokenAmount(10**30), "trainers": 0, "verifiers": 0, "spec": SPEC, "problem": None,
    }  # fmt: skip
    return Offer(**fields | changed)


def policy(tmp_path: Path, text: str) -> TaskPolicy:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return load_policy(path)


def limits(least: int = 1, per_task: int = 10**6, in_all: int = 10**6) -> PolicyAmounts:
    return PolicyAmounts({TOKEN: least}, per_task, in_all, {TOKEN: MONEY}, MONEY)


def said(tmp_path: Path, text: str, task: Offer, known: PolicyAmounts | None = None, role: Role = Role.TRAINER) -> str:
    return "; ".join(policy(tmp_path, text).objections(task, role, 10, known or limits()))


def test_task_within_every_limit_fits(tmp_path: Path) -> None:
    assert said(tmp_path, TEXT, offer()) == ""


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ('models = ["hub:*"]', "its model is"),
        ('models = ["*"]\nmethods = ["adalora"]', "its method is"),
        ('models = ["*"]\nkinds = ["image-classification"]', "of the kind"),
        ('models = ["*"]\nnumeric = ["bounded"]', "numeric mode exact"),
        ('models = ["*"]\nvisibility = ["verifiers"]', "drawn steps are shown to everybody"),
        ('models = ["*"]\nseconds_per_step = 1e9', "s for a step, less than"),
    ],
)
def test_work_outside_the_policy_is_left_out_with_a_reason(tmp_path: Path, work: str, reason: str) -> None:
    assert reason in said(tmp_path, TEXT.replace('models = ["*"]', work), offer())


def test_rows_that_others_show_are_no_matter_of_a_verifiers_policy(tmp_path: Path) -> None:
    text = TEXT + 'visibility = ["verifiers"]\n'
    assert said(tmp_path, text, offer(), role=Role.VERIFIER) == ""


@pytest.mark.parametrize(
    "name", [SPEC.model.source, "*" + SPEC.model.source[-3:], "0x" + SPEC.model.weights_digest.hex()]
)
def test_model_is_named_by_source_end_or_digest(tmp_path: Path, name: str) -> None:
    assert said(tmp_path, TEXT.replace('["*"]', f'["{name}"]'), offer()) == ""


def test_pay_is_an_equal_share_of_a_step_among_those_who_would_take_part(tmp_path: Path) -> None:
    alone = BUDGET // (max(1, SPEC.verification.min_trainers) * STEPS)
    assert offer().pay_per_step(Role.TRAINER) == alone
    assert offer(trainers=49).pay_per_step(Role.TRAINER) == BUDGET // (50 * STEPS)
    crowded = offer(trainers=99)
    most = SPEC.verification.max_trainers
    assert crowded.pay_per_step(Role.TRAINER) == BUDGET // (most * STEPS), "no more take part at a time"
    fee = BUDGET * SPEC.rewards.verifier_fee_bps // 10_000
    assert offer(verifiers=9).pay_per_step(Role.VERIFIER) == fee // (10 * STEPS)
    assert said(tmp_path, TEXT, offer(), limits(least=alone)) == ""
    assert "a step, less than" in said(tmp_path, TEXT, crowded, limits(least=alone))


def test_token_that_nobody_named_buys_nothing(tmp_path: Path) -> None:
    worthless = task_params(SPEC, token=OTHER, parameters=1, constants_root=Digest32(bytes(32)))
    assert "not in [pay]" in said(tmp_path, TEXT, offer(params=worthless))


def test_stake_above_either_limit_is_left_out(tmp_path: Path) -> None:
    assert "it stakes 10 DEMO, more than 9 DEMO" in said(tmp_path, TEXT, offer(), limits(per_task=9))
    assert "it stakes 10 DEMO, more than 8 DEMO" in said(tmp_path, TEXT, offer(), limits(per_task=9, in_all=8))
    assert said(tmp_path, TEXT, offer(), limits(per_task=10, in_all=10)) == ""


def test_terms_that_reward_an_absence_more_than_usual_are_left_out_unless_the_policy_says_so(tmp_path: Path) -> None:
    """Attack: a missed round costs a tenth of the stake, half of that for the sponsor's friend."""
    usual = offer().view.params
    dear = offer(params=replace(usual, stakes=replace(usual.stakes, absence_bps=1_000, prover_bps=5_000)))
    judging, training = (said(tmp_path, TEXT, dear, role=role) for role in (Role.VERIFIER, Role.TRAINER))
    assert "a missed round costs 1000 basis points" in judging
    assert "5000 basis points of a penalty" in judging
    assert "5000 basis points of a penalty" in training
    assert "missed round" not in training
    told = TEXT.replace("[stake]", "[stake]\nmost_absence_bps = 1_000\nmost_prover_bps = 5_000")
    assert said(tmp_path, told, dear, role=Role.VERIFIER) == ""


def test_task_with_a_spec_nobody_should_trust_is_left_out(tmp_path: Path) -> None:
    assert "not to be trusted" in said(tmp_path, TEXT, offer(spec=None, problem=SpecError("odd")))


def test_first_precedence_that_fits_says_the_priority(tmp_path: Path) -> None:
    text = (
        TEXT
        + f"""
[[precedence]]
priority = 5
tasks = [7]
[[precedence]]
priority = -1
sponsors = ["{SPONSOR}"]
methods = ["{SPEC.method.name}"]
"""
    )
    chosen = policy(tmp_path, text)
    assert [chosen.priority(offer(number)) for number in (7, 8)] == [5, -1]
    assert policy(tmp_path, TEXT).priority(offer()) == 0


def test_better_pay_comes_first_among_equals_and_priority_before_pay(tmp_path: Path) -> None:
    chosen = policy(tmp_path, TEXT + "[[precedence]]\npriority = 1\ntasks = [3]\n")
    crowded = [offer(1, trainers=9), offer(2), offer(3, trainers=99)]
    order = sorted(crowded, key=lambda task: chosen.worth(task, Role.TRAINER, limits()))
    assert [task.number for task in order] == [3, 2, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[pay]", "[payment]"), "payment: Extra inputs"),
        (('models = ["*"]', 'models = ["*"]\nmodel = "x"'), "work.model: Extra inputs"),
        (('models = ["*"]', "models = []"), "work.models"),
        (('models = ["*"]\n', ""), "work.models: Field required"),
        (('"1wei"', "1"), "as text"),
        (('"1wei"', '"-1"'), "is no amount"),
        ((TOKEN, "0x12"), "is no address of a token"),
        (("[pay]", "most_tasks = 1000\n[pay]"), "most_tasks"),
        (("[pay]", "= broken"), "cannot read"),
    ],
)
def test_wrong_file_is_refused_with_the_key(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        policy(tmp_path, TEXT.replace(*change))


def test_template_is_a_policy_once_a_token_is_put_in(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="put the address of a reward token here"):
        policy(tmp_path, TEMPLATE)
    filled = policy(tmp_path, TEMPLATE.replace("0x" + 40 * "0", TOKEN))
    assert filled.most_tasks == 4
    bare = policy(tmp_path, TEXT)
    assert (filled.work, filled.precedence) == (bare.work, bare.precedence), "the template shows the defaults"
    commented = "".join(
        line.removeprefix("# ") for line in TEMPLATE.splitlines(keepends=True) if not line[2:3].isupper()
    )
    assert "[[precedence]]" in commented


def test_money_for_another_round_or_a_round_that_runs_is_what_pays() -> None:
    assert offer().pays
    assert not offer(balance=TokenAmount(BUDGET - 1)).pays
    assert offer(balance=TokenAmount(0), phase=PhaseView(RoundIndex(1), Phase.COMMIT, 9, False)).pays
    assert not offer(ended=True).pays
    assert not replace(offer(), spec=None).pays
