"""What a round of a draft asks of its participants, and what checking it costs, from a step that was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deltaproof.chain.abi.enums import Role
from deltaproof.chain.offers import ROUND_GAS
from deltaproof.protocol.draws.committees import capture_probability
from deltaproof.protocol.outcome.reads import judging_seconds
from deltaproof.protocol.rules import BPS
from deltaproof.protocol.terms.costs import round_cost, verifier_fee
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import TokenAmount
from deltaproof.reporting import counted
from deltaproof.sponsor.amounts import Tokens
from deltaproof.tuning.training.speed import Speed, evaluations_of, replayed_trainers, replays_of

__all__ = ["Workload"]

MOST_TRAINERS = 1_000
"""More are not tried when it is asked how many fit into a phase."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A round with the fewest trainers and verifiers, on machines of this speed with one worker."""

    spec: TaskSpec
    speed: Speed
    values: int
    """That a trainer tunes."""
    published_bytes: int
    """That a trainer publishes in a round at most, besides openings."""

    @property
    def trainers(self) -> int:
        """The fewest that a round has."""
        return self.spec.verification.min_trainers

    @property
    def most_trainers(self) -> int:
        """How many trainers a verifier can check within its phase, whenever the last opening comes."""
        limit, fitting = judging_seconds(self.spec), 0
        while fitting < MOST_TRAINERS and self.speed.verifying(self.spec, fitting + 1) <= limit:
            fitting += 1
        return fitting

    def lines(self, tokens: Tokens) -> Iterator[str]:
        """The work beside its deadlines, and what it costs, for a person."""
        spec, trainers, most = self.spec, self.trainers, self.most_trainers
        phases, paid = spec.phases, tokens.reward.text
        judging = judging_seconds(spec)
        training, verifying = self.speed.training(spec), self.speed.verifying(spec, trainers)
        yield (
            f"a trainer takes {training:.1f} s for {counted(spec.training.steps, 'step')}; phases.commit is "
            f"{phases.commit} s. "
            f"Gas: about {ROUND_GAS[Role.TRAINER]:,} a round"
        )
        coded = f", where {self.values:,} values in float32 have {4 * self.values:,}"
        yield (
            f"a trainer publishes at most {self.published_bytes:,} bytes a round besides openings"
            f"{coded if self.published_bytes != 4 * self.values else ''}"
        )
        yield (
            f"a verifier of {counted(trainers, 'trainer')} takes {verifying:.1f} s for "
            f"{counted(replays_of(spec, trainers), 'replay')} and "
            f"{counted(evaluations_of(spec, trainers), 'evaluation')}; phases.attest_commit leaves {judging} s, enough "
            f"for {counted(most, 'trainer') if most < MOST_TRAINERS else 'any number'}. "
            f"Gas: about {ROUND_GAS[Role.VERIFIER]:,} a round"
        )
        verifiers, most_taken = spec.verification.min_verifiers, spec.verification.max_trainers
        if most < spec.verification.max_trainers:
            yield (
                f"the task takes {counted(spec.verification.max_trainers, 'trainer')}, more than such a "
                "verifier can judge: "
                "names that fill it would leave rounds unsettled, and honest work paid the base alone. Lower "
                "verification.max_trainers, or raise phases.attest_commit"
            )
        if (looked := replayed_trainers(spec, most_taken)) < most_taken:
            owned = capture_probability(verifiers, verifiers // 3, spec.verification.committee)
            yield (
                f"each trainer is replayed by {spec.verification.committee} of at least "
                f"{counted(verifiers, 'verifier')}, so that "
                f"one has time for {looked} of {most_taken}. A third of the stake is all of a trainer's committee in "
                f"{100 * float(owned):.2g} % of cases; only then, or where honest members are kept from speaking, can "
                "it have wrong work taken for right"
            )
        fee = verifier_fee(spec.rewards)
        share = spec.rewards.verifier_fee_bps / (BPS // 100)
        yield (
            f"verification costs {paid(fee)} a round in fees, {share:g} % of the trainers' pay: "
            f"{paid(TokenAmount(fee // verifiers))} for each of {counted(verifiers, 'verifier')}"
        )
        total = TokenAmount(round_cost(spec.rewards) * spec.rewards.rounds)
        yield f"to fund every round: --fund '{tokens.reward.exact(total)}'"

    def record(self) -> dict[str, object]:
        """The same for a script; amounts in smallest units, as text."""
        spec, trainers = self.spec, self.trainers
        fee, cost = verifier_fee(spec.rewards), round_cost(spec.rewards)
        verifying = self.speed.verifying(spec, trainers)
        return {
            "work": {
                "step_seconds": self.speed.step,
                "replay_seconds": self.speed.replay,
                "evaluation_seconds": self.speed.evaluation,
                "phases": {
                    "commit": {"work": self.speed.training(spec), "phase": spec.phases.commit},
                    "attest_commit": {"work": verifying, "phase": judging_seconds(spec)},
                },
                "most_trainers": self.most_trainers,
                "values": self.values,
                "published_bytes": self.published_bytes,
            },
            "verification": {
                "trainers": trainers,
                "replays": replays_of(spec, trainers),
                "evaluations": evaluations_of(spec, trainers),
                "seconds": verifying,
                "gas": ROUND_GAS[Role.VERIFIER],
                "fee": str(fee),
                "fee_bps": spec.rewards.verifier_fee_bps,
            },
            "funding": {
                "per_round": str(cost), "rounds": spec.rewards.rounds, "total": str(cost * spec.rewards.rounds),
            },
        }  # fmt: skip
