"""The batch order: derived from seed, task, round and trainer, so that nobody chooses and nobody grinds it.

docs/protocol.md, section 3. Epoch e is a Fisher-Yates shuffle of 0..rows-1: for i = rows-1 down to 1, swap i with a
uniform j in 0..i. The uniforms come from the hash stream `sha256(key ‖ epoch u32 ‖ counter u32)`, counter = 0, 1, ...;
each digest is read as four big-endian 64-bit words, and a word at or above the largest multiple of i+1 is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from deltaproof.protocol.rules import MAX_ROWS

__all__ = ["BatchOrder", "order_key", "shuffled"]

_DOMAIN = b"deltaproof/order/v1\x00"
_WORDS = 2**64


def order_key(order_seed: bytes, task_id: int, round_: int, trainer: bytes) -> bytes:
    """Key of one trainer's order in one round. Raises ValueError unless seed has 32 and trainer 20 bytes."""
    if len(order_seed) != 32 or len(trainer) != 20:
        raise ValueError("the order seed has 32 bytes and a trainer's address 20")
    return sha256(_DOMAIN + order_seed + task_id.to_bytes(8, "big") + round_.to_bytes(4, "big") + trainer).digest()


class BatchOrder:
    """Row indices of every step of one trainer's round."""

    def __init__(self, key: bytes, rows: int, batch_size: int) -> None:
        """`rows` is the number of rows of the trainer's data. Raises ValueError outside 1..2^28 or for no batch."""
        if not 1 <= rows <= MAX_ROWS:
            raise ValueError(f"data has 1 to {MAX_ROWS} rows, not {rows}")
        if batch_size < 1:
            raise ValueError(f"a batch has at least one row, not {batch_size}")
        self.key, self.rows, self.batch_size = key, rows, batch_size

    def batch(self, step: int) -> tuple[int, ...]:
        """Row indices of step `step` (from 0), in batch order; a batch runs over into the next epoch."""
        start = step * self.batch_size
        epochs = range(start // self.rows, (start + self.batch_size - 1) // self.rows + 1)
        upcoming = [row for epoch in epochs for row in shuffled(self.key, epoch, self.rows)]
        offset = start % self.rows
        return tuple(upcoming[offset : offset + self.batch_size])


@lru_cache(maxsize=8)
def shuffled(key: bytes, epoch: int, rows: int) -> tuple[int, ...]:
    """The order of one epoch."""
    order = list(range(rows))
    words = _word_stream(key + epoch.to_bytes(4, "big"))
    for i in range(rows - 1, 0, -1):
        limit = _WORDS - _WORDS % (i + 1)
        word = next(words)
        while word >= limit:
            word = next(words)
        j = word % (i + 1)
        order[i], order[j] = order[j], order[i]
    return tuple(order)


def _word_stream(prefix: bytes) -> Iterator[int]:
    for counter in range(2**32):
        digest = sha256(prefix + counter.to_bytes(4, "big")).digest()
        for start in range(0, 32, 8):
            yield int.from_bytes(digest[start : start + 8], "big")
