"""The task spec: everything that fixes what a task computes and pays. Its digest is registered on chain.

Written as TOML and kept as canonical JSON. Unknown keys are errors. Every value is strictly typed and every default is
written out, so equal tasks have equal digests. Limits of numbers stand in `deltaproof.protocol.rules`, tables in
`work`, `worth` and `federation`, and what keys demand of one another in `cross_key`.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator

from deltaproof.errors import EncodingError, Problem, SpecError
from deltaproof.protocol.evidence.transcript import OpeningLimits
from deltaproof.protocol.rules import BPS, MAX_SPEC_BYTES
from deltaproof.protocol.terms._fields import OptionValue
from deltaproof.protocol.terms._spec_errors import explain
from deltaproof.protocol.terms.cross_key import broken_rules
from deltaproof.protocol.terms.tables import TaskTables
from deltaproof.protocol.terms.work import (
    AdapterSection,
    CodecSection,
    DataSection,
    MethodSection,
    ModelSection,
    OptimizerSection,
    TaskSection,
    TrainingSection,
)
from deltaproof.protocol.terms.worth import (
    AggregationSection,
    PhasesSection,
    RewardsSection,
    ScoringSection,
    ValidationSection,
    VerificationSection,
)
from deltaproof.protocol.types import Address
from deltaproof.protocol.wire.documents import Document
from deltaproof.protocol.wire.encoding import canonical_json

__all__ = [
    "AdapterSection",
    "AggregationSection",
    "CodecSection",
    "DataSection",
    "MethodSection",
    "ModelSection",
    "OptimizerSection",
    "OptionValue",
    "PhasesSection",
    "RewardsSection",
    "ScoringSection",
    "TaskSection",
    "TaskSpec",
    "TrainingSection",
    "ValidationSection",
    "VerificationSection",
    "load_spec",
    "parse_spec",
    "read_toml",
    "spec_problems",
]


class TaskSpec(TaskTables, Document, kind="task", max_bytes=MAX_SPEC_BYTES):
    """A complete task. Equal specs have equal digests; nothing outside the spec affects a result."""

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        if problems := broken_rules(self):
            raise _BrokenRules(problems)
        return self

    @classmethod
    def explained(cls, error: ValidationError) -> str:
        return SpecError.of("the task spec", _problems(error)).args[0]  # type: ignore[no-any-return]

    @property
    def least_rows(self) -> int:
        """Fewest rows that a trainer may enrol: no batch holds a row twice."""
        return max(self.data.min_rows, self.training.batch_size)

    def opening_limits(self, values: int, slots: tuple[str, ...], steps: int, rows: int) -> OpeningLimits:
        """What openings of a trainer with so many `rows` may hold, for P = `values`."""
        data = self.data
        return OpeningLimits(values, slots, steps, self.training.batch_size, rows, data.max_row_bytes, data.sealed)

    def discount_bps(self, trainer: Address) -> int:
        """What the spec itself takes off an original delta's pay: all, of a server that works without."""
        server = self.federation.server if self.federation else None
        return BPS if server is not None and server.trainer == trainer and not server.paid else 0


class _BrokenRules(ValueError):
    """Carries what is wrong through pydantic, which turns any ValueError of a validator into its own error."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def load_spec(path: Path | str) -> TaskSpec:
    """Read and check a complete TOML spec. Raises SpecError naming the file and every wrong key."""
    return parse_spec(read_toml(path), origin=str(path))


def read_toml(path: Path | str) -> dict[str, object]:
    """The raw tables of a TOML file, for a caller that completes them before `parse_spec`. Raises SpecError."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), "name a file that is there") from error
    if len(data) > MAX_SPEC_BYTES:
        raise _unreadable(path, f"{len(data)} bytes; the limit is {MAX_SPEC_BYTES}", "shorten it")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, f"not valid TOML: {error}", "mend that place") from error


def _unreadable(path: Path | str, what: str, remedy: str) -> SpecError:
    return SpecError.of(str(path), [Problem("(file)", what, remedy)])


def parse_spec(value: Mapping[str, object], origin: str = "task spec") -> TaskSpec:
    """Check the tables of a spec. Raises SpecError with every problem, each with its key and what to do."""
    if problems := spec_problems(value):
        raise SpecError.of(origin, problems)
    return TaskSpec.model_validate_json(canonical_json(dict(value)))


