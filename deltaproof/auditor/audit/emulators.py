"""Emulators of a federation: that the public rows are there, and that each emulator is what its recipe makes of the
full model. Only who holds the full model can check the second."""

from __future__ import annotations

from collections.abc import Iterator

from deltaproof.auditor.audit.case import TaskCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.errors import ArtifactError, DeltaproofError
from deltaproof.protocol.rules import MAX_VALIDATION_BYTES
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.store import ArtifactStore

__all__ = ["check_emulators", "derivation_checks"]


def check_emulators(case: TaskCase) -> Iterator[Check]:
    """With `--rescore`: derive every emulator again, which takes as long as making it did."""
    if case.spec is not None and case.artifacts is not None and case.options.rescore:
        yield from derivation_checks(case.artifacts.store, case.spec, case.subject)


def derivation_checks(store: ArtifactStore, spec: TaskSpec, subject: Subject) -> Iterator[Check]:
    """Whether each emulator of a task is what its recipe makes of the full model; nothing without a federation."""
    from deltaproof.tuning.emulators.deriving import FullModel, check_derivation
    from deltaproof.tuning.emulators.fetching import fetch_models
    from deltaproof.tuning.training.federation import plugged

    federation = spec.federation
    if federation is None:
        return
    subject = subject.of(artifact=f"blob/{federation.public_rows.hex()}")
    try:
        rows = tuple(store.get_blob(federation.public_rows, MAX_VALIDATION_BYTES).splitlines())
    except ArtifactError as error:
        yield subject.artifact_failed("public rows", error)
        return
    full = FullModel(plugged(spec).model, federation.first, federation.last)
    for emulator in federation.emulators:
        try:
            fetch_models(store, spec)
            problem = check_derivation(full, emulator, rows)
        except DeltaproofError as error:
            yield subject.unchecked("emulator", f"{emulator.name} needs the full model: {error}")
            return
        yield subject.that("emulator", problem is None, f"{emulator.name}: {problem}")
