"""Everybody who takes part: as what, in how many rounds, and what they earned and lost, over all tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.protocol.types import Address

__all__ = ["people_of"]

Json = dict[str, Any]
Round = tuple[int, int]
LOSSES = ("TrainerSlashed", "BondForfeited", "VerifierSlashed", "AbsenceCharged")
NAMES = (
    *("TrainerEnrolled", "VerifierEnrolled", "Revealed", "BatchRevealed", "AttestationRevealed"),
    *("Claimed", "FeesClaimed", *LOSSES),
)


@dataclass
class _Life:
    """What the chain tells of one account. Amounts in smallest units: earnings by reward token, losses of stake."""

    trains: set[int] = field(default_factory=set)
    verifies: set[int] = field(default_factory=set)
    trained: set[Round] = field(default_factory=set)
    attested: set[Round] = field(default_factory=set)
    earned: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rewarded: int = 0
    """Parts of others' slashes, in the stake token."""
    lost: int = 0


def people_of(index: Index, tokens: Mapping[int, str], names: Mapping[Address, str], shown: Sequence[Address]) -> Json:
    """One entry for each account of `shown`; `tokens` are the tasks' reward tokens, `names` what accounts signed."""
    lives: dict[str, _Life] = defaultdict(_Life)
    for event in index.events(names=NAMES):
        _tell(lives, event, tokens)
    return {
        "people": [
            {
                "account": who,
                "name": names.get(who),
                "trains": len(lives[who].trains),
                "verifies": len(lives[who].verifies),
                "trained": len(lives[who].trained),
                "attested": len(lives[who].attested),
                "earned": [[token, amount] for token, amount in sorted(lives[who].earned.items())],
                "rewarded": lives[who].rewarded,
                "lost": lives[who].lost,
            }
            for who in shown
        ]
    }


def _tell(lives: dict[str, _Life], event: Event, tokens: Mapping[int, str]) -> None:
    args = event.args
    task = args["task_id"]
    match event.name:
        case "TrainerEnrolled":
            lives[args["trainer"]].trains.add(task)
        case "VerifierEnrolled":
            lives[args["verifier"]].verifies.add(task)
        case "Revealed":
            lives[args["trainer"]].trained.add((task, args["round"]))
        case "BatchRevealed":
            for entry in args["entries"]:
                if any(entry["salt"]) or any(entry["delta_digest"]):
                    lives[entry["trainer"]].trained.add((task, args["round"]))
        case "AttestationRevealed":
            lives[args["verifier"]].attested.add((task, args["round"]))
        case "Claimed":
            lives[args["trainer"]].earned[tokens[task]] += args["amount"]
        case "FeesClaimed":
            lives[args["verifier"]].earned[tokens[task]] += args["fee"]
            lives[args["verifier"]].rewarded += args["slash_reward"]
        case _:
            lives[args.get("trainer") or args["verifier"]].lost += args["amount"]
