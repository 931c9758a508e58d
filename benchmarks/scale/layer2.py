"""What a trainer's round costs on a rollup: gas there, and its calldata's way to layer 1.

A rollup posts the transactions that it ran to Ethereum, in calldata or in blobs. Which bytes those are was measured
(`chain.py`); what they cost follows from rules of Ethereum and from prices that the reader chooses. Rollups compress,
but digests and signatures do not get shorter, so bytes are taken as they are: an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.shared.replay_tasks import table

__all__ = ["layer2_part"]

TOKENS_OF_A_NONZERO_BYTE = 4
"""EIP-7623: a zero byte of calldata is one token, any other byte four."""
FLOOR_GAS_OF_A_TOKEN = 10
"""EIP-7623: the least that a transaction pays for its calldata; one that does little else, as a rollup's, pays it."""
BLOB_BYTES, USABLE_BYTES = 131_072, 126_976
"""EIP-4844: a blob has 4,096 field elements of 32 bytes, which hold 31 bytes of anything each."""
BLOB_GAS = 131_072
"""EIP-4844: of one blob."""
ENVELOPE_BYTES = 110
"""Of a transaction besides its calldata: nonce, fees, gas limit, recipient, signature (EIP-1559, RLP); none is zero."""
CALLS = ("commit", "reveal", "claim")
"""What a trainer's round is. Commitments and reveals are sent in batches, claims one by one."""


@dataclass(frozen=True)
class Prices:
    """What the reader assumes, gwei. Nobody promises them."""

    l1_gas: float
    blob_gas: float
    l2_gas: float


PRICES = (Prices(1.0, 1.0, 0.01), Prices(10.0, 1.0, 0.01))
"""Assumed on 2026-11-29: round numbers that are easy to scale, no forecast."""
FORMULA = f"""L1 calldata gas = {FLOOR_GAS_OF_A_TOKEN} (zero bytes + {TOKENS_OF_A_NONZERO_BYTE} other bytes), which is
the floor of EIP-7623. Blob gas = {BLOB_GAS:,} bytes / {USABLE_BYTES:,}, which a blob of EIP-4844 holds of anything. A
trainer's round costs L2 gas × its price + either L1 calldata gas × the price of L1 gas, or blob gas × the price of blob
gas."""


@dataclass(frozen=True)
class Bytes:
    """Of one trainer, as a rollup posts them."""

    zero: float
    other: float

    @property
    def all(self) -> float:
        """Bytes."""
        return self.zero + self.other

    @property
    def calldata_gas(self) -> float:
        """Layer 1 gas if they are posted as calldata."""
        return FLOOR_GAS_OF_A_TOKEN * (self.zero + TOKENS_OF_A_NONZERO_BYTE * self.other)

    @property
    def blob_gas(self) -> float:
        """Blob gas if they are posted in blobs, with others' bytes beside them."""
        return self.all * BLOB_GAS / USABLE_BYTES

    def __add__(self, more: Bytes) -> Bytes:
        return Bytes(self.zero + more.zero, self.other + more.other)


def bytes_of(cell: dict[str, Any], call: str) -> Bytes:
    """A trainer's part of a call's transactions."""
    sent = cell["calldata"][call]
    senders = 1 if call == "claim" else cell["trainers"]
    return Bytes(sent["zero"] / senders, (sent["other"] + ENVELOPE_BYTES * sent["transactions"]) / senders)


def layer2_part(cell: dict[str, Any]) -> str:
    """The page's part, from a measured round on chain."""
    sent = {call: bytes_of(cell, call) for call in CALLS}
    gas = {call: float(cell[f"gas_{call}"]) for call in CALLS}
    whole, all_gas = sum(sent.values(), Bytes(0, 0)), sum(gas.values())
    lines = [*((call, sent[call], gas[call]) for call in CALLS), ("a trainer's round", whole, all_gas)]
    per_call = table(
        ("", "zero bytes", "other bytes", "L2 gas", "L1 calldata gas", "blob gas"),
        (
            (name, *(f"{n:,.0f}" for n in (one.zero, one.other, spent, one.calldata_gas, one.blob_gas)))
            for name, one, spent in lines
        ),
    )
    prices = table(
        ("L1 gas, gwei", "blob gas, gwei", "L2 gas, gwei", "L2 execution", "data as calldata", "data in blobs"),
        (
            (
                *(f"{price:g}" for price in (at.l1_gas, at.blob_gas, at.l2_gas)),
                *(f"{cost:,.0f}" for cost in (
                    all_gas * at.l2_gas, whole.calldata_gas * at.l1_gas, whole.blob_gas * at.blob_gas
                )),
            )
            for at in PRICES
        ),
    )  # fmt: skip
    settle = cell["calldata"]["settle"]
    return f"""## On a rollup

A trainer's part of a round of {cell["trainers"]:,}: commitments and reveals in batches of 50, a claim alone, with
{ENVELOPE_BYTES} bytes of each transaction beside its calldata. {FORMULA}

{per_call}

What that costs, gwei for a trainer and round, at prices that are the reader's to choose:

{prices}

A blob holds the calldata of {USABLE_BYTES / whole.all:,.0f} trainers' rounds. A claim of several rounds together
costs less ([gas](gas.md)). A settlement is {settle["zero"] + settle["other"]:,} bytes, whatever the number of
trainers."""
