"""What a trainer shows when somebody demands a chunk of its committed work on chain."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deltaproof.chain.abi.dispute_structs import ChunkOpening
from deltaproof.chain.abi.enums import Component
from deltaproof.errors import ChainError
from deltaproof.protocol.evidence.state import StateRoots, Vector, component_root, open_value
from deltaproof.protocol.rules import CHUNK_VALUES
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.training.step import apply_update
from trainer.conduct import Conduct, RoundWork

__all__ = ["chunk_opening"]

SLOTS = {
    Component.THETA: "theta",
    Component.FIRST_MOMENT: "m",
    Component.SECOND_MOMENT: "v",
    Component.ERROR_MEMORY: "e",
}


def chunk_opening(
    work: RoundWork, conduct: Conduct, memory: Vector | None, step: int, component: Component, chunk: int
) -> ChunkOpening:
    """Record `step` (0 to N) of a trained round with one chunk of one of its vectors.

    `memory` is the error-feedback memory, shape (P,), where the task's codec has one. Raises ChainError for a vector
    that the record does not have, TranscriptError if the transcript is gone.
    """
    last = work.bench.spec.training.steps
    (opening,) = conduct.open(work, [min(step, last - 1)])
    state, record, proof = dict(opening.state), opening.before, opening.before_proof
    if step == last:  # the record after the last step: its state follows from the step before
        before = {slot: torch.from_numpy(values.copy()) for slot, values in state.items()}
        gradient = torch.from_numpy(opening.gradient.copy())
        after = apply_update(work.bench, before, last - 1, gradient, opening.before.clip_scale)
        state = {slot: values.detach().cpu().numpy() for slot, values in after.items()}
        record, proof = opening.after, opening.after_proof
    vectors = state | ({"e": memory} if memory is not None else {}) | {"grad": opening.gradient}
    slot = SLOTS.get(component, "grad")
    if slot not in vectors or (slot == "grad" and step == last):
        raise ChainError(
            f"record {step} has no {component.name.lower().replace('_', ' ')}: no such demand has an answer"
        )
    if slot == "grad":
        shown = open_value(vectors[slot], chunk * CHUNK_VALUES)
    else:
        roots = StateRoots(**{s: component_root(values) for s, values in state.items()}, e=work.context.error_root)
        shown = open_value(vectors[slot], chunk * CHUNK_VALUES, slot, roots)
    return ChunkOpening(record.encode(), _digests(proof), shown.chunk, _digests(shown.siblings))


def _digests(values: Sequence[bytes]) -> tuple[Digest32, ...]:
    return tuple(map(Digest32, values))
