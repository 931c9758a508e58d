"""Records of a source, one by one, with the place where each stands: what is wrong with one is told, not raised.

A source is a file of JSON Lines, CSV, TSV or Parquet, a folder that `datasets` saved, a folder of images with one
folder a label, or `hub:ORG/NAME@COMMIT`, whose files are downloaded once. Nothing of a source is run or unpickled.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from deltaproof.errors import EncodingError, UsageError
from deltaproof.extras import need
from deltaproof.memory import at_most_more
from deltaproof.protocol.wire.encoding import parse_json
from deltaproof.reporting import Reporter, counted
from deltaproof.tuning.errors import HubError
from deltaproof.tuning.hub import HubFile, HubPlace, download

__all__ = ["SourceRecord", "read_records"]

LINES = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MOST_LINE_BYTES = 16 * 1024 * 1024
"""Of a line of JSON, which may hold an image."""
BATCH_RECORDS = 256
BATCH_BYTES = 16 * 1024 * 1024
"""Of the records that are unpacked together, by what a file says of itself."""
MOST_UNPACKED_BYTES = 2 * 1024 * 1024 * 1024
"""That unpacking them may take, whatever it says. Attack: a page of zeros, or a dictionary with one long text and a row
for each time that it is named: a file of kilobytes unpacks to as many gigabytes as its maker likes."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Values by column. `problem` says what is wrong, if they cannot be read; `folder` is where files they name lie."""

    where: str
    values: Mapping[str, object]
    folder: Path
    problem: str = ""


def read_records(
    source: str, split: str = "", files: str = "", report: Reporter | None = None
) -> Iterator[SourceRecord]:
    """Records in order. `split` picks one of a folder's or hub's, `files` the hub's files by a pattern.

    `report` hears of a download. Raises UsageError for what is no source, HubError for a hub that does not give it.
    """
    if source.startswith("hub:"):
        for path in _of_hub(source.removeprefix("hub:"), split, files, report):
            yield from _of_file(path)
        return
    path = Path(source).expanduser()
    if path.is_file():
        yield from _of_file(path)
    elif (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        yield from _of_datasets(path, split)
    elif path.is_dir():
        yield from _of_images(path)
    else:
        raise UsageError(f"{source}: there is no such file or folder")


def _of_file(path: Path) -> Iterator[SourceRecord]:
    suffix = path.suffix.lower()
    try:
        if suffix in LINES:
            yield from _of_lines(path)
        elif suffix in TABLES:
            yield from _of_table(path, "\t" if suffix == ".tsv" else ",")
        elif suffix == ".parquet":
            yield from _of_parquet(path)
        else:
            known = ", ".join((*LINES, *TABLES, ".parquet"))
            raise UsageError(
                f"{path.name}: a file of rows ends in one of {known}; unpack it, or write it as one of these"
            )
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _of_lines(path: Path) -> Iterator[SourceRecord]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_LINE_BYTES + 1):
            number += 1
            where = f"{path.name}, line {number}"
            if len(line) > MOST_LINE_BYTES:
                raise UsageError(
                    f"{where} has more than {MOST_LINE_BYTES >> 20} MiB: a record stands on a line of its own"
                )
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if line.lstrip().startswith(b"["):
                    raise UsageError(
                        f"{path.name} is one JSON array: write one object a line (jq -c '.[]' {path.name})"
                    )
            if line.strip():
                yield _of_json(where, line, path.parent)


def _of_json(where: str, line: bytes, folder: Path) -> SourceRecord:
    try:
        line.decode("utf-8")
        value = parse_json(line, max_bytes=MOST_LINE_BYTES, canonical=False)
    except UnicodeDecodeError as error:
        return SourceRecord(
            where, {}, folder, f"it is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}"
        )
    except EncodingError as error:
        return SourceRecord(where, {}, folder, f"it is no JSON: {error}")
    if not isinstance(value, dict):
        return SourceRecord(where, {}, folder, "it is no JSON object")
    return SourceRecord(where, value, folder)


