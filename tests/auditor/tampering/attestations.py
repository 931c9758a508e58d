"""Lies in attestations and settlements: by one verifier, and by a quorum that seals, composes and signs them alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pydantic import ValidationError

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.run import Audit
from deltaproof.auditor.audit.settled import QuorumKeys, quorum_signature
from deltaproof.auditor.audit.terms import check_spec, check_terms
from deltaproof.auditor.facts.loading import load_round
from deltaproof.auditor.index.reader import Index
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, SettlementProposal, build_settlement
from deltaproof.store import ArtifactStore
from incentives.settling import NothingToSettle
from tests.auditor.colluding import Change, Collusion
from tests.auditor.forgery import Overlay
from tests.auditor.tampering.fields import change_at, changed, model_paths
from tests.auditor.tampering.kinds import Cell, Level, Lie, Outcome, failures

__all__ = ["DEPTHS", "attestation_lies", "least_audit", "round_checks", "settlement_lies"]

Fresh = Callable[[], Collusion]

DEPTHS: tuple[tuple[Level, dict[str, Any]], ...] = (
    (Level.EVENTS, {"models": False}),
    (Level.DEFAULT, {}),
    (Level.RESCORE, {"rescore": True}),
    (Level.FULL, {"rescore": True, "official_replays": True}),
)
FREE_TEXT = "words for people; verdict, step and check are what counts, and they are judged again"
MEASURED = "a measure differs between machines; what counts is whether the check passed, and --full judges that again"
NO_EMULATORS = "a task without a federation has none; tests/sponsor/test_federation.py lies about one"
NO_STEP = "a semivalue has none, and a record with one fails; tests/auditor/test_fair_pay.py lies about a task that has"
NO_ROWS = (
    "where enrolled rows count there is none; tests/auditor/test_fair_pay.py lies about a task where distinct ones do"
)
WHY = {
    "findings[].checks[].message": FREE_TEXT,
    "findings[].checks[].measured": MEASURED,
    "game.passes[]": NO_STEP,
    "game.passes[].gain_nanos": NO_STEP,
    "game.passes[].shares[]": NO_STEP,
    "game.passes[].shares[].player": NO_STEP,
    "game.passes[].shares[].units": NO_STEP,
    "game.passes[].shares[].slopes_nanos[]": NO_STEP,
    "game.rows[]": NO_ROWS,
    "game.rows[].trainer": NO_ROWS,
    "game.rows[].rows": NO_ROWS,
    "game.rows[].counted": NO_ROWS,
    "game.rows[].opened": NO_ROWS,
    "game.rows[].repeated": NO_ROWS,
    "game.rows[].earlier[]": NO_ROWS,
    "game.emulators[]": NO_EMULATORS,
    "game.emulators[].emulator": NO_EMULATORS,
    "game.emulators[].loss": NO_EMULATORS,
    "game.emulators[].accuracy": NO_EMULATORS,
}
ROUNDED = "less than rounding between machines explains (AUDIT_ROUNDING, AUDIT_ERROR_SHARE)"
WITHIN: dict[str, Callable[[Any], Any]] = {
    "findings[].stderr_nanos": lambda error: error + 1,
    "game.start_loss": lambda loss: loss + 1e-10,
    "game.end_loss": lambda loss: loss - 1e-10,
    "game.truncation": lambda share: share + 1e-9,
}
"""Lies too small to matter, and to see."""
FAR: dict[str, Callable[[Any], Any]] = {"findings[].stderr_nanos": lambda error: 1000 * error + 10**6}
LISTS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "left out": lambda items: items[:-1],
    "twice": lambda items: [*items, items[-1]],
}


def round_checks(forgery: Collusion, **options: Any) -> list[Check]:
    """The audit of a forged round and of its task's terms, but for pairings and blocks."""
    store = ArtifactStore(Overlay(forgery.world.store_folder, forgery.changed, forgery.times))
    audit = Audit(Index(forgery.engine), store, None, AuditOptions(replays=0, **options))
    task = audit.task_case(forgery.world.task)
    case = audit.round_case(task, load_round(audit.index, task.facts, forgery.round))
    keys = QuorumKeys(task.facts)
    signed = (quorum_signature(case, posted, keys) for posted in case.facts.settlements)
    checks = [*check_spec(task), *check_terms(task), *audit.check_round(case, lambda _: None)]
    return [*checks, *(item for item in signed if isinstance(item, Check))]


