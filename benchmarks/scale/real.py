"""A round of N trainers that really train and V verifiers that really replay, in one process with a chain beside it.

The minimal preset: a small BERT under LoRA, 6 steps of 4 rows. Time is that of the whole process on a shared machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.scale.reading import timed
from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.facts.leaves import read_attestations
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.session import open_index
from deltaproof.chain.local_node import start_node
from deltaproof.store.backend import LocalBackend
from tests.worlds.roles import RoleWorld, build_world
from verifier.life import Verifier

__all__ = ["VERIFIERS", "real_round"]

VERIFIERS = 3
ACTS = ("attest_commit", "attest_reveal", "settle", "close_rounds")
"""All that a verifier does in a round of `RoleWorld.play`."""


@dataclass
class Spent:
    """What one verifier spent in a round."""

    cpu_seconds: float = 0.0
    read_bytes: int = 0
    """From the store: deltas, openings, validation rows, attestations and proposals of others."""


def real_round(trainers: int, verifiers: int = VERIFIERS, committee: int = 0) -> dict[str, Any]:
    """One round that is settled, of honest trainers of shards of their own and one who cheats; then its audit.

    `committee`: of so many verifiers for each trainer (`verification.committee`); 0 for everybody.
    """
    scoring, aggregation = 'index = "aumann_shapley"\nrows = "distinct"', 'weights = "rows"'
    found: dict[str, Any] = {"trainers": trainers, "verifiers": verifiers, "committee": committee}
    with tempfile.TemporaryDirectory() as folder, start_node("anvil", accounts=trainers + verifiers + 6) as node:
        world = timed(found, "enrolling", lambda: build_world(
            node, Path(folder), rounds=1, honest=trainers - 1, verifiers=verifiers, scoring=scoring,
            aggregation=aggregation, named=False, max_trainers=max(64, trainers),
            verification=f"committee = {committee}",
        ))  # fmt: skip
        with _metered(world.verifiers) as spent:
            timed(found, "round", lambda: world.play(1))
        found["verifier_cpu_seconds"] = statistics.median(one.cpu_seconds for one in spent)
        found["verifier_read_bytes"] = statistics.median(one.read_bytes for one in spent)
        files = [path for path in (Path(folder) / "store").rglob("*") if path.is_file()]
        found["stored_bytes"] = sum(path.stat().st_size for path in files)
        index, _ = open_index(world.rpc, world.contract)
        found["replayed_steps"], found["attestation_bytes"] = _attested(world, index)
        report = timed(found, "audit", lambda: run_audit(AuditSource(index, world.store, world.rpc), AuditOptions()))
        world.close()
    failed = [check for check in report.checks if check.status is Status.FAIL]
    if failed:
        raise RuntimeError(f"{len(failed)} checks fail, first of all {failed[0]}")
    return found | {"audit_checks": len(report.checks)}


@contextmanager
def _metered(verifiers: list[Verifier]) -> Iterator[list[Spent]]:
    """What each of them spends inside. They take turns in one process, so what a turn takes is its verifier's."""
    spent, turn = [Spent() for _ in verifiers], list[Spent]()
    read = LocalBackend.read

    def counted(backend: LocalBackend, path: str, max_bytes: int) -> bytes:
        data = read(backend, path, max_bytes)
        if turn:
            turn[-1].read_bytes += len(data)
        return data

    def on_account(act: Callable[..., object], own: Spent) -> Callable[..., object]:
        def acting(*arguments: object) -> object:
            turn.append(own)
            began = time.process_time()
            try:
                return act(*arguments)
            finally:
                own.cpu_seconds += time.process_time() - began
                turn.pop()

        return acting

    for verifier, own in zip(verifiers, spent, strict=True):
        for name in ACTS:
            setattr(verifier, name, on_account(getattr(verifier, name), own))
    with patch.object(LocalBackend, "read", counted):
        yield spent


def _attested(world: RoleWorld, index: Index) -> tuple[float, float]:
    """Steps that a verifier replayed, and bytes of its attestation; medians over verifiers."""
    facts = load_round(index, load_task(index, world.task), 1)
    documents = list(read_attestations(facts, world.store).values())
    steps = [
        sum(len({check.step for check in finding.checks if check.step >= 0}) for finding in document.findings)
        for document in documents
    ]
    return statistics.median(steps), statistics.median(len(document.to_document()) for document in documents)
