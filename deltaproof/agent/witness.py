"""A second opinion on the chain: a node that nobody else runs is asked whether it knows the same blocks."""

from __future__ import annotations

import time

from deltaproof.chain import Connection, connect
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.errors import ChainError, ChainUnavailable, WrongChain
from deltaproof.reporting import Reporter

__all__ = ["Witness"]

EVERY_SECONDS = 30.0
BELOW_BLOCKS = 3
"""So far below the head that two honest nodes agree."""


class Witness:
    """Compares block hashes now and then. A witness that is away is told and not waited for."""

    def __init__(self, url: str, connection: Connection, report: Reporter) -> None:
        """Raises WrongChain if it serves another chain."""
        self._url, self._own, self._report = url, connection, report
        self._other: Connection | None = None
        self._asked_at = float("-inf")
        self._ask_identity()

    def confirm(self, head: BlockRef) -> None:
        """Raises ChainUnavailable while the two nodes hold different blocks for the chain: one of them is wrong."""
        if time.monotonic() - self._asked_at < EVERY_SECONDS or not self._ask_identity():
            return
        assert self._other is not None
        number = max(0, head.number - BELOW_BLOCKS)
        own = bytes(self._own.block(number)["hash"])
        try:
            other = bytes(self._other.block(number)["hash"])
        except ChainUnavailable as error:
            self._report("witness", f"the witness does not answer: {error}")
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
                self._other = connect(self._url, chain_id=self._own.chain_id)
            except ChainUnavailable as error:
                self._report("witness", f"the witness does not answer: {error}")
                self._asked_at = time.monotonic()
                return False
            if self._other.genesis != self._own.genesis:
                raise WrongChain("the witness serves another chain of the same id; check --rpc and --witness")
        return True
