"""Claims from trees of up to 100,000 leaves.

A settlement names as many leaves as trainers committed. So that not 100,000 of them have to, the vault is told of a
larger tree by the address of the task manager, which this Anvil impersonates: it holds the leaves of the few real
trainers beside those of strangers. A claim's cost depends on the length of its proof alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from benchmarks.chain.gas.bench import Bench, person
from benchmarks.chain.gas.task import MeasuredTask, VerifierKey
from deltaproof.protocol.outcome.settlement import SettlementLeaf
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire.leaftree import LeafTree, counted_root, double_hash
from tests.worlds.simulated import digest

__all__ = ["CLAIMED_TOGETHER", "LEAF_COUNTS", "allocate_large", "claims_together", "patient_task", "together_label"]

LEAF_COUNTS = (10, 1_000, 100_000)
CLAIMED_TOGETHER = (2, 10)
LEAF_TYPES = ("address", "uint8", "int64", "uint64", "uint16", "uint128")


def allocate_large(task: MeasuredTask, number: int, leaves: Sequence[SettlementLeaf], count: int) -> LeafTree:
    """Put a tree of `count` leaves in the place of round `number`'s settled one."""
    hashes = [double_hash(LEAF_TYPES, leaf.fields()) for leaf in leaves]
    tree = LeafTree([*hashes, *_strangers(count - len(leaves))])
    payouts, manager = sum(leaf.payout for leaf in leaves), task.bench.contracts["tasks"].address
    pot = task.bench.contracts["vault"].functions.potOf(task.id, number).call()
    root, fees, expires_at = counted_root(tree.root, count), pot[2], pot[3]
    task.call("vault", "reserve", number, payouts + fees, sender=manager)
    task.call("vault", "allocate", number, root, payouts, fees, expires_at, sender=manager)
    return tree


@cache
def _strangers(count: int) -> tuple[Digest32, ...]:
    return tuple(digest("leaf", i) for i in range(count))


def claims_together(task: MeasuredTask) -> None:
    """One payee's rewards of several rounds in one transaction, each from the largest tree."""
    bench, count = task.bench, max(LEAF_COUNTS)
    claims: list[list[tuple[Any, ...]]] = []
    for number in range(1, max(CLAIMED_TOGETHER) + 1):
        task.play_to_opening()
        task.expire()
        leaves = task.leaves()
        task.attest(leaves, task.keys, {})
        task.settle(leaves)
        task.finalize()
        tree = allocate_large(task, number, leaves, count)
        claims.append([(task.id, number, i, count, leaf.fields(), tree.proof(i)) for i, leaf in enumerate(leaves)])
    for payee, rounds in enumerate(CLAIMED_TOGETHER):
        bench.call("token", "mint", claims[0][payee][4][0], 1)
        together = [claims[i][payee] for i in range(rounds)]
        bench.call("vault", "claimBatch", together, label=together_label(rounds))


def patient_task(bench: Bench, key: VerifierKey) -> MeasuredTask:
    """The task whose payees wait for ten rounds."""
    return MeasuredTask.create(
        bench, [key], [person("patient", i) for i in range(2)], "1 verifier", max(CLAIMED_TOGETHER)
    )


def together_label(rounds: int) -> str:
    """Label of so many claims at once."""
    return f"RewardVault.claimBatch of {rounds} rounds ({max(LEAF_COUNTS)} leaves)"
