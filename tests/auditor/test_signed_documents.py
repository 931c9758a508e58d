"""What verifiers signed has to be there for everybody: an audit names what is missing, and who signed it."""

from __future__ import annotations

from deltaproof.auditor.audit.check import Check, Status
from deltaproof.protocol.outcome.settlement import build_settlement
from deltaproof.store.paths import signed_path
from tests.auditor.colluding import Collusion


def documents(collusion: Collusion) -> list[Check]:
    return [check for check in collusion.checks(offline=True, models=False) if check.name == "signed document"]


def test_signed_document_that_is_there_passes(collusion: Collusion) -> None:
    (check,) = documents(collusion)
    assert check.status is Status.PASS


def test_signed_document_that_nobody_shows_is_named_with_its_signers(collusion: Collusion) -> None:
    """A quorum has one document signed, and shows the public none, or another under its name."""
    posted = collusion.facts().settlements[0].digest
    honest = collusion.settled()
    s = honest.settlement
    other = build_settlement(honest.leaves, s.next_start_digest, s.improvement_nanos + 1, s.artifact_digest)
    for shown in (None, honest.model_copy(update={"settlement": other}).to_document()):
        collusion.changed[f"proposals/{posted.hex()}"] = shown
        (check,) = documents(collusion)
        assert check.status is Status.NOT_CHECKABLE
        assert check.artifact == f"proposals/{posted.hex()}"
        assert all(verifier.account in check.reason for verifier in collusion.world.verifiers)


def test_second_settlement_that_a_verifier_lists_is_looked_for(collusion: Collusion) -> None:
    """It signed another one, which was not posted: that, too, has to be there."""
    signer = collusion.world.verifiers[1].account
    unseen = b"\x17" * 32
    collusion.changed[signed_path(collusion.world.task, collusion.facts().number, signer, 1)] = unseen
    first, second = documents(collusion)
    assert (first.status, second.status) == (Status.PASS, Status.NOT_CHECKABLE)
    assert second.artifact == f"proposals/{unseen.hex()}"
    assert signer in second.reason
    assert not any(v.account in second.reason for v in collusion.world.verifiers if v.account != signer)
