"""Which tasks a role takes by itself: a policy, written by a person as TOML. Unknown keys are errors.

A policy decides about joining. What it says later binds no task that was joined: there is a stake in it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationError

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.contracts.money import Amount, Money
from deltaproof.chain.free_share import FREE_SHARE, beside, free_share_of
from deltaproof.chain.offers import Offer
from deltaproof.errors import EncodingError, UsageError
from deltaproof.protocol.rules import MAX_ABSENCE_BPS, MAX_PROVER_BPS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.terms.worth import VerificationSection
from deltaproof.protocol.types import Address, TaskId, address, hex_of
from deltaproof.protocol.wire.documents import Record

__all__ = ["TEMPLATE", "PolicyAmounts", "Precedence", "StakeLimits", "TaskPolicy", "WorkLimits", "load_policy"]

MOST_BYTES = 1 << 20
MOST_TASKS = 64


def _amount(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('write an amount of tokens as text, such as "0.5"')
    try:
        return Amount.read(value, "the policy")
    except UsageError as error:
        raise ValueError(str(error)) from error


def _token(value: str) -> Address:
    try:
        found = address(value)
    except EncodingError as error:
        raise ValueError(f"{value!r} is no address of a token: {error}") from error
    if not int(found, 16):
        raise ValueError("put the address of a reward token here; `deltaproof task list --json` shows them")
    return found


Tokens = Annotated[InstanceOf[Amount], BeforeValidator(_amount)]
"""An amount as on the command line: `0.5`, `0.5 DEMO`, or `5wei`."""
TokenKey = Annotated[str, AfterValidator(_token)]
Patterns = Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
"""Names in which `*` and `?` stand for anything; one that fits is enough."""


@dataclass(frozen=True)
class PolicyAmounts:
    """The amounts of a policy in smallest units of their tokens, and how these are written."""

    least_pay: Mapping[Address, int]
    """For a training step, by reward token."""
    most_per_task: int
    most_in_all: int
    pay_money: Mapping[Address, Money]
    stake_money: Money


def _default(term: str) -> int:
    """What a spec has that says nothing."""
    return int(VerificationSection.model_fields[term].default)


class StakeLimits(Record):
    """What may be at risk, in tokens of the stake token."""

    most_per_task: Tokens
    """The stake of one task."""
    most_in_all: Tokens
    """The stakes of all tasks together, as they are locked now and would be with one more, and what a verifier keeps
    free beside them."""
    free_share: Annotated[float, Field(ge=0.0, le=0.9)] = float(FREE_SHARE)
    """Of a verifier's stake, what it keeps free of tasks: see `deltaproof.chain.free_share`."""
    most_absence_bps: Annotated[int, Field(ge=1, le=MAX_ABSENCE_BPS)] = _default("absence_bps")
    """Of a verifier's stake, what a missed round may cost, basis points; by default what it costs where nothing is
    said."""
    most_prover_bps: Annotated[int, Field(ge=0, le=MAX_PROVER_BPS)] = _default("prover_bps")
    """Of a penalty, what may go to whoever brought it, the same."""


class WorkLimits(Record):
    """Which work is taken."""

    models: Patterns
    """Base models: `source` of the spec, its last part, or the digest of the weights as 0x and 64 digits."""
    methods: Patterns = ("*",)
    """Tuning methods."""
    kinds: Patterns = ("*",)
    """What models predict: `causal-lm`, `sequence-classification`, `image-classification`."""
    numeric: Annotated[tuple[Literal["exact", "bounded"], ...], Field(min_length=1)] = ("exact", "bounded")
    """Precision modes: `exact` computes in float64, `bounded` in float32, which is what a GPU is good at."""
    visibility: Annotated[tuple[Literal["public", "verifiers"], ...], Field(min_length=1)] = ("public", "verifiers")
    """Who may read the rows of a trainer's drawn steps: `verifiers` leaves out tasks that show them to everybody, for
    ever, which whoever pays most may choose."""
    most_model_gb: Annotated[float, Field(gt=0.0)] = 4.0
    """The largest weights that are downloaded and loaded for a task that is to be joined, GB as they are stored.
    Anybody can name a model that fills the disk and the memory, on which the other tasks of the process depend."""
    seconds_per_step: Annotated[float, Field(ge=0.0)] = 0.0
    """What this machine needs for a step: a task has to give at least so much, which is its `commit` phase, for a
    verifier its `attest_commit` phase, divided by the steps of a round. `deltaproof doctor --task N` measures."""

    def objections(self, offer: Offer, spec: TaskSpec, role: Role) -> Iterator[str]:
        """Why a task's work is not taken."""
        if not _named(_model_names(spec), self.models):
            yield f"its model is {spec.model.source}"
        if not _named([spec.method.name], self.methods):
            yield f"its method is {spec.method.name}"
        if not _named([spec.model.kind], self.kinds):
            yield f"its model is of the kind {spec.model.kind}"
        if spec.training.numeric not in self.numeric:
            yield f"it is computed in numeric mode {spec.training.numeric}"
        if role is Role.TRAINER and spec.data.visibility not in self.visibility:
            yield f"rows of its drawn steps are shown to {spec.data.visibility.replace('public', 'everybody')}"
        if (seconds := offer.seconds_per_step(role)) < self.seconds_per_step:
            yield f"it gives {seconds:.3g} s for a step, less than {self.seconds_per_step:.3g}"


