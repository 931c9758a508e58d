"""Lies of a store and of those who fill it: every field of every artifact, against the digest that is on chain."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from deltaproof.auditor.audit.case import AuditOptions, RoundCase, TaskCase
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.deltas import context_of
from deltaproof.auditor.audit.run import Audit
from deltaproof.auditor.audit.sealed import check_attestation_documents, check_validation_set
from deltaproof.auditor.audit.terms import check_spec, check_terms
from deltaproof.auditor.audit.training import check_deltas, check_openings, published_steps
from deltaproof.auditor.facts.loading import load_round
from deltaproof.auditor.index.reader import Index
from deltaproof.protocol.commit.validation import ValidationSet, open_validation
from deltaproof.protocol.evidence.rows import OpenedRow
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord, serialize_opening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, StepIndex, hex_of
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.store import ArtifactStore
from deltaproof.store.paths import opening_path
from tests.auditor.colluding import Collusion
from tests.auditor.forgery import Overlay
from tests.auditor.tampering.attestations import round_checks
from tests.auditor.tampering.fields import change_at, changed, model_paths, plain_paths
from tests.auditor.tampering.kinds import Cell, Level, Lie, Outcome

__all__ = ["file_lies", "opening_lies", "spec_lies", "terms_lies", "validation_lies"]

Fresh = Callable[[], Collusion]

NO_TERM = (
    "no term of the contracts. Its digest is: participants read the registered spec, and what they do is judged by it"
)
ABSENT = "not in this task's spec; the digest is over every byte"
WHY_TOKEN = "chosen on chain; a spec names no token"
INERT = "nobody needs it: the audit composes the settlement from the attestations, and calldata holds the signature"


def _task(forgery: Collusion) -> TaskCase:
    store = ArtifactStore(Overlay(forgery.world.store_folder, forgery.changed, forgery.times))
    return Audit(Index(forgery.engine), store, None, AuditOptions(replays=0)).task_case(forgery.world.task)


def _case(forgery: Collusion) -> RoundCase:
    task = _task(forgery)
    audit = Audit(task.index, task.artifacts.store if task.artifacts else None, None, task.options)
    return audit.round_case(task, load_round(task.index, task.facts, forgery.round))


def spec_lies(fresh: Fresh) -> Iterator[Lie]:
    """Each field of the spec, altered in the store, and registered otherwise by the sponsor."""
    for path in model_paths(TaskSpec):
        yield Lie(Cell("spec", path, "store", "altered"), partial(_spec_altered, fresh, path))
        yield Lie(Cell("spec", path, "sponsor", "registered otherwise"), partial(_registered, fresh, path))


def _spec_altered(fresh: Fresh, path: str) -> Outcome:
    forgery = fresh()
    spec = forgery.world.verifiers[0].spec
    value, data = spec.to_json_value(), spec.to_document()
    if not change_at(value, path):
        return Outcome(Level.NONE, why=ABSENT)
    forgery.changed = {f"blob/{spec.digest().hex()}": data[: data.index(b"\x00") + 1] + canonical_json(value)}
    return Outcome.of(check_spec(_task(forgery)), Level.EVENTS)


def _registered(fresh: Fresh, path: str) -> Outcome:
    """The sponsor registers a spec that says otherwise than the terms that the contract keeps."""
    forgery = fresh()
    value = forgery.world.verifiers[0].spec.to_json_value()
    if not change_at(value, path):
        return Outcome(Level.NONE, why=ABSENT)
    try:
        spec = TaskSpec.model_validate_json(json.dumps(value))
    except ValidationError:
        return Outcome(Level.EVENTS, ("spec",), "no reader accepts it")
    forgery.changed[f"blob/{spec.digest().hex()}"] = spec.to_document()
    forgery.edit("TaskCreated", "params.spec_hash", hex_of(spec.digest()), None)
    task = _task(forgery)
    return Outcome.of([*check_spec(task), *check_terms(task)], Level.EVENTS, NO_TERM)


def terms_lies(fresh: Fresh) -> Iterator[Lie]:
    """Each term that the contract keeps, against the spec."""
    created = {"params": fresh().args("TaskCreated", None)["params"]}
    for path in plain_paths(created):
        yield Lie(Cell("terms on chain", path, "sponsor", "other than the spec's"), partial(_other_term, fresh, path))


def _other_term(fresh: Fresh, path: str) -> Outcome:
    forgery = fresh()
    other = (lambda _: 0) if path.endswith("optimizer") else changed  # a number that names no optimiser is no term
    forgery.edit("TaskCreated", path, other, None)
    task = _task(forgery)
    why = WHY_TOKEN if path == "params.token" else ""
    return Outcome.of([*check_spec(task), *check_terms(task)], Level.EVENTS, why)


ROWS: dict[tuple[str, str], Callable[[ValidationSet, Digest32], tuple[ValidationSet, Digest32]]] = {
    ("rows[]", "altered"): lambda v, salt: (
        ValidationSet(rows=(v.rows[0].replace("label", "lable"), *v.rows[1:])),
        salt,
    ),
    ("rows[]", "left out"): lambda v, salt: (ValidationSet(rows=v.rows[:-1]), salt),
    ("rows[]", "twice"): lambda v, salt: (ValidationSet(rows=(*v.rows, v.rows[-1])), salt),
    ("rows[]", "in another order"): lambda v, salt: (ValidationSet(rows=v.rows[::-1]), salt),
    ("salt", "altered"): lambda v, salt: (v, Digest32(changed(salt))),
}


def validation_lies(fresh: Fresh) -> Iterator[Lie]:
    """The validation set's rows and salt."""
    for field, how in ROWS:
        tell = partial(_other_validation, fresh, (field, how))
        yield Lie(Cell("validation set", field, "store", how), tell)


