"""What the demo promises. Each promise is checked against what the chain, the audit and the evaluation say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltaproof.demo.plan import TRAINERS, Participant

__all__ = ["Promise", "TrainerOutcome", "check_promises"]


@dataclass(frozen=True, slots=True)
class TrainerOutcome:
    """One trainer's round as settled on chain. Payout in token units."""

    round: int
    trainer: str
    verdict: str
    score_nanos: int
    stderr_nanos: int
    payout: int


@dataclass(frozen=True, slots=True)
class Promise:
    """One line of the demo's closing list."""

    text: str
    kept: bool
    of_value: bool = False
    """About pay or quality, which one round alone cannot show (`Scenario.judges_value`)."""


def check_promises(
    outcomes: Sequence[TrainerOutcome],
    slashed: Mapping[str, int],
    verifier_pay: Mapping[str, int],
    accuracy: Mapping[str, float],
    audit_failures: int,
    *,
    rounds: int,
) -> list[Promise]:
    """Every promise of the demo, kept or not. `slashed` and pay are keyed by participant name, in token units."""
    total = {p.name: sum(o.payout for o in outcomes if o.trainer == p.name) for p in TRAINERS}
    clean = [p for p in TRAINERS if p.honest and p.shard != "noisy"]
    noisy = next(p for p in TRAINERS if p.shard == "noisy")
    cheat = next(p for p in TRAINERS if not p.honest)
    return [
        Promise(f"{rounds} rounds settled", len({o.round for o in outcomes}) == rounds),
        Promise("every honest trainer's replays passed", all(_accepted(outcomes, p) for p in TRAINERS if p.honest)),
        Promise(
            "the cheat was caught, slashed and paid nothing",
            not any(o.verdict == "accepted" for o in outcomes if o.trainer == cheat.name)
            and slashed.get(cheat.name, 0) > 0
            and total[cheat.name] == 0,
        ),
        Promise("nobody honest was slashed", all(slashed.get(p.name, 0) == 0 for p in TRAINERS if p.honest)),
        Promise("the three honest trainers were paid", all(total[p.name] > 0 for p in clean), of_value=True),
        Promise(
            "flipped labels earned under a quarter of any clean shard's pay",
            4 * total[noisy.name] <= min(total[p.name] for p in clean),
            of_value=True,
        ),
        Promise("all verifiers were paid", len(verifier_pay) > 0 and all(pay > 0 for pay in verifier_pay.values())),
        Promise("the final adapter is better than the start", accuracy["final"] > accuracy["start"], of_value=True),
        Promise("the audit re-checked every round without a failure", audit_failures == 0),
    ]


def _accepted(outcomes: Sequence[TrainerOutcome], participant: Participant) -> bool:
    mine = [o for o in outcomes if o.trainer == participant.name]
    return bool(mine) and all(o.verdict == "accepted" for o in mine)
