"""The whole table: every family of lies, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from deltaproof.auditor.index.reader import Index
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.artifacts import file_lies, opening_lies, spec_lies, terms_lies, validation_lies
from tests.auditor.tampering.attestations import attestation_lies, settlement_lies
from tests.auditor.tampering.bundles import bundle_lies
from tests.auditor.tampering.kinds import Lie
from tests.auditor.tampering.messages import block_lies, call_lies, event_lies, state_lies
from tests.auditor.tampering.quorums import quorum_lies
from tests.worlds.roles import RoleWorld

__all__ = ["every_lie"]


def every_lie(fresh: Callable[[], Collusion], world: RoleWorld, index: Index, folder: Path) -> Iterator[Lie]:
    """All lies. `fresh` gives the contested round anew; `world` is a whole history on a node, `index` its index.

    `folder` is for bundles of that history.
    """
    yield from quorum_lies(fresh)
    yield from attestation_lies(fresh)
    yield from settlement_lies(fresh)
    yield from opening_lies(fresh)
    yield from validation_lies(fresh)
    yield from file_lies(fresh)
    yield from spec_lies(fresh)
    yield from terms_lies(fresh)
    yield from event_lies()
    yield from call_lies(fresh)
    yield from block_lies(world, index)
    yield from state_lies(world, index)
    yield from bundle_lies(world, index, folder)
