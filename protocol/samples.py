"""Which steps a verifier replays: derived from the challenge seed, the verifier and the trainer.

Nobody knows the seed before reveals are over, so nobody can prepare the sampled steps only; two verifiers draw
different samples, so a committee covers more than one verifier, and one's work does not serve another.
"""

from __future__ import annotations

import math

from protocol.stream import HashStream
from protocol.types import Address, Digest32, address_bytes

__all__ = ["draw_steps", "samples_needed"]

_DOMAIN = b"deltaproof/sample/v1\x00"


def draw_steps(
    challenge_seed: Digest32,
    task_id: int,
    round_index: int,
    verifier: Address,
    trainer: Address,
    *,
    steps: int,
    extra: int,
) -> tuple[int, ...]:
    """Sorted sample of `steps` training steps: the first, the last, and `extra` of those between without repetition.

    The i-th extra step is a partial Fisher-Yates draw from the steps 1..steps-2 in ascending order. All of them are
    taken when `extra` reaches their number. Raises ValueError for no step or a negative `extra`.
    """
    if steps < 1 or extra < 0:
        raise ValueError(f"cannot draw {extra} extra steps of {steps}")
    prefix = (
        _DOMAIN
        + challenge_seed
        + task_id.to_bytes(8, "big")
        + round_index.to_bytes(4, "big")
        + address_bytes(verifier)
        + address_bytes(trainer)
    )
    stream = HashStream(prefix)
    between = list(range(1, steps - 1))
    count = min(extra, len(between))
    for i in range(count):
        j = i + stream.below(len(between) - i)
        between[i], between[j] = between[j], between[i]
    return tuple(sorted({0, steps - 1, *between[:count]}))


def samples_needed(corrupt_fraction: float, detection_probability: float) -> int:
    """Samples that catch a trainer who corrupts a fraction of the steps: ceil(ln(1-p) / ln(1-f))."""
    if not (0.0 < corrupt_fraction < 1.0 and 0.0 < detection_probability < 1.0):
        raise ValueError("both fractions lie strictly between 0 and 1")
    return math.ceil(math.log1p(-detection_probability) / math.log1p(-corrupt_fraction))
