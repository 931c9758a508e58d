"""A long audit that was stopped goes on where it was: rounds that were audited are kept in a file beside the report.

What is kept of a round is used again only if the round's events, the options and the seed of drawn steps are the same.
The store may have changed meanwhile; delete the file to look again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.run import Audit, Pool, Progress
from deltaproof.auditor.audit.signatures import Equation
from deltaproof.auditor.index.reader import Index

__all__ = ["AuditJournal"]


@dataclass(frozen=True)
class AuditJournal:
    """A `Pool` that asks another one only for rounds that it does not know yet, a few at a time."""

    path: Path
    pool: Pool
    rounds_at_once: int

    def __call__(
        self, audit: Audit, task_id: int, numbers: Sequence[int], progress: Progress
    ) -> Iterator[Check | Equation]:
        marks = {number: _mark(audit, task_id, number) for number in numbers}
        known = self._read()
        for number in numbers:
            yield from known.get(marks[number], ())
        done = [number for number in numbers if marks[number] in known]
        # Signatures are checked together with those of the other rounds, so they are put together again.
        yield from audit.signatures(task_id, done)
        left = [number for number in numbers if marks[number] not in known]
        for start in range(0, len(left), self.rounds_at_once):
            part = left[start : start + self.rounds_at_once]
            found = list(self.pool(audit, task_id, part, progress))
            for number in part:
                mine = [item for item in found if isinstance(item, Check) and item.round == number]
                self._append(marks[number], mine)
            yield from found

    def finish(self) -> None:
        """The report is written; nothing has to go on."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, list[Check]]:
        if not self.path.exists():
            return {}
        known = {}
        for line in self.path.read_text("utf-8").splitlines():
            try:
                entry = json.loads(line)
                known[entry["mark"]] = [Check.from_json(check) for check in entry["checks"]]
            except (ValueError, KeyError, TypeError):
                break  # the line that was being written when the audit was stopped
        return known

    def _append(self, mark: str, checks: Sequence[Check]) -> None:
        line = json.dumps({"mark": mark, "checks": [check.to_json() for check in checks]})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _mark(audit: Audit, task_id: int, number: int) -> str:
    """Digest of a round's events and of how it is audited."""
    index: Index = audit.index
    deployment = index.deployment.to_text()
    events = [(e.block, e.log_index, e.transaction, e.name) for e in index.events(task=task_id, round_=number)]
    options = {name: str(value) for name, value in asdict(audit.options).items()}
    known = json.dumps([deployment, task_id, number, events, options], sort_keys=True)
    return sha256(known.encode()).hexdigest()
