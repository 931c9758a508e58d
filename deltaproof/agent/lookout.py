"""One look at the chain for everybody in a process: one question for the head, one for what all read in a new block.

Each task has a thread of its own. Whichever comes first asks; the others take the same answer, and are woken by a new
block. So the calls of a quiet minute do not grow with the number of tasks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from deltaproof.agent.witness import Witness
from deltaproof.chain import Connection
from deltaproof.chain.rpc.blocks import BlockRef, Depth, default_depth
from deltaproof.chain.rpc.connection import View
from deltaproof.errors import ChainUnavailable

__all__ = ["Lookout"]

STALE = 0.9
"""Share of its pause after which somebody who looks wants a newer answer; below 1, so that a thread that wakes a little
early does not wait a pause more."""
FAILURE_SECONDS = 1.0
"""So long a failure is the answer to everybody: a node that is away costs one wait, not one for each task."""

Questions = Callable[[], Sequence[View]]


class Lookout:
    """The block that is acted on. Safe to share between threads."""

    def __init__(self, connection: Connection, depth: Depth | None = None) -> None:
        """`depth`: blocks on top of the one that is acted on; by default none on development chains, else two."""
        self.depth = default_depth(connection.chain_id) if depth is None else depth
        self.witness: Witness | None = None
        self._connection = connection
        self._lock = threading.Lock()
        self._seen: tuple[BlockRef, float] | None = None
        self._failed: tuple[str, float] = ("", float("-inf"))
        self._watchers: dict[Callable[[], None], Questions] = {}

    def head(self, pause_seconds: float) -> BlockRef:
        """The block to act on, for somebody who looks once in `pause_seconds`.

        Raises ChainUnavailable, also while the witness holds another block for the chain.
        """
        with self._lock:
            block = self._newest(STALE * pause_seconds)
        # The own transactions of a thread are seen by it alone: nobody else acts on a block that is not deep enough.
        return self._connection.accepted(block)

    @contextmanager
    def watched(self, wake: Callable[[], None], questions: Questions) -> Iterator[None]:
        """While this lasts, `questions` are asked with everybody's in each new block, and `wake` is called then."""
        with self._lock:
            self._watchers[wake] = questions
        try:
            yield
        finally:
            with self._lock:
                del self._watchers[wake]

    def _newest(self, longest_age: float) -> BlockRef:
        now, (trouble, failed_at) = time.monotonic(), self._failed
        if len(self._watchers) > 1:  # who is alone asks whenever it looks
            if now - failed_at < FAILURE_SECONDS:
                raise ChainUnavailable(trouble)
            if self._seen is not None and now - self._seen[1] < longest_age:
                return self._seen[0]
        try:
            block = self._connection.deep(self.depth)
            if self.witness is not None:
                self.witness.confirm(block)
            before = self._seen
            if before is None or before[0].hash != block.hash:
                self._announce(block)
        except ChainUnavailable as error:
            self._failed = (str(error), time.monotonic())
            raise
        self._seen = (block, time.monotonic())
        return block

    def _announce(self, block: BlockRef) -> None:
        """Ask what everybody will ask in this block, and tell them that it is there."""
        if len(self._watchers) < 2:
            return
        with self._connection.reading_at(block):
            self._connection.prefetch([view for questions in self._watchers.values() for view in questions()])
        for wake in self._watchers:
            wake()
