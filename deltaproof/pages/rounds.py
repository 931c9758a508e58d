"""What the page of a round draws: who checked which step, what the pay came from, how long each phase took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deltaproof.auditor.explain import explain
from deltaproof.auditor.facts.leaves import find_leaves, read_attestations
from deltaproof.auditor.facts.tasks import RoundFacts
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.contracts.money import Money
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN
from deltaproof.protocol.commit.commitments import SETTLEMENT_TYPE, RoundDomain, typehash
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.reports import COMMITTEE
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, hex_of
from deltaproof.store import ArtifactStore
from incentives.settling import payouts_of

__all__ = ["game_of", "game_record", "phases_of", "quorum_of", "quorum_record", "replays_of", "waterfall_of", "why"]

Json = dict[str, Any]

TABLES = ("shapley", "banzhaf")
"""Indices whose complete tables the pages' program can sum up."""


def phases_of(facts: RoundFacts, times: dict[int, int]) -> list[Json]:
    """Each phase with begin, end and deadline, seconds since the epoch, and who acted in it when. `times`: of blocks.

    The last phase of a running round has no end. An act after the phase's deadline is late.
    """
    begun = [(facts.opened, Phase.DRAW, 0)]
    begun += [(e, Phase(e.args["phase"]), e.args["deadline"]) for e in facts.named("PhaseStarted")]
    ends = [event.position for event, *_ in begun[1:]] + [facts.ended.position if facts.ended else None]
    shown = []
    for (event, phase, deadline), end in zip(begun, ends, strict=True):
        inside = [e for e in facts.events if event.position < e.position and (end is None or e.position < end)]
        acts = [
            {"event": e.name, "who": who, "time": times.get(e.block), "late": 0 < deadline < times.get(e.block, 0)}
            for e in inside
            if (who := _actor(e.args)) is not None
        ]
        shown.append(
            {
                "phase": phase.name.lower(),
                "from": times.get(event.block),
                "until": times.get(end[0]) if end else None,
                "deadline": deadline or None,
                "acts": acts,
            }
        )
    return [one for one in shown if one["phase"] != "idle" and (one["acts"] or one["from"] != one["until"])]


def replays_of(facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore | None) -> list[Json]:
    """For each trainer and verifier whose attestation the store has: verdict, steps replayed, those that failed, and
    why, or whose word stands for the steps."""
    if store is None:
        return []
    findings = {verifier: one.by_trainer() for verifier, one in read_attestations(facts, spec, store).items()}
    found = []
    for trainer in facts.trainers:
        for verifier, attested in findings.items():
            finding = attested.get(trainer)
            if finding is None:
                continue
            steps = sorted({check.step for check in finding.checks if check.step >= 0})
            failed = sorted({check.step for check in finding.checks if check.step >= 0 and not check.passed})
            failure = finding.failure()
            said = failure or next((check for check in finding.checks if check.check == COMMITTEE), None)
            found.append(
                {
                    "trainer": trainer,
                    "verifier": verifier,
                    "verdict": finding.verdict.name.lower(),
                    "steps": steps,
                    "failed": failed,
                    "why": said.message if said else None,
                }
            )
    return found


def quorum_of(facts: RoundFacts) -> Json | None:
    """What a browser needs to check the quorum's signature: the settlement, its seal, the signature, signers' keys.

    None before a settlement stands, or without the calldata that shows the signature.
    """
    posted = facts.standing
    if posted is None or posted.opened is None:
        return None
    signers = [verifier for verifier in facts.task.quorum_of(facts.number) if verifier not in posted.non_signers]
    keys = {signer: facts.task.keys[signer].args["key_g2"] for signer in signers if signer in facts.task.keys}
    points = {str(signer): (*key["x"], *key["y"]) for signer, key in keys.items()}
    return quorum_record(facts.domain, posted.attempt, posted.settlement, posted.opened[1].signature.wire, points)


