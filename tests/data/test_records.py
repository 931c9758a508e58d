"""Every kind of source gives the same records, and odd data is told by its place instead of ending in a trace."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from deltaproof.data import records
from deltaproof.data.records import read_records
from deltaproof.errors import UsageError
from deltaproof.tuning.errors import HubError
from tests.worlds.hub import COMMIT, point_at, serve_hub

ROWS = [{"text": 'a "good", film', "label": 1}, {"text": "ein schöner Tag\nmit Umbruch", "label": 0}]


def jsonl(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS), "utf-8")
    return path


def csv_file(folder: Path, delimiter: str = ",") -> Path:
    path = folder / ("rows.csv" if delimiter == "," else "rows.tsv")
    cells = [["text", "label"], *[[row["text"], str(row["label"])] for row in ROWS]]
    lines = [delimiter.join('"' + str(cell).replace('"', '""') + '"' for cell in line) for line in cells]
    path.write_text("\r\n".join(lines), "utf-8", newline="")
    return path


def parquet_file(folder: Path) -> Path:
    parquet.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet")
    return folder / "rows.parquet"


def saved(folder: Path) -> Path:
    datasets.Dataset.from_list(ROWS[::-1]).select([1, 0]).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def test_images_inside_of_lists_are_not_decoded(tmp_path: Path) -> None:
    """Attack: hide what a decoder would run, or fetch, in a column that nobody asks for."""
    image = {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n", "path": "http://127.0.0.1:9/1.png"}
    features = datasets.Features({"text": datasets.Value("string"), "more": datasets.List(datasets.Image())})
    found = datasets.Dataset.from_list([{"text": "a", "more": [image]}], features=features)
    found.save_to_disk(str(tmp_path / "saved"))
    assert [record.values for record in read_records(str(tmp_path / "saved"))] == [{"text": "a", "more": [image]}]


WRITERS: list[Callable[[Path], Path]] = [jsonl, csv_file, lambda f: csv_file(f, "\t"), parquet_file, saved]


@pytest.mark.parametrize("write", WRITERS, ids=["jsonl", "csv", "tsv", "parquet", "datasets"])
def test_every_format_gives_the_same_records(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    found = list(read_records(str(write(tmp_path))))
    assert not [record.problem for record in found if record.problem]
    assert [{**record.values, "label": int(str(record.values["label"]))} for record in found] == ROWS


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "caf\xe9"}', "it is not UTF-8: byte 0xe9 at 13"),
        (b'{"text": NaN}', "it is no JSON"),
        (b'{"text": ', "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b'"text"', "it is no JSON object"),
    ],
)
def test_bad_line_is_told_by_its_number_and_the_others_are_read(tmp_path: Path, line: bytes, problem: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + line + b'\n{"text": "three"}\n')
    one, two, three = read_records(str(path))
    assert (one.problem, three.problem, two.where) == ("", "", "rows.jsonl, line 2")
    assert problem in two.problem


def test_bad_line_of_a_table_is_told_by_its_number_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,label\ngood,1\nbad,1,2\ncaf\xe9,0\nlast,0\n")
    problems = [record.problem for record in read_records(str(path))]
    assert problems == ["", "it has 3 values, and the first line names 2 columns", "it is not UTF-8", ""]


def test_broken_text_in_a_parquet_file_is_told_by_its_row(tmp_path: Path) -> None:
    texts = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0\5\0\0\0"), pa.py_buffer(b"onea\xff")]
    )
    parquet.write_table(pa.table({"text": texts}), tmp_path / "rows.parquet")
    one, two = read_records(str(tmp_path / "rows.parquet"))
    assert (one.problem, two.where) == ("", "rows.parquet, row 1")
    assert "not UTF-8" in two.problem


def test_day_beyond_all_calendars_is_told_by_its_row_and_the_others_are_read(tmp_path: Path) -> None:
    days = pa.array([0, 2**62], pa.timestamp("us"))
    parquet.write_table(pa.table({"text": ["a", "b"], "day": days}), tmp_path / "rows.parquet")
    one, two = read_records(str(tmp_path / "rows.parquet"))
    assert (one.problem, two.where) == ("", "rows.parquet, row 1")
    assert "a value of it cannot be read" in two.problem


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.json", b'[{"text": "a"}]', r"is one JSON array: write one object a line \(jq"),
        ("rows.csv", b"text,text\na,b\n", "names the columns, each once"),
        ("rows.csv", b"", "names the columns"),
        ("rows.csv", b'text\n"never closed', "line 2: unexpected end of data"),
        ("rows.csv", b"text\n" + b"a" * 200_000, "field larger than field limit"),
        ("rows.parquet", b"PAR1 not really", "cannot be read as Parquet"),
        ("rows.xlsx", b"PK", r"a file of rows ends in one of \.jsonl"),
        ("rows.jsonl.gz", b"\x1f\x8b", "unpack it"),
    ],
)
def test_file_that_is_no_source_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as refused:
        list(read_records(str(tmp_path / name)))
    assert "\n" not in str(refused.value)


def test_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 32)  # a hole that takes no room on the disk
    with pytest.raises(UsageError, match="has more than 16 MiB"):
        list(read_records(str(path)))


def test_splits_of_a_folder_are_named_when_none_is_picked(tmp_path: Path) -> None:
    both = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    )
    both.save_to_disk(str(tmp_path / "both"))
    with pytest.raises(UsageError, match="has the splits test, train: say which with --split"):
        list(read_records(str(tmp_path / "both")))
    assert len(list(read_records(str(tmp_path / "both"), split="test"))) == 1


def test_folder_without_rows_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"no folder of rows|no such file or folder"):
            list(read_records(str(source)))


def test_data_set_of_a_hub_is_downloaded_once_by_split_or_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    (repository / "data").mkdir(parents=True)
    parquet_file(repository / "data").rename(repository / "data" / "train-00000-of-00001.parquet")
    (repository / "data" / "test-00000-of-00001.jsonl").write_text(json.dumps(ROWS[0]))
    (repository / "loader.py").write_text("raise SystemExit('code of a data set was run')")
    source = f"hub:some/films@{COMMIT}"
    with serve_hub() as hub:
        hub.repositories["datasets/some/films"] = repository
        point_at(hub, tmp_path / "cache", monkeypatch)
        with pytest.raises(HubError, match=r"has the files data/test.*: say which with --split NAME or --files"):
            list(read_records(source))
        assert len(list(read_records(source, split="train"))) == 2
        asked = len(hub.asked)
        assert len(list(read_records(source, split="train"))) == 2
        assert len(hub.asked) == asked, "a second look asked the hub"
        assert len(list(read_records(source, files="data/test*"))) == 1
        assert {file.rpartition("/")[2] for file in hub.bodies} == {
            "train-00000-of-00001.parquet",
            "test-00000-of-00001.jsonl",
        }
        with pytest.raises(HubError, match="can come to mean other files"):
            list(read_records("hub:some/films@main"))


def repeated(folder: Path) -> None:
    """One text of a mebibyte, and a row for each of 4,096 times that it is named: four gigabytes of records."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 4_096, pa.int32()), pa.array(["x" * 2**20]))
    parquet.write_table(pa.table({"text": texts}), folder / "rows.parquet", compression="zstd")


def one_page(folder: Path) -> None:
    parquet.write_table(pa.table({"text": ["x" * 2**27]}), folder / "rows.parquet", compression="zstd")


def nothing_often(folder: Path) -> None:
    """A list of so many nulls, which take no bytes at all in a column."""
    size = 2**24
    lists = pa.ListArray.from_arrays(pa.array([0, size], pa.int32()), pa.nulls(size))
    parquet.write_table(pa.table({"label": lists}), folder / "rows.parquet", compression="zstd")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
@pytest.mark.parametrize("write", [repeated, one_page, nothing_often])
def test_small_parquet_file_of_a_stranger_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    assert (tmp_path / "rows.parquet").stat().st_size < 2**18
    monkeypatch.setattr(records, "MOST_UNPACKED_BYTES", 2**26)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(UsageError, match="more memory than there is"):
        list(read_records(str(tmp_path / "rows.parquet")))
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