def _other_validation(fresh: Fresh, lie: tuple[str, str]) -> Outcome:
    forgery = fresh()
    place = forgery.path_of("validation")
    rows, salt, _ = open_validation((forgery.world.store_folder / place).read_bytes())
    told, with_salt = ROWS[lie](rows, salt)
    forgery.changed = {place: with_salt + told.to_document()}
    return Outcome.of(check_validation_set(_case(forgery)), Level.EVENTS)


def opening_lies(fresh: Fresh) -> Iterator[Lie]:
    """Each field of an opening: records, proofs, tensors, rows."""
    forgery = fresh()
    place, honest = _an_opening(_case(forgery))
    for field, altered in _altered_openings(honest):
        tell = partial(_other_opening, fresh, place, altered)
        yield Lie(Cell("opening", field, "trainer or store", "altered"), tell)


def _other_opening(fresh: Fresh, place: str, altered: StepOpening) -> Outcome:
    forgery = fresh()
    forgery.changed = {place: serialize_opening(altered)}
    return Outcome.of(check_openings(_case(forgery)), Level.EVENTS)


def _an_opening(case: RoundCase) -> tuple[str, StepOpening]:
    """A published opening, and where it is."""
    trainer, reveal, step = next(published_steps(case))
    context = context_of(case, trainer)
    assert context is not None
    assert case.spec is not None
    assert case.artifacts is not None
    size = case.facts.task.params.training.parameters
    committed = context.committed_steps(case.spec, size, reveal.transcript_root)
    opening = case.artifacts.store.get_opening(committed, StepIndex(step))
    return opening_path(reveal.transcript_root, trainer, StepIndex(step)), opening


def _altered_openings(honest: StepOpening) -> Iterator[tuple[str, StepOpening]]:
    for side in ("before", "after"):
        record: StepRecord = getattr(honest, side)
        for field in dataclasses.fields(StepRecord):
            value = getattr(record, field.name)
            other = float(np.float32(value) + np.float32(0.5)) if isinstance(value, float) else changed(value)
            yield f"{side}.{field.name}", dataclasses.replace(honest, **{side: _replaced(record, field.name, other)})
    for side in ("before_proof", "after_proof"):
        proof = getattr(honest, side)
        yield f"{side}[]", dataclasses.replace(honest, **{side: (changed(proof[0]), *proof[1:])})
    for slot, values in honest.state.items():
        yield f"state.{slot}", dataclasses.replace(honest, state={**honest.state, slot: _other(values)})
    yield "gradient", dataclasses.replace(honest, gradient=_other(honest.gradient))
    yield "error_root", dataclasses.replace(honest, error_root=changed(honest.error_root))
    row = honest.rows[0]
    for name, other in {
        "index": changed(row.index),
        "row": row.row.replace(b"label", b"lable"),
        "salt": changed(row.salt),
        "siblings": (changed(row.siblings[0]), *row.siblings[1:]),
    }.items():
        told: OpenedRow = _replaced(row, name, other)
        yield f"rows[].{name}", dataclasses.replace(honest, rows=(told, *honest.rows[1:]))
    yield "rows[] in another order", dataclasses.replace(honest, rows=honest.rows[::-1])


