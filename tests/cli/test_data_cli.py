"""`deltaproof data convert` and `check`: from a spreadsheet to the root that a trainer enrols."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.rows import distinct_rows, read_shard
from deltaproof.protocol.types import TaskId, hex_of
from deltaproof.sponsor.stand_in import read_draft
from tests.cli.conftest import Run
from trainer.data import enrolled_shard, shard_secret

LINES = ["review,stars", '"a good, long film",good', "a bad one,bad", "a bad one,bad", "no stars,", "so so,middling"]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join([*LINES, *(f"film {i},good" for i in range(8))]))
    return path


def columns(draft: Path) -> list[str]:
    return ["--spec", str(draft), "--map", "text=review", "--map", "label=stars", "--labels", "bad,good"]


def test_rows_of_a_table_are_written_for_a_draft_unless_some_are_bad(run: Run, draft: Path, reviews: Path) -> None:
    out = draft.parent / "mine.jsonl"
    convert = ["data", "convert", str(reviews), *columns(draft), "--out", str(out)]
    code, _, err = run(*convert)
    assert code == 1
    assert "2 of 13 records are no use" in err
    assert "reviews.csv, line 5: its label is missing" in err
    assert "reviews.csv, line 6: its label is 'middling'; --labels knows bad, good" in err
    assert not out.exists()
    code, printed, err = run(*convert, "--drop-bad", "--json")
    assert code == 0, err
    told = json.loads(printed)
    assert (told["rows"], told["records"], told["repeated"], len(told["left_out"])) == (10, 13, 1, 2)
    assert read_shard(out)[0] == b'{"label":1,"text":"a good, long film"}'
    code, _, err = run(*convert, "--drop-bad")
    assert (code, "is there already" in err) == (1, True)


def test_check_tells_contents_and_who_sees_what_without_sending_anything(run: Run, draft: Path) -> None:
    rows = draft.parent / "rows.jsonl"
    code, out, err = run("data", "check", str(rows), "--spec", str(draft), "--json")
    assert code == 0, err
    told = json.loads(out)
    spec = read_draft(draft)
    assert (told["rows"], told["distinct"], told["labels"]) == (8, 8, {"0": 4, "1": 4})
    assert told["opened"]["readers"] == "everybody, for ever"
    assert 0 < told["opened"]["expected_in_a_round"] <= told["opened"]["expected_in_all"] <= 8
    assert told["opened"]["steps_per_round"] <= spec.training.steps
    assert (told["root"], told["root_salts"]) == (None, "home"), "without a home the salts are not known"
    code, out, _ = run("data", "check", str(rows), "--spec", str(draft))
    assert "rows are opened in a round" in out
    assert "to everybody, for ever" in out


def test_check_finds_what_the_task_would_refuse(run: Run, draft: Path) -> None:
    rows = draft.parent / "odd.jsonl"
    rows.write_text('{"text": "one", "label": 5}\n')
    code, out, _ = run("data", "check", str(rows), "--spec", str(draft), "--json")
    assert code == 1
    first, second = json.loads(out)["problems"]
    assert first == "row 0: label must be 0 to 1, not 5"
    assert second.startswith("1 row: the task takes ")


def test_root_is_the_one_that_enrolment_commits(run: Run, deployed: list[str], draft: Path) -> None:
    code, _, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    path, home = draft.parent / "rows.jsonl", draft.parent / "trainer"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40].splitlines(keepends=True)[0])
    code, out, err = run("data", "check", str(path), *deployed[:6], "--task", "1", "--home", str(home), "--json")
    assert code == 0, err
    told = json.loads(out)
    secret = shard_secret(HomeSecret.of(home), TaskId(1))
    shard = enrolled_shard(distinct_rows(read_shard(path)), secret, read_draft(draft))
    assert told["root"] == hex_of(shard.root)
    assert (told["rows"], told["distinct"]) == (9, 8)


def test_rows_for_a_model_need_no_task_and_odd_demands_are_refused(run: Run, draft: Path, reviews: Path) -> None:
    model = f"path:{draft.parent / 'model'}"
    code, out, err = run(
        "data", "check", str(reviews), "--model", model, "--kind", "sequence-classification",
        "--map", "text=review", "--map", "label=stars", "--labels", "bad,good,middling", "--drop-bad", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["labels"] == {"0": 1, "1": 9, "2": 1}
    for demand, message in (
        (["--model", model], "--kind is one of"),
        ([], "say for what: --task N, --spec FILE, or --model SOURCE"),
        (["--spec", str(draft), "--map", "text"], "write FIELD=COLUMN"),
        (["--spec", str(draft), "--labels", "a,b,c"], "--labels names 3 labels, and the task has 2"),
        (["--spec", str(draft), "--chat"], "--chat is for language models"),
    ):
        code, _, err = run("data", "check", str(reviews), *demand)
        assert (code, message in err) == (1, True), err


def test_trainer_with_a_table_is_told_how_to_make_rows_of_it(run: Run, deployed: list[str], reviews: Path) -> None:
    code, _, err = run("trainer", "run", *deployed, "--task", "1", "--data", str(reviews))
    assert code == 1
    assert "`deltaproof data convert` makes rows of other files" in err


def test_check_of_no_rows_for_a_task_says_what_the_task_takes(run: Run, draft: Path) -> None:
    rows = draft.parent / "empty.jsonl"
    rows.write_text("")
    code, out, err = run("data", "check", str(rows), "--spec", str(draft), "--json")
    assert code == 1, err
    told = json.loads(out)
    assert (told["rows"], told["root_salts"]) == (0, "none")
    assert told["problems"][0].startswith("0 rows: the task takes")
    assert told["opened"]["expected_in_all"] == 0
