"""Committees per trainer: a drawn part of the quorum replays each, and others take over what it says, or look."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.local_node import Node
from deltaproof.chain.participation import settled_leaves
from deltaproof.cli import app
from deltaproof.demo.cheat import SkipHalf
from deltaproof.protocol.outcome.attestation import ReadRecord, TrainerFinding
from deltaproof.protocol.outcome.reports import taken_over, word_of
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import ZERO_DIGEST, Address, RoundIndex
from deltaproof.store.paths import report_path
from tests.worlds.moments import Moment, played_once
from tests.worlds.roles import RoleWorld, build_world
from verifier.committee import Committees
from verifier.facts import read_case
from verifier.life import Verifier
from verifier.looking import Word

FIRST = RoundIndex(1)
COMMITTEE, VERIFIERS, HONEST = 2, 5, 4
ACCOUNTS = 14


def judged_by_committees(node: Node, folder: Path) -> RoleWorld:
    """Four honest trainers and a cheat in a round that is ready to be judged."""
    built = build_world(
        node, folder, rounds=1, honest=HONEST, verifiers=VERIFIERS, cheat=SkipHalf(),
        verification=f"committee = {COMMITTEE}",
    )  # fmt: skip
    built.open_round()
    built.work()
    return built


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moment]:
    with played_once(tmp_path_factory.mktemp("ready"), ACCOUNTS, judged_by_committees) as moment:
        yield moment


@pytest.fixture
def world(ready: Moment) -> RoleWorld:
    """The same round for each test, as if no other had been."""
    return ready.again()


def test_each_trainer_is_replayed_by_its_committee_and_a_cheat_by_everybody(world: RoleWorld) -> None:
    replayed = watched(world)
    committees, cheat = drawn(world), world.trainers[-1].account
    world.attest()
    findings = [attested(world, verifier) for verifier in world.verifiers]
    for verifier, found in zip(world.verifiers, findings, strict=True):
        own, account = committees.of(verifier.account), verifier.account
        looked_at = {trainer for who, trainer in replayed if who == account}
        assert own | {cheat} <= looked_at, "who was not drawn replays what its committee does not accept"
        assert len(looked_at - own - {cheat}) <= 1, "and one more, that nobody knows beforehand"
        assert {trainer for trainer, one in found.items() if not taken_over(one)} == looked_at
    saved = HONEST * VERIFIERS - len({(who, t) for who, t in replayed if t != cheat})
    assert saved >= VERIFIERS, "the work is shared"

    world.settle()
    assert settled(world) == {t.account: Verdict.ACCEPTED for t in world.trainers[:-1]} | {cheat: Verdict.REJECTED}
    fees = {world.gateway.fees.claimable(world.task, FIRST, verifier.account).fee for verifier in world.verifiers}
    assert len(fees) == 1
    report = audited(world, "--full")
    assert report["failed"] == 0, report
    assert {"committee", "samples", "reads"} <= {check["name"] for check in report["checks"]}


def test_one_member_that_lies_is_contradicted_and_everybody_looks(world: RoleWorld) -> None:
    """It calls the cheat's work good: the other member says otherwise, and nobody takes its word."""
    committees, cheat = drawn(world), world.trainers[-1].account
    liar = member_of(world, committees, cheat, 0)
    says(liar, lambda finding: finding.model_copy(update={"verdict": Verdict.ACCEPTED}))
    honest = [verifier for verifier in world.verifiers if verifier is not liar]
    attest(world)
    assert {attested(world, verifier)[cheat].verdict for verifier in honest} == {Verdict.REJECTED}


def test_a_report_about_other_bytes_is_not_taken_over(world: RoleWorld) -> None:
    """Both members accept without having read anything, so that their receipts are made up."""
    committees = drawn(world)
    victim = world.trainers[0].account

    def made_up(finding: TrainerFinding) -> TrainerFinding:
        reads = tuple(ReadRecord(step=read.step, receipt=ZERO_DIGEST) for read in finding.reads)
        return finding.model_copy(update={"reads": reads}) if finding.trainer == victim else finding

    for place in range(COMMITTEE):
        says(member_of(world, committees, victim, place), made_up)
    attest(world)
    for verifier in world.verifiers:
        assert not taken_over(attested(world, verifier)[victim])


def test_an_audit_finds_who_took_over_what_nobody_drawn_had_said(world: RoleWorld) -> None:
    """A quorum replays the cheat and what it was drawn for, and who was drawn for one trainer not even that."""
    committees, unseen, cheat = drawn(world), world.trainers[0].account, world.trainers[-1].account
    word = Word(record_of(world, unseen), ())
    for verifier in world.verifiers:
        others = set(committees.by_trainer) - committees.of(verifier.account) - {cheat} | {unseen}
        lazy = dict.fromkeys(others, word)
        verifier.committee.words = lambda *_, lazy=lazy: lazy  # type: ignore[method-assign,misc]
        verifier.committee.has_sealed = lambda _: True  # type: ignore[method-assign]
    world.attest()
    world.settle()
    report = audited(world, exit_code=1)
    failed = {(check["name"], check["participant"]) for check in report["checks"] if check["status"] == "fail"}
    assert ("committee", unseen) in failed, report
    assert {name for name, _ in failed} == {"committee"}


