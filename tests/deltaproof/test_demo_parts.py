"""The demo's data split and its promises, without playing it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deltaproof.demo.data import SOURCES, prepare_data
from deltaproof.demo.expectations import Outcome, check_promises
from deltaproof.demo.plan import TRAINERS, VERIFIERS
from deltaproof.errors import UsageError

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
        "validation": 288,
        "test": 300,
    }
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


def outcomes() -> list[Outcome]:
    return [
        Outcome(round_, p.name, "accepted" if p.honest else "rejected", 1, 1, PAY[p.name])
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
    return [promise.kept for promise in check_promises(**facts, rounds=3)]  # type: ignore[arg-type]


def altered(trainer: str, **fields: object) -> list[Outcome]:
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
