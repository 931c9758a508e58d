"""What attacks on scoring and pay earn, against honest work, on real LoRA rounds of MiniLM.

    python -m benchmarks.gaming                 writes docs/results/data/gaming.json and docs/results/gaming.md
    python -m benchmarks.gaming --worlds 1      one set of shards, for a look

A *world* is three honest trainers, one per source, and an attacker with a shard of its own; all start from the same
warm adapter and train the demo's 12 steps. The coalitions' losses on 180 held-out rows are measured once per world and
strategy; a *seed* is a world with 96 of those rows drawn as the hidden validation set. Values, similarity discount and
payouts are the product's. Verification is left out on purpose: everybody is taken as accepted, though replay rejects
most of these strategies before they are scored (the table says which). So the figures are what scoring and payout add.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from rich.console import Console

from benchmarks.gaming.verifiers import collusion_table
from benchmarks.shared.lora_rounds import SOURCES, Rounds, sentiment_rows, with_flipped_labels
from benchmarks.shared.places import BUILD, FIGURES, PAGES, ROOT
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import BPS
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.combining.aggregation import mixture_weights
from deltaproof.tuning.combining.evaluation import Evaluator, RowResults
from deltaproof.tuning.methods.low_rank import tensors_of, vector_of
from deltaproof.tuning.numerics.machine import HERE
from deltaproof.tuning.numerics.workers import Workers
from incentives._coalitions import RecordedGame
from incentives.payouts import PayoutEntry, PayoutTerms, compute_payouts
from incentives.similarity import similarities
from incentives.unions import Contribution, united
from incentives.valuation import score_players, shared_out, who_plays

LOSSES = BUILD / "losses"
THRESHOLD = 0.9
BUDGET_UNITS = 10**18
EVALUATIONS = 96
VALIDATION_ROWS, HELD_OUT_ROWS, DRAWS = 96, 180, 10
NOISES = (0.1, 0.25, 0.5, 0.75, 1.0)
SPLITS = (2, 3, 5, 10)
"""The larger ones, which need the most coalitions, in the first world only."""
COPY_NOISES = (0.1, 0.3, 0.5, 1.0, 1.5)
LEAKS = 3


@dataclass(frozen=True)
class Strategy:
    """What the attacker hands in; what replay makes of it; whether it is played without the discount as well.

    `shard`: the task names its shards, and the identities are all on this one: 0 to 2 are those of honest trainers.
    """

    name: str
    thetas: tuple[Vector, ...]
    replay: str
    undefended: bool = False
    shard: int | None = None


class World:
    """Three honest trainers, an attacker's own data, and every coalition's row losses as they are asked for."""

    def __init__(self, rounds: Rounds, number: int) -> None:
        self.rounds, self.number, self.start = rounds, number, rounds.warm_start
        self.honest_rows = [sentiment_rows(s, *self.slot(number)) for s in SOURCES]
        names = [f"honest/{s}/{number}" for s in SOURCES]
        self.honest = [self.train(name, rows) for name, rows in zip(names, self.honest_rows, strict=True)]
        self.source = SOURCES[number % 3]
        self.rows = sentiment_rows(self.source, *self.slot(number + 4))
        self.held_out = [row for s in SOURCES for row in sentiment_rows(s, 1000 - HELD_OUT_ROWS // 3, 1000)]
        self.evaluator = Evaluator(rounds.bench, self.held_out)
        self.start_results = self.evaluator.evaluate_means([self.start], np.ones((1, 1)))
        self.rows_digest = sha256(b"".join(self.held_out)).digest()

    @staticmethod
    def slot(number: int) -> tuple[int, int]:
        return 100 + 100 * number, 200 + 100 * number

    def train(self, name: str, rows: Sequence[bytes]) -> Vector:
        return self.rounds.train(name, rows, self.start, 1)

    def losses(self, thetas: Sequence[Vector], coalitions: np.ndarray) -> RowResults:
        """Row results on all held-out rows. Kept on disk: a run that was stopped goes on where it was."""
        names = [sha256(theta.tobytes()).digest() for theta in thetas]
        sets = [b"".join(sorted(n for n, z in zip(names, row, strict=True) if z)) for row in coalitions]
        paths = [LOSSES / f"{sha256(self.rows_digest + members).hexdigest()}.npy" for members in sets]
        for path, shares in zip(paths, mixture_weights(coalitions), strict=True):
            if not path.exists():
                found = self.evaluator.evaluate_means(list(thetas), shares[None])
                np.save(path, np.stack([found.losses[0], found.hits[0]]))
        losses, hits = np.stack([np.load(path) for path in paths], axis=1)
        return RowResults(losses, hits, self.start_results.counts)

    def strategies(self) -> list[Strategy]:
        """All strategies; every adapter is trained by the product's own step unless it is made up."""
        w, start, bench = self.number, self.start, self.rounds.bench
        own = self.train(f"attacker/{w}", self.rows)
        victim = self.honest[0]
        update = victim - start
        rng = np.random.default_rng([77, w])
        random = rng.normal(size=update.shape)

        def near(level: float) -> Vector:
            return (victim + level * np.linalg.norm(update) / np.linalg.norm(random) * random).astype(np.float32)

        made: list[Strategy] = [Strategy("honest work", (own,), "accepts")]
        made.append(Strategy("copy, exact", (victim.copy(),), "rejects", undefended=True))
        for factor in (0.5, 2.0):
            scaled = (start + factor * update).astype(np.float32)
            made.append(Strategy(f"copy, scaled by {factor:g}", (scaled,), "rejects"))
        made += [Strategy(f"copy, noise {level:.0%} of its norm", (near(level),), "rejects") for level in COPY_NOISES]
        made.append(Strategy("copy, re-factored (BR)(R^-1 A)", (self.refactored(victim),), "rejects"))
        made.append(Strategy("free ride: the start itself", (start.copy(),), "rejects"))
        size = np.linalg.norm(own - start)
        blind = (start + size / np.linalg.norm(random) * random).astype(np.float32)
        made.append(Strategy("free ride: random update", (blind,), "rejects"))
        first = self.rounds.train(f"stale/{w}", self.rows, bench.initial_state(), 0)
        made.append(Strategy("free ride: last round's adapter", (first,), "rejects"))
        for noise in NOISES:
            flipped = with_flipped_labels(self.rows, noise, f"{w}")
            made.append(
                Strategy(f"labels {noise:.0%} flipped", (self.train(f"noise/{w}/{noise}", flipped),), "accepts")
            )
        joined = [self.train(f"joined/{w}/{i}", self.honest_rows[0]) for i in range(3)]
        for k in (1, 2, 3):
            name = f"{k} {'identity' if k == 1 else 'identities'} on an honest trainer's shard, shards named"
            made.append(Strategy(name, tuple(joined[:k]), "accepts", shard=0))
        same = [self.train(f"sybil-same/{w}/{i}", self.rows) for i in range(SPLITS[-1] if w == 0 else SPLITS[1])]
        for k in SPLITS if w == 0 else SPLITS[:2]:
            parts = [self.rows[i::k] for i in range(k)]
            split = [self.train(f"sybil-split/{w}/{k}/{i}", part) for i, part in enumerate(parts)]
            made.append(Strategy(f"{k} identities train on the same shard", tuple(same[:k]), "accepts"))
            name = f"{k} identities train on the same shard, shards named"
            made.append(Strategy(name, tuple(same[:k]), "accepts", shard=len(SOURCES)))
            made.append(Strategy(f"{k} identities train on {k} parts of it", tuple(split), "min_rows refuses"))
            clones = [(own + 1e-4 * rng.normal(size=own.shape)).astype(np.float32) for _ in range(k)]
            made.append(Strategy(f"{k} identities hand in one adapter", tuple(clones), "rejects"))
        return made

    def tuned(self, name: str, chosen: np.ndarray) -> Vector:
        """Trained on validation rows instead of the enrolled shard."""
        return self.train(f"tuned/{self.number}/{name}", [self.held_out[i] for i in chosen])

    def refactored(self, theta: Vector) -> Vector:
        rng = np.random.default_rng([78, self.number])
        tensors = dict(tensors_of(self.rounds.bench.layout, theta))
        for pair in self.rounds.pairs:
            rank = tensors[pair.a].shape[0]
            mixing = rng.normal(size=(rank, rank)) + 3 * np.eye(rank)
            tensors[pair.b] = (tensors[pair.b].astype(np.float64) @ mixing).astype(np.float32)
            tensors[pair.a] = np.linalg.solve(mixing, tensors[pair.a].astype(np.float64)).astype(np.float32)
        return vector_of(self.rounds.bench.layout, tensors)


