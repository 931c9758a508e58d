"""What verifiers signed: whether the store shows everybody the settlement and leaves behind each digest.

A name is a digest here, so nobody can have one document signed and show another. What is missing is told: claims rest
on the leaves, and only who signed can be asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check
from deltaproof.errors import ArtifactError
from deltaproof.protocol.outcome.settlement import PostedLeaves
from deltaproof.protocol.types import Address, Digest32
from deltaproof.store.paths import Kind, addressed_path

__all__ = ["check_signed_documents"]


def check_signed_documents(case: RoundCase) -> Iterator[Check]:
    """Each settlement that was posted, or that a verifier of the round lists as signed, is in the store."""
    if case.artifacts is None:
        return
    store, facts = case.artifacts.store, case.facts
    signers: dict[Digest32, set[Address]] = {}
    quorum = facts.task.quorum_of(facts.number)
    for posted in facts.settlements:
        signers[posted.digest] = {verifier for verifier in quorum if verifier not in posted.non_signers}
    for verifier in quorum:
        try:
            listed = store.signed_by(facts.task.id, facts.number, verifier)
        except ArtifactError as error:
            yield case.subject.of(participant=verifier).unchecked("signed settlements", str(error))
            continue
        for digest in listed:
            signers.setdefault(digest, set()).add(verifier)
    for digest, who in signers.items():
        subject = case.subject.of(artifact=addressed_path(Kind.PROPOSAL, digest))
        try:
            store.get_proposal(digest, partial(_is_document, case, digest))
        except ArtifactError as error:
            yield subject.unchecked("signed document", f"{error}; {', '.join(sorted(who))} signed it")
        else:
            yield subject.passed("signed document")


def _is_document(case: RoundCase, digest: Digest32, found: PostedLeaves) -> bool:
    return found.signed_as(digest, case.facts.domain, range(len(case.facts.settlements) + 1))
