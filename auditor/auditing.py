"""An audit from what a person names: a chain and a store, or a bundle; its report at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from auditor.audit.case import AuditOptions
from auditor.audit.check import Check
from auditor.audit.report import AuditReport
from auditor.audit.run import Audit
from auditor.history import Historian
from auditor.index.reader import Index
from auditor.index.rpc import Rpc
from protocol.store import ArtifactStore
from protocol.types import hex_of

__all__ = ["AuditSource", "run_audit"]


@dataclass(frozen=True)
class AuditSource:
    """Where chain facts and artifacts come from."""

    index: Index
    store: ArtifactStore | None
    rpc: Rpc | None
    witness: Rpc | None = None


def run_audit(
    source: AuditSource,
    options: AuditOptions,
    tasks: Sequence[int] | None = None,
    rounds: Sequence[int] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> AuditReport:
    """Audit tasks (None: all) and rounds (None: all). Raises UnknownSubject, or ChainError while it reads the chain."""
    audit = Audit(source.index, source.store, source.rpc, options, source.witness)
    wanted = source.index.tasks() if tasks is None else list(tasks)
    checks: list[Check] = list(audit.run(wanted, rounds, progress))
    described: dict[str, Any] = {**asdict(options), "draw_seed": hex_of(options.draw_seed)}
    described |= {"tasks": wanted, "rounds": None if rounds is None else list(rounds)}
    return AuditReport(Historian(source.index).chain(), described, checks)
