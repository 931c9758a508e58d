"""Verdicts of *withheld*: what receipts, the store's clock and the chain's say of them, and what nobody can say."""

from __future__ import annotations

import pytest

from deltaproof.auditor.audit.check import Check, Status
from deltaproof.chain.abi.enums import Phase
from deltaproof.protocol.outcome.reads import in_time_until
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.quorums import EARLY, LATE, QUORUM_LIES, call_withheld


@pytest.fixture
def honest(collusion: Collusion) -> Address:
    return collusion.world.trainers[0].account


def verdicts_of(collusion: Collusion) -> list[Check]:
    return [check for check in collusion.checks(offline=True, models=False) if check.name == "withheld"]


def test_honest_trainer_called_withheld_by_all_is_seen_by_the_stores_clock(
    collusion: Collusion, honest: Address
) -> None:
    call_withheld(collusion, honest)
    failed = collusion.audit(offline=True, models=False)
    assert {(check.name, check.participant, check.step) for check in failed} == {("withheld", honest, 0)}
    assert len(failed) == len(collusion.honest)
    assert "announced" in failed[0].reason


def test_verdict_sealed_before_a_verifier_may_give_up_is_seen(collusion: Collusion, honest: Address) -> None:
    path = call_withheld(collusion, honest, sealed=EARLY)
    collusion.times[path] = None
    assert {check.name for check in collusion.audit(offline=True, models=False)} == {"withheld too early"}


def test_witness_who_had_read_it_contradicts_the_others(collusion: Collusion, honest: Address) -> None:
    path = call_withheld(collusion, honest, witnesses=1)
    collusion.times[path] = None
    witness = min(collusion.honest)
    collusion.sealed_at(witness, EARLY)
    checks = verdicts_of(collusion)
    assert [check.status for check in checks] == [Status.FAIL] * (len(collusion.honest) - 1)
    assert all(witness in check.reason for check in checks)


def test_witness_who_sealed_later_proves_nothing(collusion: Collusion, honest: Address) -> None:
    path = call_withheld(collusion, honest, witnesses=1)
    collusion.times[path] = None
    collusion.sealed_at(min(collusion.honest), LATE + 50)
    assert {check.status for check in verdicts_of(collusion)} == {Status.NOT_CHECKABLE}


def test_without_receipts_and_times_nobody_can_say(collusion: Collusion, honest: Address) -> None:
    path = call_withheld(collusion, honest)
    collusion.times[path] = None
    checks = verdicts_of(collusion)
    assert {check.status for check in checks} == {Status.NOT_CHECKABLE}
    assert "neither a receipt nor the store says" in checks[0].reason


def test_trainer_who_published_too_late_was_rightly_called_withheld(collusion: Collusion, honest: Address) -> None:
    path = call_withheld(collusion, honest)
    collusion.times[path] = 2.0**40
    assert {check.status for check in verdicts_of(collusion)} == {Status.PASS}


def test_what_came_between_two_seals_was_withheld_for_both(collusion: Collusion, honest: Address) -> None:
    """A verifier that looked later found it there, and says the same: it came too late. A receipt of somebody who read
    it then says nothing else; one from before shows that the store's time is wrong."""
    path = call_withheld(collusion, honest, witnesses=1)
    facts, witness = collusion.facts(), min(collusion.honest)
    started, length = facts.phase_start(Phase.ATTEST_COMMIT), facts.task.params.phases.attest_commit
    assert started is not None
    until = in_time_until(started.args["deadline"], length)
    came = until - (started.args["deadline"] - length)
    for shown, seen, status in ((1, came + 30, Status.PASS), (1, EARLY, Status.FAIL), (0, came + 30, Status.FAIL)):
        collusion.times[path] = until + shown
        collusion.sealed_at(witness, seen)
        assert {check.status for check in verdicts_of(collusion)} == {status}


