"""A verifier that misses something looks again before it says so: a store that lags costs nobody its stake."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import AttestationState, Phase
from deltaproof.chain.local_node import start_node
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex
from tests.disputing.conftest import moment
from tests.verifier.jurors import juror_of, moved, opinion_of
from tests.worlds.roles import RoleWorld, build_world, silent
from trainer.life import Trainer
from verifier.examining import Examiner
from verifier.facts import read_case
from verifier.hindsight import look_back
from verifier.life import Verifier

FIRST = RoundIndex(1)


def test_verifier_waits_for_a_lagging_store_and_calls_withheld_only_late(tmp_path: Path) -> None:
    with start_node("anvil", accounts=8) as node:
        world = build_world(node, tmp_path, rounds=1, honest=1, verifiers=3)
        openings, away = world.store_folder / "openings", tmp_path / "on its way"
        patient, unlucky, early = world.verifiers
        world.open_round()
        replayed_while_others_open(world, early)
        world.until(Phase.ATTEST_COMMIT)

        shutil.move(openings, away)
        assert _verdict(world, early) is Verdict.ACCEPTED, "it had looked before"
        assert _verdict(world, patient) is None
        shutil.move(away, openings)
        attested_anew(world, early)
        assert _verdict(world, patient) is Verdict.ACCEPTED

        shutil.move(openings, away)
        told: list[str] = []
        unlucky.examiner.report = lambda event, message, **_fields: told.append(event)
        assert _verdict(world, unlucky) is None
        assert told.count("scoring") == 1, "it scores as if nothing more came"
        world.skip_time(361)
        assert _verdict(world, unlucky) is Verdict.WITHHELD
        assert told.count("scoring") == 1, "and not again when it gives up"
        shutil.move(away, openings)
        two_words_that_it_was_there(world, unlucky)
        world.close()


def replayed_while_others_open(world: RoleWorld, verifier: Verifier) -> None:
    """The round up to its openings, which the verifier replays one by one as they come."""
    for phase, act in ((Phase.COMMIT, Trainer.commit), (Phase.REVEAL, Trainer.reveal), (Phase.OPENING, None)):
        world.until(phase)
        for trainer in world.trainers if act else ():
            act(trainer, FIRST)
    world.sponsor.reveal(FIRST)
    told: list[str] = []
    verifier.examiner.report = lambda event, message, **_fields: told.append(message) if event == "replayed" else None
    for number, trainer in enumerate(world.trainers):
        verifier.look_early(FIRST)
        before = len(told)
        assert sum(one.account[:8] in " ".join(told) for one in world.trainers) == number
        trainer.opening(FIRST)
        verifier.look_early(FIRST)
        assert all(trainer.account[:8] in message for message in told[before:]), "nobody is replayed twice"
        assert len(told) > before


def attested_anew(world: RoleWorld, verifier: Verifier) -> None:
    """What was replayed early is attested as it is by somebody who begins now."""
    log = TaskLog(world.gateway, verifier.log._contracts, world.task)
    log.refresh(FIRST)
    case = read_case(world.gateway, world.store, log, verifier.spec, world.task, FIRST)
    fresh = Examiner(verifier.spec, world.store, verifier.account, silent)
    again = fresh.examine(case, may_give_up=True, publish=False)
    own = verifier.own.of(FIRST)
    assert again is not None
    assert own is not None
    assert again.to_document() == own.to_document()


def two_words_that_it_was_there(world: RoleWorld, juror: Verifier) -> None:
    """What a settlement calls withheld is held against it by the store's clock and a receipt together, by neither
    alone."""
    world.until(Phase.ATTEST_REVEAL)
    for verifier in world.verifiers:
        verifier.attest_reveal(FIRST)
    trainer, store, log = world.trainers[0].account, world.store, juror.log
    log.refresh(FIRST)
    read = read_case(world.gateway, store, log, juror.spec, world.task, FIRST)
    case = replace(read, withheld=frozenset({trainer}))

    def seen() -> bool:
        known = look_back(world.gateway, store, log, juror.spec, case).read_by
        return trainer in known and juror.examiner.was_read(case, trainer, known[trainer])

    assert seen()
    root = next(one.transcript_root for one in case.submissions if one.trainer == trainer)
    assert root is not None
    opening = min((world.store_folder / "openings" / root.hex() / trainer.lower()).iterdir())
    written = opening.stat().st_mtime
    os.utime(opening, (2.0**40, 2.0**40))
    assert not seen(), "the store says that a part of it came late"
    os.utime(opening, (written, written))
    assert seen()
    shutil.rmtree(world.store_folder / "attestations")
    assert not seen(), "nobody says to have read it"


def _verdict(world: RoleWorld, verifier: Verifier) -> Verdict | None:
    """What a verifier has sealed of the honest trainer's work; None before it has."""
    round_ = world.gateway.tasks.phase(world.task).round
    verifier.attest_commit(round_)
    state = world.gateway.verifiers.attestation(world.task, round_, verifier.account).state
    own = verifier.own.of(round_)
    sealed = own is not None and state == AttestationState.COMMITTED
    return own.by_trainer()[world.trainers[0].account].verdict if own and sealed else None


