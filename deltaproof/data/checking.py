"""What is in a shard: lengths, labels, repetitions, and rows that a task cannot use."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from deltaproof.data.reading import BadRecord
from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.rows import distinct_rows, parse_row
from deltaproof.protocol.terms.spec import ModelSection
from deltaproof.tuning.base_models.batches import token_count, unfit_rows
from deltaproof.tuning.base_models.loading import RowReader
from deltaproof.tuning.errors import RowError

__all__ = ["Contents", "Spread", "look_into", "normalised"]

TEXTS = ("text", "prompt", "completion")


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, middle and most of some numbers."""

    least: int
    median: float
    most: int

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Spread | None:
        """None of no numbers."""
        return cls(min(numbers), median(numbers), max(numbers)) if numbers else None

    def __str__(self) -> str:
        return f"{self.least} to {self.most}, in the middle {self.median:g}"


@dataclass(frozen=True)
class Contents:
    """A shard's rows, counted."""

    rows: int
    distinct: int
    """What is left to enrol once each row counts once."""
    alike: int
    """Of these, rows that differ from an earlier one in case, spaces or Unicode form alone."""
    contradicting: int
    """Of these, rows whose text an earlier row has under another label."""
    row_bytes: Spread | None
    tokens: Spread | None
    cut: int
    """Rows of more tokens than the task's model reads: the rest is cut off."""
    labels: Mapping[int, int]
    """Rows by label."""
    bad: tuple[BadRecord, ...]


def look_into(rows: Sequence[bytes], section: ModelSection, reader: RowReader, max_row_bytes: int) -> Contents:
    """Count canonical rows, those that the task cannot use as well."""
    distinct = distinct_rows(rows)
    seen: dict[str, int | None] = {}
    alike = contradicting = cut = 0
    tokens: list[int] = []
    labels: Counter[int] = Counter()
    bad: list[BadRecord] = []
    for number, row in enumerate(distinct):
        wrong = next(unfit_rows([row], section, tokenizer=reader.tokenizer, config=reader.config), "")
        if len(row) > max_row_bytes:
            wrong = f"it has {len(row)} bytes, and the task takes {max_row_bytes}"
        if wrong:
            bad.append(BadRecord(f"row {number}", wrong.removeprefix("row 0").removeprefix(":").strip()))
        try:
            fields = parse_row(row)
        except EncodingError:  # told above
            continue
        label = fields.get("label")
        label = label if isinstance(label, int) else None
        if label is not None:
            labels[label] += 1
        text = normalised(fields)
        if text and text in seen:
            alike += seen[text] == label
            contradicting += seen[text] != label
        seen.setdefault(text, label)
        if reader.tokenizer is not None and (count := _tokens(row, section, reader)) is not None:
            tokens.append(count)
            cut += count > section.max_tokens
    return Contents(
        len(rows), len(distinct), alike, contradicting, Spread.of([len(row) for row in distinct]), Spread.of(tokens),
        cut, dict(sorted(labels.items())), tuple(bad),
    )  # fmt: skip


def normalised(fields: Mapping[str, object]) -> str:
    """The texts of a row in one Unicode form (NFKC), without case and with single spaces; nothing for an image."""
    texts = [value for name in TEXTS if isinstance(value := fields.get(name), str)]
    return "\x00".join(" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts)


def _tokens(row: bytes, section: ModelSection, reader: RowReader) -> int | None:
    try:
        return token_count(row, section, reader.tokenizer)
    except (RowError, EncodingError):
        return None