@dataclass(frozen=True)
class SettledWorld:
    """Pay as shares of the budget, honest trainers' scores with standard errors in nats."""

    attacker: float
    honest: tuple[float, ...]
    scores: tuple[float, ...]
    errors: tuple[float, ...]
    discounted: int


def settle(
    world: World, extra: Sequence[Vector], rows: np.ndarray, *, defended: bool = True, shard: int | None = None
) -> SettledWorld:
    """One round of honest trainers and attacker's identities, valued on `rows` and paid without floor or cap."""
    thetas = [*world.honest, *extra]
    roots: list[Digest32 | None] = [None] * len(thetas)
    if shard is not None:
        roots = [Digest32(bytes([n]) * 32) for n in (*range(len(world.honest)), *[shard] * len(extra))]
    contributions = [Contribution(theta, 100, i, None, roots[i]) for i, theta in enumerate(thetas)]
    layout = world.rounds.bench.layout
    members = [tensors_of(layout, theta) for theta in thetas]
    similarity = similarities(members, tensors_of(layout, world.start), world.rounds.pairs)
    # Nothing is as similar as 2: nobody is a copy.
    originals, groups = who_plays(similarity, contributions, THRESHOLD if defended else 2.0)
    chosen = [united(world.rounds.bench, [contributions[i] for i in group]).theta for group in groups]

    def losses(coalitions: np.ndarray) -> RowResults:
        whole = world.losses(chosen, coalitions)
        return RowResults(whole.losses[:, rows], whole.hits[:, rows], whole.counts[rows])

    everything = world.start_results
    start = RowResults(everything.losses[:, rows], everything.hits[:, rows], everything.counts[rows])
    scoring = world.rounds.spec.scoring.model_copy(update={"budget": EVALUATIONS})
    with Workers.holding(HERE, losses) as workers:
        game = RecordedGame(workers, start)
        scored, _ = score_players(game, len(chosen), scoring, b"gaming", None)
    values = shared_out(scored, groups, originals)
    entries = [PayoutEntry(True, v.score_nanos, v.discount_bps) for v in values]
    terms = PayoutTerms(BUDGET_UNITS, 1, 0, floor_bps=0, cap_bps=BPS)
    paid = [amount / BUDGET_UNITS for amount in compute_payouts(terms, entries).amounts]
    honest = len(world.honest)
    return SettledWorld(
        attacker=sum(paid[honest:]),
        honest=tuple(paid[:honest]),
        scores=tuple(v.score_nanos / 1e9 for v in values[:honest]),
        errors=tuple(v.stderr_nanos / 1e9 for v in values[:honest]),
        discounted=sum(original is not None for original in originals),
    )


