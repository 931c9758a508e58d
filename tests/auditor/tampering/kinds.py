"""One cell of the table: what is lied about, by whom, and what comes of telling the lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from deltaproof.auditor.audit.check import Check, Status

__all__ = ["Cell", "Kind", "Level", "Lie", "Outcome", "failures"]


class Level(StrEnum):
    """The least audit that finds a lie."""

    EVENTS = "without a model"
    WITNESS = "--witness"
    DEFAULT = "default"
    RESCORE = "--rescore"
    FULL = "--full"
    NONE = "none"


class Cell(NamedTuple):
    """A field of a message, who lies about it, and how."""

    target: str
    field: str
    liar: str
    lie: str


@dataclass(frozen=True)
class Outcome:
    """`found` names the checks that fail; `why` says what there is to say where none does."""

    level: Level
    found: tuple[str, ...] = ()
    why: str = ""

    @classmethod
    def of(cls, checks: Iterable[Check], level: Level, why: str = "") -> Outcome:
        """What the checks of an audit of this depth say."""
        return cls.named(failures(checks), level, why)

    @classmethod
    def named(cls, found: tuple[str, ...], level: Level, why: str = "") -> Outcome:
        """The same, by the names of the checks that failed."""
        return cls(level, found) if found else cls(Level.NONE, (), why)

    @property
    def settled(self) -> bool:
        """Whether a check finds it, or the table says why none does."""
        return bool(self.found) or bool(self.why)


@dataclass(frozen=True)
class Lie:
    """A lie that can be told. To list all of them is cheap; to tell one takes an audit."""

    cell: Cell
    tell: Callable[[], Outcome]


@dataclass(frozen=True)
class Kind:
    """A lie that was told."""

    cell: Cell
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        outcome = self.outcome
        return {**self.cell._asdict(), "level": str(outcome.level), "found": list(outcome.found), "why": outcome.why}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Kind:
        cell = Cell(*(str(value[name]) for name in Cell._fields))
        return cls(cell, Outcome(Level(value["level"]), tuple(value["found"]), value["why"]))


def failures(checks: Iterable[Check]) -> tuple[str, ...]:
    """Names of the checks that failed."""
    return tuple(sorted({check.name for check in checks if check.status is Status.FAIL}))