def attestation_lies(fresh: Fresh) -> Iterator[Lie]:
    """Each field of an attestation, by one verifier and by all."""
    for liar in ("one verifier", "quorum"):
        for path in model_paths(Attestation):
            lies = LISTS if path.endswith("[]") else {"altered": FAR.get(path, changed)}
            if path in WITHIN:
                lies = {**lies, "within rounding": WITHIN[path]}
            for how, change in lies.items():
                tell = partial(_told, fresh, path, liar, how, change)
                yield Lie(Cell("attestation", path, liar, how), tell)
        yield Lie(Cell("attestation", "game", liar, "left out"), partial(_gone, fresh, liar))


def _told(fresh: Fresh, path: str, liar: str, how: str, change: Callable[[Any], Any]) -> Outcome:
    told: list[bool] = []

    def alter(document: dict[str, Any]) -> None:
        told.append(change_at(document, path, change))

    why = ROUNDED if how == "within rounding" else WHY.get(path, "")
    return _outcome(fresh(), liar, alter, lambda: any(told), why)


def _gone(fresh: Fresh, liar: str) -> Outcome:
    """The whole game left out."""

    def drop(document: dict[str, Any]) -> None:
        document["game"] = None

    return _outcome(fresh(), liar, drop, lambda: True, "")


def _outcome(forgery: Collusion, liar: str, alter: Change, told: Callable[[], bool], why: str) -> Outcome:
    try:
        if liar == "quorum":
            forgery.lie_together(alter)
        else:
            forgery.lie_as_one(alter)
    except ValidationError:
        return Outcome(Level.EVENTS, ("attestation document",), "no reader accepts it")
    except NothingToSettle:
        pass  # the settlement on chain stays; nothing follows from these documents
    if not told():
        return Outcome(Level.NONE, why=why)
    return least_audit(forgery, why)


def least_audit(forgery: Collusion, why: str = "") -> Outcome:
    """The least audit of a forged round that finds something, and what. `why`: what the table says if none does."""
    if why and not failures(round_checks(forgery, **dict(DEPTHS)[Level.FULL])):
        return Outcome(Level.NONE, why=why)
    for level, options in DEPTHS:
        if found := failures(round_checks(forgery, **options)):
            return Outcome(level, found)
    return Outcome(Level.NONE, why=why)


def settlement_lies(fresh: Fresh) -> Iterator[Lie]:
    """Each field of the settlement and of a leaf, signed by a quorum whose attestations say otherwise."""
    for path in model_paths(Settlement):
        yield Lie(Cell("settlement", path, "quorum", "altered"), partial(_other_settlement, fresh, path))
    for path in model_paths(SettlementLeaf):
        yield Lie(Cell("settlement leaf", path, "quorum", "altered"), partial(_other_leaf, fresh, path))


def _other_settlement(fresh: Fresh, path: str) -> Outcome:
    forgery = fresh()
    proposal = _proposal(forgery)
    value = proposal.settlement.model_dump(mode="json")
    change_at(value, path)
    settlement = Settlement.model_validate(value, strict=False)
    forgery.settle(SettlementProposal.model_construct(settlement=settlement, leaves=proposal.leaves))
    return Outcome.of(round_checks(forgery, models=False), Level.EVENTS)


def _other_leaf(fresh: Fresh, path: str) -> Outcome:
    forgery = fresh()
    proposal = _proposal(forgery)
    leaves = [leaf.model_dump(mode="json") for leaf in proposal.leaves]
    change_at(leaves[0], path)
    try:
        altered = [SettlementLeaf.model_validate(leaf, strict=False) for leaf in leaves]
        told = proposal.settlement
        settlement = build_settlement(altered, told.next_start_digest, told.improvement_nanos, told.artifact_digest)
    except ValueError as error:
        return Outcome(Level.EVENTS, ("leaves",), f"no reader accepts it: {error}")
    forgery.settle(SettlementProposal.model_construct(settlement=settlement, leaves=tuple(altered)))
    return Outcome.of(round_checks(forgery, models=False), Level.EVENTS)


def _proposal(forgery: Collusion) -> SettlementProposal:
    return copy.copy(forgery.settled())
