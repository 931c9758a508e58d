"""Which block to look at: the latest, one that is deep enough, or the last that is final; never one behind the last."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from web3.types import BlockData

from deltaproof.protocol.types import Digest32

__all__ = ["LAG_SECONDS", "LOCAL_CHAINS", "BlockRef", "Depth", "HeadFollower", "default_depth"]

Depth = int | Literal["finalized"]
"""Blocks on top of the one that is believed, or the chain's own word for it."""
LOCAL_CHAINS = (1337, 31337)
"""Ids of development chains, which make blocks on demand and reorganise only in tests."""
DEFAULT_DEPTH = 2
LAG_SECONDS = 10.0
"""How long a lower head counts as a node that lags; after that the chain itself went back."""


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block; `timestamp` in seconds since the epoch."""

    number: int
    hash: Digest32
    timestamp: int

    @classmethod
    def of(cls, block: BlockData) -> BlockRef:
        """From web3's form."""
        return cls(int(block["number"]), Digest32(bytes(block["hash"])), int(block["timestamp"]))


class HeadFollower:
    """Remembers the highest block that was seen, so that no later answer comes from an earlier state."""

    def __init__(self) -> None:
        self._highest: BlockRef | None = None
        self._lower_since: float | None = None

    def saw(self, block: BlockRef) -> None:
        """A block that certainly exists, e.g. that of a receipt: nothing before it is looked at any more."""
        if self._highest is None or block.number >= self._highest.number:
            self._highest, self._lower_since = block, None

    def accept(self, block: BlockRef) -> BlockRef:
        """`block`, or the highest that was seen while a lower one may come from a node that lags.

        After LAG_SECONDS the chain itself went back, and the lower block counts.
        """
        if self._highest is None or block.number >= self._highest.number:
            self.saw(block)
            return block
        now = time.monotonic()
        self._lower_since = self._lower_since or now
        if now - self._lower_since < LAG_SECONDS:
            return self._highest
        self._highest, self._lower_since = block, None
        return block


def default_depth(chain_id: int) -> Depth:
    """None on development chains, else enough for the short reorganisations that every public chain has."""
    return 0 if chain_id in LOCAL_CHAINS else DEFAULT_DEPTH
