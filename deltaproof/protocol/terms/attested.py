"""How large an attestation may grow under a task's terms.

Readers take no more of one than the round's trainers can have made of it: a liar may not fill their memory. And no task
may have terms under which a full round's attestations are more than anybody takes: no such round could be settled.
"""

from __future__ import annotations

from deltaproof.protocol.draws.samples import replayed_steps
from deltaproof.protocol.rules import (
    ATTESTATION_BASE_BYTES,
    ATTESTED_COALITION_BYTES,
    ATTESTED_MEMBER_BYTES,
    ATTESTED_SLOPES_BYTES,
    ATTESTED_STEP_BYTES,
    ATTESTED_TRAINER_BYTES,
    MAX_COALITIONS,
    PATH_PASSES,
)
from deltaproof.protocol.terms.estimators import evaluations_spent
from deltaproof.protocol.terms.tables import TaskTables

__all__ = ["attestation_bytes", "attestation_limit", "most_players"]


def attestation_bytes(terms: TaskTables, trainers: int) -> int:
    """Most bytes of an attestation of a round to which so many trainers committed."""
    trainers = min(trainers, terms.verification.max_trainers)
    drawn = replayed_steps(terms.training.steps, terms.verification.samples)
    of_each = ATTESTED_TRAINER_BYTES + drawn * ATTESTED_STEP_BYTES
    return ATTESTATION_BASE_BYTES + trainers * of_each + _game_bytes(terms, min(trainers, most_players(terms)))


def attestation_limit(terms: TaskTables | None, trainers: int) -> int | None:
    """The same for whoever may have no terms: None then, and the general limit of attestations holds."""
    return None if terms is None else attestation_bytes(terms, trainers)


def most_players(terms: TaskTables) -> int:
    """Most players of a game that the terms allow: named data roots or assigned trainers, else all of a full round."""
    most = terms.verification.max_trainers
    if terms.data.roots:
        return min(len(terms.data.roots), most)
    if terms.federation is not None and terms.federation.assignments:
        return min(len(terms.federation.assignments) + 1, most)
    return most


def _game_bytes(terms: TaskTables, players: int) -> int:
    scoring = terms.scoring
    if scoring.index == "aumann_shapley":
        return PATH_PASSES * players * ATTESTED_SLOPES_BYTES
    evaluations = evaluations_spent(scoring.method, scoring.index, scoring.budget, players)
    each = ATTESTED_COALITION_BYTES + players * ATTESTED_MEMBER_BYTES
    return min(evaluations + 2, MAX_COALITIONS) * each
