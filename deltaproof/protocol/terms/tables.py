"""The tables of a task spec, each checked by itself; `spec` adds what they demand of one another."""

from __future__ import annotations

from deltaproof.protocol.terms.federation import FederationSection
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
from deltaproof.protocol.types import DigestField
from deltaproof.protocol.wire.documents import Record

__all__ = ["TaskTables"]


class TaskTables(Record):
    """The tables of a spec."""

    task: TaskSection
    """What a person reads."""
    model: ModelSection
    """The base model, as trainers hold it."""
    method: MethodSection
    """The PEFT method."""
    start_digest: DigestField
    """Component root of the starting adapter, 32 bytes; computed by `deltaproof task create` if left out."""
    optimizer: OptimizerSection
    """The optimiser and its constants."""
    training: TrainingSection
    """One round of one trainer."""
    data: DataSection = DataSection()
    """Which data may be enrolled, and who reads it."""
    adapter: AdapterSection = AdapterSection()
    """Who reads what comes of it."""
    codec: CodecSection
    """How a delta travels."""
    aggregation: AggregationSection = AggregationSection()
    """How deltas become the next adapter."""
    scoring: ScoringSection = ScoringSection()
    """What a delta is worth."""
    validation: ValidationSection
    """The hidden validation sets."""
    rewards: RewardsSection
    """Money."""
    verification: VerificationSection
    """Samples, quorum and stakes."""
    phases: PhasesSection
    """Durations, seconds."""
    federation: FederationSection | None = None
    """A full model that trainers must not hold; absent for an ordinary task."""