def _replaced(value: Any, name: str, other: Any) -> Any:
    return dataclasses.replace(value, **{name: other})


def _other(values: Any) -> Any:
    told = values.copy()
    told[0] += np.float32(0.5)
    return told


DAMAGES: dict[str, Callable[[bytes, bytes], bytes | None]] = {
    "missing": lambda data, other: None,
    "one bit": lambda data, other: changed(data),
    "cut short": lambda data, other: data[:-8],
    "longer": lambda data, other: data + b"\x00" * 8,
    "empty": lambda data, other: b"",
    "another of its kind": lambda data, other: other,
}


def file_lies(fresh: Fresh) -> Iterator[Lie]:
    """Whole files: every folder of the store, every kind of damage."""
    forgery = fresh()
    for target, (place, check, other) in _files(forgery).items():
        for how in DAMAGES:
            tell = partial(_damaged, fresh, place, other, how, check)
            yield Lie(Cell(f"{target} file", "", "store", how), tell)
    for folder in ("proposals", "signatures", "signed"):
        for how in DAMAGES:
            yield Lie(Cell(f"{folder} file", "", "store", how), partial(_damaged_folder, fresh, folder, how))


def _damaged(fresh: Fresh, place: str, other: str, how: str, check: Callable[[Collusion], list[Check]]) -> Outcome:
    forgery = fresh()
    root = forgery.world.store_folder
    forgery.changed = {place: DAMAGES[how]((root / place).read_bytes(), (root / other).read_bytes())}
    return Outcome.of(check(forgery), Level.EVENTS)


def _damaged_folder(fresh: Fresh, folder: str, how: str) -> Outcome:
    forgery = fresh()
    root = forgery.world.store_folder
    files = (path for path in (root / folder).rglob("*") if path.is_file())
    forgery.changed = {str(path.relative_to(root)): DAMAGES[how](path.read_bytes(), b"x" * 64) for path in files}
    return Outcome.of(round_checks(forgery, models=False), Level.EVENTS, INERT)


def _files(forgery: Collusion) -> dict[str, tuple[str, Callable[[Collusion], list[Check]], str]]:
    """Of each folder a file, the check that reads it, and another file of the folder."""
    case = _case(forgery)
    params, (trainer, reveal, step) = case.facts.task.params, next(published_steps(case))
    seen = next(iter(case.facts.attestations.values())).artifact.hex()
    openings = f"openings/{reveal.transcript_root.hex()}/{trainer.lower()}"
    validation = case.facts.task.validation_commitments[forgery.round - 1].hex()

    def others(folder: str, mine: str) -> str:
        files = sorted(p for p in (forgery.world.store_folder / folder).iterdir() if p.is_file())
        return str(Path(folder) / next((p.name for p in files if p.name != mine), mine))

    def of_round(check: Callable[[RoundCase], Iterator[Check]]) -> Callable[[Collusion], list[Check]]:
        return lambda told: list(check(_case(told)))

    delta, start = reveal.delta_digest.hex(), params.start_digest.hex()
    return {
        "spec": (
            f"blob/{params.spec_hash.hex()}", lambda told: list(check_spec(_task(told))), f"tensors/{start}",
        ),
        "starting adapter": (
            f"tensors/{start}", lambda told: list(check_terms(_task(told))), f"tensors/{delta}",
        ),
        "delta": (f"tensors/{delta}", of_round(check_deltas), f"tensors/{start}"),
        "opening": (f"{openings}/{step}", of_round(check_openings), others(openings, str(step))),
        "attestation": (f"attestations/{seen}", of_round(check_attestation_documents), others("attestations", seen)),
        "validation set": (
            f"validation/{validation}", of_round(check_validation_set), f"tensors/{start}",
        ),
    }  # fmt: skip
