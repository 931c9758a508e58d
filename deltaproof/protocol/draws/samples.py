"""Which steps of a trainer are replayed: derived from the challenge seed and the trainer, one sample for all verifiers.

Nobody knows the seed before reveals are over. So nobody can prepare the sampled steps only.

All verifiers of a round replay the same steps. So what one of them finds, all find: a fault is not outvoted by those
who drew other steps, and who shows an opening to one of them shows it to all.
"""

from __future__ import annotations

import math

from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.types import Address, Digest32

__all__ = ["draw_samples", "replayed_steps", "samples_needed"]

_DOMAIN = b"deltaproof/sample/v2\x00"


def draw_samples(
    challenge_seed: Digest32,
    task_id: int,
    round_index: int,
    trainer: Address,
    *,
    steps: int,
    extra: int,
    run: int = 1,
) -> tuple[int, ...]:
    """The sorted steps of `trainer` that every verifier of the round replays.

    They are the first, the last, and of those between ceil(extra / run) runs of `run` consecutive steps (the last run
    may be shorter), a uniformly random subset of all runs. With `run` = 1 that is min(extra, steps - 2) single steps.
    Raises ValueError for no step, a negative `extra`, or no step a run.
    """
    if steps < 1 or extra < 0 or run < 1:
        raise ValueError(f"cannot draw {extra} extra steps of {steps} in runs of {run}")
    between = max(steps - 2, 0)
    runs = -(-between // run)
    stream = HashStream.of_trainer(_DOMAIN, challenge_seed, task_id, round_index, trainer)
    drawn = _permuted(runs, min(-(-extra // run), runs), stream)
    middle = (step for number in drawn for step in range(1 + (number - 1) * run, 1 + min(number * run, between)))
    return tuple(sorted({0, steps - 1, *middle}))


def replayed_steps(steps: int, extra: int) -> int:
    """How many steps of a trainer `draw_samples` draws: the first, the last, and `extra` of those between."""
    return min(steps, extra + 2)


def _permuted(between: int, wanted: int, stream: HashStream) -> list[int]:
    """The first `wanted` entries of a Fisher-Yates shuffle of 1..between; only what moved is kept."""
    moved: dict[int, int] = {}
    order = []
    for i in range(wanted):
        j = i + stream.below(between - i)
        order.append(moved.get(j, j + 1))
        moved[j] = moved.get(i, i + 1)
    return order


def samples_needed(corrupt_fraction: float, detection_probability: float) -> int:
    """Samples that catch a trainer who corrupts a fraction of the steps: ceil(ln(1-p) / ln(1-f))."""
    if not (0.0 < corrupt_fraction < 1.0 and 0.0 < detection_probability < 1.0):
        raise ValueError("both fractions lie strictly between 0 and 1")
    return math.ceil(math.log1p(-detection_probability) / math.log1p(-corrupt_fraction))
