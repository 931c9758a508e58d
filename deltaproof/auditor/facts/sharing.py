"""Whose rows were whose: trainers of one data root that the task names, and who enrolled before whom."""

from __future__ import annotations

from deltaproof.auditor.facts.tasks import EnrolledShard, RoundFacts
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address
from incentives.unions import named_root

__all__ = ["enrolment_rank", "players_of", "shard_in"]


def players_of(facts: RoundFacts, spec: TaskSpec, document: Attestation) -> list[list[Address]]:
    """Each player of the attested game with those who share its value, itself first.

    These are the accepted trainers of its data root who are no copies and are not named as players themselves. Where a
    task looks for copies, a copy is who has neither a score nor an error of one.
    """
    if document.game is None:
        return []
    named = document.game.players
    sharers = [
        finding.trainer
        for finding in document.findings
        if finding.verdict is Verdict.ACCEPTED
        and finding.trainer not in named
        and (spec.scoring.similarity_threshold >= 1.0 or (finding.score_nanos, finding.stderr_nanos) != (0, 0))
    ]
    roots = {trainer: named_root(spec, shard_in(facts, trainer).root) for trainer in (*named, *sharers)}
    return [[p, *(s for s in sharers if roots[s] is not None and roots[s] == roots[p])] for p in named]


def enrolment_rank(facts: RoundFacts, trainer: Address) -> int:
    """How many of those who committed had enrolled their rows before the trainer did."""
    own = shard_in(facts, trainer).position
    return sum(shard_in(facts, other).position < own for other in facts.commitments)


def shard_in(facts: RoundFacts, trainer: Address) -> EnrolledShard:
    """What the trainer had enrolled when the round opened; no rows of no root for a stranger, whom a check names."""
    return facts.task.shard_of(trainer, facts.opened.position) or EnrolledShard(ZERO_DIGEST, 0)
