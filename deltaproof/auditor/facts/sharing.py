"""Whose rows were whose: trainers of one data root that the task names, and who enrolled before whom."""

from __future__ import annotations

from bisect import bisect_left

from deltaproof.auditor.facts.tasks import EnrolledShard, RoundFacts
from deltaproof.protocol.outcome.attestation import Attestation, GameRecord
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import PATH_NODES
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32
from incentives.unions import named_root

__all__ = ["enrolment_rank", "misfit_in", "players_of", "readable_game", "shard_in"]

SHOWN = 5
"""Strangers that a reason names."""


def misfit_in(facts: RoundFacts, document: Attestation, game: GameRecord) -> str:
    """Why a game is none of the trainers whom its attestation accepts, each once; empty if it is theirs.

    Attack: be one verifier of many, attest what everybody finds, and add a game of strangers, or of one trainer a
    hundred thousand times in as many coalitions: a table of both fills the memory of whoever reads it.
    """
    findings = document.by_trainer()
    accepted = {t for t in facts.commitments if t in findings and findings[t].verdict is Verdict.ACCEPTED}
    if strangers := [player for player in game.players if player not in accepted]:
        return f"{', '.join(strangers[:SHOWN])} took part in the game without being accepted"
    if len(set(game.players)) < len(game.players):
        return "a trainer plays twice"
    return ""


def readable_game(facts: RoundFacts, document: Attestation) -> GameRecord | None:
    """The game of an attestation, where it can be read as what it says; that it is right, an audit checks."""
    game = document.game
    if game is None or misfit_in(facts, document, game):
        return None
    places = [share.player for found in game.passes for share in found.shares]
    places += [member for coalition in game.coalitions for member in coalition.members]
    slopes = (share.slopes_nanos for found in game.passes for share in found.shares)
    whole = all(len(row) == len(PATH_NODES) for row in slopes)
    return game if whole and all(place < len(game.players) for place in places) else None


def players_of(facts: RoundFacts, spec: TaskSpec, document: Attestation) -> list[list[Address]]:
    """Each player of the attested game with those who share its value, itself first.

    These are the accepted trainers of its data root who are no copies and are not named as players themselves. Where a
    task looks for copies, a copy is who has neither a score nor an error of one.
    """
    if document.game is None:
        return []
    named = set(document.game.players)
    sharers = [
        finding.trainer
        for finding in document.findings
        if finding.verdict is Verdict.ACCEPTED
        and finding.trainer not in named
        and (spec.scoring.similarity_threshold >= 1.0 or (finding.score_nanos, finding.stderr_nanos) != (0, 0))
    ]
    of_root: dict[Digest32 | None, list[Address]] = {}
    for sharer in sharers:
        of_root.setdefault(named_root(spec, shard_in(facts, sharer).root), []).append(sharer)
    of_root.pop(None, None)
    return [[p, *of_root.get(named_root(spec, shard_in(facts, p).root), ())] for p in document.game.players]


def enrolment_rank(facts: RoundFacts, trainer: Address) -> int:
    """How many of those who committed had enrolled their rows before the trainer did."""
    return bisect_left(facts.enrolled_at, shard_in(facts, trainer).position)


def shard_in(facts: RoundFacts, trainer: Address) -> EnrolledShard:
    """What the trainer had enrolled when the round opened; no rows of no root for a stranger, whom a check names."""
    return facts.shard_of(trainer) or EnrolledShard(ZERO_DIGEST, 0)
