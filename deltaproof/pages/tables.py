"""A history as files for other programs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from deltaproof.auditor.history import rows_of

__all__ = ["write_csv", "write_parquet"]

COLUMNS = (
    "task", "round", "outcome", "trainer", "verdict", "scoreNanos", "stderrNanos", "discountBps", "payout", "claimed",
    "slashed", "commitment", "deltaDigest", "transcriptRoot", "commitTransaction", "revealTransaction",
    "claimTransaction", "ended_at",
)  # fmt: skip
AMOUNTS = ("payout", "claimed", "slashed")
"""Exceed 64 bits: text in Parquet."""


def write_csv(history: dict[str, Any], path: Path) -> None:
    """One line per trainer and round, with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows_of(history))


def write_parquet(history: dict[str, Any], path: Path) -> None:
    """The same rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = rows_of(history)
    columns = {
        name: [_text(row[name]) if name in AMOUNTS else row[name] for row in rows] if rows else [] for name in COLUMNS
    }
    with path.open("wb") as file:  # pyarrow's own errors do not say which file
        pq.write_table(pa.table(columns), file)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
