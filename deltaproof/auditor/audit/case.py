"""What a check may look at: facts of the chain, the spec, artifacts, and the model when a check recomputes training."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeVar

from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.facts.leaves import find_leaves
from deltaproof.auditor.facts.loading import load_round
from deltaproof.auditor.facts.stores import NOT_GIVEN
from deltaproof.auditor.facts.tasks import RoundFacts, TaskFacts
from deltaproof.auditor.index.calldata import called_directly
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.enums import Outcome
from deltaproof.errors import ArtifactError
from deltaproof.protocol.commit.validation import ValidationSet
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.outcome.attestation import Attestation, TrainerFinding
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex
from deltaproof.store import ArtifactStore
from deltaproof.tuning.numerics.machine import HERE, Machine

if TYPE_CHECKING:
    from deltaproof.replaying.judges import Judges
    from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Artifacts", "AuditOptions", "RoundCase", "TaskCase", "unopened"]

T = TypeVar("T")


@dataclass(frozen=True)
class AuditOptions:
    """How deep an audit goes. Event-level checks, artifacts and pay are always checked."""

    replays: int = 1
    """Fresh steps per round, drawn by the auditor among the published openings."""
    official_replays: bool = False
    """Replay every step that a verifier replayed."""
    rescore: bool = False
    """Evaluate every coalition again."""
    models: bool = True
    """Load the task's model; without, nothing is aggregated or trained again."""
    draw_seed: Digest32 = field(default_factory=lambda: Digest32(secrets.token_bytes(32)))
    """Decides which fresh steps are drawn; part of the report, so that others can repeat it. Nobody knows it before.

    Attack: know which steps audits train again, and have a quorum accept work that is wrong at others.
    """


