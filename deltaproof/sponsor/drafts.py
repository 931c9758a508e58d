"""From what a sponsor writes to a complete task spec.

A draft is a spec without the digests that only a program can compute, and with one table more, `[sponsor]`, which
names files and never leaves the sponsor's machine (`deltaproof.sponsor.files`). Digests that the draft does give are
checked, not replaced. A draft with `[federation]` says how emulators are made (`deltaproof.sponsor.emulators`); one
with `[federation.control]` lets a policy choose (`deltaproof.sponsor.control`), and may name the adapter to start from.

Everything that can be known without the model is checked first, and all of it is told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltaproof.errors import Problem, SpecError
from deltaproof.protocol.commit.sealing import AdapterSecret
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.commit.validation import ValidationSet, seal_validation
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, hex_of
from deltaproof.sponsor.checking import CheckedDraft, check_draft
from deltaproof.sponsor.control import start_from
from deltaproof.sponsor.emulators import PreparedFederation, Progress, check_methods, prepare_federation
from deltaproof.tuning.training.speed import Speed

if TYPE_CHECKING:
    from deltaproof.sponsor.stability import Stability

__all__ = ["PreparedTask", "complete_draft", "prepare_task"]

UNMEASURED = Speed(0.0, 0.0, 0.0)
Objections = Callable[[TaskSpec], Sequence[Problem]]
"""What else is wrong with complete terms."""


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A complete spec with what the sponsor publishes at once (the adapter) and later (the validation sets)."""

    spec: TaskSpec
    start: Vector
    validation: tuple[tuple[ValidationSet, Digest32], ...]
    """Rows and salt of each round's set in order, then of the final test set."""
    blobs: tuple[bytes, ...] = ()
    """Of a federation: public rows and emulators, which the sponsor publishes at once."""
    notes: tuple[str, ...] = ()
    """What a rehearsal found out that is no problem."""
    stability: tuple[Stability, ...] = ()
    """What a rounding makes of a round, by learning rate; empty if it was not looked at."""
    speed: Speed = UNMEASURED
    """How fast the participants' machines are, as far as a rehearsal here can tell; zero without one."""
    values: int = 0
    """That a trainer tunes."""
    published_bytes: int = 0
    """That a trainer publishes in a round at most, besides openings."""


def prepare_task(path: Path, secret: HomeSecret) -> PreparedTask:
    """Check and complete the draft at `path`. Raises SpecError with every problem, each with its key."""
    return complete_draft(check_draft(path), secret)


def complete_draft(
    draft: CheckedDraft,
    secret: HomeSecret,
    progress: Progress = lambda _: None,
    *,
    speed: float = 1.0,
    objections: Objections = lambda _: (),
    patience: float | None = None,
) -> PreparedTask:
    """Complete a draft and rehearse its task. The sponsor's `secret` makes the salts, so that a repeat gives the same.

    Making emulators takes a while; `progress` hears of it. `speed` is how many times faster the participants' machines
    are than this one. What `objections` says of the complete terms is told together with what the rehearsal finds.
    `patience`: see `rehearse`. Raises SpecError with every problem that was found, ModelError or MethodError for a
    model or method that cannot be loaded.
    """
    from deltaproof.sponsor.rehearsal import rehearse
    from deltaproof.tuning.base_models.digests import weights_digest
    from deltaproof.tuning.base_models.loading import resolve_source
    from deltaproof.tuning.training.workbench import Workbench

    tables, files, origin = draft.usable().tables, draft.files, str(draft.path)
    federation = _federation(draft, progress)
    validation = _validation_sets(draft, secret)
    problems = _complete(tables, "validation", "commitments", [hex_of(seal_validation(*v)[0]) for v in validation])
    if not federation:
        digest_of_weights = hex_of(weights_digest(resolve_source(str(_table(tables, "model")["source"]))))
        problems += _complete(tables, "model", "weights_digest", digest_of_weights)
    if files.shards:
        problems += _complete(tables, "data", "roots", files.shard_roots)
    _table(tables, "method").setdefault("seed", hex_of(secret.derive("method seed")))
    tables.setdefault("start_digest", hex_of(ZERO_DIGEST))
    adapter = _table(tables, "adapter")
    if adapter.get("visibility") == "participants":
        seed, commitments = _table(tables, "method")["seed"], _table(tables, "validation")["commitments"]
        named = AdapterSecret.of_home(secret, seed, commitments)
        problems += _complete(tables, "adapter", "secret", hex_of(named.commitment))
    if problems:
        raise SpecError.of(origin, problems)
    spec = parse_spec(tables, origin=origin)

    bench = Workbench.from_spec(spec)
    start = start_from(files.start, spec, bench) if files.start else bench.start.copy()
    digest = component_root(start)
    if spec.start_digest not in (ZERO_DIGEST, digest):
        what = f"start_digest is {hex_of(spec.start_digest)}, but it starts from {hex_of(digest)}"
        raise SpecError.of(origin, [Problem("start_digest", what, "remove the key to let it be computed")])
    if federation:
        check_methods(spec)
    progress("rehearsing a step" if patience is None else "rehearsing a step, then a round with and without a rounding")
    rehearsal = rehearse(spec, bench, start, files.validation, speed, patience=patience)
    if problems := [*rehearsal.problems, *objections(spec)]:
        raise SpecError.of(origin, problems)
    blobs = (*(federation.blobs if federation else ()), *(draft.control.blobs if draft.control else ()))
    complete = spec.model_copy(update={"start_digest": digest})
    theirs = rehearsal.speed.times(speed)
    notes, stability = tuple(rehearsal.notes(spec)), tuple(rehearsal.stability or ())
    values, published = bench.layout.size, bench.codec.published_bytes
    return PreparedTask(complete, start, validation, blobs, notes, stability, theirs, values, published)


def _federation(draft: CheckedDraft, progress: Progress) -> PreparedFederation | None:
    """Make the emulators that the draft describes, and complete its tables with them."""
    tables = draft.tables
    if "federation" not in tables:
        return None
    model = _table(tables, "model")
    made = prepare_federation(_table(tables, "federation"), model, draft.files.public, progress)
    tables["federation"] = made.federation
    model.update(made.model)
    return made


def _validation_sets(draft: CheckedDraft, secret: HomeSecret) -> tuple[tuple[ValidationSet, Digest32], ...]:
    rounds, size = _table(draft.tables, "rewards")["rounds"], _table(draft.tables, "validation")["rows"]
    rows = draft.files.validation
    parts = [*(rows[i * size : (i + 1) * size] for i in range(rounds)), draft.files.test]
    sets = [ValidationSet(rows=tuple(row.decode() for row in part)) for part in parts]
    return tuple((s, secret.derive("validation salt", i.to_bytes(4, "big"), s.digest())) for i, s in enumerate(sets))


def _complete(tables: dict[str, object], section: str, key: str, value: object) -> list[Problem]:
    """Write a computed value where the draft leaves it out; a problem if the draft says otherwise."""
    table = _table(tables, section)
    if table.setdefault(key, value) == value:
        return []
    what = f"{section}.{key} in the draft is {table[key]!r}, but it is {value!r} here"
    return [Problem(f"{section}.{key}", what, "remove the key or mend the source")]


def _table(tables: dict[str, object], name: str) -> dict[str, Any]:
    table = tables.setdefault(name, {})
    assert isinstance(table, dict), "the draft was checked"
    return table
