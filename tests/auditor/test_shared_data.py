"""Two trainers on one shard that the task names: they share one player's value, and the audit knows it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.explain import SHOWN_LOSS, explain
from deltaproof.auditor.session import open_index
from deltaproof.chain.local_node import start_node
from deltaproof.errors import ChainError
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex
from tests.auditor.forgery import Forgery
from tests.worlds.roles import RoleWorld, build_world, silent
from trainer.conduct import Honest
from trainer.life import Trainer

ROUND = RoundIndex(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """Trainers 0 and 2 on one shard, trainer 1 and the cheat on others; one round of a task that looks for copies."""
    with start_node("anvil", accounts=12) as node:
        folder, scoring = tmp_path_factory.mktemp("shared"), "similarity_threshold = 0.9999"
        world = build_world(node, folder, rounds=1, verifiers=2, shards=(0, 1, 0, 2), scoring=scoring)
        world.play(1)
        yield world
        world.close()


def attested(world: RoleWorld) -> Attestation:
    view = world.gateway.tasks.round(world.task, ROUND)
    return world.store.get_attestation(Attestation, view.settlement.artifact_digest)


def forged(world: RoleWorld, folder: Path) -> Forgery:
    """An honest copy of the history, to be falsified."""
    path = folder / "index.sqlite"
    open_index(world.rpc, world.contract, str(path))[0].engine.dispose()
    return Forgery(world, path, folder)


def test_two_on_one_shard_are_one_player(shared: RoleWorld) -> None:
    twins, other, cheat = [shared.trainers[i].account for i in (0, 2)], *(shared.trainers[i].account for i in (1, 3))
    document = attested(shared)
    findings = document.by_trainer()
    assert findings[cheat].verdict is Verdict.REJECTED
    assert findings[twins[0]].verdict is findings[twins[1]].verdict is Verdict.ACCEPTED
    assert document.game is not None
    assert len(document.game.players) == 2
    assert {other} < set(document.game.players) < {other, *twins}
    assert findings[twins[0]].score_nanos == findings[twins[1]].score_nanos != 0
    values = {c.members: c.value_nanos for c in document.game.coalitions}
    place = next(i for i, player in enumerate(document.game.players) if player in twins)
    worth = (values[place,] + values[0, 1] - values[1 - place,]) / 2
    assert findings[twins[0]].score_nanos == pytest.approx(worth / 2, abs=1)


def test_audit_of_a_shared_shard_passes_and_explains(shared: RoleWorld) -> None:
    index, _ = open_index(shared.rpc, shared.contract)
    source = AuditSource(index, shared.store, shared.rpc)
    report = run_audit(source, AuditOptions(replays=0, rescore=True))
    assert not [check for check in report.checks if check.status is Status.FAIL]
    assert {"coalition values", "next adapter", "score"} <= {check.name for check in report.checks}
    twins = [shared.trainers[i].account for i in (0, 2)]
    told = explain(index, shared.store, shared.task, ROUND, twins[0])
    assert told.numbers["sharesDataWith"] == [twins[1]]
    assert told.numbers["marginals"]
    assert told.numbers["truncation"] > SHOWN_LOSS, "the mean of three adapters has more directions than one holds"
    assert any("the method's form has no room for the rest" in line for line in told.lines)
    assert any("2 accepted trainers enrolled this data root" in line for line in told.lines)


@pytest.mark.parametrize("sharer", [0, 2])
def test_audit_sharer_scored_as_if_alone_is_named(shared: RoleWorld, sharer: int, tmp_path: Path) -> None:
    account = shared.trainers[sharer].account

    def whole(document: dict[str, Any]) -> None:
        (finding,) = [f for f in document["findings"] if f["trainer"] == account]
        finding["score_nanos"] *= 2

    forgery = forged(shared, tmp_path)
    forgery.attestation(whole)
    failed = [check for check in forgery.audit(offline=True) if check.name == "score"]
    assert failed
    assert all(account in check.reason for check in failed)


def test_audit_sharer_who_is_called_a_copy_is_named(shared: RoleWorld, tmp_path: Path) -> None:
    """The record holds together: a copy is no player and scores nothing. Only the deltas show that there is none."""
    twins = [shared.trainers[i].account for i in (0, 2)]
    honest = attested(shared)
    assert honest.game is not None
    values = {c.members: c.value_nanos for c in honest.game.coalitions}
    place = next(i for i, player in enumerate(honest.game.players) if player in twins)
    value = Fraction(values[place,] + values[0, 1] - values[1 - place,], 2)

    def copied(document: dict[str, Any], value: int) -> None:
        sharer = next(twin for twin in twins if twin not in document["game"]["players"])
        for finding in document["findings"]:
            if finding["trainer"] == sharer:
                finding |= {"score_nanos": 0, "stderr_nanos": 0}
            elif finding["trainer"] in twins:
                finding["score_nanos"] = value

    for whole in (math.floor(value), math.ceil(value)):  # the estimator's floats decide which way a half goes
        (folder := tmp_path / str(whole)).mkdir(exist_ok=True)
        forgery = forged(shared, folder)
        forgery.attestation(partial(copied, value=whole))
        if "score" not in {check.name for check in forgery.audit(offline=True, models=False)}:
            break
    else:
        pytest.fail("neither is the score that the record leads to")
    failed = [check for check in forgery.audit(offline=True) if check.name == "coalition players"]
    assert len(failed) == 1


def test_audit_sharers_who_play_apart_are_named(shared: RoleWorld, tmp_path: Path) -> None:
    """Without the roots, which are on chain, a game of more players would be a game like any."""
    twins = [shared.trainers[i].account for i in (0, 2)]

    def apart(document: dict[str, Any]) -> None:
        game = document["game"]
        game["players"].append(next(twin for twin in twins if twin not in game["players"]))

    forgery = forged(shared, tmp_path)
    forgery.attestation(apart)
    failed = [check for check in forgery.audit(offline=True) if check.name == "players"]
    assert [check.reason for check in failed] == ["trainers of one named data root play apart"]


def test_trainer_with_other_rows_than_the_task_names_does_not_join(shared: RoleWorld, tmp_path: Path) -> None:
    rows = tuple(canonical_row({"text": f"some text {i}", "label": i % 2}) for i in range(20))
    gateway = shared.trainers[0].gateway
    with pytest.raises(ChainError, match="none of its 3 shards"):
        Trainer(gateway, shared.store, shared.task, rows, tmp_path, Honest(), silent)
