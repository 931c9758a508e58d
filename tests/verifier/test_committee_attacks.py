"""Attacks on committees, and accidents: what members say or leave out, or a store lacks, costs time at most."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from deltaproof.agent.heavy import OnThread
from deltaproof.chain.abi.enums import Phase
from deltaproof.cli import app
from deltaproof.errors import TaskRefused
from deltaproof.protocol.outcome.attestation import CheckRecord
from deltaproof.protocol.outcome.reads import DELTA
from deltaproof.protocol.outcome.reports import COMMITTEE, taken_over
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, Digest32, StepIndex
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.backend import Mirrors
from deltaproof.store.http import HttpBackend
from deltaproof.store.paths import Kind, opening_path, report_path
from deltaproof.store.seals import ReportSeal
from deltaproof.tuning.training.speed import Speed
from tests.verifier.test_committee import (
    ACCOUNTS,
    FIRST,
    VERIFIERS,
    attest,
    attested,
    drawn,
    judged_by_committees,
    member_of,
    says,
    seed,
)
from tests.worlds.moments import Moment, played_once
from tests.worlds.roles import RoleWorld, silent
from verifier.life import Verifier
from verifier.standing import check_pace


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moment]:
    with played_once(tmp_path_factory.mktemp("ready"), ACCOUNTS, judged_by_committees) as moment:
        yield moment


@pytest.fixture
def world(ready: Moment) -> RoleWorld:
    """The same round for each test, as if no other had been."""
    return ready.again()


def test_one_mirror_away_and_a_member_that_says_nothing_keep_nobody_from_attesting(world: RoleWorld) -> None:
    """What no place has that answers may lie in the one that is away: for a seal no reason to wait for ever."""
    silent = member_of(world, drawn(world), world.trainers[0].account, 0)
    silent.committee.seal = lambda case, findings: None  # type: ignore[method-assign]
    others = [verifier for verifier in world.verifiers if verifier is not silent]
    for verifier in others:
        away = HttpBackend("http://127.0.0.1:9", attempts=1)
        verifier.committee._store = ArtifactStore(Mirrors([open_store(str(world.store_folder))._backend, away]))
        verifier.attest_commit(FIRST)
    world.skip_time(455)
    attest(world, *others)
    assert world.gateway.verifiers.progress(world.task).committed == VERIFIERS - 1


def test_a_word_that_its_member_took_over_itself_is_none(world: RoleWorld) -> None:
    """Attack: report that others replayed it, and stay away, so that an audit finds nobody who says to have done so."""
    committees, victim = drawn(world), world.trainers[0].account
    record = CheckRecord(step=DELTA, check=COMMITTEE, passed=True, measured=0.0, message="others did")
    liar = member_of(world, committees, victim, 0)
    says(liar, lambda finding: finding.model_copy(update={"checks": (record,)}))
    others = [verifier for verifier in world.verifiers if verifier is not liar]
    attest(world)
    liar.attest_reveal = lambda round_: None  # type: ignore[method-assign]
    assert not called_liars(world)
    assert not any(taken_over(attested(world, verifier)[victim]) for verifier in others)


def test_who_took_over_a_word_is_no_liar_when_the_report_has_gone(world: RoleWorld) -> None:
    """Attack: report, stay away, and have the store lose what was reported."""
    committees, victim = drawn(world), world.trainers[0].account
    absent = member_of(world, committees, victim, 0)
    attest(world)
    absent.attest_reveal = lambda round_: None  # type: ignore[method-assign]
    lost = absent.committee._heard
    assert lost is not None
    assert lost[1].own is not None
    report = world.store_folder / f"attestations/{lost[1].own.digest().hex()}"
    assert report.is_file()

    def lose() -> None:
        report.unlink()
        (world.store_folder / report_path(seed(world), absent.account)).unlink()

    failed = called_liars(world, before_audit=lose)
    took = [v for v in world.verifiers if v is not absent and taken_over(attested(world, v)[victim])]
    assert took
    assert not failed


def test_who_is_too_slow_for_its_committees_notices_it(world: RoleWorld) -> None:
    """Attack: more work than fits into the phase, so that a verifier is charged round after round."""
    committees = drawn(world)
    slow = next(verifier for verifier in world.verifiers if committees.of(verifier.account))
    goes_on, judge = threading.Event(), slow.examiner.judges.judge

    def slowly(job: Any) -> Any:
        goes_on.wait(60)
        return judge(job)

    slow.examiner.judges.judge = slowly  # type: ignore[method-assign]
    slow.heavy = heavy = OnThread(lambda: None)
    try:
        slow.attest_commit(FIRST)
        world.skip_time(455)
        attest(world, *(verifier for verifier in world.verifiers if verifier is not slow))
        world.until(Phase.ATTEST_REVEAL)
        slow.play(slow._moment(slow.lookout.head(0.0)))
        assert FIRST in slow.seat._too_slow
    finally:
        goes_on.set()
        heavy.close()


def test_a_report_that_is_none_is_read_less_and_less(world: RoleWorld) -> None:
    """Attack: seal junk as long as a report may be, so that everybody loads it at every look until time is up."""
    committees, victim = drawn(world), world.trainers[0].account
    liar = member_of(world, committees, victim, 0)
    junk = world.store._put_addressed(Kind.ATTESTATION, b"no report" * 1_000)
    seal = ReportSeal(account=liar.account, challenge_seed=seed(world), report=junk)
    assert liar.gateway.sender is not None
    world.store.put_report_seal(seal.signed(liar.gateway.sender.sign_message, liar.gateway.permit_domain))
    others = [verifier for verifier in world.verifiers if verifier is not liar]
    loaded = [asked_for(verifier, junk) for verifier in others]
    for _ in range(3):
        attest(world, *others)
    assert all(len(times) < 7 for times in loaded), [len(times) for times in loaded]
    world.skip_time(485)  # when nobody waits for reports any more
    attest(world, *others)
    assert world.gateway.verifiers.progress(world.task).committed == VERIFIERS - 1


def test_who_starts_again_does_not_make_its_own_seal_late(world: RoleWorld) -> None:
    """A store says when a seal was written last: one that is written anew when reports are shown has no say."""
    committees = drawn(world)
    again = next(verifier for verifier in world.verifiers if committees.of(verifier.account))
    again.attest_commit(FIRST)
    path = world.store_folder / report_path(seed(world), again.account)
    before = path.stat().st_mtime - 1_000
    os.utime(path, (before, before))
    again.committee._heard = None
    again.attest_commit(FIRST)
    assert path.stat().st_mtime == pytest.approx(before, abs=1.0)


def test_openings_that_a_store_loses_while_committees_report_are_nobodys_fault(world: RoleWorld) -> None:
    """Without committees all read in the opening phase: who was not drawn is no later than that."""
    committees, victim = drawn(world), world.trainers[0].account
    for verifier in world.verifiers:
        verifier.look_early(FIRST)
    members = [member_of(world, committees, victim, place) for place in range(2)]
    for member in members:
        member.attest_commit(FIRST)
    root = world.verifiers[0].log.reveals(FIRST)[victim].transcript_root
    (world.store_folder / opening_path(root, victim, StepIndex(0))).unlink()
    attest(world)
    world.skip_time(365)  # when verifiers give up looking
    attest(world)
    assert {attested(world, verifier)[victim].verdict for verifier in world.verifiers} == {Verdict.ACCEPTED}


def test_explain_says_who_took_a_trainer_over(world: RoleWorld) -> None:
    trainer = world.trainers[0].account
    attest(world)
    took = [verifier.account for verifier in world.verifiers if taken_over(attested(world, verifier)[trainer])]
    assert not called_liars(world)
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", str(world.store_folder))
    text = CliRunner().invoke(app, ["explain", "1", "1", trainer, *place], catch_exceptions=False).stdout
    assert took
    for verifier in took:
        assert f"verifier {verifier} was not drawn for it, read what its committee replayed, and accepted it" in text
    assert "replayed steps none" not in text


def test_who_brings_most_of_the_stake_has_to_have_time_for_most_trainers(
    world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is drawn for nearly everybody, and late all others replay what it did not report."""
    joins = world.verifiers[0]
    terms = joins.spec.verification.model_copy(update={"min_verifiers": VERIFIERS, "min_trainers": 100})
    monkeypatch.setattr(joins.examiner, "spec", joins.spec.model_copy(update={"verification": terms}))
    monkeypatch.setattr("verifier.standing.speed_of", lambda *_: Speed(0.0, 0.45, 0.0))
    place = (joins.gateway, world.task, joins.examiner, silent)
    check_pace(*place, top_up=False, stake=100)
    with pytest.raises(TaskRefused, match=r"of 100 trainers takes .* its phase leaves"):
        check_pace(*place, top_up=False, stake=2_000)


