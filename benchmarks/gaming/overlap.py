"""Honest trainers of common rows, and a thief of rows that commits first: who is called a copy, and who is paid?

    python -m benchmarks.gaming.overlap [--profile full|short] [--work DIR] [--report]

Two trainers hold the same rows, or half of them, in orders of their own, and train a round on MiniLM; the later one to
enrol commits first. A third trains on other rows. Measured are the similarity of the two deltas, whether likeness alone
makes one a copy, whether the rows that both open say otherwise, and what pay the product gives to each in an open
task (`aumann_shapley`, distinct rows), beside what the owner has without the other. Pairs are kept in `--work`: an
interrupted run goes on, and `--report` makes the page of the pairs that are there, and says how many are missing.
Results: docs/results/overlap.md and its figures; the page names the profile.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.gaming.along_step import scores_along_step
from benchmarks.shared.cells import cell, kept
from benchmarks.shared.replay_tasks import machine_facts, round_context, sentiment_shard, table, task, write_results
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.rows import Shard, parse_row
from deltaproof.protocol.types import Digest32, address
from deltaproof.sponsor.likeness import honest_likeness
from deltaproof.tuning.combining.mixing import members_of
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import RoundContext, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench
from incentives.row_evidence import count_rows
from incentives.similarity import similarities
from incentives.unions import Contribution, row_claims
from incentives.valuation import who_plays

SIZES = (8, 16, 32, 64, 100, 200)
SAMPLES = 24
"""As `deltaproof task init` has it."""
STEPS = 60
ALIKE = 0.98
"""Similarity from which a task may call a delta a copy, were it to look for them; the default looks for none."""
SAME = "the same rows"
SHARED = {SAME: 1.0, "half of the rows": 0.5, "no row": 0.0}
SCORED = 3e-3
"""Rate at which LoRA pairs are scored, too; it takes most of the time."""
METHODS = ("bitfit", "full", "houlsby", "ia3", "lokr", "prefix")
"""Beside LoRA: one of each family."""
OPTIMIZERS, POSITIVE, LABELLED = ("sgd", "momentum", "adam", "adamw"), (0.5, 0.8, 1.0), 240
THIRD, HELD_OUT = slice(700, 800), slice(800, 890)
ORDERS = 200
"""Trainers whose draws say how often two of them open no common row."""


@dataclass(frozen=True)
class Pair:
    """Two trainers of `size` rows each, of which they share a part."""

    size: int
    shared: str
    rate: float
    method: str = "lora"
    steps: int = STEPS

    @property
    def name(self) -> str:
        return f"{self.method}, {self.size} rows, {self.shared}, {self.rate}, {self.steps} steps"

    @cached_property
    def bench(self) -> Workbench:
        return _bench(self.method, self.rate, self.steps)

    def shards(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """The owner's rows, and those of the other."""
        rows = _rows()
        own = self.size - int(self.size * SHARED[self.shared])
        return rows[: self.size], (*rows[own : self.size], *rows[500 : 500 + own])


def full_pairs() -> Iterator[Pair]:
    """By size, and at 32 rows by learning rate and method."""
    for shared in SHARED:
        yield from (Pair(size, shared, SCORED) for size in SIZES)
        yield from (Pair(32, shared, rate) for rate in (1e-2, 1e-3))
    yield from (Pair(32, SAME, SCORED, method) for method in METHODS)


