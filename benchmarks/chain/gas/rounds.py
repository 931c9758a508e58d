"""Whole rounds with 3, 30 and 300 verifiers, batches of trainers, and penalties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak

from benchmarks.chain.gas.bench import Bench, person
from benchmarks.chain.gas.claims import allocate_large
from benchmarks.chain.gas.task import MeasuredTask, VerifierKey
from deltaproof.protocol.outcome.settlement import leaves_tree
from tests.worlds.simulated import UNIT, digest

__all__ = [
    "BATCH", "VERIFIER_COUNTS", "index_of", "measure_batch", "measure_penalties", "measure_rounds", "signed_for_relay",
]  # fmt: skip

VERIFIER_COUNTS = (3, 30, 300)
BATCH = 50


def measure_rounds(bench: Bench, keys: Sequence[VerifierKey], leaf_count: int) -> None:
    """Two rounds: everyone signs, then a third is absent; claims from a tree of `leaf_count` leaves."""
    trainers = [person("trainer", 1_000 * len(keys) + i) for i in range(3)]
    name = f"{len(keys)} verifiers"
    task = MeasuredTask.create(bench, keys, trainers, name)
    for number, absent in ((1, keys[:0]), (2, keys[: len(keys) // 3])):
        task.play_to_opening(f"(round {number}, {name})")
        for i, trainer in enumerate(trainers):
            word = {0: "", 1: ", next,"}.get(i)
            label = "" if word is None else f"TrainerPool.openingsPublished{word} (round {number})"
            task.call("trainers", "openingsPublished", sender=trainer.address, label=label)
        leaves = task.leaves()
        # All of them attest in the first round; later only some, which settlement does not depend on.
        acting = list(keys) if number == 1 else list(keys[:3])
        task.attest(leaves, acting, {0: f" (first, {name})", 1: f" (next, {name})"} if number == 1 else {})
        word = f"{len(absent)} absent" if absent else "all sign"
        task.settle(leaves, absent, f"TaskManager.settle ({name}, {word})")
        task.finalize(f"TaskManager.finalize (round {number}, {name})")
        tree = allocate_large(task, number, leaves, leaf_count)
        for i, leaf in enumerate(leaves):
            order = "first" if number == 1 else "next"
            balance = " of a payee without balance" if number == 1 else ""
            if number == 1 and i == 2:
                bench.call("token", "mint", leaf.trainer, 1)
                balance = ""
            label = f"RewardVault.claim, {order}{balance} ({leaf_count} leaves)"
            task.call("vault", "claim", number, i, leaf_count, leaf.fields(), tree.proof(i), label=label)
    task.call("fees", "claimFees", [1], keys[0].account, label=f"VerifierFees.claimFees ({name})")


def measure_batch(bench: Bench, key: VerifierKey) -> None:
    """Commitments and reveals of many trainers in one transaction, and a claim over several rounds."""
    trainers = [person("batched", i) for i in range(BATCH)]
    task = MeasuredTask.create(bench, [key], trainers, "1 verifier")
    for number, groups in ((1, ((0, 1), (1, 2), (2, BATCH))), (2, ((0, BATCH),))):
        task.call("tasks", "openRound")
        task.draw()
        for low, high in groups:
            label = f"TrainerPool.commitBatch of {high - low} (round {number}, batch from {low})"
            task.call("trainers", "commitBatch", signed_for_relay(task, trainers[low:high]), label=label)
        for batch, (low, high) in enumerate(groups, start=1):
            entries = [(index_of(task, t), t.address, *task.work(t)) for t in trainers[low:high]]
            label = f"TrainerPool.revealBatch of {high - low} (round {number}, batch from {low})"
            task.call("trainers", "revealBatch", batch, entries, label=label)
        task.draw()
        task.show_validation()
        task.expire()
        leaves = task.leaves()
        task.attest(leaves, [key], {})
        task.settle(leaves, label=f"TaskManager.settle (1 verifier, {BATCH} trainers)")
        task.finalize()
    leaves = task.leaves()
    tree = leaves_tree(leaves)
    claims = [(task.id, number, 0, BATCH, leaves[0].fields(), tree.proof(0)) for number in (1, 2)]
    bench.call("vault", "claimBatch", claims, label="RewardVault.claimBatch of 2 rounds")


def signed_for_relay(task: MeasuredTask, trainers: Sequence[Any]) -> list[tuple[bytes, bytes, bytes]]:
    """What the trainers signed for a relay (EIP-712, EIP-2098)."""
    pool, codec = task.bench.contracts["trainers"], task.bench.web3.codec
    typehash, domain = pool.functions.COMMIT_TYPEHASH().call(), pool.functions.domainSeparator().call()
    number, signed = task.round, []
    for trainer in trainers:
        sealed = task.sealed(trainer)
        encoded = codec.encode(["bytes32", "uint64", "uint32", "bytes32"], [typehash, task.id, number, sealed])
        signature = Account.unsafe_sign_hash(keccak(b"\x19\x01" + domain + keccak(encoded)), trainer.key)
        vs = signature.s | (signature.v - 27) << 255
        signed.append((bytes(sealed), signature.r.to_bytes(32, "big"), vs.to_bytes(32, "big")))
    return signed


def index_of(task: MeasuredTask, trainer: Any) -> int:
    """Its place among the task's enrolments."""
    enrolment = task.bench.contracts["trainers"].functions.enrolmentOf(task.id, trainer.address).call()
    return int(enrolment[0])


def measure_penalties(bench: Bench, key: VerifierKey) -> None:
    """A slash, a bond forfeited, and the way out of the registry."""
    trainers = [person("penalty", i) for i in range(3)]
    task = MeasuredTask.create(bench, [key], trainers, "penalties")
    cheat, silent, leaver = (trainer.address for trainer in trainers)
    task.play_to_opening()
    task.expire()
    leaves = task.leaves(rejected=[cheat])
    task.attest(leaves, [key], {})
    task.settle(leaves)
    task.finalize()
    index = [leaf.trainer for leaf in leaves].index(cheat)
    proof = leaves_tree(leaves).proof(index)
    task.call("trainers", "slash", 1, index, leaves[index].fields(), proof, label="TrainerPool.slash")
    task.call("trainers", "topUp", sender=cheat, label="TrainerPool.topUp")
    task.call("tasks", "openRound")
    task.draw()
    task.call("trainers", "commit", digest("never shown"), sender=silent)
    task.expire()
    task.expire("TaskManager.advance, nobody revealed")
    task.call("trainers", "forfeitBond", 2, silent, label="TrainerPool.forfeitBond")
    task.call("trainers", "resign", sender=leaver, label="TrainerPool.resign")
    bench.wait(3_601)
    task.call("trainers", "release", leaver, label="TrainerPool.release")
    bench.call("registry", "requestUnbond", 0, 10 * UNIT, sender=leaver, label="StakeRegistry.requestUnbond")
    bench.wait(8 * 86_400)
    bench.call("registry", "withdraw", 0, sender=leaver, label="StakeRegistry.withdraw")