class Artifacts:
    """A store, with what was read kept for the next check. Errors are kept, too."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self._known: dict[tuple[str, bytes], object] = {}

    @classmethod
    def of_task(cls, store: ArtifactStore, facts: TaskFacts) -> Artifacts:
        """The artifacts of a task; where its adapters are sealed, with their secret if somebody let this reader in."""
        with suppress(ArtifactError):  # the check of the spec says so
            store = store.of_task(store.get_document(TaskSpec, facts.params.spec_hash))
            if store.private is not None:
                store.private.enter(facts.participants)
        return cls(store)

    def spec(self, digest: Digest32) -> TaskSpec:
        """The task spec with this digest. Raises ArtifactError."""
        return self._once("spec", digest, lambda: self.store.get_document(TaskSpec, digest))

    def attestation(self, digest: Digest32, most_bytes: int | None) -> Attestation:
        """The attestation with this digest, of at most so many bytes. Raises ArtifactError."""
        return self._once("attestation", digest, lambda: self.store.get_attestation(Attestation, digest, most_bytes))

    def tensors(self, digest: Digest32, size: int) -> Vector:
        """The float32 vector with this component root, shape (size,). Raises ArtifactError."""
        return self._once("tensors", digest, lambda: self.store.get_tensors(digest, size))

    def validation(self, commitment: Digest32) -> tuple[ValidationSet, Digest32]:
        """The validation set behind a commitment, and the salt that opens it. Raises ArtifactError."""
        return self._once("validation", commitment, lambda: self.store.get_validation(commitment))

    def _once(self, kind: str, digest: Digest32, read: Callable[[], T]) -> T:
        if (kind, digest) not in self._known:
            try:
                self._known[kind, digest] = read()
            except ArtifactError as error:
                self._known[kind, digest] = error
        found = self._known[kind, digest]
        if isinstance(found, ArtifactError):
            raise found
        return found  # type: ignore[return-value]


@dataclass(frozen=True)
class TaskCase:
    """A task under audit."""

    index: Index
    facts: TaskFacts
    artifacts: Artifacts | None
    options: AuditOptions
    machine: Machine = HERE
    """What replays and coalition values run on; outcomes do not depend on it."""
    without: str = NOT_GIVEN
    """Why there are no artifacts."""

    @property
    def subject(self) -> Subject:
        """The task, for checks about it."""
        return Subject(self.facts.id)

    @cached_property
    def spec(self) -> TaskSpec | None:
        """The spec whose digest is on chain, if the store has it."""
        if self.artifacts is None:
            return None
        try:
            return self.artifacts.spec(self.facts.params.spec_hash)
        except ArtifactError:
            return None

    @cached_property
    def judges(self) -> Judges:
        """What replays run on. Raises TuningError, or ArtifactError if an emulator is not in the store."""
        from deltaproof.tuning.emulators.fetching import fetch_models

        if self.spec is None or self.artifacts is None:
            raise ValueError("no spec, no model")
        fetch_models(self.artifacts.store, self.spec)
        return _judges(self.spec.to_document(), self.machine)

    @cached_property
    def scoring_bench(self) -> Workbench:
        """The model that coalitions are evaluated on. Raises TuningError."""
        if self.spec is None:
            raise ValueError("no spec, no model")
        return _bench(self.spec.to_document(), self.machine.device_here)


@lru_cache(maxsize=4)
def _judges(spec: bytes, machine: Machine) -> Judges:
    """A model is loaded once per process, however many audits it serves."""
    from deltaproof.replaying.judges import Judges

    return Judges(TaskSpec.from_document(spec), machine)


@lru_cache(maxsize=4)
def _bench(spec: bytes, device: str) -> Workbench:
    from deltaproof.tuning.training.federation import scoring_bench

    return scoring_bench(TaskSpec.from_document(spec), device)


@dataclass(frozen=True)
class RoundCase:
    """A round under audit."""

    task: TaskCase
    facts: RoundFacts
    attestations: dict[Address, Attestation] = field(default_factory=dict)
    """Documents of revealed attestations that were found and match their digest."""
    leaves: tuple[SettlementLeaf, ...] | None = None
    """Leaves of the standing settlement, checked against its root."""
    memories: dict[Address, Digest32 | None] = field(default_factory=dict, repr=False)
    """Roots of memories of error feedback that were looked up: every opening of a trainer asks for its own."""

    @cached_property
    def findings(self) -> dict[Address, dict[Address, TrainerFinding]]:
        """What each verifier's document holds of each trainer."""
        return {verifier: document.by_trainer() for verifier, document in self.attestations.items()}

    @cached_property
    def accepted_before(self) -> dict[Address, Digest32]:
        """Deltas that the settlement of the round before accepts, by trainer: only their memories go on."""
        before = load_round(self.index, self.facts.task, RoundIndex(self.facts.number - 1))
        store = self.artifacts.store if self.artifacts else None
        leaves = find_leaves(self.index, before, self.spec, store) if before.outcome is Outcome.SETTLED else None
        accepted = {leaf.trainer for leaf in leaves or () if leaf.verdict is Verdict.ACCEPTED}
        return {trainer: shown.delta_digest for trainer, shown in before.reveals.items() if trainer in accepted}

    @property
    def index(self) -> Index:
        """What the chain says, of every task."""
        return self.task.index

    @property
    def options(self) -> AuditOptions:
        """What the audit was asked for."""
        return self.task.options

    @property
    def spec(self) -> TaskSpec | None:
        """The task's spec; None if it could not be read."""
        return self.task.spec

    @property
    def artifacts(self) -> Artifacts | None:
        """The store; None if the audit has none."""
        return self.task.artifacts

    @property
    def subject(self) -> Subject:
        """The round, for checks about it."""
        return Subject(self.facts.task.id, self.facts.number)


def unopened(index: Index, subject: Subject, name: str, event: Event) -> Check:
    """What to say when no calldata shows what an event opened."""
    if called_directly(index, event):
        return subject.failed(name, "the transaction's calldata is not the call that the event comes from")
    return subject.unchecked(name, "the transaction went through another contract, so its calldata does not show it")