def test_trainer_who_never_announced_cannot_accuse_by_a_clock_that_it_may_have_set(
    collusion: Collusion, honest: Address
) -> None:
    call_withheld(collusion, honest)
    place = next(n for n in range(4) if collusion.args("OpeningsPublished", 1, n)["trainer"] == honest)
    collusion.drop("OpeningsPublished", 1, place)
    assert {check.status for check in verdicts_of(collusion)} == {Status.NOT_CHECKABLE}


def test_what_is_not_there_now_was_withheld(collusion: Collusion, honest: Address) -> None:
    collusion.changed[call_withheld(collusion, honest)] = None
    assert {check.status for check in verdicts_of(collusion)} == {Status.PASS}


def test_envelope_that_is_said_to_lack_where_nothing_is_sealed_is_seen(collusion: Collusion, honest: Address) -> None:
    """No clock and no receipt speaks of envelopes that never were."""
    collusion.rejudge(honest, Verdict.WITHHELD, {"step": -1, "check": "sealing"})
    for verifier in collusion.honest:
        collusion.sealed_at(verifier, LATE)
    failed = collusion.audit(offline=True, models=False)
    assert {(check.name, check.participant) for check in failed} == {("withheld", honest)}


@pytest.mark.parametrize("established", [True, False])
def test_fault_that_a_contract_established_needs_no_receipts_and_one_that_none_did_is_a_lie(
    collusion: Collusion, honest: Address, established: bool
) -> None:
    collusion.rejudge(honest, Verdict.REJECTED, {"step": -1, "check": "fault"})
    if established:
        blocked = {"task_id": collusion.world.task, "round": 1, "trainer": honest}
        collusion.invent("ClaimBlocked", collusion.row("PhaseStarted"), lambda _: blocked, "vault")
    failed = {check.name for check in collusion.audit(offline=True, models=False)}
    assert ("finding" in failed) is not established
    assert "reads" not in failed


def test_receipt_of_somebody_who_did_not_read_is_seen(collusion: Collusion) -> None:
    def forge(document: dict[str, list[dict[str, list[dict[str, str]]]]]) -> None:
        document["findings"][0]["reads"][1]["receipt"] = "0x" + "11" * 32

    collusion.lie_as_one(forge)
    assert {check.name for check in collusion.audit(offline=True, models=False)} == {"receipt"}


def test_receipt_of_another_verifier_is_seen(collusion: Collusion) -> None:
    theirs = [f.reads[0].receipt for f in max(collusion.honest.items())[1].findings]

    def copy(document: dict[str, list[dict[str, list[dict[str, str]]]]]) -> None:
        document["findings"][0]["reads"][0]["receipt"] = "0x" + theirs[0].hex()

    collusion.lie_as_one(copy)
    assert {check.name for check in collusion.audit(offline=True, models=False)} == {"receipt"}


def test_verifier_who_shows_no_receipt_for_an_opening_is_seen(collusion: Collusion) -> None:
    collusion.lie_as_one(lambda document: document["findings"][0]["reads"].pop())
    assert {check.name for check in collusion.audit(offline=True, models=False)} == {"reads"}


@pytest.mark.parametrize(
    ("shown", "sealed", "status"),
    [
        ("as it was", EARLY, Status.FAIL),
        ("long before", LATE, Status.FAIL),
        ("never", EARLY, Status.PASS),
        ("too late", LATE, Status.PASS),
        ("at a time that nobody knows", LATE, Status.NOT_CHECKABLE),
    ],
)
def test_quorum_that_scored_nothing_was_right_if_the_set_was_not_in_the_store(
    collusion: Collusion, shown: str, sealed: int, status: Status
) -> None:
    QUORUM_LIES["no game in a scored round"].act(collusion)
    times = {"long before": 0.0, "too late": 2.0**40, "at a time that nobody knows": None}
    for path in (collusion.world.store_folder / "validation").iterdir():
        artifact = f"validation/{path.name}"
        if shown == "never":
            collusion.changed[artifact] = None
        elif shown in times:
            collusion.times[artifact] = times[shown]
    for verifier in collusion.honest:
        collusion.sealed_at(verifier, sealed)
    games = [check for check in collusion.checks(offline=True, models=False) if check.name == "game"]
    assert games
    assert {check.status for check in games} == {status}
