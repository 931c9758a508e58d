"""Uniform integers from a hash stream: the protocol's only source of pseudo-random choices.

The stream of a prefix is `sha256(prefix ‖ counter u32)`, counter = 0, 1, ..., each digest read as four big-endian
64-bit words. A uniform integer below n is a word modulo n; words at or above the largest multiple of n are rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from deltaproof.protocol.types import Address, Digest32, address_bytes

__all__ = ["HashStream"]

WORDS = 2**64


class HashStream:
    """The stream of one prefix, consumed in order."""

    def __init__(self, prefix: bytes) -> None:
        self._words = _words(prefix)

    @classmethod
    def of_trainer(cls, domain: bytes, seed: Digest32, task_id: int, round_index: int, trainer: Address) -> HashStream:
        """The stream of one trainer's round: of the prefix domain, seed, task as 8 bytes, round as 4, address."""
        place = task_id.to_bytes(8, "big") + round_index.to_bytes(4, "big")
        return cls(domain + seed + place + address_bytes(trainer))

    def below(self, bound: int) -> int:
        """The next uniform integer in 0..bound-1. Raises ValueError unless 1 <= bound <= 2^64."""
        if not 1 <= bound <= WORDS:
            raise ValueError(f"no uniform integer below {bound}")
        limit = WORDS - WORDS % bound
        word = next(self._words)
        while word >= limit:
            word = next(self._words)
        return word % bound


def _words(prefix: bytes) -> Iterator[int]:
    for counter in range(2**32):
        digest = sha256(prefix + counter.to_bytes(4, "big")).digest()
        for start in range(0, 32, 8):
            yield int.from_bytes(digest[start : start + 8], "big")