def test_who_says_nothing_keeps_others_waiting_for_a_while_and_its_trainers_are_replayed(world: RoleWorld) -> None:
    committees, trainer = drawn(world), world.trainers[0].account
    silent = member_of(world, committees, trainer, 0)
    silent.committee.seal = lambda case, findings: None  # type: ignore[method-assign]
    for verifier in world.verifiers:
        verifier.attest_commit(FIRST)
        verifier.attest_commit(FIRST)
    assert world.gateway.verifiers.progress(world.task).committed == 0, "everybody waits"
    world.skip_time(455)  # of 600 s: after 360 verifiers give up looking, and 90 s later no seal counts
    attest(world, *(verifier for verifier in world.verifiers if verifier is not silent))
    assert world.gateway.verifiers.progress(world.task).committed == VERIFIERS - 1
    others = [v for v in world.verifiers if v is not silent and v.account not in committees.by_trainer[trainer]]
    assert all(not taken_over(attested(world, verifier)[trainer]) for verifier in others)


def test_a_seal_that_comes_when_reports_are_shown_has_no_say(world: RoleWorld) -> None:
    """Attack: seal what others have shown, or show a report that nobody could contradict in time."""
    committees, trainer = drawn(world), world.trainers[0].account
    late = member_of(world, committees, trainer, 0)
    others = [v for v in world.verifiers if v is not late]
    for verifier in others:
        verifier.attest_commit(FIRST)
    world.skip_time(455)
    path = world.store_folder / report_path(seed(world), late.account)
    late.attest_commit(FIRST)
    assert path.is_file()
    ahead = world.gateway.connection.timestamp() + 3_600
    os.utime(path, (ahead, ahead))
    attest(world, *others)
    unasked = [v for v in others if v.account not in committees.by_trainer[trainer]]
    assert all(not taken_over(attested(world, verifier)[trainer]) for verifier in unasked)


def test_a_verifier_that_starts_again_shows_the_report_that_it_sealed(world: RoleWorld) -> None:
    committees = drawn(world)
    again = next(v for v in world.verifiers if committees.of(v.account))
    again.attest_commit(FIRST)
    before = (world.store_folder / report_path(seed(world), again.account)).read_bytes()
    again.committee._heard = None
    again.examiner.found_of = None  # type: ignore[assignment]
    attest(world)
    assert (world.store_folder / report_path(seed(world), again.account)).read_bytes() == before
    assert world.gateway.tasks.phase(world.task).phase is not Phase.ATTEST_COMMIT


# Below: how the tests look.


def drawn(world: RoleWorld) -> Committees:
    found = world.verifiers[0].committee.drawn(case_of(world))
    assert found is not None
    return found


def case_of(world: RoleWorld) -> Any:
    verifier = world.verifiers[0]
    verifier.log.refresh(FIRST)
    return read_case(world.gateway, world.store, verifier.log, verifier.spec, world.task, FIRST)


def seed(world: RoleWorld) -> Any:
    return world.gateway.tasks.round(world.task, FIRST).challenge_seed


def member_of(world: RoleWorld, committees: Committees, trainer: Address, place: int) -> Verifier:
    account = committees.by_trainer[trainer][place]
    return next(verifier for verifier in world.verifiers if verifier.account == account)


def says(verifier: Verifier, change: Any) -> None:
    """Its reports say something else than it found."""
    seal = verifier.committee.seal
    verifier.committee.seal = lambda case, findings: seal(case, [change(one) for one in findings])  # type: ignore[method-assign]


def watched(world: RoleWorld) -> Counter[tuple[Address, Address]]:
    """Who replayed a step of whom, counted while the round is judged."""
    found: Counter[tuple[Address, Address]] = Counter()
    for verifier in world.verifiers:
        judge = verifier.examiner.judges.judge

        def counted(job: Any, judge: Any = judge, who: Address = verifier.account) -> Any:
            trainer = next(
                t.account for t in world.trainers if bytes.fromhex(t.account[2:]) == job.context.round.trainer
            )
            found[who, trainer] += 1
            return judge(job)

        verifier.examiner.judges.judge = counted  # type: ignore[method-assign]
    return found


def attest(world: RoleWorld, *verifiers: Verifier) -> None:
    """All of them, or these, again and again: each waits for what others seal and show."""
    for _ in range(4):
        for verifier in verifiers or world.verifiers:
            verifier.attest_commit(FIRST)


def attested(world: RoleWorld, verifier: Verifier) -> dict[Address, TrainerFinding]:
    own = verifier.own.of(FIRST)
    assert own is not None
    return own.by_trainer()


def settled(world: RoleWorld) -> dict[Address, Verdict]:
    view = world.gateway.tasks.round(world.task, FIRST)
    assert view.outcome is Outcome.SETTLED
    proposal = settled_leaves(world.gateway, world.store, world.task, FIRST, view)
    assert proposal is not None
    return {leaf.trainer: leaf.verdict for leaf in proposal.leaves}


def record_of(world: RoleWorld, trainer: Address) -> Any:
    """What an honest committee says."""
    members = drawn(world).by_trainer[trainer]
    return word_of(dict.fromkeys(members, 1), dict.fromkeys(members, Verdict.ACCEPTED))


def audited(world: RoleWorld, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", str(world.store_folder))
    done = CliRunner().invoke(app, ["audit", *place, "--json", *arguments], catch_exceptions=False)
    assert done.exit_code == exit_code, done.output
    return dict(json.loads(done.stdout))