PROFILES: Mapping[str, Callable[[], Iterator[Pair]]] = {
    "full": full_pairs,
    "short": lambda: (Pair(size, shared, SCORED, steps=12) for size, shared in product((8, 200), SHARED)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--work", type=Path, default=Path("runs/overlap"))
    parser.add_argument("--report", action="store_true", help="the page of what was measured so far, and no more")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    draws = [
        {"rows": size, "shared": shared}
        | cell(options.work, f"draws, {size} rows, {shared}", partial(unmet, Pair(size, shared, SCORED)))
        for size, shared in product(SIZES, SHARED)
        if SHARED[shared]
    ]
    likeness = [
        {"optimizer": optimizer, "positive": positive}
        | cell(options.work, f"likeness, {optimizer}, {positive}", partial(likeness_of, optimizer, positive))
        for optimizer, positive in product(OPTIMIZERS, POSITIVE)
    ]
    rows, pairs = [], list(PROFILES[options.profile]())
    for pair in pairs:
        place = options.work, pair.name
        if found := kept(*place) if options.report else cell(*place, partial(measure, pair)):
            rows.append({"rows": pair.size, "shared": pair.shared, "rate": pair.rate, "method": pair.method} | found)
    document = {
        "machine": machine_facts(), "profile": options.profile, "likeness": likeness, "draws": draws, "rows": rows,
        "seconds": time.perf_counter() - started,
    }  # fmt: skip
    write_results("overlap", document, markdown(likeness, draws, rows, options.profile, len(pairs) - len(rows)))


def likeness_of(optimizer: str, positive: float) -> dict[str, Any]:
    """How alike two honest trainers of separate rows become, of which so many in one have the label 1."""
    by_label = [[row for row in _rows() if parse_row(row)["label"] == label] for label in (0, 1)]
    ones = int(LABELLED * positive)
    rows = [*by_label[1][:ones], *by_label[0][: LABELLED - ones]]
    random.Random(0).shuffle(rows)
    bench = _bench("lora", 1e-2 if optimizer in ("sgd", "momentum") else SCORED, 16, optimizer)
    return {"similarity": honest_likeness(bench, bench.initial_state(), rows)}


def measure(pair: Pair) -> dict[str, Any]:
    """The owner enrols first, the other commits first."""
    bench, shards = pair.bench, pair.shards()
    owner, other = (
        replace(trained(pair.method, pair.rate, pair.steps, rows, number), enrolled=number, order=1 - number)
        for number, rows in enumerate(shards)
    )
    begun, *members = members_of(bench, [bench.start, owner.theta, other.theta])
    similarity = similarities(members, begun, bench.pairs)
    originals, _ = who_plays(similarity, [owner, other], ALIKE)
    blind = [Contribution(c.theta, c.rows, c.order) for c in (owner, other)]
    counts = count_rows(row_claims(bench.spec, [owner, other]))
    return {
        "similarity": float(similarity[0, 1]),
        "alike": any(original is not None for original in who_plays(similarity, blind, ALIKE)[0]),
        "copy": any(original is not None for original in originals),
        "common": len(owner.opened() & other.opened()),
        "counted": [count.counted / pair.size for count in counts],
    } | (scored(pair, owner, other) if pair.method == "lora" and pair.rate == SCORED else {})


def scored(pair: Pair, owner: Contribution, other: Contribution) -> dict[str, Any]:
    """What the owner has with and without the other, nano-nats, beside a third trainer of other rows."""
    third = replace(trained(pair.method, pair.rate, pair.steps, _rows()[THIRD], 2), enrolled=2)
    return {"scores": _scores(pair.bench, [owner, other, third]), "alone": _scores(pair.bench, [owner, third])[0]}


def _scores(bench: Workbench, people: Sequence[Contribution]) -> list[int]:
    counts = count_rows(row_claims(bench.spec, people))
    counted = [replace(person, rows=count.counted) for person, count in zip(people, counts, strict=True)]
    return scores_along_step(bench, _rows()[HELD_OUT], bench.start, counted)


@lru_cache
def _rows() -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(sentiment_shard("sequence-classification", rows=1000).rows))


@lru_cache(12)
def _bench(method: str, rate: float, steps: int, optimizer: str = "adamw") -> Workbench:
    sections: dict[str, Mapping[str, Any]] = {"method": {"name": method, "options": {}}}
    if method == "lora":  # the others are compared, not scored
        sections = {"scoring": {"index": "aumann_shapley", "rows": "distinct"}, "aggregation": {"weights": "rows"}}
    spec = task(
        "MiniLM-L6", optimizer=optimizer, numeric="bounded", steps=steps, batch=8, tokens=32, rank=4, **sections,
    )  # fmt: skip
    terms = {**spec.model_dump(), "optimizer": {**spec.optimizer.model_dump(), "learning_rate": rate}}
    return Workbench.from_spec(type(spec).model_validate(terms))


@lru_cache(64)
def trained(method: str, rate: float, steps: int, rows: tuple[bytes, ...], number: int) -> Contribution:
    """One trainer's honest round, with the rows that its drawn steps open."""
    bench, shard = _bench(method, rate, steps), Shard(rows, Digest32(bytes([number + 1]) * 32))
    context = round_context(bench, shard, trainer=bytes([number + 1]) * 20)
    state = start_state(bench, bench.initial_state())
    for step in range(steps):
        state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
    opened = _opened(bench, context, rows, SAMPLES)
    return Contribution(state["theta"].numpy(), len(rows), number, opened=lambda: opened)


def unmet(pair: Pair) -> dict[str, Any]:
    """The share of pairs of trainers, one of each shard, whose drawn steps open no common row; needs no training."""
    shares = []
    for samples in (SAMPLES, 0):
        opened = [[_opened_by(pair.bench, rows, k, samples) for k in range(ORDERS)] for rows in pair.shards()]
        shares.append(sum(not (first & second) for first, second in product(*opened)) / ORDERS**2)
    return {"drawn": shares[0], "edges": shares[1]}


def _opened_by(bench: Workbench, rows: tuple[bytes, ...], number: int, samples: int) -> frozenset[bytes]:
    context = round_context(bench, Shard(rows, Digest32(bytes(32))), trainer=number.to_bytes(20, "big"))
    return _opened(bench, context, rows, samples)


def _opened(bench: Workbench, context: RoundContext, rows: tuple[bytes, ...], samples: int) -> frozenset[bytes]:
    steps = bench.spec.training.steps
    drawn = draw_samples(
        Digest32(bytes(32)), 1, 0, address(context.trainer), steps=steps, extra=min(samples, steps // 2)
    )
    return frozenset(rows[i] for step in drawn for i in context.batch(bench.spec, step))


def markdown(
    likeness: list[dict[str, Any]], draws: list[dict[str, Any]], rows: list[dict[str, Any]], profile: str, missing: int
) -> str:
    alike, robbed = (sum(row[key] for row in rows) for key in ("alike", "copy"))
    owners, unseen = [row["counted"][0] for row in rows], max(row["drawn"] for row in draws)
    ratios = [row["scores"][0] / row["alone"] for row in rows if row.get("alone", 0) > 0 and row["shared"] == SAME]
    return "\n\n".join(
        [
            "# Copies and common data",
            "By default nobody is called a copy by likeness "
            "([decision 19](../decisions/0019-likeness-is-no-evidence.md)). Cosines of the deltas of two honest "
            f"trainers who share no row, LoRA on MiniLM, 16 steps, by what part of {LABELLED} rows has the label 1:",
            table(
                ("optimizer", *(f"{part:.0%}" for part in POSITIVE)),
                [
                    (name, *(_cosine(r["similarity"]) for r in likeness if r["optimizer"] == name))
                    for name in OPTIMIZERS
                ],
            ),
            "In a task that looks for copies "
            "(`scoring.similarity_threshold` below 1) honest trainers of common rows explain by them that their deltas "
            "are alike, so each keeps its score. The "
            f"rows have to be shown for that. Of {ORDERS**2:,} pairs of orders and draws, in rounds of {STEPS} steps "
            f"of 8 rows, at most {unseen:.1%} show no common row in the {SAMPLES} drawn steps and the two ends, which "
            "are the evidence. Beside it, the two ends alone, which were all that every verifier saw before one sample "
            "was drawn for all:",
            table(
                ("rows of each", "they share", "no common row in drawn steps", "in the first and the last step"),
                [(r["rows"], r["shared"], f"{r['drawn']:.1%}", f"{r['edges']:.1%}") for r in draws],
            ),
            f"Profile **{profile}**: pairs on MiniLM-L6, trained, each in an order of its own. The *owner* enrolled "
            "first, the *other* committed first. Likeness alone, from a similarity of "
            f"{ALIKE} on, makes the owner of {alike} of {len(rows)} pairs a copy; with the rows of all drawn steps as "
            f"evidence, of {robbed}. Where distinct rows count, the owner's do in every pair: {min(owners):.0%} of "
            "them at least. Beside another of the same rows it has "
            f"{min(ratios, default=1.0):.3f} to {max(ratios, default=1.0):.3f} of the score that it has without. "
            f"Made by `python -m benchmarks.gaming.overlap{'' if profile == 'full' else ' --profile ' + profile}`.",
            "*Rows that count* and scores are those of an open task: `aumann_shapley` with distinct rows. Scores "
            "are in millinats on 90 held-out rows, with a third trainer of 100 other rows; nothing is paid for one "
            "that is not above zero.",
            table(
                (
                    "method", "rows of each", "they share", "learning rate", "similarity", "opened in common",
                    "copy by likeness", "copy by evidence",
                    "owner's rows that count", "the other's", "owner's score alone", "beside the other", "the other's",
                ),
                [_line(row) for row in rows],
            ),
            *([f"Not measured yet: {missing} pairs."] if missing else []),
            f"Machine: {machine_facts()}",
        ]
    )  # fmt: skip


def _cosine(similarity: float | None) -> str:
    return "" if similarity is None else f"{similarity:.3f}"


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    scores = [row["alone"], *row["scores"][:2]] if "alone" in row else []
    return (
        row["method"], row["rows"], row["shared"], row["rate"], f"{row['similarity']:.3f}", row["common"],
        "yes" if row["alike"] else "no",
        "yes" if row["copy"] else "no", *(f"{share:.0%}" for share in row["counted"]),
        *(f"{score / 1e6:.2f}" for score in scores or ()), *([""] * (3 - len(scores))),
    )  # fmt: skip


if __name__ == "__main__":
    main()
