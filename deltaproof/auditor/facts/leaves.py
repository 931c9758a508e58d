"""Who got what: the leaves behind a settlement root on chain, found in the store and checked against the root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from deltaproof.auditor.facts.tasks import PostedSettlement, RoundFacts
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.shown import in_order
from deltaproof.errors import ArtifactError
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict, leaves_tree
from deltaproof.protocol.terms.attested import attestation_limit
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, TokenAmount
from deltaproof.store import ArtifactStore
from incentives.settling import NothingToSettle, RevealedAttestation, compose_settlement

__all__ = ["find_leaves", "read_attestations"]


def find_leaves(
    index: Index, facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore | None
) -> tuple[SettlementLeaf, ...] | None:
    """Leaves of the settlement that stands; None if nobody published, or showed on demand, what leads to its root."""
    posted = facts.standing
    if posted is None:
        return None
    root = posted.settlement.leaves_root
    known = index.leaves(root)
    if known is not None:
        return known
    for leaves in chain(_candidates(facts, spec, store) if store is not None else (), _shown(index, facts, posted)):
        if leaves_tree(leaves).root == root and len(leaves) == posted.settlement.leaf_count:
            index.keep_leaves(root, leaves)
            return leaves
    return None


def read_attestations(facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore) -> dict[Address, Attestation]:
    """Documents of the revealed attestations that the store has, each no larger than the round can have made it."""
    found, most = {}, attestation_limit(spec, len(facts.trainers))
    for verifier, attested in facts.attestations.items():
        if attested.revealed is not None:
            try:
                found[verifier] = store.get_attestation(Attestation, attested.artifact, most)
            except ArtifactError:
                continue  # the audit reports it; here any other source of the leaves will do
    return found


def _candidates(facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore) -> Iterator[tuple[SettlementLeaf, ...]]:
    documents = read_attestations(facts, spec, store)
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


def _shown(index: Index, facts: RoundFacts, posted: PostedSettlement) -> Iterator[tuple[SettlementLeaf, ...]]:
    """All leaves as answers to demands show them on chain, if they do."""
    demands = facts.named("DemandOpened")
    asked = {event.args["demand_id"] for event in demands if event.args["demand"]["root"] == posted.digest}
    if not asked:
        return
    answers = (e for e in index.events(names=("LeafAnswered",)) if e.args["demand_id"] in asked)
    leaves = {event.args["demand_id"]: _leaf(event.args["leaf"]) for event in answers}
    if (found := in_order(leaves, posted.settlement)) is not None:
        yield found


def _leaf(told: Mapping[str, Any]) -> SettlementLeaf:
    return SettlementLeaf(**{**told, "verdict": Verdict(told["verdict"]), "payout": TokenAmount(told["payout"])})