def _of_table(path: Path, delimiter: str) -> Iterator[SourceRecord]:
    # Bytes that are no UTF-8 are kept apart, so that one bad row does not end the reading.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            columns = next(lines, [])
            if not columns or len(set(columns)) < len(columns) or not all(columns):
                raise UsageError(f"{path.name}: its first line names the columns, each once, and none empty")
            for values in lines:
                where = f"{path.name}, line {lines.line_num}"
                if not values:
                    continue
                problem = ""
                if len(values) != len(columns):
                    named = counted(len(columns), "column")
                    problem = f"it has {counted(len(values), 'value')}, and the first line names {named}"
                elif any("\udc80" <= sign <= "\udcff" for value in values for sign in value):
                    problem = "it is not UTF-8"
                yield SourceRecord(where, dict(zip(columns, values, strict=False)), path.parent, problem)
        except csv.Error as error:
            raise UsageError(f"{path.name}, line {lines.line_num}: {error}") from error


def _of_parquet(path: Path) -> Iterator[SourceRecord]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            widest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
            together = min(max(BATCH_BYTES // max(widest, 1), 1), BATCH_RECORDS)
            # One thread: no other takes of the memory that the batch is allowed.
            yield from _unpacked(path, file.iter_batches(batch_size=together, use_threads=False), path.parent)
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path.name} cannot be read as Parquet: {error}") from error


def _unpacked(path: Path, batches: Iterator[Any], folder: Path) -> Iterator[SourceRecord]:
    """Records of batches of Arrow, each unpacked within MOST_UNPACKED_BYTES."""
    number = 0
    while True:
        try:
            with at_most_more(MOST_UNPACKED_BYTES):
                batch: Any = next(batches, None)
                rows = 0 if batch is None else batch.num_rows
                found = [_of_arrow(f"{path.name}, row {number + n}", batch.slice(n, 1), folder) for n in range(rows)]
        except MemoryError as error:
            raise UsageError(
                f"{path.name}: unpacking the records from row {number} on takes more memory than there is, or than the "
                f"{MOST_UNPACKED_BYTES >> 20} MiB that a few of them may take; write it again in smaller row groups"
            ) from error
        if batch is None:
            return
        yield from found
        number += rows


def _of_arrow(where: str, row: Any, folder: Path) -> SourceRecord:
    import pyarrow

    try:
        return SourceRecord(where, row.to_pylist()[0], folder)
    except MemoryError:  # Arrow's own is one of its exceptions, too
        raise
    except (OverflowError, pyarrow.ArrowException) as error:  # a day in the year 300,000, or a zone that nobody knows
        return SourceRecord(where, {}, folder, f"a value of it cannot be read: {error}")
    except UnicodeDecodeError as error:
        return SourceRecord(
            where, {}, folder, f"it is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}"
        )


def _of_datasets(path: Path, split: str) -> Iterator[SourceRecord]:
    datasets = need("datasets")
    datasets.disable_progress_bars()
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is no folder that datasets saved: {error}") from error
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise UsageError(f"{path} has the splits {', '.join(sorted(found))}: say which with --split")
        found = found[split]
    # As they are stored. Attack: hide an image, a sound or a document in a list of a column that nobody asked for: the
    # library would decode it with whatever program reads its format, or fetch it from where it says to be.
    yield from _unpacked(path, found.with_format("arrow").iter(BATCH_RECORDS), path)


def _of_images(path: Path) -> Iterator[SourceRecord]:
    files = [file for file in sorted(path.glob("*/*")) if file.suffix.lower() in IMAGES]
    if not files:
        raise UsageError(
            f"{path} is no folder of rows: datasets saved none there, and it has no images in one folder for each label"
        )
    for file in files:
        inside = file.relative_to(path).as_posix()
        yield SourceRecord(inside, {"image": inside, "label": file.parent.name}, path)


def _of_hub(where: str, split: str, pattern: str, report: Reporter | None) -> list[Path]:
    def choose(files: Sequence[HubFile]) -> list[HubFile]:
        rows = [file for file in files if Path(file.path).suffix.lower() in (*LINES, *TABLES, ".parquet")]
        chosen = [
            file
            for file in rows
            if (not pattern or fnmatchcase(file.path, pattern))
            and (not split or split in re.split(r"[/._-]", file.path))
        ]
        if not chosen or (len(chosen) > 1 and not (pattern or split)):
            names = ", ".join(file.path for file in rows[:10]) or "none of rows"
            more = ", ..." if len(rows) > 10 else ""
            raise HubError(f"hub:{where} has the files {names}{more}: say which with --split NAME or --files 'PATTERN'")
        return chosen

    return download(HubPlace.parse(where, "dataset"), choose, report, what=f"rows of {split!r} in {pattern!r}")
