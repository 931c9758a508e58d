"""What the keys of a spec demand of one another: one function for each rule, named as the rule is.

A rule says which keys it reads. It is asked only where all of them are well-formed by themselves, so that a draft with
a wrong key hears of everything else at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from deltaproof.errors import CryptoError, Problem
from deltaproof.protocol.commit.sealing import public_reading_key
from deltaproof.protocol.draws.samples import replayed_steps
from deltaproof.protocol.rules import (
    ATTESTED_STEP_BYTES,
    MAX_ATTESTATION_BYTES,
    MAX_BUDGET,
    MAX_STAKE,
    MIN_CLIP_NORM,
)
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.estimators import evaluations_needed, why_not_estimated
from deltaproof.protocol.terms.federation import FederationSection
from deltaproof.protocol.terms.tables import TaskTables
from deltaproof.protocol.types import ZERO_DIGEST, hex_of

__all__ = ["RULES", "Rule", "broken_rules", "largest_known_game"]

Finding = tuple[str, str]
"""What is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`check` yields what is wrong with the `keys` together; problems are reported under the first."""

    keys: tuple[str, ...]
    check: Callable[[TaskTables], Iterable[Finding]]


RULES: list[Rule] = []
"""Every rule of this module, in the order in which problems are told."""


def broken_rules(tables: TaskTables, unusable: Iterable[str] = ()) -> list[Problem]:
    """Problems of every rule that reads none of the `unusable` keys (`section.key`, or a section as a whole)."""
    skipped = set(unusable)
    asked = (r for r in RULES if not any({key, key.partition(".")[0]} & skipped for key in r.keys))
    return [Problem(rule.keys[0], what, remedy) for rule in asked for what, remedy in rule.check(tables)]


def _rule(*keys: str) -> Callable[[Callable[[TaskTables], Iterable[Finding]]], Callable[..., Iterable[Finding]]]:
    def register(check: Callable[[TaskTables], Iterable[Finding]]) -> Callable[[TaskTables], Iterable[Finding]]:
        RULES.append(Rule(keys, check))
        return check

    return register


# The model and the work of a round.


@_rule("adapter.visibility", "data.visibility")
def openings_of_private_adapters_are_sealed(t: TaskTables) -> Iterator[Finding]:
    if t.adapter.sealed is not None and not t.data.sealed:
        yield "openings show the adapter at every drawn step, to everybody", 'set data.visibility = "verifiers"'


@_rule("adapter.secret", "adapter.visibility")
def private_adapters_have_a_secret(t: TaskTables) -> Iterator[Finding]:
    if (t.adapter.secret == ZERO_DIGEST) != (t.adapter.sealed is None):
        yield "private adapters are sealed with a secret, public ones with none", "leave the key out"


@_rule("data.auditors", "data.visibility")
def auditors_are_named_where_openings_are_sealed(t: TaskTables) -> Iterator[Finding]:
    if t.data.auditors and not t.data.sealed:
        yield "everybody reads the openings of this task", 'leave the key out, or set visibility = "verifiers"'
    for key in t.data.auditors:
        try:
            public_reading_key(key)
        except CryptoError as error:
            yield f"{hex_of(key)}: {error}", "let the auditor make one with `deltaproof keys new FILE`"


@_rule("model.num_labels", "model.kind")
def only_classifiers_have_labels(t: TaskTables) -> Iterator[Finding]:
    if t.model.kind == "causal-lm" and t.model.num_labels:
        yield "a causal-lm model has no labels", "leave the key out"
    elif t.model.kind != "causal-lm" and t.model.num_labels < 2:
        yield f"num_labels must be at least 2 for {t.model.kind}", "set it to the number of classes"


@_rule("model.max_tokens", "model.kind")
def only_texts_have_tokens(t: TaskTables) -> Iterator[Finding]:
    if t.model.kind == "image-classification" and t.model.max_tokens:
        yield "images have no tokens", "leave the key out"
    least = 2 if t.model.kind == "causal-lm" else 1
    if t.model.kind != "image-classification" and t.model.max_tokens < least:
        yield f"max_tokens must be at least {least} for {t.model.kind}", "set it to the tokens of a row that count"


@_rule("model.frozen_dtype", "federation")
def emulators_have_their_own_bits(t: TaskTables) -> Iterator[Finding]:
    if t.model.frozen_dtype != "stored" and t.federation is not None:
        yield (
            "a federation's recipe says in how many bits an emulator is",
            "leave the key out and set the recipe's bits",
        )


@_rule("optimizer.warmup_steps", "training.steps")
def warm_up_ends_within_the_round(t: TaskTables) -> Iterator[Finding]:
    if t.optimizer.warmup_steps > t.training.steps:
        yield "exceeds training.steps", f"set it to at most {t.training.steps}"


@_rule("optimizer.weight_decay", "optimizer.learning_rate")
def weight_decay_keeps_the_sign(t: TaskTables) -> Iterator[Finding]:
    if t.optimizer.learning_rate * t.optimizer.weight_decay > 1.0:
        yield "times learning_rate exceeds 1: a step would turn the sign of every value", "lower one of the two"


@_rule("optimizer.clip_norm")
def clip_norm_is_zero_or_sensible(t: TaskTables) -> Iterator[Finding]:
    if 0.0 < t.optimizer.clip_norm < MIN_CLIP_NORM:
        yield f"lies between 0 and {MIN_CLIP_NORM:g}: gradients would vanish", "use 0 for no clipping, or a larger norm"


@_rule("training.accumulation", "training.batch_size")
def batch_splits_into_equal_parts(t: TaskTables) -> Iterator[Finding]:
    if t.training.batch_size % t.training.accumulation:
        yield (
            f"batch_size {t.training.batch_size} is not a multiple of accumulation {t.training.accumulation}",
            "choose a divisor of batch_size",
        )


@_rule("data.max_rows", "data.min_rows", "training.batch_size")
def some_number_of_rows_may_be_enrolled(t: TaskTables) -> Iterator[Finding]:
    least = max(t.data.min_rows, t.training.batch_size)
    if t.data.max_rows < least:
        yield f"is below {least}, the fewest rows that data.min_rows and training.batch_size allow", "raise it"


@_rule("data.roots")
def data_roots_are_named_once(t: TaskTables) -> Iterator[Finding]:
    if len(set(t.data.roots)) != len(t.data.roots):
        yield "names a root twice", "name each shard once"


# Keys that only some values of another key read: elsewhere they must keep their defaults, so that nobody believes in a
# setting that does nothing.

_READ_ONLY_WITH = {
    "optimizer.beta1": ("optimizer.name", ("adam", "adamw")),
    "optimizer.beta2": ("optimizer.name", ("adam", "adamw")),
    "optimizer.eps": ("optimizer.name", ("adam", "adamw")),
    "optimizer.momentum": ("optimizer.name", ("momentum",)),
    "training.bound_tensor": ("training.numeric", ("bounded",)),
    "training.bound_total": ("training.numeric", ("bounded",)),
    "training.bound_floor": ("training.numeric", ("bounded",)),
    "training.drift_sigmas": ("training.numeric", ("bounded",)),
    "aggregation.trim_fraction": ("aggregation.rule", ("trimmed_mean",)),
    "aggregation.byzantine": ("aggregation.rule", ("multi_krum",)),
    "scoring.beta_a": ("scoring.index", ("beta_shapley",)),
    "scoring.beta_b": ("scoring.index", ("beta_shapley",)),
    "scoring.rows": ("scoring.index", ("aumann_shapley",)),
}


def _read_only_with(key: str, switch: str, values: tuple[str, ...]) -> Rule:
    section, name = key.split(".")  # the switch stands in the same section

    def check(t: TaskTables) -> Iterator[Finding]:
        table = getattr(t, section)
        chosen = getattr(table, switch.removeprefix(f"{section}."))
        if chosen not in values and getattr(table, name) != type(table).model_fields[name].default:
            wanted = " or ".join(f'"{value}"' for value in values)
            yield f'{name} applies to {switch} = {wanted} only, not "{chosen}"', f"leave it out, or change {switch}"

    return Rule((key, switch), check)


RULES += [_read_only_with(key, switch, values) for key, (switch, values) in _READ_ONLY_WITH.items()]


# Scoring.


@_rule("scoring.method", "scoring.index")
def estimator_estimates_the_index(t: TaskTables) -> Iterator[Finding]:
    if reason := why_not_estimated(t.scoring.method, t.scoring.index):
        yield reason, 'choose "auto", or another index'


@_rule("aggregation.rule", "scoring.index")
def shares_of_a_step_need_a_mean(t: TaskTables) -> Iterator[Finding]:
    if t.scoring.index == "aumann_shapley" and t.aggregation.rule != "mean":
        yield f"aumann_shapley pays for shares of a mean; {t.aggregation.rule} has none", 'set it to "mean"'


@_rule("aggregation.weights", "scoring.index")
def shares_of_a_step_follow_rows(t: TaskTables) -> Iterator[Finding]:
    if t.scoring.index == "aumann_shapley" and t.aggregation.weights != "rows":
        what = "with aumann_shapley a share of the step follows rows: equal weights would pay for names"
        yield what, 'set it to "rows"'


@_rule("scoring.rows", "data.roots")
def named_shards_are_counted_by_root(t: TaskTables) -> Iterator[Finding]:
    if t.scoring.rows == "distinct" and t.data.roots:
        yield (
            "distinct rows are for tasks of anybody's data; where roots are named, a root is one player",
            "leave it out",
        )


@_rule("scoring.budget", "scoring.method", "scoring.index", "data.roots", "verification.min_trainers", "federation")
def budget_pays_for_the_players(t: TaskTables) -> Iterator[Finding]:
    players = largest_known_game(t)
    needed = evaluations_needed(t.scoring.method, t.scoring.index, players)
    if t.scoring.budget < needed:
        yield (
            f"{t.scoring.method} needs {needed} evaluations for {players} players, the budget is {t.scoring.budget}",
            f"raise it to {needed}" + ("" if t.scoring.method == "auto" else ', or choose method = "auto"'),
        )


@_rule("verification.run", "verification.samples")
def samples_are_whole_runs(t: TaskTables) -> Iterator[Finding]:
    run, samples = t.verification.run, t.verification.samples
    if samples % run:
        yield (
            f"{samples} samples are no whole number of runs of {run} steps",
            f"choose {-(-samples // run) * run} samples",
        )


@_rule("verification.min_trainers", "verification.max_trainers")
def as_many_trainers_as_a_round_needs_fit(t: TaskTables) -> Iterator[Finding]:
    if t.verification.min_trainers > t.verification.max_trainers:
        most = t.verification.max_trainers
        yield f"no round opens with {most} trainers, the most that take part", "lower it, or raise max_trainers"


@_rule(
    "verification.samples", "verification.max_trainers", "training.steps", "scoring.budget", "scoring.method",
    "scoring.index", "data.roots", "federation",
)  # fmt: skip
def full_round_fits_its_attestation(t: TaskTables) -> Iterator[Finding]:
    most = t.verification.max_trainers
    size = attestation_bytes(t, most)
    if size <= MAX_ATTESTATION_BYTES:
        return
    steps_fit = (MAX_ATTESTATION_BYTES - size) // (most * ATTESTED_STEP_BYTES) + replayed_steps(
        t.training.steps, t.verification.samples
    )
    yield (
        f"an attestation of a round of {most} trainers could take {size >> 20} MiB, and nobody reads more than "
        f"{MAX_ATTESTATION_BYTES >> 20}: whoever fills a round with names would keep it from being settled",
        f"lower it to {steps_fit - 2}, or lower max_trainers"
        if steps_fit >= 2
        else "lower it, scoring.budget or max_trainers",
    )


def largest_known_game(t: TaskTables) -> int:
    """Most players that the terms allow, where they say: named data roots, or assigned trainers; else the fewest with
    whom a round opens, and `incentives.valuation` sees to the rest."""
    if t.data.roots:
        return len(t.data.roots)
    if t.federation is not None and t.federation.assignments:
        named = {a.trainer for a in t.federation.assignments}
        return len(named | ({t.federation.server.trainer} if t.federation.server else set()))
    return t.verification.min_trainers


# The round.


@_rule("validation.commitments", "rewards.rounds")
def every_round_has_a_validation_set(t: TaskTables) -> Iterator[Finding]:
    found, rounds = len(t.validation.commitments), t.rewards.rounds
    if found != rounds + 1:
        yield (
            f"validation.commitments has {found} entries; {rounds} rounds need {rounds + 1} (one each, and the final "
            "test set)",
            "leave the key out to have it computed",
        )


@_rule("rewards.budget_per_round")
def budget_fits_the_contract(t: TaskTables) -> Iterator[Finding]:
    if not 1 <= t.rewards.budget_per_round <= MAX_BUDGET:
        yield "must lie between 1 and 2^88-1, as the contract keeps it", "choose an amount in that range"


@_rule("verification.commit_bond", "verification.min_trainer_stake")
def bond_is_part_of_the_stake(t: TaskTables) -> Iterator[Finding]:
    if t.verification.commit_bond > t.verification.min_trainer_stake:
        yield "commit_bond is part of the trainer's stake and cannot exceed min_trainer_stake", "lower it"


@_rule("verification.commit_bond")
def something_is_at_stake(t: TaskTables) -> Iterator[Finding]:
    if t.verification.commit_bond == 0:
        yield "must lie above 0: a commitment that costs nothing is a free look at the others'", "choose a bond"


@_rule("verification.slash_bps", "verification.absence_bps")
def absence_costs_less_than_a_fault(t: TaskTables) -> Iterator[Finding]:
    if not 1 <= t.verification.absence_bps <= t.verification.slash_bps:
        yield "must be at least absence_bps", "raise it, or lower absence_bps"


@_rule("phases.claim", "phases.slash")
def claims_outlast_disputes(t: TaskTables) -> Iterator[Finding]:
    if t.phases.claim <= t.phases.slash:
        yield "must be longer than slash: demands can hold a claim that long", "raise it, or lower slash"


@_rule("verification.min_trainer_stake")
def trainer_stake_fits_the_contract(t: TaskTables) -> Iterator[Finding]:
    if t.verification.min_trainer_stake > MAX_STAKE:
        yield "stakes must lie below 2^96", "lower it"


@_rule("verification.min_verifier_stake")
def verifier_stake_fits_the_contract(t: TaskTables) -> Iterator[Finding]:
    if not 1 <= t.verification.min_verifier_stake <= MAX_STAKE:
        yield "must lie above 0 and below 2^96: it weighs in the quorum", "choose a stake in that range"


# The federation. Its own tables are checked where they are defined.


@_rule("federation.server", "rewards.floor_bps")
def unpaid_server_gets_no_floor(t: TaskTables) -> Iterator[Finding]:
    server = t.federation.server if t.federation else None
    if server is not None and not server.paid and t.rewards.floor_bps:
        yield "rewards.floor_bps would pay federation.server, which the task does not pay", "set floor_bps to 0"


@_rule("model.source", "model.weights_digest", "federation")
def trainers_hold_the_first_emulator(t: TaskTables) -> Iterator[Finding]:
    if t.federation is None:
        return
    first = t.federation.emulators[0]
    if (t.model.source, t.model.weights_digest) != (first.source, first.weights_digest):
        yield "model must name the first of federation.emulators, which trainers hold", "leave model.source out"


@_rule("federation.control", "training.steps", "method.options", "codec.name", "codec.options")
def control_chose_what_the_task_does(t: TaskTables) -> Iterator[Finding]:
    control = t.federation.control if t.federation else None
    if not isinstance(t.federation, FederationSection) or control is None:
        return
    choice = control.choice(len(t.federation.emulators))
    options = t.method.options
    chosen = {
        "training.steps": (t.training.steps, choice.steps),
        "method.options.r": (options.get("r"), choice.rank),
        "method.options.lora_alpha": (options.get("lora_alpha"), control.knobs.alpha_per_rank * choice.rank),
        "codec.name": (t.codec.name, choice.codec),
        "codec.options": (t.codec.options, {}),
    }
    for key, (found, expected) in chosen.items():
        if found != expected:
            yield f"{key} is {found!r}, but federation.control chose {expected!r}", f"leave {key} out of the draft"
