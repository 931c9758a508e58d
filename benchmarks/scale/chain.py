"""A round of N trainers on real contracts, in batches, and what reading it takes: gas, RPC calls, seconds.

Training is simulated: what is committed and revealed are digests. Everything that is read, is read by the product.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chain.gas.bench import Bench, anvil, person
from benchmarks.chain.gas.rounds import index_of, signed_for_relay
from benchmarks.chain.gas.task import MeasuredTask, register, verifier_keys
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.session import open_index
from deltaproof.chain import Deployment, Gateway, connect
from deltaproof.chain.participation import known_faults
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.outcome.settlement import leaves_tree
from deltaproof.protocol.types import Address, RoundIndex, TaskId

__all__ = ["round_on_chain"]

BATCH = 50
VERIFIERS = 3
ROUND = RoundIndex(1)


def round_on_chain(trainers: int) -> dict[str, Any]:
    """One settled round of so many trainers."""
    with anvil() as url:
        bench = Bench(url)
        bench.deploy()
        keys = verifier_keys(VERIFIERS)
        register(bench, keys)
        people = [person("scale", i) for i in range(trainers)]
        task = MeasuredTask.create(bench, keys, people, "scale")
        enrolling = bench.gas["TrainerPool.enrol (next)"] if trainers > 1 else bench.gas["TrainerPool.enrol (first)"]
        task.call("tasks", "openRound")
        task.draw()
        committing, revealing = [], []
        for i in range(0, trainers, BATCH):
            committing.append(_gas(task.call("trainers", "commitBatch", signed_for_relay(task, people[i : i + BATCH]))))
        first = index_of(task, people[0])
        places = {t.address: first + place for place, t in enumerate(people)}
        for number, i in enumerate(range(0, trainers, BATCH), start=1):
            entries = [(places[t.address], t.address, *task.work(t)) for t in people[i : i + BATCH]]
            revealing.append(_gas(task.call("trainers", "revealBatch", number, entries)))
        task.draw()
        task.show_validation()
        task.expire()
        leaves = task.leaves()
        task.attest(leaves, keys, {})
        read = _reading(url, task, len(people))
        task.settle(leaves, label="settle")
        task.finalize(label="finalize")
        tree = leaves_tree(leaves)
        claims = [(task.id, 1, 0, trainers, leaves[0].fields(), tree.proof(0))]
        bench.call("vault", "claimBatch", claims, label="claim")
        seconds, rows = _indexing(url, bench)
        return {
            "trainers": trainers,
            "gas_enrol": enrolling,
            "gas_commit": sum(committing) / trainers,
            "gas_reveal": sum(revealing) / trainers,
            "gas_settle": bench.gas["settle"],
            "gas_finalize": bench.gas["finalize"],
            "gas_claim": bench.gas["claim"],
            **read,
            "index_seconds": seconds,
            "index_rows": rows,
        }


def _gas(receipt: Any) -> int:
    return int(receipt["gasUsed"])


def _reading(url: str, task: MeasuredTask, trainers: int) -> dict[str, Any]:
    """What a verifier reads before it judges: events, enrolments, their order, known faults."""
    connection = connect(url)
    deployment = Deployment.at(connection, Address(task.bench.contracts["tasks"].address))
    with tempfile.TemporaryDirectory() as folder, connection.reading_at(connection.head()):
        gateway = Gateway(connection, deployment)
        log = TaskLog(gateway, [gateway.trainers.address, gateway.verifiers.address], TaskId(task.id), Path(folder))
        steps: dict[str, Callable[[], object]] = {
            "events": lambda: log.refresh(ROUND),
            "enrolments": lambda: gateway.trainers.enrolments(TaskId(task.id)),
            "order": lambda: log.enrolments.order(ROUND, log.committed(ROUND)),
            "faults": lambda: known_faults(gateway, TaskId(task.id), ROUND, log.committed(ROUND)),
        }
        found: dict[str, Any] = {}
        for name, step in steps.items():
            with _counted(connection) as calls:
                began = time.perf_counter()
                step()
                found[f"{name}_seconds"] = time.perf_counter() - began
            found[f"{name}_calls"] = calls[0]
        if len(log.committed(ROUND)) != trainers:
            raise RuntimeError(f"{len(log.committed(ROUND))} of {trainers} commitments were read")
        return found


@contextmanager
def _counted(connection: Any) -> Iterator[list[int]]:
    """Requests to the node inside."""
    manager, calls = connection.web3.manager, [0]
    ask = manager.request_blocking

    def counted(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        return ask(*arguments, **options)

    manager.request_blocking = counted
    try:
        yield calls
    finally:
        manager.request_blocking = ask


def _indexing(url: str, bench: Bench) -> tuple[float, int]:
    """Seconds of reading the whole chain into an auditor's index, and its events."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        index, synced = open_index(
            Rpc(url), Address(bench.contracts["tasks"].address), str(Path(folder) / "index.sqlite")
        )
        seconds = time.perf_counter() - began
        index.engine.dispose()
    return seconds, synced.events
