"""A round of N trainers on real contracts, in batches, and what reading it takes: gas, calldata, RPC calls, seconds.

Training is simulated: what is committed and revealed are digests. Everything that is read, is read by the product.
"""

from __future__ import annotations

from typing import Any

from benchmarks.chain.gas.bench import Bench, anvil, person
from benchmarks.chain.gas.rounds import index_of, signed_for_relay
from benchmarks.chain.gas.task import IMPROVEMENT_NANOS, MeasuredTask, register, verifier_keys
from benchmarks.scale.reading import audited, read_by_a_verifier, read_memories
from deltaproof.protocol.outcome.settlement import SettlementLeaf, SettlementProposal, leaves_tree
from tests.worlds.simulated import settlement_of

__all__ = ["round_on_chain"]

BATCH = 50
HARDFORK = "prague"
"""With the floor price of calldata (EIP-7623)."""
VERIFIERS = 3


def round_on_chain(trainers: int) -> dict[str, Any]:
    """One settled round of so many trainers."""
    with anvil(HARDFORK) as url:
        bench = Bench(url)
        bench.deploy()
        keys = verifier_keys(VERIFIERS)
        register(bench, keys)
        people = [person("scale", i) for i in range(trainers)]
        task = MeasuredTask.create(bench, keys, people, "scale")
        enrolling = bench.gas["TrainerPool.enrol (next)"] if trainers > 1 else bench.gas["TrainerPool.enrol (first)"]
        task.call("tasks", "openRound")
        task.draw()
        sent: dict[str, list[Any]] = {"commit": [], "reveal": [], "claim": [], "settle": []}
        for i in range(0, trainers, BATCH):
            batch = signed_for_relay(task, people[i : i + BATCH])
            sent["commit"].append(task.call("trainers", "commitBatch", batch))
        first = index_of(task, people[0])
        places = {t.address: first + place for place, t in enumerate(people)}
        for number, i in enumerate(range(0, trainers, BATCH), start=1):
            entries = [(places[t.address], t.address, *task.work(t)) for t in people[i : i + BATCH]]
            sent["reveal"].append(task.call("trainers", "revealBatch", number, entries))
        task.draw()
        task.show_validation()
        task.expire()
        leaves = task.leaves()
        task.attest(leaves, keys, {})
        read = read_by_a_verifier(url, task)
        proposal = SettlementProposal(
            settlement=settlement_of(task.domain, leaves, IMPROVEMENT_NANOS), leaves=tuple(leaves)
        )
        task.settle(leaves, label="settle")
        sent["settle"].append(_last_transaction(bench))
        task.finalize(label="finalize")
        sent["claim"].append(bench.call("vault", "claimBatch", [_claim(task, leaves)], label="claim"))
        shown = audited(url, bench, task, leaves)
        task.call("tasks", "openRound")
        return {
            "trainers": trainers,
            "gas_enrol": enrolling,
            "gas_commit": sum(int(receipt["gasUsed"]) for receipt in sent["commit"]) / trainers,
            "gas_reveal": sum(int(receipt["gasUsed"]) for receipt in sent["reveal"]) / trainers,
            "gas_settle": bench.gas["settle"],
            "gas_finalize": bench.gas["finalize"],
            "gas_claim": bench.gas["claim"],
            "calldata": {name: _calldata(bench, receipts) for name, receipts in sent.items()},
            **read,
            **read_memories(url, task, proposal),
            **shown,
        }


def _claim(task: MeasuredTask, leaves: list[SettlementLeaf]) -> tuple[Any, ...]:
    """Of the first leaf."""
    return (task.id, 1, 0, len(leaves), leaves[0].fields(), leaves_tree(leaves).proof(0))


def _last_transaction(bench: Bench) -> Any:
    """Of the newest block, which holds one."""
    block: Any = bench.web3.eth.get_block("latest")
    return {"transactionHash": block["transactions"][-1]}


def _calldata(bench: Bench, receipts: list[Any]) -> dict[str, int]:
    """Transactions, and zero and other bytes of what they were called with."""
    data = [bytes(bench.web3.eth.get_transaction(receipt["transactionHash"])["input"]) for receipt in receipts]
    zeros = sum(one.count(0) for one in data)
    return {"transactions": len(data), "zero": zeros, "other": sum(map(len, data)) - zeros}