def spec_problems(value: Mapping[str, object], later: Collection[str] = ()) -> list[Problem]:
    """Everything that is wrong with the tables of a spec: keys by themselves, then what they demand of one another.

    `later` are keys (`section.key`, or `start_digest`) that may be missing because a program computes them: rules
    that read them are left for later, too.
    """
    try:
        tables, missing = _with_stand_ins(value, later)
        TaskTables.model_validate_json(canonical_json(tables))
    except EncodingError as error:
        return [Problem("(whole spec)", str(error), "use TOML's plain types and finite numbers")]
    except ValidationError as error:
        problems = _problems(error)
        broken = {".".join(map(str, details["loc"][:2])) for details in error.errors(include_url=False)}
        return [*problems, *_rules_of_the_rest(tables, broken | missing)]
    return broken_rules(TaskTables.model_validate_json(canonical_json(tables)), missing)


def _problems(error: ValidationError) -> list[Problem]:
    found: list[Problem] = []
    for details in error.errors(include_url=False):
        cause = details.get("ctx", {}).get("error")
        found += cause.problems if isinstance(cause, _BrokenRules) else [explain(TaskSpec, details)]
    return found


def _with_stand_ins(value: Mapping[str, object], later: Collection[str]) -> tuple[dict[str, object], set[str]]:
    """The tables with something well-formed for keys that come later, and which of these are missing."""
    tables: dict[str, object] = copy.deepcopy(dict(value))
    missing = set()
    for key in later:
        section, _, name = key.partition(".")
        table = tables.setdefault(section, {}) if name else tables
        if isinstance(table, dict) and (name or section) not in table:
            table[name or section] = _stand_in(key)
            missing.add(key)
    return tables, missing


def _rules_of_the_rest(tables: Mapping[str, object], broken: set[str]) -> list[Problem]:
    """Rules that read well-formed keys only, asked of tables whose other keys are replaced by a valid task's."""
    whole: dict[str, object] = {}
    for name, stand_in in _VALID.items():
        table = tables.get(name)
        if name in broken or not isinstance(table, dict | str):
            whole[name] = stand_in
            broken.add(name)
        elif isinstance(stand_in, dict) and isinstance(table, dict):
            usable = {key: v for key, v in table.items() if f"{name}.{key}" not in broken}
            whole[name] = {**stand_in, **usable}
        else:
            whole[name] = table
    optional = set(TaskTables.model_fields) - set(_VALID)
    for name in optional & set(tables):
        table = tables[name]
        if name == "federation" and any(key.split(".")[0] == name for key in broken):
            broken.add(name)
        elif name not in broken and isinstance(table, dict):
            whole[name] = {key: v for key, v in table.items() if f"{name}.{key}" not in broken}
    return broken_rules(TaskTables.model_validate_json(canonical_json(whole)), broken)


def _stand_in(key: str) -> object:
    section, _, name = key.partition(".")
    value = _VALID[section]
    return value[name] if isinstance(value, dict) else value


_ZERO = "0x" + "00" * 32
_VALID: Mapping[str, object] = {
    "task": {"name": "stand-in"},
    "model": {"kind": "causal-lm", "source": "path:stand-in", "weights_digest": _ZERO, "max_tokens": 2},
    "method": {"name": "lora", "seed": _ZERO},
    "start_digest": _ZERO,
    "adapter": {"secret": _ZERO},
    "optimizer": {"name": "sgd", "learning_rate": 1.0},
    "training": {"steps": 1, "batch_size": 1},
    "codec": {"byte_limit": 1},
    "validation": {"commitments": [_ZERO, _ZERO], "rows": 2},
    "rewards": {"budget_per_round": 1, "rounds": 1, "verifier_fee_bps": 0},
    "verification": {
        "samples": 0,
        "commit_bond": 0,
        "slash_bps": 0,
        "min_trainer_stake": 0,
        "min_verifier_stake": 1,
    },
    "phases": dict.fromkeys(("commit", "reveal", "opening", "attest_commit", "attest_reveal", "settle", "window"), 1),
}
"""A valid task: what stands in for keys that are wrong or not there while rules look at the others."""
