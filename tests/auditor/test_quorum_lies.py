"""Lies of a whole quorum, sealed and signed as the contract wants them: each is found, and by which audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deltaproof.auditor.audit.check import Status
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import NANOS
from incentives.valuation import scores_from_table
from tests.auditor.colluding import Collusion

Json = dict[str, Any]


def test_audit_contested_round_untouched_passes(collusion: Collusion) -> None:
    failed = collusion.audit(replays=3, official_replays=True, rescore=True)
    assert [str(check) for check in failed] == []


def test_resealed_but_true_attestations_pass(collusion: Collusion) -> None:
    """The forgery itself leaves no trace: what is found below is the lie."""
    collusion.lie_together(lambda document: None)
    assert [str(check) for check in collusion.audit(offline=True, official_replays=True, rescore=True)] == []


def _follow_the_losses(document: Json) -> None:
    game = document["game"]
    document["improvement_nanos"] = round((game["start_loss"] - game["end_loss"]) * NANOS)


def _end_loss_lowered(document: Json) -> None:
    document["game"]["end_loss"] -= 0.1
    _follow_the_losses(document)


def _start_loss_is_end_loss(document: Json) -> None:
    document["game"]["start_loss"] = document["game"]["end_loss"]
    _follow_the_losses(document)


def _no_game(document: Json) -> None:
    document["game"], document["improvement_nanos"] = None, 0
    for finding in document["findings"]:
        finding |= {"score_nanos": 0, "stderr_nanos": 0, "discount_bps": 0}


def _errors(change: Callable[[int], int]) -> Callable[[Json], None]:
    def lie(document: Json) -> None:
        for finding in document["findings"]:
            finding["stderr_nanos"] = change(finding["stderr_nanos"])

    return lie


def _in_game(field: str, change: Callable[[Any], Any]) -> Callable[[Json], None]:
    return lambda document: document["game"].update({field: change(document["game"][field])})


def _far(accuracy: float) -> float:
    return 1.0 if accuracy < 0.75 else 0.25


def _rejected_with_a_score(document: Json) -> None:
    next(f for f in document["findings"] if f["verdict"] == Verdict.REJECTED)["score_nanos"] = 10**9


def _coalition_twice(document: Json) -> None:
    document["game"]["coalitions"].append(document["game"]["coalitions"][-1])


def _worth_of_nobody(document: Json) -> None:
    next(c for c in document["game"]["coalitions"] if not c["members"])["value_nanos"] = 1


def _members_in_disorder(document: Json) -> None:
    next(c for c in document["game"]["coalitions"] if len(c["members"]) > 1)["members"].reverse()


def _losses_beyond_all_numbers(document: Json) -> None:
    document["game"] |= {"start_loss": 1e308, "end_loss": -1e308}


WITHOUT_A_MODEL: dict[str, tuple[Callable[[Json], None], str]] = {
    "no game in a scored round": (_no_game, "game"),
    "another method": (_in_game("method", lambda _: "svarm"), "scoring method"),
    "a score without a part in the game": (_rejected_with_a_score, "unscored"),
    "a coalition twice": (_coalition_twice, "scores"),
    "nobody is worth something": (_worth_of_nobody, "scores"),
    "members in disorder": (_members_in_disorder, "scores"),
    "losses beyond all numbers": (_losses_beyond_all_numbers, "attested improvement"),
}
WITH_THE_MODEL: dict[str, tuple[Callable[[Json], None], str]] = {
    "end loss lowered": (_end_loss_lowered, "end loss"),
    "start loss set to the end loss": (_start_loss_is_end_loss, "start loss"),
    "end accuracy": (_in_game("end_accuracy", _far), "end accuracy"),
    "start accuracy": (_in_game("start_accuracy", _far), "start accuracy"),
}
RESCORED: dict[str, tuple[Callable[[Json], None], str]] = {
    "errors a thousand times as large": (_errors(lambda error: error * 1000), "standard error"),
    "no errors": (_errors(lambda error: 0), "standard error"),
}


@pytest.mark.parametrize("what", WITHOUT_A_MODEL)
def test_audit_without_a_model_sees(collusion: Collusion, what: str) -> None:
    lie, check = WITHOUT_A_MODEL[what]
    collusion.lie_together(lie)
    assert check in {failed.name for failed in collusion.audit(offline=True, models=False)}


@pytest.mark.parametrize("what", WITH_THE_MODEL)
def test_default_audit_sees(collusion: Collusion, what: str) -> None:
    lie, check = WITH_THE_MODEL[what]
    collusion.lie_together(lie)
    assert {failed.name for failed in collusion.audit(offline=True)} == {check}


def test_default_audit_sees_an_adapter_that_its_verifier_never_published(collusion: Collusion) -> None:
    collusion.lie_as_one(lambda document: document.update(next_start_digest="0x" + "11" * 32))
    assert "next adapter" in {failed.name for failed in collusion.audit(offline=True)}


@pytest.mark.parametrize("what", RESCORED)
def test_rescoring_audit_sees(collusion: Collusion, what: str) -> None:
    lie, check = RESCORED[what]
    collusion.lie_together(lie)
    assert {failed.name for failed in collusion.audit(offline=True, rescore=True)} == {check}


def test_rescoring_audit_sees_values_off_by_less_than_the_tolerance(collusion: Collusion) -> None:
    """One player is worth a little more in every coalition, and so is its score: nothing contradicts it in itself."""
    facts, spec = collusion.facts(), collusion.world.verifiers[0].spec
    assert facts.challenge_seed is not None

    def lie(document: Json) -> None:
        game = document["game"]
        table = np.zeros((len(game["coalitions"]), len(game["players"])), dtype=np.bool_)
        for row, coalition in enumerate(game["coalitions"]):
            table[row, coalition["members"]] = True
            coalition["value_nanos"] += spec.scoring.tolerance_nanos // 2 if 0 in coalition["members"] else 0
        values = [coalition["value_nanos"] for coalition in game["coalitions"]]
        estimate = scores_from_table(table, values, spec.scoring, facts.challenge_seed or b"")
        for player, value in zip(game["players"], estimate.values.tolist(), strict=True):
            next(f for f in document["findings"] if f["trainer"] == player)["score_nanos"] = round(value * NANOS)

    collusion.lie_together(lie)
    assert {failed.name for failed in collusion.audit(offline=True, rescore=True)} == {"coalition values"}


# Rejections.


def test_audit_rightful_drift_rejection_is_judged_on_the_verifiers_samples(collusion: Collusion) -> None:
    """No step shows the lean: with the steps one by one, or none, the trainer would look honest."""
    leaning = collusion.world.trainers[-1].account
    failures = [document.by_trainer()[leaning].failure() for document in collusion.honest.values()]
    assert {failure.check for failure in failures if failure} == {"drift"}
    checks = [check for check in collusion.checks(offline=True) if check.name == "rejection"]
    assert [check.status for check in checks] == [Status.PASS] * len(failures)
    assert all("lean" in check.reason for check in checks)


def test_audit_false_drift_rejection_is_found(collusion: Collusion) -> None:
    honest = collusion.world.trainers[0].account
    collusion.rejudge(honest, Verdict.REJECTED, {"step": -1, "check": "drift", "passed": False, "measured": 3.0})
    failed = collusion.audit(offline=True, rescore=True)
    assert [(check.name, check.participant) for check in failed] == [("rejection", honest)] * len(collusion.honest)


def test_full_audit_accepted_trainer_who_leans_is_found(collusion: Collusion) -> None:
    leaning = collusion.world.trainers[-1].account
    collusion.rejudge(leaning, Verdict.ACCEPTED, {"step": -1, "check": "drift", "passed": True, "measured": 0.1})
    failed = collusion.audit(offline=True, official_replays=True, rescore=True)
    assert {(check.name, check.participant) for check in failed} == {("official replays", leaning)}
