"""What to offer for gas: EIP-1559 where blocks have a base fee, a plain gas price elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from web3.exceptions import MethodUnavailable, Web3RPCError

from deltaproof.chain.rpc.connection import Connection

__all__ = ["Fees", "bumped", "coins", "current_fees"]

FALLBACK_PRIORITY_WEI = 10**9


@dataclass(frozen=True)
class Fees:
    """Wei per gas; `priority_wei` is None on chains without a base fee."""

    max_wei: int
    priority_wei: int | None

    def fields(self) -> dict[str, int]:
        """The transaction's fee fields."""
        if self.priority_wei is None:
            return {"gasPrice": self.max_wei}
        return {"maxFeePerGas": self.max_wei, "maxPriorityFeePerGas": self.priority_wei}

    @property
    def likely_wei(self) -> int:
        """What a transaction in the next block pays: `current_fees` offers twice the base fee, for the blocks after."""
        return self.max_wei if self.priority_wei is None else (self.max_wei + self.priority_wei) // 2

    @classmethod
    def of(cls, transaction: dict[str, object]) -> Fees:
        """The fees that a transaction offers."""
        if "gasPrice" in transaction:
            return cls(int(str(transaction["gasPrice"])), None)
        return cls(int(str(transaction["maxFeePerGas"])), int(str(transaction["maxPriorityFeePerGas"])))


def current_fees(connection: Connection) -> Fees:
    """Enough for the next blocks: twice the base fee plus the node's priority fee."""
    base = connection.block().get("baseFeePerGas")
    with connection.translated("gas price"):
        eth = connection.web3.eth
        if base is None:
            return Fees(int(eth.gas_price), None)
        try:
            priority = int(eth.max_priority_fee)
        except (Web3RPCError, MethodUnavailable):  # the method is younger than the fee market
            priority = FALLBACK_PRIORITY_WEI
        # A base fee rises by an eighth a block at most: twice of it lasts five full blocks.
        return Fees(2 * int(base) + priority, priority)


def bumped(offered: Fees, current: Fees) -> Fees:
    """A quarter more than was offered (nodes want a tenth or an eighth to replace), or the current fees if higher."""
    priority = None
    if offered.priority_wei is not None:
        priority = max(offered.priority_wei * 5 // 4 + 1, current.priority_wei or 0)
    return Fees(max(offered.max_wei * 5 // 4 + 1, current.max_wei), priority)


def coins(wei: int) -> str:
    """An amount of the chain's own currency, every digit."""
    return f"{Decimal(wei).scaleb(-18).normalize():f}"
