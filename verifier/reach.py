"""Which rounds of other tasks a juror judges: those that ask no more of its machine than its own task does.

Anybody makes a task, settles it alone and brings a case about it. Attack: let it name a model that takes hours to
download or all of the memory. Every juror would begin, and its own rounds would wait behind it, unattested.
"""

from __future__ import annotations

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32

__all__ = ["MOST_TIMES", "out_of_reach"]

MOST_TIMES = 4
"""How many times as much a case may ask as the juror's own task: trainable values, and tokens of a batch."""


def out_of_reach(own: TaskSpec, own_values: int, other: TaskSpec, values: int) -> str | None:
    """Why a juror that verifies `own` does not judge a round of `other`; None if it does. `values` are trainable."""
    if not _models(other) <= _models(own):
        return "its base model is none that this verifier works with"
    if values > MOST_TIMES * own_values:
        return f"it tunes {values} values, and this verifier's own task {own_values}"
    if _batch(other) > MOST_TIMES * _batch(own):
        return f"its batches have {_batch(other)} tokens, and those of this verifier's own task {_batch(own)}"
    return None


def _models(spec: TaskSpec) -> set[Digest32]:
    emulators = spec.federation.emulators if spec.federation is not None else ()
    return {spec.model.weights_digest, *(emulator.weights_digest for emulator in emulators)}


def _batch(spec: TaskSpec) -> int:
    return spec.training.batch_size * max(spec.model.max_tokens, 1)
