"""What the demo promises. Each promise is checked against what the chain, the audit and the evaluation say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltaproof.demo.plan import ORDINARY, Participant, Scenario
from deltaproof.reporting import counted

__all__ = ["Promise", "TrainerOutcome", "check_promises", "names_pay"]


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
    scenario: Scenario = ORDINARY,
) -> list[Promise]:
    """Every promise of the demo, kept or not. `slashed` and pay are keyed by participant name, in token units."""
    trainers, rounds = scenario.trainers, scenario.rounds
    total = {p.name: sum(o.payout for o in outcomes if o.trainer == p.name) for p in trainers}
    honest = [p for p in trainers if p.honest]
    clean = [p for p in honest if p.shard != "noisy" and not p.same_person]
    return [
        Promise(f"{counted(rounds, 'round')} settled", len({o.round for o in outcomes}) == rounds),
        Promise("every honest trainer's replays passed", all(_accepted(outcomes, p) for p in honest)),
        *(_cheat_is_caught(outcomes, p, slashed) for p in trainers if not p.honest),
        Promise("nobody honest was slashed", all(slashed.get(p.name, 0) == 0 for p in honest)),
        Promise("the three honest trainers were paid", all(total[p.name] > 0 for p in clean), of_value=True),
        *(
            Promise(
                "flipped labels earned under a quarter of any clean shard's pay",
                4 * total[noisy.name] <= min(total[p.name] for p in clean),
                of_value=True,
            )
            for noisy in trainers
            if noisy.shard == "noisy"
        ),
        *_names_gain_nothing(outcomes, scenario),
        Promise("all verifiers were paid", len(verifier_pay) > 0 and all(pay > 0 for pay in verifier_pay.values())),
        Promise("the final adapter is better than the start", accuracy["final"] > accuracy["start"], of_value=True),
        Promise("the audit re-checked every round without a failure", audit_failures == 0),
    ]


def names_pay(outcomes: Sequence[TrainerOutcome], scenario: Scenario) -> dict[int, list[int]]:
    """By round, what each name of one person was paid, in token units, the best paid first."""
    names = {p.name for p in scenario.names}
    paid: dict[int, list[int]] = {}
    for outcome in outcomes:
        if outcome.trainer in names:
            paid.setdefault(outcome.round, []).append(outcome.payout)
    return {number: sorted(found, reverse=True) for number, found in sorted(paid.items())}


def _cheat_is_caught(outcomes: Sequence[TrainerOutcome], cheat: Participant, slashed: Mapping[str, int]) -> Promise:
    mine = [o for o in outcomes if o.trainer == cheat.name]
    caught = not any(o.verdict == "accepted" for o in mine) and slashed.get(cheat.name, 0) > 0
    return Promise("the cheat was caught, slashed and paid nothing", caught and not any(o.payout for o in mine))


def _names_gain_nothing(outcomes: Sequence[TrainerOutcome], scenario: Scenario) -> list[Promise]:
    """Names beyond the first bring no row, so they weigh nothing: the first gets what it would alone."""
    if not scenario.names:
        return []
    paid = names_pay(outcomes, scenario)
    alone = len(paid) == scenario.rounds and all(sum(found) == found[0] for found in paid.values())
    return [Promise(f"{len(scenario.names)} names on one shard earned what one name earns", alone)]


def _accepted(outcomes: Sequence[TrainerOutcome], participant: Participant) -> bool:
    mine = [o for o in outcomes if o.trainer == participant.name]
    return bool(mine) and all(o.verdict == "accepted" for o in mine)
