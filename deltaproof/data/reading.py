"""A whole source as rows: what is bad or said twice is counted, told by its place, and left out on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from deltaproof.data.records import SourceRecord
from deltaproof.data.shaping import Shaper
from deltaproof.errors import UsageError
from deltaproof.reporting import counted
from deltaproof.tuning.errors import RowError

__all__ = ["SHOWN", "BadRecord", "Harvest", "gather"]

SHOWN = 5
"""Bad records that a message lists."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """What is wrong with the record at a place."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


@dataclass(frozen=True)
class Harvest:
    """Rows of a source, canonical and each once, in order."""

    rows: tuple[bytes, ...] = field(repr=False)
    records: int
    repeated: int
    """Records that gave a row which was there already."""
    bad: tuple[BadRecord, ...]

    def usable(self, *, drop_bad: bool) -> Harvest:
        """The harvest itself. Raises UsageError without a row, and for bad records unless they may be left out."""
        if self.bad and not drop_bad:
            shown = "".join(f"\n  {bad}" for bad in self.bad[:SHOWN])
            more = f"\n  and {len(self.bad) - SHOWN} more" if len(self.bad) > SHOWN else ""
            raise UsageError(
                f"{len(self.bad)} of {counted(self.records, 'record')} are no use:{shown}{more}\n"
                "mend them, or leave them out with --drop-bad"
            )
        if not self.rows:
            raise UsageError("there is no row in it" + (f": {self.bad[0]}" if self.bad else ""))
        return self


def gather(records: Iterable[SourceRecord], shaper: Shaper, most_rows: int, limit: int | None = None) -> Harvest:
    """All rows, or the first `limit`. Raises UsageError for more than `most_rows`, and what `Shaper.row` raises."""
    rows: dict[bytes, None] = {}
    bad: list[BadRecord] = []
    seen = repeated = 0
    for record in records:
        if limit is not None and len(rows) >= limit:
            break
        seen += 1
        try:
            row = shaper.row(record)
        except RowError as error:
            bad.append(BadRecord(record.where, str(error)))
            continue
        repeated += row in rows
        rows[row] = None
        if len(rows) > most_rows:
            raise UsageError(
                f"there are more than {counted(most_rows, 'row')}, which is what the task takes: "
                "--limit N takes the first N"
            )
    return Harvest(tuple(rows), seen, repeated, tuple(bad))