def play(world: World, console: Console) -> list[dict[str, object]]:
    """Every strategy of a world under every validation draw."""
    rng = np.random.default_rng([11, world.number])
    draws = [np.sort(rng.permutation(HELD_OUT_ROWS)[:VALIDATION_ROWS]) for _ in range(DRAWS)]
    absent = [settle(world, [], draw) for draw in draws]
    strategies = world.strategies()
    honest = [settle(world, strategies[0].thetas, draw) for draw in draws]
    results: list[dict[str, object]] = []

    def record(name: str, replay: str, outcomes: dict[int, SettledWorld], identities: int = 1) -> None:
        for draw, outcome in outcomes.items():
            results.append(
                {
                    "world": world.number,
                    "draw": draw,
                    "strategy": name,
                    "replay": replay,
                    "identities": identities,
                    "pay": outcome.attacker,
                    "honest_pay": honest[draw].attacker,
                    "discounted": outcome.discounted,
                    "victim_scores": outcome.scores,
                    "victim_scores_absent": absent[draw].scores,
                    "victim_scores_honest": honest[draw].scores,
                    "victim_errors": outcome.errors,
                }
            )
        console.print(
            f"world {world.number}: {name}: {np.mean([o.attacker for o in outcomes.values()]):.1%} of the budget"
        )

    for strategy in strategies:
        outcomes = {i: settle(world, strategy.thetas, draw, shard=strategy.shard) for i, draw in enumerate(draws)}
        record(strategy.name, strategy.replay, outcomes, len(strategy.thetas))
        if strategy.undefended:
            open_door = {i: settle(world, strategy.thetas, d, defended=False) for i, d in enumerate(draws)}
            record(f"{strategy.name} (if there were no discount)", strategy.replay, open_door)
    tuned = [world.tuned(f"leak/{i}", draws[i]) for i in range(LEAKS)]
    leaked = {i: settle(world, [tuned[i]], draws[i]) for i in range(LEAKS)}
    record("tuned on the hidden validation set (if it leaked)", "rejects", leaked)
    stale = {i + 1: settle(world, [tuned[i]], np.setdiff1d(np.arange(HELD_OUT_ROWS), draws[i])) for i in range(LEAKS)}
    record("tuned on last round's validation set", "rejects", stale)
    return results


