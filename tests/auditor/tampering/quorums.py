"""Lies that a whole quorum agrees on, by their names: each seals, composes and signs consistently, with its own keys.

`found_by` is the least audit that has to see it and a check that has to fail there. None says that nothing can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict, build_settlement
from deltaproof.protocol.rules import NANOS
from deltaproof.protocol.types import Address, StepIndex, TokenAmount
from deltaproof.protocol.wire.tensorfile import write_vectors
from deltaproof.store.paths import opening_path
from incentives.valuation import scores_from_table
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.attestations import least_audit
from tests.auditor.tampering.kinds import Cell, Level, Lie, Outcome

__all__ = ["EARLY", "LATE", "QUORUM_LIES", "QuorumLie", "call_withheld", "quorum_lies"]

Json = dict[str, Any]
EARLY, LATE = 10, 500
"""Seconds after the start of a phase of 600."""


@dataclass(frozen=True)
class QuorumLie:
    """What the quorum does, what it is worth to it, and which audit has to see it by which check."""

    act: Callable[[Collusion], None]
    level: Level
    check: str = ""
    why: str = ""


def quorum_lies(fresh: Callable[[], Collusion]) -> Iterator[Lie]:
    """Every named lie, as a row of the table."""
    for name, lie in QUORUM_LIES.items():
        yield Lie(Cell("lie of a quorum", "", "quorum", name), partial(_told, fresh, lie))


def _told(fresh: Callable[[], Collusion], lie: QuorumLie) -> Outcome:
    forgery = fresh()
    lie.act(forgery)
    return least_audit(forgery, lie.why)


def _together(change: Callable[[Json], None]) -> Callable[[Collusion], None]:
    return lambda forgery: forgery.lie_together(change)


# Numbers of the game.


def _game(**fields: Callable[[Any], Any]) -> Callable[[Collusion], None]:
    """Fields of the game altered, and the improvement as it follows from the losses."""

    def lie(document: Json) -> None:
        game = document["game"]
        for name, change in fields.items():
            game[name] = change(game[name])
        document["improvement_nanos"] = round((game["start_loss"] - game["end_loss"]) * NANOS)

    return _together(lie)


def _start_is_end(document: Json) -> None:
    document["game"]["start_loss"], document["improvement_nanos"] = document["game"]["end_loss"], 0


def _no_game(document: Json) -> None:
    document["game"], document["improvement_nanos"] = None, 0
    for finding in document["findings"]:
        finding |= {"score_nanos": 0, "stderr_nanos": 0, "discount_bps": 0}


def _far(accuracy: float) -> float:
    return 1.0 if accuracy < 0.75 else 0.25


def _findings(field: str, change: Callable[[int], int], verdict: Verdict | None = None) -> Callable[[Collusion], None]:
    def lie(document: Json) -> None:
        for finding in document["findings"]:
            if verdict is None or finding["verdict"] == verdict:
                finding[field] = change(finding[field])

    return _together(lie)


def _values(change: Callable[[list[int], int, int], int]) -> Callable[[Collusion], None]:
    """Other coalition values, by members, value and tolerance, and the scores that follow from them by the rule."""

    def act(forgery: Collusion) -> None:
        seed, spec = forgery.facts().challenge_seed, forgery.world.verifiers[0].spec
        assert seed is not None

        def lie(document: Json) -> None:
            game = document["game"]
            table = np.zeros((len(game["coalitions"]), len(game["players"])), dtype=np.bool_)
            for row, coalition in enumerate(game["coalitions"]):
                members = coalition["members"]
                table[row, members] = True
                coalition["value_nanos"] = change(members, coalition["value_nanos"], spec.scoring.tolerance_nanos)
            values = [coalition["value_nanos"] for coalition in game["coalitions"]]
            estimate = scores_from_table(table, values, spec.scoring, seed)
            for player, value in zip(game["players"], estimate.values.tolist(), strict=True):
                finding = next(f for f in document["findings"] if f["trainer"] == player)
                finding["score_nanos"] = round(value * NANOS)

        forgery.lie_together(lie)

    return act


def _first_is_worth_more(members: list[int], value: int, tolerance: int) -> int:
    return value + tolerance // 2 if 0 in members else value


def _doubled(members: list[int], value: int, tolerance: int) -> int:
    return 2 * value


# How the game is written down.


def _coalition_twice(document: Json) -> None:
    document["game"]["coalitions"].append(document["game"]["coalitions"][-1])


def _worth_of_nobody(document: Json) -> None:
    next(c for c in document["game"]["coalitions"] if not c["members"])["value_nanos"] = 1


def _members_in_disorder(document: Json) -> None:
    next(c for c in document["game"]["coalitions"] if len(c["members"]) > 1)["members"].reverse()


def _beyond_all_numbers(document: Json) -> None:
    document["game"] |= {"start_loss": 1e308, "end_loss": -1e308}


def _first_with(document: Json, verdict: Verdict) -> Json:
    found: Json = next(f for f in document["findings"] if f["verdict"] == verdict)
    return found


def _rejected_with_a_score(document: Json) -> None:
    _first_with(document, Verdict.REJECTED)["score_nanos"] = 10**9


def _better_score(document: Json) -> None:
    _first_with(document, Verdict.ACCEPTED)["score_nanos"] += 10**6


def _step_not_replayed(document: Json) -> None:
    finding = _first_with(document, Verdict.ACCEPTED)
    finding["checks"] = finding["checks"][1:]


def _word_of_no_committee(document: Json) -> None:
    """Nobody replays anything, and all say that a committee did."""
    finding = _first_with(document, Verdict.ACCEPTED)
    word = "replayed and accepted by 2 of the 2 verifiers drawn for it"
    finding["checks"] = [{"step": -1, "check": "committee", "passed": True, "measured": 0.0, "message": word}]


def _accepted_against_its_check(document: Json) -> None:
    _first_with(document, Verdict.REJECTED)["verdict"] = int(Verdict.ACCEPTED)


def _rejected_without_reason(document: Json) -> None:
    _first_with(document, Verdict.ACCEPTED)["verdict"] = int(Verdict.REJECTED)


def _receipt_of_nothing(document: Json) -> None:
    _first_with(document, Verdict.ACCEPTED)["reads"][0]["receipt"] = "0x" + "11" * 32


# Verdicts and adapters.


def _honest(forgery: Collusion) -> Address:
    return forgery.world.trainers[0].account


def _cheat(forgery: Collusion) -> Address:
    return forgery.world.trainers[-1].account


def _rejected(step: int, check: str) -> Callable[[Collusion], None]:
    last = {"step": step, "check": check, "measured": 3.0}
    return lambda forgery: forgery.rejudge(_honest(forgery), Verdict.REJECTED, last)


def _cheat_accepted(forgery: Collusion) -> None:
    last = {"step": -1, "check": "drift", "passed": True, "measured": 0.1}
    forgery.rejudge(_cheat(forgery), Verdict.ACCEPTED, last)


def call_withheld(forgery: Collusion, trainer: Address, *, witnesses: int = 0, sealed: int = LATE) -> str:
    """Verifiers say that the trainer's first opening is not in the store; the path where it lies all the time."""
    liars = sorted(forgery.honest)[witnesses:]
    forgery.rejudge(trainer, Verdict.WITHHELD, {"step": 0, "check": "opening"}, liars=liars)
    for verifier in liars:
        forgery.sealed_at(verifier, sealed)
    return opening_path(forgery.facts().reveals[trainer].transcript_root, trainer, StepIndex(0))