def quorum_record(
    domain: RoundDomain,
    attempt: int,
    settlement: Settlement,
    signature: Sequence[int],
    keys: Mapping[str, Sequence[int]],
) -> Json:
    """A settlement with its signature, a point of G1, and each signer's key, a point of G2 as the EVM takes it."""
    return {
        "typehash": hex_of(typehash(SETTLEMENT_TYPE)),
        "chainId": str(domain.chain_id),
        "tasks": domain.tasks,
        "taskId": str(domain.task_id),
        "round": str(domain.round),
        "attempt": attempt,
        "settlement": [_word(value) for value in settlement.fields()],
        "domain": hex_of(SETTLEMENT_DOMAIN),
        "signature": [str(coordinate) for coordinate in signature],
        "signers": list(keys),
        "keys": [[str(coordinate) for coordinate in key] for key in keys.values()],
    }


def game_of(facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore | None) -> Json | None:
    """What a browser needs to compute the scores again: the game that a verifier attested whose scores were settled.

    None for a round without one, and for a table of drawn coalitions: what those are worth takes the estimator, which
    `deltaproof audit` has.
    """
    from deltaproof.auditor.facts.sharing import players_of, readable_game

    if spec is None or store is None or facts.standing is None:
        return None
    agreed = (
        document
        for verifier, document in read_attestations(facts, spec, store).items()
        if facts.attestations[verifier].verdicts == facts.standing.settlement.verdicts_digest
    )
    scored = next((document for document in agreed if readable_game(facts, document) is not None), None)
    return None if scored is None else game_record(spec, scored, players_of(facts, spec, scored))


def game_record(spec: TaskSpec, document: Attestation, players: Sequence[Sequence[Address]]) -> Json | None:
    """An attestation's game; `players`: each with those who share its value, itself first. See `game_of`."""
    from incentives.path import PATH_METHOD

    game = document.game
    if game is None or not (game.method == PATH_METHOD or (game.method == "exact" and spec.scoring.index in TABLES)):
        return None
    attested = document.by_trainer()
    return {
        "index": spec.scoring.index,
        "stay": spec.aggregation.include == "accepted",
        "players": [list(union) for union in players],
        "coalitions": [{"members": list(one.members), "valueNanos": one.value_nanos} for one in game.coalitions],
        "passes": [
            {
                "gainNanos": found.gain_nanos,
                "shares": [{"player": share.player, "slopesNanos": list(share.slopes_nanos)} for share in found.shares],
            }
            for found in game.passes
        ],
        "scores": {str(member): attested[member].score_nanos for union in players for member in union},
    }


def _word(value: object) -> str:
    return hex_of(value) if isinstance(value, bytes) else str(value)


def waterfall_of(facts: RoundFacts, spec: TaskSpec | None, store: ArtifactStore | None, index: Index) -> Json | None:
    """From the budget to the wallets: what was released, floors, scores, claims. None before a settlement stands."""
    posted = facts.standing
    leaves = find_leaves(index, facts, spec, store) if spec is not None else None
    if posted is None or leaves is None or spec is None:
        return None
    rule = payouts_of(spec.rewards, leaves, posted.settlement.improvement_nanos, scored=facts.scored)
    claimed = {event.args["trainer"]: event.args["amount"] for event in facts.named("Claimed")}
    lines = [
        {
            "trainer": leaf.trainer,
            "floor": min(line.floor, line.payout),
            "score": max(0, line.payout - line.floor),
            "payout": line.payout,
            "claimed": claimed.get(leaf.trainer, 0),
        }
        for leaf, line in zip(leaves, rule.lines, strict=True)
    ]
    return {"budget": spec.rewards.budget_per_round, "released": rule.released, "lines": lines}


def why(index: Index, store: ArtifactStore, facts: RoundFacts, trainer: Address, *, paid: Money, staked: Money) -> Json:
    """Why a trainer got what it got, as sentences; the reason instead where it cannot be told."""
    try:
        told = explain(index, store, int(facts.task.id), int(facts.number), trainer, paid=paid, staked=staked)
    except DeltaproofError as error:
        return {"lines": [str(error)]}
    return {"lines": list(told.lines)}


def _actor(arguments: Mapping[str, Any]) -> str | None:
    return next(_named(arguments), None)


def _named(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name in ("trainer", "verifier", "challenger", "prover", "juror"):
        if isinstance(value := arguments.get(name), str):
            yield value