def summary(results: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Per strategy, over seeds: pay against honest pay, how often it was more, what became of the victims' scores."""
    rows = []
    for name in dict.fromkeys(str(r["strategy"]) for r in results):
        chosen = [r for r in results if r["strategy"] == name]
        pay, work = (np.array([r[key] for r in chosen], dtype=float) for key in ("pay", "honest_pay"))
        scores, absent, work_scores, errors = (
            np.array([r[key] for r in chosen], dtype=float)
            for key in ("victim_scores", "victim_scores_absent", "victim_scores_honest", "victim_errors")
        )
        rows.append(
            {
                "strategy": name,
                "replay": chosen[0]["replay"],
                "seeds": len(chosen),
                "pay": float(pay.mean()),
                "pay_per_identity": float((pay / np.array([r["identities"] for r in chosen], dtype=float)).mean()),
                "pay_deviation": float(pay.std()),
                "honest_pay": float(work.mean()),
                "ratio": float(pay.mean() / work.mean()),
                "above_honest": float((pay > work + 1e-9).mean()),
                "discounted": float(np.mean([r["discounted"] for r in chosen])),
                "victim_score_change": float(scores.sum() / absent.sum() - 1),
                "victim_score_change_honest": float(work_scores.sum() / absent.sum() - 1),
                "victims_below_interval": float((scores < absent - 1.96 * errors).mean()),
            }
        )
    return rows


PAGE = """# Attacks on scoring and pay

Written by `python -m benchmarks.gaming` from {worlds} worlds. A world is one round of real LoRA training of MiniLM on
sentiment sentences, with three honest trainers and one attacker. A seed is a world with {validation} of its
{held_out} held-out rows drawn as the hidden validation set.

Up to 6 players have exact Shapley values. More players have the default estimator with {evaluations} evaluations. The
similarity threshold is {threshold}. There is no floor, no cap and no target.

- *replay*: what verification makes of the strategy. What it rejects is paid nothing and slashed; the other columns
  say what scoring alone would let through
- *pay*: what all of the attacker's identities got together, as a share of the round's budget. The honest trainers get
  the rest
- *honest*: what the attacker's shard earns by honest work
- *ratio*: pay divided by honest
- *per identity*: pay divided by the number of the attacker's identities
- *above*: share of the seeds in which the strategy paid more than honest work
- *found as copies*: identities that were discounted as copies, on average
- *victims*: by how much the sum of the honest trainers' scores, in nats, differs from what it is when the attacker
  stays away. In brackets: the same when the attacker works honestly, because then they share credit with it, too
- *below interval*: share of the honest trainers' scores that fell below the 95 % interval of their score without the
  attacker

| strategy | replay | seeds | pay | honest | ratio | per identity | above | found as copies | victims | below interval |
|---|---|---|---|---|---|---|---|---|---|---|
{strategies}

## Where the task names its shards
These are the rows with *shards named*. Trainers of one named data root are one player ([protocol, section
9](../protocol/scores.md#unions)).

- k identities on one shard earn what the mean of their deltas is worth. Pay does not grow with k, as it does without
  names.
- That mean is another delta than a single run's. It can be better or worse, so single seeds differ from honest work
  both ways.
- An attacker on an honest trainer's shard shares with it what that shard is worth, by heads. With two identities it
  gets two parts of three, but of that one shard only.

## What scoring does not stop
These are the rows without *shards named*: a task that takes anybody's data. An attacker runs k identities. Each has
its own stake, its own verified training steps and its own commitment to rows. To any rule that treats trainers alike
these are k trainers, and they are paid like k trainers. The attacker gains by the number of identities, not by the
quality of any one of them (see *per identity*).

What stands against it lies outside of scoring:

- every identity costs a stake and its training steps;
- `data.min_rows` keeps a shard from being cut into smaller parts;
- identities that hand in one adapter, or nearly one, are paid once.

## Colluding verifiers

Ten verifiers have equal stake. A trainer was caught cheating. The colluders attest that it is accepted with ten times
the best score, and that everybody else is worth nothing. The others attest what they found.

The verdict is the one with the most stake, and scores are lower medians of stake ([protocol, section
5](../protocol/settlement.md)). A settlement needs signatures of two thirds of the stake.

| colluding stake | cheat's pay | honest trainers' pay | settled | honest verifiers sign |
|---|---|---|---|---|
{collusion}
"""


def report(rows: Sequence[dict[str, object]], collusion: Sequence[dict[str, object]], worlds: int) -> str:
    """The results page."""
    strategies = [
        f"| {r['strategy']} | {r['replay']} | {r['seeds']} | {r['pay']:.1%} ± {r['pay_deviation']:.1%} "
        f"| {r['honest_pay']:.1%} | {r['ratio']:.2f} | {r['pay_per_identity']:.1%} | {r['above_honest']:.0%} "
        f"| {r['discounted']:.1f} "
        f"| {r['victim_score_change']:+.1%} ({r['victim_score_change_honest']:+.1%}) "
        f"| {r['victims_below_interval']:.0%} |"
        for r in rows
    ]
    verifiers = [
        f"| {r['share']:.0%} | {r['cheat']:.1%} | {r['honest']:.1%} | {'yes' if r['settled'] else 'no'} "
        f"| {'yes' if r['honest_sign'] else 'no'} |"
        for r in collusion
    ]
    return PAGE.format(
        worlds=worlds,
        validation=VALIDATION_ROWS,
        held_out=HELD_OUT_ROWS,
        evaluations=EVALUATIONS,
        threshold=THRESHOLD,
        strategies="\n".join(strategies),
        collusion="\n".join(verifiers),
    )


def main() -> None:
    """Play, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=3, choices=(1, 2, 3, 4))
    options = parser.parse_args()
    console = Console()
    LOSSES.mkdir(parents=True, exist_ok=True)
    rounds = Rounds()
    results = [row for number in range(options.worlds) for row in play(World(rounds, number), console)]
    rows, collusion = summary(results), collusion_table(rounds.spec)
    for path, text in (
        (
            FIGURES / "gaming.json",
            json.dumps({"summary": rows, "collusion": collusion, "seeds": results}),
        ),
        (PAGES / "gaming.md", report(rows, collusion, options.worlds)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        console.print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
