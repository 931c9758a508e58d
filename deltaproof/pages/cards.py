"""Tasks and people in short: a task's card, its terms in words, and somebody's place among the others."""

from __future__ import annotations

from typing import Any

from deltaproof.auditor.facts.tasks import TaskFacts
from deltaproof.auditor.history import Historian
from deltaproof.chain.abi.enums import Phase
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address
from deltaproof.reporting import counted

__all__ = ["card_of", "standing_in", "terms_of"]

Json = dict[str, Any]


def card_of(facts: TaskFacts, historian: Historian) -> Json:
    """A task as the first page shows it: where it is, what it tunes, money in and out, what each round gained."""
    posted = historian.standing_settlements(facts.id)
    spec = historian.spec(facts)
    phase = historian.index.events(task=facts.id, names=["PhaseStarted"])[-1:]
    funded = sum(event.args["amount"] for event in historian.index.events(task=facts.id, names=["TaskFunded"]))
    ended = len(facts.named("RoundEnded"))
    cancelled = bool(historian.index.events(task=facts.id, names=["TaskCancelled"]))
    over = cancelled or ended >= facts.params.training.rounds
    running = bool(phase) and len(facts.rounds) > ended
    return {
        **historian.described(facts),
        "description": spec.task.description if spec else None,
        "model": spec.model.source if spec else None,
        "kind": spec.model.kind if spec else None,
        "method": spec.method.name if spec else None,
        "opened": len(facts.rounds),
        "ended": ended,
        "over": over,
        "phase": Phase(phase[0].args["phase"]).name.lower() if running else ("ended" if over else "idle"),
        "deadline": phase[0].args["deadline"] if running else 0,
        "funded": funded,
        "paid": sum(event.args["settlement"]["total_payout"] for event in posted.values()),
        "trainers": len({event.args["trainer"] for event in facts.named("TrainerEnrolled")}),
        "verifiers": len({event.args["verifier"] for event in facts.named("VerifierEnrolled", "VerifierActivated")}),
        "slashes": len(facts.named("TrainerSlashed", "VerifierSlashed")),
        "improvements": [posted[n].args["settlement"]["improvement_nanos"] for n in sorted(posted)],
    }


def terms_of(spec: TaskSpec) -> Json:
    """The terms that a person asks for first, in words; the whole spec is beside it."""
    training, checks = spec.training, spec.verification
    options = ", ".join(f"{name} {_listed(value)}" for name, value in spec.method.options.items())
    return {
        "model": f"{spec.model.kind}, {spec.model.source}",
        "method": f"{spec.method.name}{f' ({options})' if options else ''}",
        "training": f"{counted(training.steps, 'step')} of {counted(training.batch_size, 'row')} a round, "
        f"{training.numeric}",
        "optimizer": f"{spec.optimizer.name}, learning rate {spec.optimizer.learning_rate}",
        "delta": f"codec {spec.codec.name}, at most {spec.codec.byte_limit:,} bytes",
        "scoring": f"{spec.scoring.index.replace('_', ' ')}, {counted(spec.validation.rows, 'hidden row')} a round",
        "verification": f"{counted(checks.samples, 'drawn step')} of each of "
        f"{counted(checks.max_trainers, 'trainer')} at most, "
        f"{counted(checks.min_verifiers, 'verifier')} or more, "
        f"quorum {checks.quorum_bps / 100:g} % of their stake",
        "penalty": f"{checks.slash_bps / 100:g} % of the stake for a fault",
        "drawn rows": _rows_readers(spec),
        "deltas and adapters": "sealed for who takes part" if spec.adapter.sealed else "public",
    }


def _rows_readers(spec: TaskSpec) -> str:
    if not spec.data.sealed:
        return "public"
    return f"sealed for the round's verifiers{' and named auditors' * bool(spec.data.auditors)}"


def _listed(value: object) -> object:
    return " and ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def standing_in(facts: TaskFacts, who: Address, historian: Historian) -> Json:
    """Roles, pay and rank of somebody in a task, by settled pay; no rank for who earned nothing as a trainer."""
    posted = historian.standing_settlements(facts.id)
    leaves = historian.index.all_leaves([event.args["settlement"]["leaves_root"] for event in posted.values()])
    totals: dict[str, int] = {}
    accepted = rounds = 0
    for leaf in (leaf for found in leaves.values() for leaf in found):
        totals[leaf.trainer] = totals.get(leaf.trainer, 0) + leaf.payout
        if leaf.trainer == who:
            rounds += 1
            accepted += leaf.verdict.name == "ACCEPTED"
    mine = totals.get(who, 0)
    roles = [
        role
        for role, names in (("trainer", ("TrainerEnrolled",)), ("verifier", ("VerifierEnrolled", "VerifierActivated")))
        if any(event.args[role] == who for event in facts.named(*names))
    ]
    return {
        "task": facts.id,
        "name": (spec.task.name if (spec := historian.spec(facts)) else None),
        "token": facts.params.token,
        "roles": [*roles, *(["sponsor"] if facts.sponsor == who else [])],
        "settled": rounds,
        "accepted": accepted,
        "payout": mine,
        "rank": 1 + sum(other > mine for other in totals.values()) if who in totals else None,
        "trainers": len(totals),
    }