def _withheld_by_all(forgery: Collusion) -> None:
    call_withheld(forgery, _honest(forgery))


def _withheld_early(forgery: Collusion) -> None:
    forgery.times[call_withheld(forgery, _honest(forgery), sealed=EARLY)] = None


def _withheld_with_a_witness(forgery: Collusion) -> None:
    forgery.times[call_withheld(forgery, _honest(forgery), witnesses=1)] = None
    forgery.sealed_at(min(forgery.honest), EARLY)


def _withheld_for_an_envelope(forgery: Collusion) -> None:
    forgery.rejudge(_honest(forgery), Verdict.WITHHELD, {"step": -1, "check": "sealing"})
    for verifier in forgery.honest:
        forgery.sealed_at(verifier, LATE)


def _withheld_without_trace(forgery: Collusion) -> None:
    forgery.times[call_withheld(forgery, _honest(forgery))] = None


def _next_adapter(scale: float) -> Callable[[Collusion], None]:
    """Another adapter than the aggregate, published, so that everybody can start from it."""

    def act(forgery: Collusion) -> None:
        document = next(iter(forgery.honest.values()))
        size = forgery.facts().task.params.training.parameters
        aggregate = forgery.world.store.get_tensors(document.next_start_digest, size)
        values = (aggregate * np.float32(scale)).astype(np.float32)
        digest = component_root(values)
        forgery.changed[f"tensors/{digest.hex()}"] = write_vectors({"values": values}, {})
        forgery.lie_together(lambda told: told.update(next_start_digest="0x" + digest.hex()))

    return act