def test_validation_set_that_never_comes_to_the_store_costs_the_base_and_no_verifier_its_stake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: the sponsor opens its commitment on chain and keeps the set back, so that nobody can score. A trainer
    keeps its openings back, too; and when the round is settled without both, they show them to the jury. A verifier
    stays away, so that a majority settles late, and is charged before anybody can open the next round."""
    monkeypatch.setattr("verifier.life.PATIENCE_SECONDS", 0.0)
    with start_node("anvil", accounts=8) as node:
        world = build_world(node, tmp_path, rounds=1, honest=1, verifiers=3)
        absent = world.verifiers.pop()
        round_ = world.open_round()
        world.work()
        cheat = world.trainers[1]
        root = cheat._transcript(round_)
        assert root is not None
        late = [Path("validation"), Path("openings") / root.hex()]
        moved(late, world.store_folder, tmp_path / "not shown")
        for verifier in world.verifiers:
            assert _verdict(world, verifier) is None
        world.skip_time(361)
        for verifier in world.verifiers:
            assert _verdict(world, verifier) is Verdict.ACCEPTED
        world.attest()
        _sign_before_and_after_a_late_document(world, round_)
        world.skip_time(601)
        world.gateway.tasks.advance(world.task)

        def in_window() -> None:
            verifier = world.verifiers[0]
            verifier.play(moment(verifier.gateway, world.task))
            missed = verifier.gateway.verifiers.enrolment(world.task, absent.account)
            assert (missed.misses, missed.stake, missed.active_until) == (1, 99, round_)
            juror = juror_of(world)
            moved(late, tmp_path / "not shown", world.store_folder)
            assert opinion_of(world, juror) is False, "what came later tells nothing of what was missing then"
            moved([Path("openings")], world.store_folder, tmp_path / "taken out")
            assert opinion_of(world, juror_of(world)) is None, "nor does what is missing now tell what was there"
            moved([Path("openings")], tmp_path / "taken out", world.store_folder)

        world.settle(in_window)
        settled = world.gateway.trainers.work(world.task, round_, cheat.account)
        assert settled.slashed, "who withheld its work pays for it"
        rewards = world.sponsor.spec.rewards
        paid = world.gateway.tasks.round(world.task, round_).settlement.total_payout
        assert paid >= rewards.budget_per_round * rewards.base_bps // 10_000 - 2 > 0
        for verifier in world.verifiers:
            enrolment = world.gateway.verifiers.enrolment(world.task, verifier.account)
            assert (enrolment.misses, enrolment.stake) == (0, 100)
        world.close()


def _sign_before_and_after_a_late_document(world: RoleWorld, round_: RoundIndex) -> None:
    """Attack: reveal, and show the document when others have signed without it. They sign what follows with it, too."""
    early = world.verifiers[0]
    source = early.quorum.compose(round_).settlement.artifact_digest
    early.quorum._documents.clear()
    own = early.own.of(round_)
    if own is None or own.digest() == source:
        early = world.verifiers[1]
    document, away = world.store_folder / "attestations" / source.hex(), world.store_folder.parent / "kept back"
    shutil.move(document, away)
    early.settle(round_)
    shutil.move(away, document)
    assert early._signed[round_, 0].settlement.artifact_digest != source