def test_who_comes_late_or_lost_its_report_attests_all_the_same(world: RoleWorld) -> None:
    committees, victim = drawn(world), world.trainers[0].account
    damaged, late = (member_of(world, committees, victim, place) for place in range(2))
    there = [one for one in world.verifiers if one is not late]
    attest(world, *there)
    (kept,) = damaged._folder.glob("report-1-*")
    kept.write_bytes(kept.read_bytes()[:100])
    damaged.committee._heard = None
    world.skip_time(485)  # when nobody waits for reports any more
    attest(world, *there)
    attest(world, late)
    assert world.gateway.verifiers.progress(world.task).committed == VERIFIERS
    found = [{trainer: one.verdict for trainer, one in attested(world, v).items()} for v in world.verifiers]
    assert all(one == found[0] for one in found)


def test_a_mirror_that_answers_nothing_keeps_no_loop_from_going_on(world: RoleWorld) -> None:
    """Attack: of two stores let one wait at every look for a seal that is not there: demands stay unanswered."""
    committees = drawn(world)
    waits = next(verifier for verifier in world.verifiers if committees.of(verifier.account))
    waits.attest_commit(FIRST)
    with socket.create_server(("127.0.0.1", 0)) as stalled:
        place = HttpBackend(f"http://127.0.0.1:{stalled.getsockname()[1]}", attempts=1)
        waits.committee._store = ArtifactStore(Mirrors([open_store(str(world.store_folder))._backend, place]))
        waits.heavy = heavy = OnThread(lambda: None)
        began = time.monotonic()
        waits.attest_commit(FIRST)
        assert time.monotonic() - began < 5
        heavy.close()


# Below: how the tests look.


def called_liars(world: RoleWorld, before_audit: Any = lambda: None) -> set[Address]:
    """Whom an audit of the round, which is settled from here on, calls wrong."""
    world.until(Phase.ATTEST_REVEAL)
    for verifier in world.verifiers:
        verifier.attest_reveal(FIRST)
    world.until(Phase.SETTLE)
    world.settle()
    before_audit()
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", str(world.store_folder))
    report = json.loads(CliRunner().invoke(app, ["audit", *place, "--json"], catch_exceptions=False).stdout)
    return {check["participant"] for check in report["checks"] if check["status"] == "fail"}


def asked_for(verifier: Verifier, digest: Digest32) -> list[int]:
    """Counts how often a report is loaded."""
    get, times = verifier.committee._store.get_attestation, list[int]()

    def counted(kind: Any, wanted: Digest32, most: int | None = None) -> Any:
        if wanted == digest:
            times.append(1)
        return get(kind, wanted, most)

    verifier.committee._store = verifier.committee._store.reading_with(verifier.committee._store._keyring)
    verifier.committee._store.get_attestation = counted  # type: ignore[method-assign]
    return times
