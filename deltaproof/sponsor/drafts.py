"""From what a sponsor writes to a complete task spec.

A draft is a spec without the digests that only a program can compute, and with one table more, `[sponsor]`, which
names files and never leaves the sponsor's machine:

    [sponsor]
    validation = "validation.jsonl"   # rows of all rounds, cut into sets of validation.rows
    test = "test.jsonl"               # the final held-out set
    shards = ["a.jsonl", "b.jsonl"]   # if only these may be trained on: their roots become data.roots

Digests that the draft does give are checked, not replaced. A draft with `[federation]` says how emulators are made
(`deltaproof.sponsor.emulators`) and names one file more, `public`. One with `[federation.control]` lets a policy choose
(`deltaproof.sponsor.control`), and may name the adapter to start from, `start`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deltaproof.errors import UsageError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.commit.validation import ValidationSet, seal_validation
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard, read_shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec, read_toml
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, hex_of
from deltaproof.sponsor.control import PreparedControl, prepare_control, start_from
from deltaproof.sponsor.emulators import PreparedFederation, Progress, check_methods, prepare_federation

__all__ = ["PreparedTask", "prepare_task"]

SPONSOR_KEYS = {"validation", "test"}


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A complete spec with what the sponsor publishes at once (the adapter) and later (the validation sets)."""

    spec: TaskSpec
    start: Vector
    validation: tuple[tuple[ValidationSet, Digest32], ...]
    """Rows and salt of each round's set in order, then of the final test set."""
    blobs: tuple[bytes, ...] = ()
    """Of a federation: public rows and emulators, which the sponsor publishes at once."""


def prepare_task(path: Path, secret: HomeSecret, progress: Progress = lambda _: None) -> PreparedTask:
    """Complete and check the draft at `path`. The sponsor's `secret` makes the salts, so that a repeat gives the same.

    Making emulators takes a while; `progress` hears of it. Raises SpecError or UsageError naming what is wrong, OSError
    for an unreadable file.
    """
    from deltaproof.tuning.base_models.loading import resolve_source, weights_digest
    from deltaproof.tuning.training.workbench import Workbench

    tables = read_toml(path)
    sponsor = _sponsor(tables, path)
    validation = _validation_sets(tables, path, sponsor, secret)
    control = _control(tables, path)
    federation = _federation(tables, path, sponsor, progress)
    _complete(tables, "validation", "commitments", [hex_of(seal_validation(*item)[0]) for item in validation])
    source = _table(tables, "model").get("source")
    if isinstance(source, str):
        _complete(tables, "model", "weights_digest", hex_of(weights_digest(resolve_source(source))))
    if "shards" in sponsor:
        _complete(tables, "data", "roots", _shard_roots(sponsor["shards"], path))
    _complete(tables, "method", "seed", hex_of(secret.derive("method seed")), keep=True)
    tables.setdefault("start_digest", hex_of(ZERO_DIGEST))
    draft = parse_spec(tables, origin=str(path))

    bench = Workbench.from_spec(draft)
    start = start_from(path.parent / str(sponsor["start"]), draft, bench) if "start" in sponsor else bench.start.copy()
    digest = component_root(start)
    if draft.start_digest not in (ZERO_DIGEST, digest):
        raise UsageError(
            f"{path}: start_digest is {hex_of(draft.start_digest)}, but it starts from {hex_of(digest)}; "
            "remove the key to let it be computed"
        )
    if federation:
        check_methods(draft)
    blobs = (*(federation.blobs if federation else ()), *(control.blobs if control else ()))
    return PreparedTask(draft.model_copy(update={"start_digest": digest}), start, validation, blobs)


def _sponsor(tables: dict[str, object], path: Path) -> Mapping[str, object]:
    sponsor = tables.pop("sponsor", None)
    wanted = SPONSOR_KEYS | ({"public"} if "federation" in tables else set())
    optional = {"shards"} | ({"start"} if "federation" in tables else set())
    if not isinstance(sponsor, Mapping):
        raise UsageError(f"{path}: add a table [sponsor] with the files of the hidden rows: validation and test")
    if unknown := sorted(set(sponsor) - wanted - optional):
        raise UsageError(
            f"{path}: unknown key {unknown[0]!r} in [sponsor]; it has {', '.join(sorted(wanted | optional))}"
        )
    if missing := sorted(wanted - set(sponsor)):
        raise UsageError(f"{path}: [sponsor] lacks {missing[0]!r}")
    return sponsor


def _control(tables: dict[str, object], path: Path) -> PreparedControl | None:
    """Let the policy that the draft names decide, and complete the draft's tables with its choice."""
    if "federation" not in tables or "control" not in _table(tables, "federation"):
        return None
    made = prepare_control(tables, path.parent)
    made.write_into(tables)
    return made


def _federation(
    tables: dict[str, object], path: Path, sponsor: Mapping[str, object], progress: Progress
) -> PreparedFederation | None:
    """Make the emulators that the draft describes, and complete its tables with them."""
    if "federation" not in tables:
        return None
    model = _table(tables, "model")
    if "source" in model:
        raise UsageError(f"{path}: with [federation] leave out model.source: trainers hold the first emulator")
    made = prepare_federation(_table(tables, "federation"), model, path.parent / str(sponsor["public"]), progress)
    tables["federation"] = made.federation
    model.update(made.model)
    return made


def _shard_roots(shards: object, path: Path) -> list[str]:
    """Roots of the files under public salts, which a trainer who was given one of them finds as well."""
    if not isinstance(shards, list) or not shards or not all(isinstance(name, str) for name in shards):
        raise UsageError(f"{path}: [sponsor] shards must be a list of files")
    roots = [hex_of(Shard(read_shard(path.parent / name), PUBLIC_SALTS).root) for name in shards]
    if twins := [name for name, root in zip(shards, roots, strict=True) if roots.count(root) > 1]:
        raise UsageError(f"{path}: {' and '.join(twins)} hold the same rows; name each shard once")
    return roots


def _validation_sets(
    tables: dict[str, object], path: Path, sponsor: Mapping[str, object], secret: HomeSecret
) -> tuple[tuple[ValidationSet, Digest32], ...]:
    rounds = _whole_number(_table(tables, "rewards").get("rounds"), f"{path}: rewards.rounds")
    size = _whole_number(_table(tables, "validation").get("rows"), f"{path}: validation.rows")
    rows = read_shard(path.parent / str(sponsor["validation"]))
    if len(rows) < rounds * size:
        raise UsageError(
            f"{sponsor['validation']} has {len(rows)} rows; {rounds} rounds of {size} need {rounds * size}"
        )
    test = read_shard(path.parent / str(sponsor["test"]))
    if not test:
        raise UsageError(f"{sponsor['test']} has no rows")
    parts = [*(rows[i * size : (i + 1) * size] for i in range(rounds)), test]
    sets = [ValidationSet(rows=tuple(row.decode() for row in part)) for part in parts]
    return tuple((s, secret.derive("validation salt", i.to_bytes(4, "big"), s.digest())) for i, s in enumerate(sets))


def _complete(tables: dict[str, object], section: str, key: str, value: object, *, keep: bool = False) -> None:
    table = _table(tables, section)
    if not keep and key in table and table[key] != value:
        raise UsageError(
            f"{section}.{key} in the draft is {table[key]!r}, but it is {value!r} here; "
            "remove the key or mend the source"
        )
    table.setdefault(key, value)


def _table(tables: dict[str, object], name: str) -> dict[str, object]:
    table = tables.setdefault(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"[{name}] must be a table")
    return table


def _whole_number(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name} must be a whole number above 0, not {value!r}")
    return value
