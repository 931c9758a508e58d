"""Which rounds of other tasks a juror judges: those that ask no more of its machine than its own task does.

Anybody makes a task, settles it alone and brings a case about it. Attack: let it name a model that takes hours to
download or all of the memory, or a validation set that takes days to score. Every juror would begin, and its own rounds
would wait behind it, unattested.
"""

from __future__ import annotations

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.training.speed import evaluations_of

__all__ = ["MOST_TIMES", "out_of_reach"]

MOST_TIMES = 4
"""How many times as much a case may ask as the juror's own task: trainable values, tokens of a batch, and tokens that
scoring reads."""


def out_of_reach(own: TaskSpec, own_values: int, other: TaskSpec, values: int, trainers: int) -> str | None:
    """Why a juror that verifies `own` does not judge a round of `other`; None if it does. `values` are trainable, and
    so many `trainers` committed."""
    if not _models(other) <= _models(own):
        return "its base model is none that this verifier works with"
    if values > MOST_TIMES * own_values:
        return f"it tunes {values} values, and this verifier's own task {own_values}"
    if _batch(other) > MOST_TIMES * _batch(own):
        return f"its batches have {_batch(other)} tokens, and those of this verifier's own task {_batch(own)}"
    # Attack: a single step to replay, and a validation set that is scored for days. Nothing interrupts that.
    scored, most = _scored(other, trainers), _scored(own, own.verification.max_trainers)
    if scored > MOST_TIMES * most:
        return f"scoring reads {scored} tokens, and {most} in this verifier's own task"
    return None


def _scored(spec: TaskSpec, trainers: int) -> int:
    """Most tokens of validation rows that scoring a round of so many trainers reads."""
    return evaluations_of(spec, trainers) * spec.validation.rows * max(spec.model.max_tokens, 1)


def _models(spec: TaskSpec) -> set[Digest32]:
    emulators = spec.federation.emulators if spec.federation is not None else ()
    return {spec.model.weights_digest, *(emulator.weights_digest for emulator in emulators)}


def _batch(spec: TaskSpec) -> int:
    return spec.training.batch_size * max(spec.model.max_tokens, 1)
