"""One kind of lie: what is lied about, by whom, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from deltaproof.auditor.audit.check import Check, Status

__all__ = ["Kind", "Level", "failures"]


class Level(StrEnum):
    """The least audit that finds a lie."""

    EVENTS = "without a model"
    DEFAULT = "default"
    RESCORE = "--rescore"
    FULL = "--full"
    NONE = "none"


@dataclass(frozen=True)
class Kind:
    """`found` names the checks that fail; `why` says what there is to say where none does."""

    target: str
    field: str
    liar: str
    lie: str
    level: Level
    found: tuple[str, ...] = ()
    why: str = ""

    @property
    def settled(self) -> bool:
        """Whether a check finds it, or the table says why none does."""
        return bool(self.found) or bool(self.why)

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "level": str(self.level), "found": list(self.found)}

    @classmethod
    def of(
        cls, target: str, field: str, liar: str, lie: str, checks: Iterable[Check], level: Level, why: str = ""
    ) -> Kind:
        found = failures(checks)
        return cls(target, field, liar, lie, level if found else Level.NONE, found, "" if found else why)


def failures(checks: Iterable[Check]) -> tuple[str, ...]:
    """Names of the checks that failed."""
    return tuple(sorted({check.name for check in checks if check.status is Status.FAIL}))
