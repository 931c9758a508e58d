"""What a task's terms make worth whose while: one function from terms to numbers. Its page is docs/economics.md.

Amounts are in the smallest unit of their token. Where a number compares pay with stake, it takes both tokens at par: a
sponsor whose reward token is worth something else multiplies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from deltaproof.protocol.draws.committees import capture_probability
from deltaproof.protocol.draws.samples import replayed_steps
from deltaproof.protocol.rules import BPS, MAJORITY_BPS
from deltaproof.protocol.terms.spec import TaskSpec
from incentives.names import MeasuredGain, NamesGain, measured_gains, names_gain

__all__ = ["COALITIONS", "Assumptions", "Attack", "Economics", "economics", "unseen"]

COALITIONS = (0, 10, 20, 30, 40, 49)
"""Per cent of the verifiers' stake that is corrupt."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What terms alone do not say. docs/economics.md gives the reasons."""

    faults: Fraction = Fraction(1, 10)
    """How often some trainer of a round is not to be accepted."""
    demands: Fraction = Fraction(1, 2)
    """How often somebody demands a score of a verifier that guessed."""
    work: Fraction = Fraction(1, 20)
    """What computing a step costs, as a part of what the step is paid."""
    demand_bond: int = 10 * 10**18
    """Of the deployment's court, smallest unit."""
    case_bond: int = 100 * 10**18
    """Of the deployment's jury, smallest unit."""


@dataclass(frozen=True, slots=True)
class Attack:
    """What somebody wins by an attack in one round, less what it loses, expected, smallest unit."""

    who: str
    does: str
    nets: tuple[int, ...]
    """With as much of the verifiers' stake on its side as `COALITIONS` says; once where it does not matter."""
    key: str = ""
    """The term that decides about it."""
    own: bool = False
    """Whether only the sponsor could, so that the terms are a promise to others and no risk to it."""

    @property
    def pays(self) -> bool:
        """Whether anybody else than the sponsor has a reason to."""
        return not self.own and max(self.nets) > 0


@dataclass(frozen=True, slots=True)
class Economics:
    """What the terms promise, threaten, and leave open."""

    fee: int
    """What a verifier of the smallest set earns in a settled round."""
    missed: Fraction
    """Chance that one wrong step is not in the sample that all verifiers replay."""
    attacks: tuple[Attack, ...]
    better: Mapping[str, int]
    """Values of keys under which none of the attacks pays; empty if none does."""
    names: NamesGain
    """What honest work under many names gains over work under one. It breaks no rule, so it is told and not refused."""
    measured: tuple[MeasuredGain, ...]
    """What was measured of other games with names, by kind."""

    @property
    def risks(self) -> tuple[Attack, ...]:
        """Attacks that pay."""
        return tuple(attack for attack in self.attacks if attack.pays)


def economics(spec: TaskSpec, assumed: Assumptions | None = None) -> Economics:
    """Numbers of a spec for the smallest set of verifiers that its terms allow, all with the least stake."""
    terms, assumed = _Terms.of(spec), assumed or Assumptions()
    attacks = _attacks(terms, assumed)
    better: dict[str, int] = {}
    if any(attack.pays for attack in attacks):
        better = _better(terms, assumed)
    return Economics(
        terms.fee,
        unseen(terms.steps, terms.samples, terms.run),
        attacks,
        better,
        names_gain(spec),
        measured_gains(spec),
    )


