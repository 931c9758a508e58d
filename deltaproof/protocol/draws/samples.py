"""Which steps each verifier replays: derived from the challenge seed, the trainer and the round's verifiers.

Nobody knows the seed before reveals are over. So nobody can prepare the sampled steps only.

All verifiers of a round share one random permutation of a trainer's steps. They take their samples from it one after
the other, so that together they cover as many steps as they can. Each verifier's part is a uniformly random subset of
the steps. So the promise of sampling holds for each verifier alone, whatever the others do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.types import Address, Digest32, address_bytes

__all__ = ["draw_samples", "samples_needed"]

_DOMAIN = b"deltaproof/sample/v1\x00"


def draw_samples(
    challenge_seed: Digest32,
    task_id: int,
    round_index: int,
    trainer: Address,
    verifiers: Iterable[Address],
    *,
    steps: int,
    extra: int,
) -> dict[Address, tuple[int, ...]]:
    """For each of the round's verifiers, by ascending address, the sorted steps of `trainer` that it replays.

    Everybody replays the first and the last step. The M = steps - 2 between are permuted, and the i-th verifier takes
    the k = min(extra, M) at positions i k, i k + 1, ... (mod M): no step twice until all have been taken once.
    Raises ValueError for no step, a negative `extra` or a verifier named twice.
    """
    members = sorted(verifiers, key=address_bytes)
    if steps < 1 or extra < 0:
        raise ValueError(f"cannot draw {extra} extra steps of {steps}")
    if len(set(members)) != len(members):
        raise ValueError("a verifier is named twice")
    between = max(steps - 2, 0)
    count = min(extra, between)
    stream = HashStream(
        _DOMAIN + challenge_seed + task_id.to_bytes(8, "big") + round_index.to_bytes(4, "big") + address_bytes(trainer)
    )
    order = _permuted(between, min(len(members) * count, between), stream)
    return {
        verifier: tuple(sorted({0, steps - 1, *(order[(seat * count + i) % between] for i in range(count))}))
        for seat, verifier in enumerate(members)
    }


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