def _copy(document: Json) -> None:
    """The last player is called a copy of the others: no player, nothing to earn."""
    game = document["game"]
    copied = len(game["players"]) - 1
    finding = next(f for f in document["findings"] if f["trainer"] == game["players"][copied])
    finding |= {"score_nanos": 0, "stderr_nanos": 0}
    game["players"] = game["players"][:-1]
    game["coalitions"] = [c for c in game["coalitions"] if copied not in c["members"]]


def _copied(forgery: Collusion) -> None:
    """And everybody else's scores follow from the game without it."""
    seed, spec = forgery.facts().challenge_seed, forgery.world.verifiers[0].spec
    assert seed is not None

    def lie(document: Json) -> None:
        _copy(document)
        game = document["game"]
        table = np.zeros((len(game["coalitions"]), len(game["players"])), dtype=np.bool_)
        for row, coalition in enumerate(game["coalitions"]):
            table[row, coalition["members"]] = True
        values = [coalition["value_nanos"] for coalition in game["coalitions"]]
        estimate = scores_from_table(table, values, spec.scoring, seed)
        for player, value in zip(game["players"], estimate.values.tolist(), strict=True):
            next(f for f in document["findings"] if f["trainer"] == player)["score_nanos"] = round(value * NANOS)

    forgery.lie_together(lie)


# Settlements that do not follow from the attestations.


def _settled(change: Callable[[list[Json], Address, Address], None]) -> Callable[[Collusion], None]:
    """The leaves altered, by leaves, an honest trainer and the cheat; the rest of the settlement as it was."""

    def act(forgery: Collusion) -> None:
        proposal = forgery.settled()
        leaves = [dict(leaf) for leaf in proposal.leaves]
        change(leaves, _honest(forgery), _cheat(forgery))
        altered = tuple(leaf.model_copy(update=new) for leaf, new in zip(proposal.leaves, leaves, strict=True))
        told = proposal.settlement
        settlement = build_settlement(altered, told.next_start_digest, told.improvement_nanos, told.artifact_digest)
        forgery.settle(SettlementProposal.model_construct(settlement=settlement, leaves=altered))

    return act


def _pay(leaves: list[Json], honest: Address, cheat: Address) -> None:
    """The honest trainer's pay goes to the cheat, who stays rejected."""
    by = {leaf["trainer"]: leaf for leaf in leaves}
    by[cheat]["payout"], by[honest]["payout"] = by[honest]["payout"], TokenAmount(0)


def _verdict(leaves: list[Json], honest: Address, cheat: Address) -> None:
    next(leaf for leaf in leaves if leaf["trainer"] == cheat)["verdict"] = Verdict.ACCEPTED


def _score(leaves: list[Json], honest: Address, cheat: Address) -> None:
    next(leaf for leaf in leaves if leaf["trainer"] == honest)["score_nanos"] += 10**7