def unseen(steps: int, samples: int, run: int = 1) -> Fraction:
    """Chance that one step, chosen by whoever cheats, is not drawn: nor any other of its run, where runs are drawn.

    The first and the last are always replayed, and of those between one sample, by all verifiers
    (docs/protocol/rounds.md, Samples). So it does not matter how many they are, or who looks away: the verdict is that
    of a majority, and its honest members find the same.
    """
    runs, drawn = -(-max(steps - 2, 0) // run), -(-samples // run)
    return Fraction(0) if runs == 0 else 1 - Fraction(min(drawn, runs), runs)


@dataclass(frozen=True, slots=True)
class _Terms:
    """The terms that matter, and what follows from them."""

    budget: int
    fee_bps: int
    base_bps: int
    steps: int
    samples: int
    verifiers: int
    slash_bps: int
    prover_bps: int
    absence_bps: int
    trainer_stake: int
    verifier_stake: int
    bond: int
    committee: int
    run: int

    @classmethod
    def of(cls, spec: TaskSpec) -> _Terms:
        rewards, terms = spec.rewards, spec.verification
        return cls(
            rewards.budget_per_round, rewards.verifier_fee_bps, rewards.base_bps, spec.training.steps, terms.samples,
            terms.min_verifiers, terms.slash_bps, terms.prover_bps, terms.absence_bps, terms.min_trainer_stake,
            terms.min_verifier_stake, terms.commit_bond, terms.committee, terms.run,
        )  # fmt: skip

    @property
    def fee(self) -> int:
        return self.budget * self.fee_bps // BPS // self.verifiers

    @property
    def signers(self) -> int:
        """The fewest that settle: whoever waits for the second settle phase needs a majority only."""
        return -(-self.verifiers * MAJORITY_BPS // BPS)

    @property
    def burned_bps(self) -> int:
        """What a slash takes for good: who sees that it will be found shows its fault from an account of its own."""
        return BPS - self.prover_bps

    def loss(self, stake: int, bps: int) -> int:
        """Of so much of a stake, as the contract rounds, what does not come back."""
        amount = stake * bps // BPS
        return amount - amount * self.prover_bps // BPS

    def corrupt(self, percent: int) -> int:
        """Verifiers of equal stake that a coalition of that size has."""
        return self.verifiers * percent // 100

    def owned(self, percent: int) -> Fraction:
        """Chance that a coalition of that size owns the committee of one trainer."""
        return capture_probability(self.verifiers, self.corrupt(percent), self.committee)


def _attacks(terms: _Terms, assumed: Assumptions) -> tuple[Attack, ...]:
    slash, budget = Fraction(terms.slash_bps * terms.burned_bps, BPS * BPS), terms.budget
    missed = unseen(terms.steps, terms.samples, terms.run)
    forged = ceil(missed * budget - (1 - missed) * slash * terms.trainer_stake)
    stalled = tuple(-terms.loss(terms.verifier_stake, terms.absence_bps) * terms.corrupt(p) for p in COALITIONS)
    attested = tuple(-terms.fee * terms.corrupt(p) for p in COALITIONS)
    lied = budget - terms.signers * terms.loss(terms.verifier_stake, terms.slash_bps)
    kept = budget - budget * terms.base_bps // BPS
    lazy = _cost_of_checking(terms, assumed) - _worth_of_checking(terms, assumed)
    return (
        Attack(
            "trainer", "makes up the one step that it needs, and wins the whole round", (forged,),
            "verification.min_trainer_stake",
        ),
        Attack("trainer", "commits and never reveals", (-terms.bond,), "verification.commit_bond"),
        Attack("verifier", "attests without looking", (ceil(lazy),), "rewards.verifier_fee_bps"),
        Attack("coalition", "attests what is false, below the quorum", attested, "rewards.verifier_fee_bps"),
        *_of_committees(terms, slash),
        Attack("stallers", "stay away, so that no quorum comes", stalled, "verification.absence_bps"),
        Attack("griefer", "demands what an honest trainer or verifier answers", (-assumed.demand_bond,)),
        Attack("griefer", "opens a case about an honest settlement", (-assumed.case_bond,)),
        Attack(
            "briber", "buys a quorum that signs what can be proven wrong", (lied,), "verification.min_verifier_stake"
        ),
        Attack(
            "sponsor", "hides behind a worthless validation set, and pays the base", (kept,), "rewards.base_bps", True
        ),
        Attack("sponsor", "keeps everybody else's majority away as well, and pays the base", (kept,), "", True),
    )  # fmt: skip


def _of_committees(terms: _Terms, slash: Fraction) -> Iterator[Attack]:
    """With committees a coalition may be all who replay its trainer."""
    if not 0 < terms.committee < terms.verifiers:
        return
    owned = [terms.owned(percent) for percent in COALITIONS]
    nets = tuple(ceil(chance * terms.budget - (1 - chance) * slash * terms.trainer_stake) for chance in owned)
    does = "makes up a trainer's round, and hopes to be all of its committee"
    yield Attack("coalition", does, nets, "verification.committee")


def _cost_of_checking(terms: _Terms, assumed: Assumptions) -> Fraction:
    """Every trainer's first, last and drawn steps, at what a step costs to compute; trainers share the budget."""
    replayed = replayed_steps(terms.steps, terms.samples)
    return assumed.work * terms.budget * Fraction(replayed, terms.steps)


def _worth_of_checking(terms: _Terms, assumed: Assumptions) -> Fraction:
    """What a guess of `all accepted` loses of the fee: docs/contracts.md, Checking pays."""
    return terms.fee * (1 - (1 - assumed.faults) * (1 - assumed.demands))


def _better(terms: _Terms, assumed: Assumptions) -> dict[str, int]:
    """The least changes that leave no attack of anybody else worth it, of the keys that have to change."""
    changed: dict[str, int] = {}
    slash_bps = terms.slash_bps or BPS // 2
    if slash_bps != terms.slash_bps:
        changed["verification.slash_bps"] = slash_bps
    samples = terms.samples
    if unseen(terms.steps, samples, terms.run) == 1:
        samples = ceil(Fraction(terms.steps - 2, 2 * terms.run)) * terms.run
        changed["verification.samples"] = samples
    missed = unseen(terms.steps, samples, terms.run)
    burned = Fraction(slash_bps * terms.burned_bps, BPS * BPS)
    stake_of_trainer = ceil(missed / (1 - missed) * terms.budget / burned) if missed else 0
    if stake_of_trainer > terms.trainer_stake:
        changed["verification.min_trainer_stake"] = stake_of_trainer
    # Each signer's part is rounded down by the contract, and so is what of it comes back.
    amount = ceil(Fraction(-(-terms.budget // terms.signers) * BPS, terms.burned_bps))
    stake = ceil(Fraction(amount * BPS, slash_bps))
    if stake > terms.verifier_stake:
        changed["verification.min_verifier_stake"] = stake
    if (committee := _committee(terms, max(stake_of_trainer, terms.trainer_stake), burned)) != terms.committee:
        changed["verification.committee"] = committee
    fee_bps = _fee_bps(replace(terms, samples=samples), assumed)
    if fee_bps > terms.fee_bps:
        changed["rewards.verifier_fee_bps"] = fee_bps
    return changed


def _committee(terms: _Terms, stake: int, slash: Fraction) -> int:
    """The least committee, no smaller than the terms', that no coalition gains by owning; 0 if none is.

    One of everybody stays.
    """
    for size in range(terms.committee, terms.verifiers):
        if not any(max(attack.nets) > 0 for attack in _of_committees(
            replace(terms, committee=size, trainer_stake=stake), slash
        )):  # fmt: skip
            return size
    return terms.committee if terms.committee >= terms.verifiers else 0


def _fee_bps(terms: _Terms, assumed: Assumptions) -> int:
    for bps in range(terms.fee_bps, BPS + 1):
        if _worth_of_checking(replace(terms, fee_bps=bps), assumed) >= _cost_of_checking(terms, assumed):
            return bps
    return BPS
