"""A draft hears of everything that is wrong with it at once, before a model is loaded, not after people trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaproof.cli import main
from deltaproof.errors import DeltaproofError, Problem, SpecError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.sponsor.checking import check_draft
from deltaproof.sponsor.drafts import complete_draft, prepare_task
from deltaproof.sponsor.rehearsal import Rehearsal, rehearse
from deltaproof.tuning.base_models.presets import minimal_model
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.method_cases import CASES
from tests.tuning.rehearsal import minimal_spec, some_rows
from tests.worlds.market import DRAFT

ROWS = [canonical_row({"text": f"row {i}", "label": i % 2}) for i in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("drafts")
    minimal_model(made / "bert", "bert")
    minimal_model(made / "llama", "llama")
    write_shard(made / "rows.jsonl", ROWS)
    write_shard(made / "bad.jsonl", [*ROWS, canonical_row({"text": "x", "label": 2}), canonical_row({"text": "y"})])
    write_shard(made / "one.jsonl", ROWS[:1])
    write_shard(made / "plain.jsonl", [canonical_row({"text": f"some text {i}"}) for i in range(8)])
    long = canonical_row({"prompt": "a prompt of more than sixteen bytes", "completion": "x"})
    write_shard(made / "prompts.jsonl", [long, *(canonical_row({"prompt": "a", "completion": "b"}) for _ in range(7))])
    (made / "broken.jsonl").write_text('{"text": "x", "label": 1}\nnot json\n')
    return made


@pytest.fixture
def write(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """A draft with some of its text replaced."""

    def draft(*changes: tuple[str, str]) -> Path:
        text = DRAFT.format(model=folder / "bert")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        path = folder / f"{tmp_path.name}.toml"
        path.write_text(text)
        return path

    return draft


def keys(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.key for problem in problems]


CAUSAL = (('kind = "sequence-classification"', 'kind = "causal-lm"'), ("num_labels = 2\n", ""), ("bert", "llama"))


def test_good_draft_has_no_problem(write: Callable[..., Path], tmp_path: Path) -> None:
    assert check_draft(write()).problems == ()
    prepared = prepare_task(write(), HomeSecret.of(tmp_path))
    assert prepared.notes == ()
    assert prepared.speed.step > 0
    assert prepared.published_bytes == 4 * prepared.values == 4 * len(prepared.start)


def test_every_problem_is_told_at_once_with_its_key_and_a_remedy(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong keys, rules across keys, files, rows, method and codec: and no model is loaded for it."""
    import transformers

    def loaded(*_args: object, **_options: object) -> None:
        raise AssertionError("a model was loaded")

    for name in ("AutoModel", "AutoModelForSequenceClassification"):
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", loaded)
        monkeypatch.setattr(getattr(transformers, name), "from_config", loaded)
    draft = write(
        ("learning_rate = 0.1", "learning_rate = 1e9\nwarmup_steps = 9\nmomentum = 0.5"),
        ("steps = 4\n", "steps = 4\naccumulation = 3\n"),
        ("window = 1", "windows = 1"),
        ('name = "lora"', 'name = "lorra"'),
        ("byte_limit = 1_000_000", 'byte_limit = 1_000_000\nname = "top_q"'),
        ("max_tokens = 16", "max_tokens = 999"),
        ("commit_bond = 1", "commit_bond = 11"),
        ('validation = "rows.jsonl"', 'validation = "bad.jsonl"'),
        ('test = "rows.jsonl"', 'test = "nowhere.jsonl"\nshards = ["one.jsonl", "broken.jsonl"]\nhidden = true'),
    )
    with pytest.raises(SpecError) as caught:
        prepare_task(draft, HomeSecret(bytes(32)))
    found = caught.value.problems
    assert sorted(keys(found)) == sorted(
        [
            "codec", "method", "model.max_tokens", "optimizer.learning_rate", "optimizer.momentum",
            "optimizer.warmup_steps", "phases.window", "phases.windows", "sponsor.hidden", "sponsor.shards",
            "sponsor.shards", "sponsor.test", "sponsor.validation", "training.accumulation", "verification.commit_bond",
        ]
    )  # fmt: skip
    assert all(problem.what and problem.remedy for problem in found)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("has 15 problems:")
    assert [line.split(".")[0].strip() for line in lines[1:]] == [str(n) for n in range(1, 16)]


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ([('test = "rows.jsonl"', 'test = "bad.jsonl"')], "sponsor.test", r"row 8: label must be 0 to 1.*and 1 more"),
        ([('test = "rows.jsonl"', 'test = "broken.jsonl"')], "sponsor.test", "row 1"),
        ([*CAUSAL, ('test = "rows.jsonl"', 'test = "plain.jsonl"')], "sponsor.validation", "causal-lm needs"),
        (
            [*CAUSAL, ('"rows.jsonl"', '"plain.jsonl"'), ('test = "rows.jsonl"', 'test = "prompts.jsonl"')],
            "sponsor.test",
            "row 0: its prompt fills max_tokens = 16",
        ),
        ([("rows = 4", "rows = 400")], "sponsor.validation", "needed are 400, for 1 round of 400"),
        ([("rows = 4", "rows = 1")], "validation.rows", "greater than or equal to 2"),
        ([('test = "rows', 'shards = ["one.jsonl"]\ntest = "rows')], "sponsor.shards", "trainers enrol at least 2"),
        ([("[sponsor]", "[data]\nmax_rows = 1\n[sponsor]")], "data.max_rows", "below 2"),
        (
            [("[sponsor]", f'[data]\nauditors = ["{"11" * 32}"]\n[sponsor]')],
            "data.auditors",
            "everybody reads the openings",
        ),
        (
            [("[sponsor]", f'[data]\nvisibility = "verifiers"\nauditors = ["{"00" * 32}"]\n[sponsor]')],
            "data.auditors",
            "a point of low order",
        ),
        ([("[sponsor]", '[scoring]\nmethod = "magic"\n[sponsor]')], "scoring.method", "'magic' is not one of auto"),
        (
            [("[sponsor]", '[scoring]\nmethod = "gtg"\nindex = "banzhaf"\n[sponsor]')],
            "scoring.method",
            "gtg estimates the Shapley value only, not banzhaf",
        ),
        (
            [
                ("[sponsor]", '[scoring]\nindex = "shapley"\nbudget = 16\n[sponsor]'),
                ("samples = 1", "samples = 1\nmin_trainers = 30"),
            ],
            "scoring.budget",
            "auto needs 33 evaluations for 30 players",
        ),
        ([("[sponsor]", "[scoring]\nbeta_a = 1.5\n[sponsor]")], "scoring.beta_a", "valid integer"),
        ([("path:", "path:nowhere")], "model.source", "no config.json"),
        ([("[task]", "[task")], "(file)", "not valid TOML"),
    ],
)
def test_wrong_draft_names_the_key(
    write: Callable[..., Path], changes: list[tuple[str, str]], key: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        check_draft(write(*changes)).usable()
    assert key in keys(caught.value.problems)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("[sponsor]", "[aggregation]\nrank = 3\n[sponsor]")], "aggregation.rank is 3, but lora has pairs of rank 2"),
        ([("learning_rate = 0.1", "learning_rate = 100.0"), ("lora", "full"), ("r = 2", "")], None),
        ([("max_tokens = 16", "max_tokens = 64"), ("lora", "prompt"), ("r = 2", "")], "a row of 64 tokens"),
        ([("byte_limit = 1_000_000", "byte_limit = 100")], "byte_limit is 100"),
        ([("steps = 4", "steps = 1_000_000"), ("commit = 60", "commit = 1")], "phases.commit"),
        (
            [("min_trainer_stake", "min_trainers = 4_000\nmax_trainers = 4_000\nmin_trainer_stake")],
            "phases.attest_commit|budget",
        ),
    ],
    ids=["rank above the method's", "large steps that stay finite", "virtual tokens", "byte limit", "commit", "attest"],
)
def test_rehearsal_finds_what_only_the_model_shows(
    write: Callable[..., Path], changes: list[tuple[str, str]], message: str | None
) -> None:
    draft = write(*changes)
    if message is None:
        prepare_task(draft, HomeSecret(bytes(32)))
        return
    with pytest.raises(DeltaproofError, match=message):
        prepare_task(draft, HomeSecret(bytes(32)))


