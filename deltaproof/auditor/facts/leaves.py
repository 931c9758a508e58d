"""Who got what: the leaves behind a settlement root on chain, found in the store and checked against the root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from deltaproof.auditor.facts.tasks import RoundFacts
from deltaproof.auditor.index.reader import Index
from deltaproof.errors import ArtifactError
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementLeaf, leaves_tree
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32
from deltaproof.store import ArtifactStore
from incentives.settling import NothingToSettle, RevealedAttestation, compose_settlement

__all__ = ["find_leaves", "read_attestations"]


def find_leaves(
    index: Index, facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore | None
) -> tuple[SettlementLeaf, ...] | None:
    """Leaves of the settlement that stands; None if nobody published what leads to its root."""
    posted = facts.standing
    if posted is None:
        return None
    root = posted.settlement.leaves_root
    known = index.leaves(root)
    if known is not None or store is None:
        return known
    for leaves in _candidates(facts, spec, store):
        if leaves_tree(leaves).root == root and len(leaves) == posted.settlement.leaf_count:
            index.keep_leaves(root, leaves)
            return leaves
    return None


def read_attestations(facts: RoundFacts, store: ArtifactStore) -> dict[Address, Attestation]:
    """Documents of the revealed attestations that the store has."""
    found = {}
    for verifier, attested in facts.attestations.items():
        if attested.revealed is not None:
            try:
                found[verifier] = store.get_attestation(Attestation, attested.artifact)
            except ArtifactError:
                continue  # the audit reports it; here any other source of the leaves will do
    return found


def _candidates(facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore) -> Iterator[tuple[SettlementLeaf, ...]]:
    documents = read_attestations(facts, store)
    if spec is not None and facts.challenge_seed is not None and documents:
        yield from _composed(facts, spec, facts.challenge_seed, documents)
    if (posted := facts.standing) is not None:
        with suppress(ArtifactError):  # the audit says so; composed leaves will do
            yield store.get_proposal(posted.digest, lambda found: found.belongs_to(posted.settlement)).leaves


def _composed(
    facts: RoundFacts, spec: TaskSpec, seed: Digest32, documents: dict[Address, Attestation]
) -> Iterator[tuple[SettlementLeaf, ...]]:
    revealed = [RevealedAttestation(document, facts.attestations[v].stake) for v, document in documents.items()]
    try:
        yield compose_settlement(spec, seed, facts.trainers, revealed, scored=facts.scored, faulty=facts.faulty).leaves
    except NothingToSettle:
        return
