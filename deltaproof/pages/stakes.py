"""What a task's page says of money besides pay: what stands behind everybody's word, and what checking it costs."""

from __future__ import annotations

from typing import Any

from deltaproof.auditor.facts.tasks import TaskFacts
from deltaproof.auditor.index.reader import Index
from deltaproof.protocol.terms.spec import TaskSpec

__all__ = ["stakes_of", "verification_of"]

Json = dict[str, Any]


def stakes_of(index: Index, facts: TaskFacts) -> Json:
    """Stake that the task holds now, by role, with how many hold it, and what was lost so far: smallest units of the
    stake token. `fault` is what one fault costs of a stake, in basis points."""
    held: dict[str, dict[str, int]] = {"trainer": {}, "verifier": {}}
    lost = 0
    absences = index.events(task=int(facts.id), names=["AbsenceCharged"])
    for event in sorted((*facts.events, *absences), key=lambda event: event.position):
        arguments = event.args
        match event.name:
            case "TrainerEnrolled" | "StakeToppedUp":
                held["trainer"][arguments["trainer"]] = arguments["stake"]
            case "VerifierActivated":
                held["verifier"][arguments["verifier"]] = arguments["weight"]
            case "TrainerReleased":
                held["trainer"].pop(arguments["trainer"], None)
            case "VerifierReleased":
                held["verifier"].pop(arguments["verifier"], None)
            case "TrainerSlashed" | "BondForfeited" | "VerifierSlashed" | "AbsenceCharged":
                role = "trainer" if "trainer" in arguments else "verifier"
                lost += arguments["amount"]
                if (left := held[role].get(arguments[role])) is not None:
                    held[role][arguments[role]] = max(0, left - arguments["amount"])
    terms = facts.params.stakes
    return {
        "trainers": sum(held["trainer"].values()),
        "stakedTrainers": len(held["trainer"]),
        "verifiers": sum(held["verifier"].values()),
        "stakedVerifiers": len(held["verifier"]),
        "lost": lost,
        "fault": terms.slash_bps,
        "leastTrainer": terms.trainer_stake,
        "leastVerifier": terms.verifier_stake,
    }


def verification_of(index: Index, facts: TaskFacts, spec: TaskSpec | None) -> Json:
    """Fees that verifiers were promised in rounds so far, smallest units of the reward token, in how many rounds, and
    how many of a trainer's steps each of them replays (None without the spec)."""
    fixed = index.events(task=int(facts.id), names=["FeesFixed"])
    replayed = None if spec is None else min(spec.training.steps, 2 + spec.verification.samples)
    return {
        "fees": sum({event.args["round"]: event.args["fee"] for event in fixed}.values()),
        "rounds": len({event.args["round"] for event in fixed}),
        "replayed": replayed,
        "steps": None if spec is None else spec.training.steps,
    }
