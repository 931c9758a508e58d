"""A second opinion on the chain: a node that nobody else runs is asked whether it knows the same blocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from deltaproof.chain import Connection, connect
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.chain.rpc.endpoints import shown_url
from deltaproof.errors import ChainError, ChainUnavailable, WrongChain
from deltaproof.reporting import Reporter
from deltaproof.store.waiting import LeftBehind, Line, TooSlow

__all__ = ["Witness"]

T = TypeVar("T")

EVERY_SECONDS = 30.0
WAIT_SECONDS = 5.0
"""How long everything else waits for its answer."""
BELOW_BLOCKS = 3
"""So far below the head that two honest nodes agree."""


class Witness:
    """Compares block hashes now and then. A witness that is away is told and not waited for.

    Attack: be somebody's witness and answer nothing, so that each of its looks at its own node takes a minute.
    """

    def __init__(self, url: str, connection: Connection, report: Reporter) -> None:
        """Raises WrongChain if it serves another chain."""
        self._url, self._own, self._report = url, connection, report
        self._other: Connection | None = None
        self._asked_at = float("-inf")
        self._left_behind = LeftBehind()
        self._ask_identity()

    def confirm(self, head: BlockRef) -> None:
        """Raises ChainUnavailable while the two nodes hold different blocks for the chain: one of them is wrong."""
        if time.monotonic() - self._asked_at < EVERY_SECONDS or not self._ask_identity():
            return
        number = max(0, head.number - BELOW_BLOCKS)
        own = bytes(self._own.block(number)["hash"])
        try:
            other = self._waited(lambda: self._hash_of(number))
        except ChainUnavailable as error:
            self._is_away(error)
            return
        except ChainError:
            return  # it has not seen that block yet
        if own != other:
            raise ChainUnavailable(
                f"the nodes disagree about block {number}: 0x{own.hex()[:16]}... here, 0x{other.hex()[:16]}... by the "
                "witness; nothing is done until they agree, or until you change --rpc or --witness"
            )
        self._asked_at = time.monotonic()

    def _ask_identity(self) -> bool:
        if self._other is None:
            try:
                self._other = self._waited(lambda: connect(self._url, chain_id=self._own.chain_id))
            except ChainUnavailable as error:
                self._is_away(error)
                return False
            if self._other.genesis != self._own.genesis:
                raise WrongChain("the witness serves another chain of the same id; check --rpc and --witness")
        return True

    def _hash_of(self, number: int) -> bytes:
        assert self._other is not None
        return bytes(self._other.block(number)["hash"])

    def _waited(self, ask: Callable[[], T]) -> T:
        try:
            return Line(self._left_behind).run(lambda _: ask(), seconds=WAIT_SECONDS)
        except TooSlow as error:
            raise ChainUnavailable(f"{shown_url(self._url)} takes longer than {WAIT_SECONDS:.0f} s") from error

    def _is_away(self, error: ChainUnavailable) -> None:
        self._report("witness", f"the witness does not answer: {error}")
        self._asked_at = time.monotonic()
