"""A round that pays distinct rows by Aumann-Shapley values, from the draft to the claim; what the audit and `explain`
say of it. One trainer plays under two names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.audit.depth import blind_to
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.explain import explain
from deltaproof.auditor.session import open_index
from deltaproof.chain.abi.enums import AttestationState
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import PATH_NODES, STEP_UNITS
from deltaproof.protocol.types import RoundIndex
from tests.auditor.forgery import Forgery
from tests.worlds.roles import RoleWorld, build_world

ROUND = RoundIndex(1)
Lie = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def fair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """Three honest trainers, a second name of the first one, whose rows differ in what no model reads, a cheat, two
    verifiers; one round."""
    with start_node("anvil", accounts=12) as node:
        folder = tmp_path_factory.mktemp("fair")
        scoring, aggregation = 'index = "aumann_shapley"\nrows = "distinct"', 'weights = "rows"'
        world = build_world(
            node, folder, rounds=1, honest=4, verifiers=2, scoring=scoring, aggregation=aggregation,
            shards=[0, 1, 2, 0, 3], named=False, unread=True,
            steps=5,  # no row twice, so three drawn steps show twelve
        )  # fmt: skip
        world.play(1)
        yield world
        world.close()


@pytest.fixture
def forged(fair: RoleWorld, tmp_path: Path) -> Forgery:
    """An honest copy of the history, to be falsified."""
    path = tmp_path / "index.sqlite"
    open_index(fair.rpc, fair.contract, str(path))[0].engine.dispose()
    return Forgery(fair, path, tmp_path)


def attested(world: RoleWorld) -> Attestation:
    view = world.gateway.tasks.round(world.task, ROUND)
    return world.store.get_attestation(Attestation, view.settlement.artifact_digest)


def test_round_is_replayed_scored_and_settled_along_its_step(fair: RoleWorld) -> None:
    document = attested(fair)
    game, findings = document.game, document.by_trainer()
    assert game is not None
    assert (game.method, game.coalitions) == ("path", ())
    accepted = [f.trainer for f in document.findings if f.verdict is Verdict.ACCEPTED]
    assert list(game.players) == accepted
    assert len(accepted) == 4
    last = game.passes[-1]
    stayed = [findings[game.players[share.player]].score_nanos for share in last.shares]
    if min(stayed, default=0) > 0:
        assert sum(stayed) == last.gain_nanos
        assert document.improvement_nanos == pytest.approx(last.gain_nanos, abs=5_000)
    assert all(len(share.slopes_nanos) == len(PATH_NODES) for share in last.shares)
    for verifier in fair.verifiers:
        assert fair.gateway.verifiers.attestation(fair.task, ROUND, verifier.account).state is AttestationState.REVEALED


def test_audit_passes_and_recomputes_the_slopes(fair: RoleWorld) -> None:
    index, _ = open_index(fair.rpc, fair.contract)
    report = run_audit(AuditSource(index, fair.store, fair.rpc), AuditOptions(replays=0, rescore=True))
    assert not [check for check in report.checks if check.status is Status.FAIL]
    assert {"slopes", "score", "next adapter", "standard error", "counted rows"} <= {
        check.name for check in report.checks
    }


def test_explain_tells_each_pass(fair: RoleWorld) -> None:
    index, _ = open_index(fair.rpc, fair.contract)
    document = attested(fair)
    assert document.game is not None
    for trainer in document.game.players:
        told = explain(index, fair.store, fair.task, ROUND, trainer)
        assert told.numbers["passes"][-1]["valueNanos"] == document.by_trainer()[trainer].score_nanos
        assert any("deltas made a step that gained" in line for line in told.lines)


def test_second_name_on_a_shard_weighs_what_it_adds_which_is_next_to_nothing(fair: RoleWorld) -> None:
    document = attested(fair)
    assert document.game is not None
    records = {record.trainer: record for record in document.game.rows}
    first, second = (records[fair.trainers[i].account] for i in (0, 3))
    assert (first.rows, first.counted, first.earlier) == (20, 20, ())
    assert second.rows == 20
    assert 2 * second.counted < second.rows  # whatever the seeds: each shows 12 of the 20 rows at least
    assert second.earlier == (first.trainer,)
    place = document.game.players.index(second.trainer)
    share = next(share for share in document.game.passes[0].shares if share.player == place)
    assert share.units <= STEP_UNITS * second.counted // sum(record.counted for record in records.values())


def test_explain_says_whose_rows_a_second_name_has(fair: RoleWorld) -> None:
    index, _ = open_index(fair.rpc, fair.contract)
    told = explain(index, fair.store, fair.task, ROUND, fair.trainers[3].account)
    assert told.numbers["rows"]["earlier"] == [fair.trainers[0].account]
    assert any("count in its weight" in line for line in told.lines)
    assert any(f"rows of {fair.trainers[0].account}" in line for line in told.lines)


def steeper(nanos: int) -> Lie:
    """A slope that is off, and the score that follows from it."""

    def lie(document: dict[str, Any]) -> None:
        for share in document["game"]["passes"][0]["shares"]:
            share["slopes_nanos"] = [slope + nanos for slope in share["slopes_nanos"]]

    return lie


def heavier(document: dict[str, Any]) -> None:
    shares = document["game"]["passes"][0]["shares"]
    shares[0]["units"] += shares[1]["units"] // 2


def gained_more(document: dict[str, Any]) -> None:
    document["game"]["passes"][-1]["gain_nanos"] += 10**6


def without_passes(document: dict[str, Any]) -> None:
    document["game"]["passes"] = []


def with_a_coalition(document: dict[str, Any]) -> None:
    document["game"]["coalitions"] = [{"members": [0], "value_nanos": 5}]


def one_node_less(document: dict[str, Any]) -> None:
    document["game"]["passes"][0]["shares"][0]["slopes_nanos"].pop()


def counts_all(document: dict[str, Any]) -> None:
    for record in document["game"]["rows"]:
        record["counted"] = record["rows"]


def stranger(document: dict[str, Any]) -> None:
    document["game"]["passes"][0]["shares"][0]["player"] += 40


@pytest.mark.parametrize(
    ("lie", "check"),
    [
        (gained_more, "score"),
        (without_passes, "scores"),
        (with_a_coalition, "scores"),
        (one_node_less, "scores"),
        (stranger, "scores"),
        (counts_all, "counted rows"),
    ],
)
def test_lies_about_the_record_are_found_without_measuring(forged: Forgery, lie: Lie, check: str) -> None:
    forged.attestation(lie)
    assert check in {found.name for found in forged.audit(offline=True)}


def test_audit_without_a_model_leaves_counted_rows_open(fair: RoleWorld) -> None:
    index, _ = open_index(fair.rpc, fair.contract)
    report = run_audit(AuditSource(index, fair.store, None), AuditOptions(replays=0, models=False))
    assert {check.status for check in report.checks if check.name == "counted rows"} == {Status.NOT_CHECKABLE}
    assert any("which rows count" in blind for blind in blind_to({"models": False}))


@pytest.mark.parametrize("lie", [steeper(10**6), heavier], ids=["slopes", "units"])
def test_lies_about_slopes_and_shares_are_found_by_rescoring(forged: Forgery, lie: Lie) -> None:
    forged.attestation(lie)
    assert "slopes" in {found.name for found in forged.audit(rescore=True)}
