"""What a trainer handed in, as the chain fixes it and the store has it, under any codec."""

from __future__ import annotations

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.chain.memory import memory_after
from deltaproof.errors import ArtifactError
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, StepIndex
from deltaproof.replaying.judging import Submission, training_context
from deltaproof.store import ArtifactStore
from deltaproof.store.paths import Kind
from deltaproof.tuning.base_models.batches import rows_as_read
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.deltas import decode_delta
from deltaproof.tuning.training.step import DrawnRound, RoundContext

__all__ = [
    "adapter_of",
    "context_of",
    "delta_paths",
    "drawn_round",
    "drawn_steps",
    "read_by",
    "submission_of",
    "tuned_by",
]


def submission_of(case: RoundCase, trainer: Address) -> Submission | None:
    """What a trainer committed to; None if it was not enrolled when the round opened. Raises StoreUnavailable."""
    shard = case.facts.shard_of(trainer)
    if shard is None:
        return None
    reveal = case.facts.reveals.get(trainer)
    delta: Digest32 | None = reveal.delta_digest if reveal else None
    root = reveal.transcript_root if reveal else None
    return Submission(trainer, shard.root, shard.rows, delta, root, _memory(case, trainer))


def drawn_round(case: RoundCase) -> DrawnRound | None:
    """What the chain fixed for everybody; None if no order seed is drawn."""
    facts = case.facts
    if facts.order_seed is None:
        return None
    return DrawnRound(facts.task.id, facts.number, facts.order_seed, facts.start_digest)


def context_of(case: RoundCase, trainer: Address) -> RoundContext | None:
    """The trainer's round as the training step knows it; None if it was not enrolled or no order seed is drawn.

    Raises StoreUnavailable.
    """
    submission, round_ = submission_of(case, trainer), drawn_round(case)
    return None if submission is None or round_ is None else training_context(round_, submission)


def adapter_of(case: RoundCase, trainer: Address) -> Vector:
    """The adapter that a trainer's delta leads to, float32, shape (P,). Raises ArtifactError or TuningError."""
    if case.artifacts is None:
        raise ArtifactError(f"delta of {trainer}", "there is no store")
    reveal = case.facts.reveals.get(trainer)
    if reveal is None:
        raise ArtifactError(f"delta of {trainer}", "never revealed")
    if case.facts.task.params.training.float32_delta:
        return case.artifacts.tensors(reveal.delta_digest, case.facts.task.params.training.parameters)
    if case.spec is None:
        raise ArtifactError(f"delta of {trainer}", "nothing decodes it without the spec")
    context = context_of(case, trainer)
    if context is None:
        raise ArtifactError(f"delta of {trainer}", "the trainer was not enrolled when the round opened")
    return decode_delta(case.artifacts.store, case.task.scoring_bench, context, reveal.delta_digest)


def delta_paths(case: RoundCase, store: ArtifactStore, digest: Digest32) -> list[str]:
    """Where a delta of the round lies, or, sealed, may lie."""
    kind = Kind.TENSORS if case.facts.task.params.training.float32_delta else Kind.BLOB
    return store.weights_paths(kind, digest)


def tuned_by(case: RoundCase, trainer: Address) -> Mask | None:
    """Values that a trainer tuned under federated dropout, shape (P,); None for all. Raises TuningError."""
    context = context_of(case, trainer)
    if case.spec is None or case.facts.task.params.training.float32_delta or context is None:
        return None
    return case.task.scoring_bench.codec.mask(context.key)


def read_by(case: RoundCase, spec: TaskSpec, trainer: Address) -> tuple[bytes, ...]:
    """Rows of a trainer's drawn steps, which every verifier saw, as the model reads them (`rows_as_read`).

    Raises ArtifactError, or TuningError where the model is not here.
    """
    context, reveal = context_of(case, trainer), case.facts.reveals.get(trainer)
    if case.artifacts is None or context is None or reveal is None:
        raise ArtifactError(f"openings of {trainer}", "there is no store, or the trainer never revealed")
    size = case.facts.task.params.training.parameters
    committed = context.committed_steps(spec, size, reveal.transcript_root)
    openings = (case.artifacts.store.get_opening(committed, StepIndex(s)) for s in drawn_steps(case, trainer))
    rows = {row.row for opening in openings for row in opening.rows}
    return rows_as_read(rows, spec.model, case.task.scoring_bench.tokenizer)


def drawn_steps(case: RoundCase, trainer: Address) -> tuple[int, ...]:
    """Steps of a trainer's round that it has to show and every verifier replays; none before the challenge."""
    facts, seed = case.facts, case.facts.challenge_seed
    if seed is None:
        return ()
    terms, run = facts.task.params.training, 1 if case.spec is None else case.spec.verification.run
    return draw_samples(seed, facts.task.id, facts.number, trainer, steps=terms.steps, extra=terms.samples, run=run)


def _memory(case: RoundCase, trainer: Address) -> Digest32 | None:
    """Root of the error-feedback memory, by the rule of `deltaproof.chain.memory`. Raises StoreUnavailable."""
    if case.artifacts is None or case.spec is None or case.spec.codec.name == "float32" or case.facts.number <= 1:
        return ZERO_DIGEST
    if trainer not in case.memories:
        delta = case.accepted_before.get(trainer)
        root = ZERO_DIGEST if delta is None else memory_after(case.artifacts.store, case.spec, delta)
        case.memories[trainer] = root
    return case.memories[trainer]