E, D, R, F = Level.EVENTS, Level.DEFAULT, Level.RESCORE, Level.FULL
UNDATED = "no receipt and no clock speaks of it: docs/auditor.md, Withheld; the check says `not checkable`"
QUORUM_LIES: dict[str, QuorumLie] = {
    "no game in a scored round": QuorumLie(_together(_no_game), E, "game"),
    "another method": QuorumLie(_game(method=lambda _: "svarm"), E, "scoring method"),
    "a score without a part in the game": QuorumLie(_together(_rejected_with_a_score), E, "unscored"),
    "a coalition twice": QuorumLie(_together(_coalition_twice), E, "scores"),
    "nobody is worth something": QuorumLie(_together(_worth_of_nobody), E, "scores"),
    "members in disorder": QuorumLie(_together(_members_in_disorder), E, "scores"),
    "losses beyond all numbers": QuorumLie(_together(_beyond_all_numbers), E, "attested improvement"),
    "an improvement that no loss shows": QuorumLie(
        _together(lambda d: d.update(improvement_nanos=10**9)), E, "attested improvement"
    ),
    "a score that no value shows": QuorumLie(_together(_better_score), E, "score"),
    "everybody discounted": QuorumLie(_findings("discount_bps", lambda _: 10_000, Verdict.ACCEPTED), E, "discount"),
    "no standard errors": QuorumLie(_findings("stderr_nanos", lambda _: 0), R, "standard error"),
    "standard errors a thousand times as large": QuorumLie(
        _findings("stderr_nanos", lambda error: 1000 * error), R, "standard error"
    ),
    "a step that was not replayed": QuorumLie(_together(_step_not_replayed), E, "samples"),
    "a committee's word in place of replays": QuorumLie(_together(_word_of_no_committee), E, "committee"),
    "accepted although a check failed": QuorumLie(_together(_accepted_against_its_check), E, "finding"),
    "rejected although no check failed": QuorumLie(_together(_rejected_without_reason), E, "finding"),
    "a receipt for what was not read": QuorumLie(_together(_receipt_of_nothing), E, "receipt"),
    "withheld, though announced and dated": QuorumLie(_withheld_by_all, E, "withheld"),
    "withheld, before it was time to give up": QuorumLie(_withheld_early, E, "withheld too early"),
    "withheld, though another had read it": QuorumLie(_withheld_with_a_witness, E, "withheld"),
    "withheld for an envelope where nothing is sealed": QuorumLie(_withheld_for_an_envelope, E, "withheld"),
    "rejected for a fault that no contract established": QuorumLie(_rejected(-1, "fault"), E, "finding"),
    "withheld, and nothing dates it": QuorumLie(_withheld_without_trace, Level.NONE, why=UNDATED),
    "pay moved to the cheat": QuorumLie(_settled(_pay), E, "payout"),
    "the cheat settled as accepted": QuorumLie(_settled(_verdict), E, "settled verdicts"),
    "a score settled that nobody attested": QuorumLie(_settled(_score), E, "settlement root"),
    "end loss lowered by 0.5": QuorumLie(_game(end_loss=lambda loss: max(0.0, loss - 0.5)), D, "end loss"),
    "start loss set to the end loss": QuorumLie(_together(_start_is_end), D, "start loss"),
    "start loss raised by 0.5": QuorumLie(_game(start_loss=lambda loss: loss + 0.5), D, "start loss"),
    "another start accuracy": QuorumLie(_game(start_accuracy=_far), D, "start accuracy"),
    "another end accuracy": QuorumLie(_game(end_accuracy=_far), D, "end accuracy"),
    "half of the aggregate lost": QuorumLie(_game(truncation=lambda share: (share + 0.5) % 1.0), D, "truncation"),
    "a next adapter twice as large": QuorumLie(_next_adapter(2.0), D, "next adapter"),
    "a next adapter of nothing": QuorumLie(_next_adapter(0.0), D, "next adapter"),
    "an honest trainer called a copy": QuorumLie(_copied, E, "players"),
    "an honest trainer rejected by drift": QuorumLie(_rejected(-1, "drift"), D, "rejection"),
    "an honest trainer rejected for its data": QuorumLie(_rejected(-1, "data"), D, "rejection"),
    "an honest trainer rejected by a gradient": QuorumLie(_rejected(0, "gradient"), D, "rejection"),
    "values off by half a tolerance": QuorumLie(_values(_first_is_worth_more), R, "coalition values"),
    "all values doubled": QuorumLie(_values(_doubled), R, "coalition values"),
    "a cheat who leans, accepted": QuorumLie(_cheat_accepted, F, "official replays"),
}
