"""A first draft of a task, made from a model and held-out rows, for a sponsor to change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaproof.chain.contracts.money import Amount
from deltaproof.errors import UsageError
from deltaproof.protocol.evidence.rows import distinct_rows, parse_row, read_shard, write_shard
from deltaproof.protocol.rules import MAX_LEAVES
from deltaproof.reporting import counted

__all__ = ["Beginning", "begin"]

MOST_VALIDATION_ROWS = 128
"""A set for a round; more make smaller standard errors and cost every verifier time."""
LEAST_ROWS = 8
MOST_TRAINERS = 64
"""At a time, where no more than half as many are expected."""
LEAST_VERIFIERS = 3
"""In a round, where nobody says how many are expected."""
CONSIDERED_ROWS = 512
"""As many rows decide how many tokens a row may have."""
KINDS = {"pixels": "image-classification", "label": "sequence-classification"}
"""By the field that tells them; rows without any are a language model's."""


@dataclass(frozen=True)
class Beginning:
    """What was written, and how the held-out rows were cut."""

    draft: Path
    kind: str
    validation_rows: int
    rounds: int
    test_rows: int


def begin(
    folder: Path,
    *,
    name: str,
    source: str,
    data: Path,
    method: str,
    small_deltas: bool = False,
    rounds: int,
    budget: Amount,
    stake: Amount,
    trainers: int | None = None,
    verifiers: int | None = None,
) -> Beginning:
    """Write `task.toml`, `validation.jsonl` and `test.jsonl` into `folder`, which may not hold any of them yet.

    `data` are held-out rows, of which no trainer may have any; the last sixth, at least, becomes the test set. `budget`
    is a round's, `stake` what each trainer and verifier locks. Of `trainers` and `verifiers` that are expected a round
    needs more than half: one who leaves keeps no round from opening. `small_deltas`: LoRA of rank 2 on the upper half
    of the layers, sent in two bits a value (docs/methods.md#small-deltas). Raises UsageError, or ModelError.
    """
    from deltaproof.sponsor.open_pay import why_no_shares
    from deltaproof.sponsor.recommend import CANDIDATES
    from deltaproof.tuning.base_models.loading import model_layers

    if method not in CANDIDATES or method == "sensitivity":
        raise UsageError(f"--method {method}: say one of {', '.join(sorted(set(CANDIDATES) - {'sensitivity'}))}")
    paths = [folder / file for file in ("task.toml", "validation.jsonl", "test.jsonl")]
    if there := [path for path in paths if path.exists()]:
        raise UsageError(f"{there[0]} is there already; choose another folder with --out, or move it away")
    rows = distinct_rows(read_shard(data))
    size = min(MOST_VALIDATION_ROWS, len(rows) * 5 // 6 // rounds)
    if size < LEAST_ROWS:
        least = -(-LEAST_ROWS * rounds * 6 // 5)
        raise UsageError(
            f"{data} has {counted(len(rows), 'different row')}; {counted(rounds, 'round')} and a test set need "
            f"{least} at least"
        )
    fields = parse_row(rows[0])
    kind = next((kind for field, kind in KINDS.items() if field in fields), "causal-lm")
    if small_deltas and method != "lora":
        raise UsageError(f"small deltas are measured with lora alone; leave --method {method} or --small-deltas out")
    options, rate = CANDIDATES[method]
    if small_deltas:
        layers = model_layers(source)
        options = {"r": 2, "lora_alpha": 8, "layers_to_transform": list(range(layers // 2, layers))}
    text = DRAFT.format(
        name=json.dumps(name),
        kind=kind,
        source=json.dumps(source),
        shape=_shape(kind, source, rows),
        method=method,
        options="".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items()),
        rate=rate,
        codec=TWO_BITS if small_deltas else UNCODED,
        scoring=BY_COALITIONS if why_no_shares(method) else BY_ROWS,
        rows=size,
        rounds=rounds,
        budget=budget.with_unit(),
        bond=stake.part(10).with_unit(),
        stake=stake.with_unit(),
        trainers=f"min_trainers = {trainers // 2 + 1}\n" if trainers else "",
        most_trainers=min(MAX_LEAVES, max(MOST_TRAINERS, 2 * (trainers or 0))),
        verifiers=verifiers // 2 + 1 if verifiers else LEAST_VERIFIERS,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(paths[1], rows[: size * rounds])
    write_shard(paths[2], rows[size * rounds :])
    paths[0].write_text(text)
    return Beginning(paths[0], kind, size, rounds, len(rows) - size * rounds)


def _shape(kind: str, source: str, rows: Sequence[bytes]) -> str:
    """Keys of [model] that follow from the rows."""
    read = [parse_row(row) for row in rows]
    lines = []
    if kind != "causal-lm":
        labels = [row["label"] for row in read if isinstance(row.get("label"), int)]
        if len(labels) < len(read):
            raise UsageError("some rows have no whole number as `label`")
        lines.append(f"num_labels = {max(2, *(int(str(label)) + 1 for label in labels))}")
    if kind != "image-classification":
        lines.append(f"max_tokens = {_tokens(source, [' '.join(_texts(row)) for row in read[:CONSIDERED_ROWS]])}")
    return "\n".join(lines)


def _texts(row: dict[str, object]) -> list[str]:
    return [value for key in ("prompt", "completion", "text") if isinstance(value := row.get(key), str)]


def _tokens(source: str, texts: Sequence[str]) -> int:
    """Tokens that hold nineteen of twenty rows, as a power of two that the model takes."""
    from deltaproof.tuning.base_models.loading import read_tokenizer

    tokenizer, most = read_tokenizer(source)
    lengths = sorted(len(tokenizer(text)["input_ids"]) for text in texts)
    wanted = lengths[len(lengths) * 19 // 20]
    return min(1 << max(wanted - 1, 1).bit_length(), most)


BY_ROWS = """\
[scoring]
index = "aumann_shapley"    # pays for rows and for what they do, so that names gain nothing; anybody may come
rows = "distinct"           # a row counts for whoever enrolled it first

[aggregation]
weights = "rows"
"""
BY_COALITIONS = """\
[scoring]
index = "shapley"           # every name is a trainer: name the shards, or choose a method that adds up, such as lora
budget = 64                 # coalitions that every verifier evaluates
"""
UNCODED = """\
[codec]
byte_limit = 64_000_000     # largest delta
"""
TWO_BITS = """\
[codec]
name = "two_bit"            # a sign and one of two sizes for each value
byte_limit = 64_000_000     # largest delta

[codec.options]
keep_norm = true
"""
DRAFT = """\
# A task for deltaproof. Change what you like, then: deltaproof task check task.toml
# What a program can compute (digests, starting adapter, seals of the hidden rows) is left out.

[task]
name = {name}
description = ""

[model]
kind = "{kind}"
source = {source}
{shape}

[method]
name = "{method}"

[method.options]
{options}
[optimizer]
name = "adam"
learning_rate = {rate}
schedule = "linear"

[training]
steps = 50                  # of each trainer in each round
batch_size = 8
numeric = "exact"           # "bounded" costs trainers half as much, and leaves a cheat the bound

[data]
min_rows = 64               # a trainer's

{codec}
{scoring}
[validation]
rows = {rows}               # a round's hidden set

[rewards]
rounds = {rounds}
budget_per_round = "{budget}"   # to trainers; a number without a unit would be smallest units
verifier_fee_bps = 1_500        # 15 % on top, to the verifiers
# target_nanos = 100_000_000    # nano-nats of held-out loss for which all is paid, less for less; without it a
                                # round that gains next to nothing pays all, mostly by chance

[verification]
samples = 24                # steps that are replayed of each trainer, besides the first and the last
committee = 0               # by so many verifiers, drawn for each trainer by stake; 0: by all of them
commit_bond = "{bond}"      # of the stake; lost for a commitment without a reveal
slash_bps = 5_000           # of the stake, for a fault
min_trainer_stake = "{stake}"
min_verifier_stake = "{stake}"
{trainers}max_trainers = {most_trainers}           # more find no seat: verifiers judge a round in half of attest_commit
min_verifiers = {verifiers}           # fewer open no round

[phases]                    # seconds at most; a phase ends early when all have acted
commit = 3600
reveal = 1800
opening = 1800
attest_commit = 3600
attest_reveal = 1800
settle = 1800
window = 3600               # for disputes; 86_400, a day, at least on a chain that is no test chain
# activation = 86_400       # a verifier's stake counts so long after it came; needed on such a chain

[sponsor]                   # never leaves this machine
validation = "validation.jsonl"
test = "test.jsonl"
"""