class Precedence(Record):
    """Tasks that go before others. All that is said has to fit."""

    priority: Annotated[int, Field(ge=-1000, le=1000)]
    """The higher is joined first and computes first; 0 is what all others have."""
    tasks: tuple[int, ...] = ()
    """Numbers of tasks."""
    sponsors: tuple[TokenKey, ...] = ()
    """Who created the task."""
    models: Patterns = ("*",)
    """As in `[work]`."""
    methods: Patterns = ("*",)
    """As in `[work]`."""

    def fits(self, offer: Offer, spec: TaskSpec) -> bool:
        """Whether it speaks of this task."""
        return (
            (not self.tasks or offer.number in self.tasks)
            and (not self.sponsors or offer.view.sponsor in self.sponsors)
            and _named(_model_names(spec), self.models)
            and _named([spec.method.name], self.methods)
        )


class TaskPolicy(Record):
    """The whole file."""

    most_tasks: Annotated[int, Field(ge=1, le=MOST_TASKS)] = 4
    """Tasks at once. Each holds its model in memory; they compute in turns."""
    pay: Annotated[dict[TokenKey, Tokens], Field(min_length=1)]
    """Reward tokens that are accepted, each with the least pay for a training step, in tokens."""
    stake: StakeLimits
    """What may be at risk."""
    work: WorkLimits
    """Which work is taken."""
    precedence: tuple[Precedence, ...] = ()
    """The first that fits a task says its priority."""

    def limits(self, gateway: Gateway) -> PolicyAmounts:
        """Raises UsageError for an amount that its token cannot be paid in, and ChainUnavailable."""
        pay, stake = (
            {Address(token): gateway.money(Address(token)) for token in self.pay},
            gateway.money(gateway.registry.token()),
        )
        return PolicyAmounts(
            {Address(token): amount.within(pay[Address(token)]) for token, amount in self.pay.items()},
            self.stake.most_per_task.within(stake), self.stake.most_in_all.within(stake), pay, stake,
        )  # fmt: skip

    def objections(self, offer: Offer, role: Role, stake: int, limits: PolicyAmounts) -> list[str]:
        """Why a task that locks this `stake`, smallest units, is nothing to take part in; empty if it fits."""
        spec, token, pay = offer.spec, offer.view.params.token, offer.pay_per_step(role)
        if spec is None:
            return [f"it is not to be trusted: {offer.problem}"]
        found = []
        if token not in limits.least_pay:
            found.append(f"it pays in {token}, which is not in [pay]")
        elif pay < (least := limits.least_pay[token]):
            money = limits.pay_money[token]
            found.append(f"it pays {money.exact(pay)} a step, less than {money.exact(least)}")
        found += self.work.objections(offer, spec, role)
        stakes = offer.view.params.stakes
        if role is Role.VERIFIER and stakes.absence_bps > (absence := self.stake.most_absence_bps):
            found.append(f"a missed round costs {stakes.absence_bps} basis points of the stake, more than {absence}")
        if stakes.prover_bps > (prover := self.stake.most_prover_bps):
            found.append(f"{stakes.prover_bps} basis points of a penalty go to who brings it, more than {prover}")
        if stake > (most := min(limits.most_per_task, limits.most_in_all)):
            found.append(f"it stakes {limits.stake_money.exact(stake)}, more than {limits.stake_money.exact(most)}")
        elif (whole := stake + beside(stake, self.kept_free(role))) > limits.most_in_all:
            most_in_all = limits.stake_money.exact(limits.most_in_all)
            found.append(f"with what is kept free it takes {limits.stake_money.exact(whole)}, more than {most_in_all}")
        return found

    def kept_free(self, role: Role) -> Fraction:
        """The share of its stake that a role keeps free: a verifier comes back with it, others need none."""
        return free_share_of(self.stake.free_share) if role is Role.VERIFIER else Fraction(0)

    def priority(self, offer: Offer) -> int:
        """Of a task among others; 0 where nothing is said."""
        spec = offer.spec
        return next((p.priority for p in self.precedence if spec is not None and p.fits(offer, spec)), 0)

    def worth(self, offer: Offer, role: Role, limits: PolicyAmounts) -> tuple[int, Fraction, TaskId]:
        """Sorts tasks that fit, what is joined first to the front: by priority, then by how often the least pay."""
        least, pay = limits.least_pay[offer.view.params.token], offer.pay_per_step(role)
        return (-self.priority(offer), Fraction(-pay, max(least, 1)), offer.number)