@pytest.mark.parametrize(("method", "disturbs"), [("lora", False), ("prefix", True)])
def test_rehearsal_says_whether_a_method_begins_by_disturbing_a_language_model(
    folder: Path, method: str, disturbs: bool
) -> None:
    spec = minimal_spec(folder / "llama", "llama", method={"name": method, "options": CASES[method]})
    bench = Workbench.from_spec(spec, precision="float32")
    bare, begun = rehearse(spec, bench, bench.initial_state(), some_rows("causal-lm", 8)).disturbed or (0.0, 0.0)
    assert bare > 0.0
    assert (begun != pytest.approx(bare, abs=1e-6)) == disturbs


def test_short_phases_and_attacks_that_pay_are_told_together(write: Callable[..., Path]) -> None:
    attack = Problem("verification.slash_bps", "an attack pays", "raise it")
    draft = check_draft(write()).usable()
    with pytest.raises(SpecError) as told:
        complete_draft(draft, HomeSecret(bytes(32)), speed=1e-9, objections=lambda spec: [attack])
    assert keys(told.value.problems) == ["phases.commit", "phases.attest_commit", "verification.slash_bps"]


def test_disturbed_language_model_is_told_in_nats(folder: Path) -> None:
    spec = minimal_spec(folder / "llama", "llama", method={"name": "prefix", "options": CASES["prefix"]})
    assert "from 5.74 to 9.20 nats" in Rehearsal(disturbed=(5.74, 9.2)).notes(spec)[-1]
    assert Rehearsal(disturbed=(5.74, 5.74)).notes(spec) == []


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("sys.argv", ["deltaproof", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_task_check_needs_no_key_and_ends_with_1_if_there_is_a_problem(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, "task", "check", str(write()), "--accept-risk", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert [one["steps"] for one in found["stability"]] == [4]
    assert called(monkeypatch, "task", "check", str(write()), "--accept-risk", "--patience", "0") == 0
    assert "was not looked at" in capsys.readouterr().out
    draft = write(("steps = 4", "steps = 0"), ("r = 2", "rr = 2"))
    assert called(monkeypatch, "task", "check", str(draft), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [problem["key"] for problem in told["problems"]] == ["training.steps", "method"]
    assert all(problem["problem"] and problem["remedy"] for problem in told["problems"])
    assert called(monkeypatch, "task", "check", str(draft)) == 1
    assert "  2. method: LoraConfig has no option 'rr'; see docs/methods.md" in capsys.readouterr().err


def test_task_create_tells_of_key_and_chain_with_the_rest(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = write(("steps = 4", "steps = 0"))
    options = ["--rpc", "http://127.0.0.1:9", "--contract", "0x" + "11" * 20, "--store", str(tmp_path / "store")]
    options += ["--home", str(tmp_path / "home"), "--fund", "7wei", "--json"]
    assert called(monkeypatch, "task", "create", str(draft), *options, "--key", str(tmp_path / "nobody.key")) == 1
    told = json.loads(capsys.readouterr().out)["problems"]
    assert [problem["key"] for problem in told] == ["training.steps", "--key", "--rpc, --contract", "--fund"]
    assert "a round and its verifiers cost 0.0000000000000011" in told[3]["remedy"]
    assert not (tmp_path / "home").exists()


def test_dropout_of_a_method_without_that_of_training_is_a_setting_that_does_nothing(
    write: Callable[..., Path],
) -> None:
    there = ("r = 2", "r = 2\nlora_dropout = 0.1")
    (problem,) = check_draft(write(there)).problems
    assert problem.key == "method.options.lora_dropout"
    assert not check_draft(write(there, ("steps = 4", "steps = 4\ndropout = true"))).problems
    assert not check_draft(write(("r = 2", "r = 2\nlora_dropout = 0.0"))).problems


def test_file_that_cannot_be_read_is_a_problem_not_a_traceback(write: Callable[..., Path], folder: Path) -> None:
    shutil.copytree(folder / "bert", folder / "damaged")
    (folder / "damaged" / "config.json").write_text("{")
    draft = write(("bert", "damaged"), ('validation = "rows.jsonl"', 'validation = "bert"'))
    assert {"sponsor.validation", "model.source"} <= set(keys(check_draft(draft).problems))
