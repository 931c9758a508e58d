"""Lies of a whole quorum, sealed and signed as the contract wants them: each is found, and by which audit."""

from __future__ import annotations

import pytest

from deltaproof.auditor.audit.check import Status
from deltaproof.protocol.outcome.settlement import Verdict
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.attestations import DEPTHS, round_checks
from tests.auditor.tampering.kinds import failures
from tests.auditor.tampering.quorums import QUORUM_LIES


def test_audit_contested_round_untouched_passes(collusion: Collusion) -> None:
    failed = collusion.audit(replays=3, official_replays=True, rescore=True)
    assert [str(check) for check in failed] == []


def test_resealed_but_true_attestations_pass(collusion: Collusion) -> None:
    """The forgery itself leaves no trace: what is found below is the lie."""
    collusion.lie_together(lambda document: None)
    assert [str(check) for check in collusion.audit(offline=True, official_replays=True, rescore=True)] == []


@pytest.mark.parametrize("name", [name for name, lie in QUORUM_LIES.items() if lie.check])
def test_least_audit_that_can_see_a_quorums_lie_sees_it(collusion: Collusion, name: str) -> None:
    """The table of docs/results/tampering.md says that no smaller audit does."""
    lie = QUORUM_LIES[name]
    lie.act(collusion)
    assert lie.check in failures(round_checks(collusion, **dict(DEPTHS)[lie.level]))


def test_default_audit_sees_an_adapter_that_its_verifier_never_published(collusion: Collusion) -> None:
    collusion.lie_as_one(lambda document: document.update(next_start_digest="0x" + "11" * 32))
    assert "next adapter" in {failed.name for failed in collusion.audit(offline=True)}


@pytest.mark.parametrize("field", ["start_accuracy", "end_accuracy", "start_loss", "end_loss"])
def test_default_audit_is_not_ended_by_a_number_beyond_all_others(collusion: Collusion, field: str) -> None:
    collusion.lie_as_one(lambda document: document["game"].update({field: 1e308}))
    assert field.replace("_", " ") in {failed.name for failed in collusion.audit(offline=True)}


# Rejections.


def test_audit_rightful_drift_rejection_is_judged_on_the_verifiers_samples(collusion: Collusion) -> None:
    """No step shows the lean: with the steps one by one, or none, the trainer would look honest."""
    leaning = collusion.world.trainers[-1].account
    found = [document.by_trainer()[leaning].failure() for document in collusion.honest.values()]
    assert {failure.check for failure in found if failure} == {"drift"}
    checks = [check for check in collusion.checks(offline=True) if check.name == "rejection"]
    assert [check.status for check in checks] == [Status.PASS]  # one sample, one reason
    assert all("lean" in check.reason for check in checks)


def test_audit_false_drift_rejection_is_found(collusion: Collusion) -> None:
    honest = collusion.world.trainers[0].account
    collusion.rejudge(honest, Verdict.REJECTED, {"step": -1, "check": "drift", "passed": False, "measured": 3.0})
    failed = collusion.audit(offline=True, rescore=True)
    assert [(check.name, check.participant) for check in failed] == [("rejection", honest)]  # one sample, one reason


def test_full_audit_accepted_trainer_who_leans_is_found(collusion: Collusion) -> None:
    leaning = collusion.world.trainers[-1].account
    collusion.rejudge(leaning, Verdict.ACCEPTED, {"step": -1, "check": "drift", "passed": True, "measured": 0.1})
    failed = collusion.audit(offline=True, official_replays=True, rescore=True)
    assert {(check.name, check.participant) for check in failed} == {("official replays", leaning)}
