"""The whole table: every family of lies, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deltaproof.auditor.index.reader import Index
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.artifacts import file_kinds, opening_kinds, spec_kinds, terms_kinds, validation_kinds
from tests.auditor.tampering.attestations import attestation_kinds, settlement_kinds
from tests.auditor.tampering.kinds import Kind
from tests.auditor.tampering.messages import block_kinds, call_kinds, event_kinds, state_kinds
from tests.worlds.roles import RoleWorld

__all__ = ["every_kind", "quick_kinds"]

Fresh = Callable[[], Collusion]


def every_kind(fresh: Fresh, world: RoleWorld, index: Index) -> Iterator[Kind]:
    """All kinds. `fresh` gives the contested round anew; `world` is a whole history on a node, `index` its index."""
    yield from attestation_kinds(fresh)
    yield from quick_kinds(fresh, world, index)


def quick_kinds(fresh: Fresh, world: RoleWorld, index: Index) -> Iterator[Kind]:
    """All but attestations, whose lies may take a model to see."""
    yield from settlement_kinds(fresh)
    yield from opening_kinds(fresh)
    yield from validation_kinds(fresh)
    yield from file_kinds(fresh)
    yield from spec_kinds(fresh)
    yield from terms_kinds(fresh)
    yield from event_kinds()
    yield from call_kinds(fresh)
    yield from block_kinds(world, index)
    yield from state_kinds(world, index)