def _model_names(spec: TaskSpec) -> list[str]:
    source = spec.model.source
    return [source, source.rpartition(":")[2].rpartition("/")[2], hex_of(spec.model.weights_digest)]


def _named(names: list[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def load_policy(path: Path) -> TaskPolicy:
    """Raises UsageError naming every key that is wrong."""
    try:
        data = path.read_bytes()
        if len(data) > MOST_BYTES:
            raise UsageError(f"{path} is too large for a policy")
        tables = tomllib.loads(data.decode())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"cannot read the policy {path}: {error}; `deltaproof agent policy {path} --init` writes one"
        ) from error
    try:
        return TaskPolicy.model_validate(_as_tuples(tables))
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(key) for key in e['loc'] if key != '[key]')}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_url=False)
        ]
        raise UsageError(f"policy {path}:\n" + "\n".join(f"- {problem}" for problem in problems)) from error


def _as_tuples(value: object) -> object:
    """TOML's arrays as what frozen records hold."""
    if isinstance(value, dict):
        return {key: _as_tuples(inner) for key, inner in value.items()}
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


TEMPLATE = """\
# Which tasks `deltaproof trainer run --policy` and `verifier run --policy` take. Amounts are tokens, as text.
# `deltaproof agent policy FILE` checks this file; with --rpc, --contract and --store it says what it would take.

most_tasks = 4            # at once; each holds its model in memory, they compute in turns

[pay]                     # reward tokens that you accept, each with the least pay for a training step:
                          # an equal share of the round's budget (trainer) or fee (verifier), divided by its steps.
                          # Anybody can create a token that is worth nothing: name only what you know.
"0x0000000000000000000000000000000000000000" = "0.01"

[stake]                   # what may be at risk, tokens of the stake token
most_per_task = "200"
most_in_all = "800"
free_share = 0.2          # of a verifier's stake, what it keeps free to come back with after an absence
most_absence_bps = 100    # of a verifier's stake, what a missed round may cost (it doubles in a row), basis points
most_prover_bps = 2_000   # of a penalty, what may go to whoever brings it: the more, the more is to gain by one

[work]                    # `*` and `?` stand for anything
models = ["*"]            # source of the spec, its last part, or 0x and the digest of the weights
methods = ["*"]           # `deltaproof methods` lists them
kinds = ["*"]             # causal-lm, sequence-classification, image-classification
numeric = ["exact", "bounded"]    # float64; float32, which a GPU is good at
visibility = ["public", "verifiers"]   # who may read the rows of a trainer's drawn steps: take "public" out where
                          # your rows must not be shown to everybody
most_model_gb = 4.0       # the largest weights that are downloaded and loaded, as they are stored; in exact mode a
                          # model takes up to four times as much memory
seconds_per_step = 0.0    # what your machine needs for a step (`deltaproof doctor --task N`): tasks must give as much

# Tasks that go before others, when more fit than may be taken, and when several want to compute. The first entry that
# fits a task counts; tasks without one have priority 0. Remove the # to use it.
# [[precedence]]
# priority = 10
# models = ["hub:org/name@*"]
# methods = ["lora"]
# sponsors = ["0x..."]
# tasks = [7]
"""
"""A policy with a comment at every choice; the reward token has to be filled in."""
