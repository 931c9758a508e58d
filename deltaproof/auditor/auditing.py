"""An audit from what a person names: a chain and a store, or a bundle; its report at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.report import AuditReport
from deltaproof.auditor.audit.run import Audit, Pool, one_process
from deltaproof.auditor.bundle import Bundle
from deltaproof.auditor.facts.stores import Source
from deltaproof.auditor.history import Historian
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.protocol.types import hex_of
from deltaproof.tuning.numerics.machine import HERE, Machine

__all__ = ["AuditSource", "run_audit"]


@dataclass(frozen=True)
class AuditSource:
    """Where chain facts and artifacts come from."""

    index: Index
    store: Source
    rpc: Rpc | None
    witness: Rpc | None = None
    only: tuple[int, int] | None = None
    """Task and round of a bundle; None for a whole chain. A bundle says nothing of all blocks, balances and stakes."""

    @classmethod
    def of_bundle(cls, bundle: Bundle, witness: Rpc | None = None) -> AuditSource:
        """A bundle's round; with `witness`, an endpoint that has to know its blocks."""
        return cls(bundle.index, bundle.store, bundle.node, witness, (bundle.task, bundle.round))


def run_audit(
    source: AuditSource,
    options: AuditOptions,
    tasks: Sequence[int] | None = None,
    rounds: Sequence[int] | None = None,
    progress: Callable[[str], None] = lambda _: None,
    pool: Pool = one_process,
    machine: Machine = HERE,
) -> AuditReport:
    """Audit tasks (None: all) and rounds (None: all). Raises UnknownSubject, or ChainError while it reads the chain."""
    audit = Audit(source.index, source.store, source.rpc, options, source.witness, machine, source.only is None)
    if source.only is not None:
        tasks, rounds = [source.only[0]], [source.only[1]]
    wanted = source.index.tasks() if tasks is None else list(tasks)
    checks: list[Check] = list(audit.run(wanted, rounds, progress, pool))
    described: dict[str, Any] = {**asdict(options), "draw_seed": hex_of(options.draw_seed)}
    described |= {"tasks": wanted, "rounds": None if rounds is None else list(rounds)}
    described |= {"bundle": source.only is not None, "witness": source.witness is not None}
    return AuditReport(Historian(source.index).chain(), described, checks)
