"""The demo's data split and its promises, without playing it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from deltaproof.demo import fedpeat
from deltaproof.demo.data import SOURCES, prepare_data
from deltaproof.demo.expectations import TrainerOutcome, check_promises
from deltaproof.demo.plan import FEDPEAT, FOLDER, NAMES, NETWORK, ORDINARY, ROUNDS, SYBIL, TRAINERS, VERIFIERS, Scenario
from deltaproof.demo.stage import DemoOptions
from deltaproof.errors import UsageError
from deltaproof.tuning.base_models.presets import minimal_model

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PAY = {"alice": 40, "bob": 30, "carol": 30, "nora": 0, "mallory": 0}


def read(path: Path) -> list[tuple[str, int]]:
    return [(row["text"], row["label"]) for row in map(json.loads, path.read_text().split("\n")[:-1])]


def test_data_split_is_disjoint_and_follows_the_seed(tmp_path: Path) -> None:
    data = prepare_data(ASSETS, tmp_path / "a", seed=1, rounds=3, validation_rows=96)
    again = prepare_data(ASSETS, tmp_path / "b", seed=1, rounds=3, validation_rows=96)
    other = prepare_data(ASSETS, tmp_path / "c", seed=2, rounds=3, validation_rows=96)
    parts = {**data.shards, "validation": data.validation, "test": data.test}
    assert {name: len(read(path)) for name, path in parts.items()} == {
        **dict.fromkeys(SOURCES, 604),
        "noisy": 300,
        "cheat": 300,
        "names": 144,
        "validation": 288,
        "test": 300,
    }
    assert set(read(parts.pop("names"))) <= set(read(data.shards["cheat"]))
    assert sum(len(read(path)) for path in parts.values()) == 3000
    assert data.test.read_bytes() == again.test.read_bytes() != other.test.read_bytes()


def test_noisy_shard_has_nine_of_ten_labels_flipped(tmp_path: Path) -> None:
    data = prepare_data(ASSETS, tmp_path / "a", seed=1, rounds=3, validation_rows=96)
    truth: dict[str, set[int]] = {}
    for source in SOURCES:
        for text, label in read(ASSETS / "sentiment" / f"{source}.jsonl"):
            truth.setdefault(text, set()).add(label)
    flipped = sum(label not in truth[text] for text, label in read(data.shards["noisy"]))
    assert 0.85 <= flipped / 300 <= 0.95


def test_data_sets_that_are_not_there_name_the_set_up(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make setup"):
        prepare_data(tmp_path, tmp_path / "a", seed=1, rounds=3, validation_rows=96)


def outcomes() -> list[TrainerOutcome]:
    return [
        TrainerOutcome(round_, p.name, "accepted" if p.honest else "rejected", 1, 1, PAY[p.name])
        for round_ in (1, 2, 3)
        for p in TRAINERS
    ]


def kept(**changes: object) -> list[bool]:
    facts: dict[str, object] = {
        "outcomes": outcomes(),
        "slashed": {"mallory": 50},
        "verifier_pay": {p.name: 10 for p in VERIFIERS},
        "accuracy": {"start": 0.5, "final": 0.9},
        "audit_failures": 0,
        **changes,
    }
    return [promise.kept for promise in check_promises(**facts)]  # type: ignore[arg-type]


def altered(trainer: str, **fields: object) -> list[TrainerOutcome]:
    return [replace(o, **fields) if o.trainer == trainer else o for o in outcomes()]  # type: ignore[arg-type]


def test_everything_as_promised_keeps_every_promise() -> None:
    assert all(kept())


@pytest.mark.parametrize(
    "changes",
    [
        {"outcomes": [o for o in outcomes() if o.round < 3]},
        {"outcomes": altered("alice", verdict="rejected")},
        {"outcomes": altered("mallory", verdict="accepted")},
        {"outcomes": altered("mallory", payout=1)},
        {"slashed": {}},
        {"slashed": {"mallory": 50, "nora": 1}},
        {"outcomes": altered("bob", payout=0)},
        {"outcomes": altered("nora", payout=8)},
        {"verifier_pay": {"vera": 0}},
        {"verifier_pay": {}},
        {"accuracy": {"start": 0.5, "final": 0.5}},
        {"audit_failures": 1},
    ],
)
def test_anything_else_breaks_a_promise(changes: dict[str, object]) -> None:
    assert not all(kept(**changes))


@pytest.mark.parametrize("scenario", [ORDINARY, FEDPEAT, FOLDER, NETWORK, SYBIL])
def test_participants_have_accounts_of_their_own_and_a_draft(scenario: Scenario) -> None:
    accounts = [p.account for p in scenario.participants]
    assert accounts == list(range(len(accounts)))
    assert tomllib.loads(scenario.draft_text())["rewards"]["rounds"] == ROUNDS


@pytest.mark.parametrize("scenario", [ORDINARY, FEDPEAT, FOLDER, NETWORK, SYBIL])
def test_shorter_demo_changes_the_rounds_of_its_draft_and_nothing_else(scenario: Scenario) -> None:
    whole, short = (tomllib.loads(s.draft_text()) for s in (scenario, scenario.of(1)))
    assert short["rewards"].pop("rounds") == 1
    assert whole["rewards"].pop("rounds") == ROUNDS
    assert short == whole
    assert scenario.of(None) == scenario


def test_one_round_in_which_chance_paid_keeps_every_promise_that_is_asked_of_it() -> None:
    pay_of_chance = {**PAY, "alice": 0, "nora": 60}
    first = [replace(o, payout=pay_of_chance[o.trainer]) for o in outcomes() if o.round == 1]
    accuracy = {"start": 0.5, "final": 0.5}
    promises = check_promises(first, {"mallory": 50}, {"vera": 1}, accuracy, 0, scenario=ORDINARY.of(1))
    asked = [promise for promise in promises if not promise.of_value]
    assert all(promise.kept for promise in asked)
    assert len(asked) == len(promises) - 3
    assert not ORDINARY.of(1).judges_value


def test_demo_among_strangers_differs_from_the_ordinary_one_by_what_is_sealed_alone() -> None:
    tables, ordinary = (tomllib.loads(scenario.draft_text()) for scenario in (NETWORK, ORDINARY))
    assert tables["data"].pop("visibility") == "verifiers"
    assert tables.pop("adapter") == {"visibility": "participants"}
    assert tables == ordinary


# The demo of one person with several names.


def names_promise(payouts: list[dict[str, int]]) -> bool:
    played = [
        TrainerOutcome(number, p.name, "accepted", 1, 1, paid.get(p.name, 20))
        for number, paid in enumerate(payouts, start=1)
        for p in SYBIL.trainers
    ]
    promises = check_promises(
        played, {}, {"vera": 1}, {"start": 0.5, "final": 0.9}, 0, scenario=SYBIL.of(len(payouts) or 1)
    )
    return next(promise.kept for promise in promises if "names on one shard" in promise.text)


def test_names_of_one_person_keep_the_promise_only_if_one_of_them_was_paid() -> None:
    first, second, third = NAMES
    nothing = {second: 0, third: 0}
    assert names_promise([{first: 20, **nothing}, {first: 0, **nothing}])
    assert not names_promise([{first: 20, **nothing}, {first: 20, second: 1, third: 0}])
    assert not names_promise([]), "nothing was settled"


def test_names_of_one_person_have_one_shard_and_the_task_counts_distinct_rows() -> None:
    assert {p.shard for p in SYBIL.names} == {"names"}
    assert tomllib.loads(SYBIL.draft_text())["scoring"] == {"index": "aumann_shapley", "rows": "distinct"}


# The demo of a model that stays with its owner.

NOT_SEEN = [{"name": name} for name in ("coalition players", "coalition values", "losses", "next adapter", "emulator")]
AUDITS: dict[str, dict[str, Any]] = {
    "audit": {"passed": 900, "failed": 0, "notCheckable": 0},
    "outside": {"passed": 800, "failed": 0, "notCheckable": 5, "unchecked": NOT_SEEN},
}


def fedpeat_outcomes() -> list[TrainerOutcome]:
    pay = {"alice": 50, "bob": 50, "olga": 0, "mallory": 0}
    return [
        TrainerOutcome(round_, p.name, "accepted" if p.honest else "rejected", 1, 1, pay[p.name])
        for round_ in range(1, FEDPEAT.rounds + 1)
        for p in FEDPEAT.trainers
    ]


def fedpeat_kept(**changes: Any) -> list[bool]:
    facts: dict[str, Any] = {
        "outcomes": fedpeat_outcomes(),
        "slashed": {"mallory": 50},
        "verifier_pay": {p.name: 10 for p in FEDPEAT.verifiers},
        "accuracy": {"start": 0.5, "final": 0.9},
        "audit": AUDITS["audit"],
        "extra": {"audit_outside": AUDITS["outside"], "gaps": [{"round": 1}, {"round": 2}, {"round": 3}], "leaked": []},
    }
    extra = {**facts["extra"], **{k: v for k, v in changes.items() if k in facts["extra"]}}
    facts |= {k: v for k, v in changes.items() if k in facts} | {"extra": extra}
    return [promise.kept for promise in fedpeat.check_promises(**facts, rounds=FEDPEAT.rounds)]


def fedpeat_altered(trainer: str, **fields: Any) -> list[TrainerOutcome]:
    return [replace(o, **fields) if o.trainer == trainer else o for o in fedpeat_outcomes()]


def test_fedpeat_as_promised_keeps_every_promise() -> None:
    assert all(fedpeat_kept())


@pytest.mark.parametrize(
    "changes",
    [
        {"outcomes": [o for o in fedpeat_outcomes() if o.round < FEDPEAT.rounds]},
        {"outcomes": fedpeat_altered("alice", verdict="rejected")},
        {"outcomes": fedpeat_altered("bob", payout=0)},
        {"outcomes": fedpeat_altered("olga", payout=1)},
        {"outcomes": fedpeat_altered("olga", verdict="withheld")},
        {"outcomes": fedpeat_altered("olga", stderr_nanos=0)},
        {"outcomes": fedpeat_altered("mallory", verdict="accepted")},
        {"slashed": {}},
        {"slashed": {"mallory": 50, "olga": 1}},
        {"verifier_pay": {"vera": 0}},
        {"accuracy": {"start": 0.5, "final": 0.5}},
        {"audit": {**AUDITS["audit"], "failed": 1}},
        {"audit": {**AUDITS["audit"], "notCheckable": 1}},
        {"audit_outside": {**AUDITS["outside"], "failed": 1}},
        {"audit_outside": {**AUDITS["outside"], "unchecked": [*NOT_SEEN, {"name": "replay"}]}},
        {"audit_outside": {**AUDITS["outside"], "unchecked": []}},
        {"gaps": [{"round": 1}]},
        {"leaked": ["encoder.layer.2.output.dense.weight"]},
    ],
)
def test_anything_else_breaks_a_promise_of_fedpeat(changes: dict[str, Any]) -> None:
    assert not all(fedpeat_kept(**changes))


def test_middle_that_lies_where_trainers_reach_it_is_found(tmp_path: Path) -> None:
    options = DemoOptions("fedpeat", tmp_path, 1, "anvil", 60.0, FEDPEAT)
    model = minimal_model(tmp_path / "machines" / "owner" / "full-model", "bert", layers=4)
    (tmp_path / "store").mkdir()
    weights = load_file(model / "model.safetensors")
    disclosed = {name: tensor for name, tensor in weights.items() if "layer.0." not in name and "layer.1." not in name}
    (tmp_path / "machines" / "trainers").mkdir()
    save_file(disclosed, tmp_path / "machines" / "trainers" / "emulator.safetensors")
    assert list(fedpeat._leaked(options)) == []
    secret = "encoder.layer.1.output.dense.weight"
    (tmp_path / "store" / "blob").write_bytes(b"..." + weights[secret].numpy().tobytes())
    assert list(fedpeat._leaked(options)) == [secret]
