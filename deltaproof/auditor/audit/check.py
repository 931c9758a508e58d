"""One check and its outcome, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from deltaproof.auditor.index.events import Event
from deltaproof.errors import ArtifactError, ArtifactSealed, StoreUnavailable

__all__ = ["SEALED_ROWS", "Check", "Status", "Subject", "count", "shown"]


SEALED_ROWS = "sealed rows"
"""Name of the check that could not be made because an opening is for others; it expects the number of rows."""


class Status(StrEnum):
    """How a check came out."""

    PASS = "pass"
    FAIL = "fail"
    NOT_CHECKABLE = "not_checkable"


@dataclass(frozen=True)
class Check:
    """One comparison. `expected` is what was recomputed, `actual` what chain or store say."""

    name: str
    status: Status
    task: int
    round: int | None = None
    participant: str | None = None
    step: int | None = None
    expected: str | None = None
    actual: str | None = None
    transaction: str | None = None
    """Where the actual value comes from."""
    artifact: str | None = None
    """Path in the store that the check read."""
    reason: str = ""

    @property
    def is_sealed(self) -> bool:
        """Whether it could not be made because what it needs is sealed for others."""
        return self.status is Status.NOT_CHECKABLE and ArtifactSealed.is_told_by(self.reason)

    def to_json(self) -> dict[str, Any]:
        """Every field, plain."""
        return {**self.__dict__, "status": str(self.status)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Check:
        """The check that `to_json` wrote."""
        return cls(**{**value, "status": Status(value["status"])})

    def __str__(self) -> str:
        """One line for a person."""
        where = [f"task {self.task}"]
        where += [f"round {self.round}"] if self.round is not None else []
        where += [self.participant] if self.participant else []
        where += [f"step {self.step}"] if self.step is not None else []
        differs = self.status is Status.FAIL and self.actual is not None
        values = f": expected {self.expected}, found {self.actual}" if differs else ""
        source = f" [transaction {self.transaction}]" if self.transaction else ""
        source += f" [artifact {self.artifact}]" if self.artifact else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.name}, {', '.join(where)}{values}{why}{source}"


@dataclass(frozen=True)
class Subject:
    """What checks are about; makes them."""

    task: int
    round: int | None = None
    participant: str | None = None
    step: int | None = None
    transaction: str | None = None
    artifact: str | None = None

    def of(self, event: Event | None = None, **changes: Any) -> Subject:
        """The same, narrowed; with an event, its transaction is where the value comes from."""
        if event is not None:
            changes["transaction"] = event.transaction
        return Subject(**{**self.__dict__, **changes})

    def equal(self, name: str, expected: object, actual: object, reason: str = "") -> Check:
        """Passes if both are the same."""
        status = Status.PASS if expected == actual else Status.FAIL
        return Check(name, status, **self.__dict__, expected=shown(expected), actual=shown(actual), reason=reason)

    def that(
        self, name: str, holds: bool, reason: str = "", *, expected: object = None, actual: object = None
    ) -> Check:
        """Passes if `holds`; `reason` says what is wrong otherwise."""
        status = Status.PASS if holds else Status.FAIL
        return Check(
            name,
            status,
            **self.__dict__,
            expected=shown(expected),
            actual=shown(actual),
            reason="" if holds else reason,
        )

    def passed(self, name: str, reason: str = "") -> Check:
        """A check of this subject that passed."""
        return Check(name, Status.PASS, **self.__dict__, reason=reason)

    def failed(self, name: str, reason: str) -> Check:
        """A check of this subject that failed, and why."""
        return Check(name, Status.FAIL, **self.__dict__, reason=reason)

    def unchecked(self, name: str, reason: str) -> Check:
        """Nobody can say, and why."""
        return Check(name, Status.NOT_CHECKABLE, **self.__dict__, reason=reason)

    def artifact_failed(self, name: str, error: ArtifactError) -> Check:
        """An artifact that had to be there is missing or altered; or sealed for others, or a store does not answer."""
        if isinstance(error, ArtifactSealed | StoreUnavailable):
            return self.of(artifact=error.artifact).unchecked(name, str(error))
        return self.of(artifact=error.artifact).failed(name, str(error))


def count(checks: Iterable[Check]) -> dict[Status, int]:
    """How many came out how."""
    totals = dict.fromkeys(Status, 0)
    for check in checks:
        totals[check.status] += 1
    return totals


def shown(value: object) -> str | None:
    """A value as a report prints it."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) or "none" for item in value) + "]"
    return str(value)
