"""How long coalition evaluation takes, beside the obvious ways to do it.

    python -m benchmarks.scoring.valuation_speed                       20 of the 200 evaluations by each way
    python -m benchmarks.scoring.valuation_speed --evaluations 200     all of them

N = 10 trainers' LoRA adapters on MiniLM, 200 coalitions, 512 held-out sentences, float32, one thread. Ways:

one by one     every coalition merged into its own weights, batches of 64 rows as they come, padded to the longest
unmerged       every coalition refactored to rank 8 and loaded as an adapter, same batches (and another game: truncated)
stacked        batches of 64; four coalitions a pass: base products shared, low-rank products stacked per coalition
ours           `Evaluator.evaluate_means`: merged, rows of like length together, outputs below the first adapter kept

Seconds are CPU seconds of the one thread, that is, wall seconds where nothing else runs.
Also: the demo's valuation (4 trainers, 96 rows, all 16 coalitions), float64, and how far float32 is from it.
Writes docs/results/data/valuation_speed.json and docs/results/valuation_speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scoring.lora_games import trainers
from benchmarks.shared.lora_rounds import SOURCES, Rounds, sentiment_rows
from benchmarks.shared.places import FIGURES, PAGES, ROOT
from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.combining.aggregation import aggregate, mixture_weights
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.methods.low_rank import mergeable_pairs, merging, tensors_of, vector_of, write_mixture
from deltaproof.tuning.training.workbench import Workbench
from incentives.unions import Contribution
from incentives.valuation import value_round

PLAYERS, COALITIONS, ROWS, BATCH, GROUP = 10, 200, 512, 64, 4


def batches(bench: Workbench, rows: Sequence[bytes]) -> list[dict[str, torch.Tensor]]:
    """Rows as they come, padded to the longest of each batch."""
    parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    return [make_batch(p, bench.spec.model, tokenizer=bench.tokenizer, config=None, parts=1).parts[0] for p in parts]


def mean_loss(bench: Workbench, parts: Sequence[dict[str, torch.Tensor]]) -> float:
    total = 0.0
    for part in parts:
        inputs = {name: value for name, value in part.items() if name != "labels"}
        logits = bench.model(**inputs).logits
        total += float(torch.nn.functional.cross_entropy(logits.double(), part["labels"], reduction="sum"))
    return total / sum(len(part["labels"]) for part in parts)


def load_others(bench: Workbench, members: Sequence[Any], shares: np.ndarray) -> None:
    """The head: a mean of values."""
    parameters = dict(bench.model.named_parameters())
    paired = {name for pair in mergeable_pairs(bench.model) for name in (pair.a, pair.b)}
    for name in set(bench.layout.names) - paired:
        mean = sum(p * m[name].astype(np.float64) for p, m in zip(shares, members, strict=True))
        parameters[name].data.copy_(torch.from_numpy(mean))


def one_by_one(bench: Workbench, thetas: Sequence[Vector], shares: np.ndarray, rows: Sequence[bytes]) -> list[float]:
    members, pairs, parts = (
        [tensors_of(bench.layout, t) for t in thetas],
        mergeable_pairs(bench.model),
        batches(bench, rows),
    )
    losses = []
    with torch.inference_mode(), merging(bench.model, pairs) as targets:
        for row in shares:
            write_mixture(targets, pairs, members, row)
            load_others(bench, members, row)
            losses.append(mean_loss(bench, parts))
    return losses


def unmerged(bench: Workbench, thetas: Sequence[Vector], shares: np.ndarray, rows: Sequence[bytes]) -> list[float]:
    members, pairs, parts = (
        [tensors_of(bench.layout, t) for t in thetas],
        mergeable_pairs(bench.model),
        batches(bench, rows),
    )
    losses = []
    with torch.inference_mode():
        for row in shares:
            chosen = [member for member, share in zip(members, row, strict=True) if share]
            bench.load(vector_of(bench.layout, aggregate(chosen, pairs).tensors))
            losses.append(mean_loss(bench, parts))
    return losses


def stacked(bench: Workbench, thetas: Sequence[Vector], shares: np.ndarray, rows: Sequence[bytes]) -> list[float]:
    """Four coalitions a pass: x W^T once for all, then each coalition's own sum_i p_i (x A_i^T) B_i^T."""
    members, pairs, parts = (
        [tensors_of(bench.layout, t) for t in thetas],
        mergeable_pairs(bench.model),
        batches(bench, rows),
    )
    modules = dict(bench.model.named_modules())
    head = modules["base_model.model.classifier"].modules_to_save["default"]
    losses: list[float] = []
    for first in range(0, len(shares), GROUP):
        group = torch.from_numpy(shares[first : first + GROUP]).float()
        with torch.inference_mode(), stacking(modules, pairs, members, group), merging(bench.model, pairs):
            weights = torch.stack([mixed(members, "classifier.modules_to_save.default.weight", row) for row in group])
            biases = torch.stack([mixed(members, "classifier.modules_to_save.default.bias", row) for row in group])
            held = []
            handle = head.register_forward_hook(lambda _, args, __, held=held: held.append(args[0]))
            totals = np.zeros(len(group))
            for part in parts:
                inputs = {n: v.repeat(len(group), 1) for n, v in part.items() if n != "labels"}
                bench.model(**inputs)
                pooled = held.pop().view(len(group), len(part["labels"]), -1)
                logits = torch.baddbmm(biases[:, None], pooled, weights.transpose(1, 2)).double()
                totals += [float(torch.nn.functional.cross_entropy(x, part["labels"], reduction="sum")) for x in logits]
            handle.remove()
        losses += (totals / len(rows)).tolist()
    return losses


def mixed(members: Sequence[Any], ending: str, shares: torch.Tensor) -> torch.Tensor:
    (name,) = (n for n in members[0] if n.endswith(ending))
    return sum(p * torch.from_numpy(m[name]) for p, m in zip(shares, members, strict=True))  # type: ignore[return-value]


@contextmanager
def stacking(
    modules: dict[str, Any], pairs: Sequence[Any], members: Sequence[Any], shares: torch.Tensor
) -> Iterator[None]:
    handles = []
    for pair in pairs:
        a = torch.cat([torch.from_numpy(m[pair.a]) for m in members])
        b = torch.cat([torch.from_numpy(m[pair.b]) for m in members], 1) * pair.scale
        wide = shares.repeat_interleave(a.shape[0] // len(members), 1)

        def add(_: Any, args: Any, output: torch.Tensor, a: Any = a, b: Any = b, wide: Any = wide) -> torch.Tensor:
            low = (args[0] @ a.T).view(len(wide), -1, a.shape[0]) * wide[:, None]
            return output + (low @ b.T).view_as(output)

        handles.append(modules[pair.module].get_base_layer().register_forward_hook(add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def ours(bench: Workbench, thetas: Sequence[Vector], shares: np.ndarray, rows: Sequence[bytes]) -> list[float]:
    results = Evaluator(bench, rows).evaluate_means(thetas, shares)
    return [results.mean(c).loss for c in range(len(shares))]


WAYS: dict[str, Callable[..., list[float]]] = {
    "one by one": one_by_one,
    "unmerged": unmerged,
    "stacked": stacked,
    "ours": ours,
}

PAGE = """# Speed of coalition evaluation

Written by `python -m benchmarks.scoring.valuation_speed --evaluations {measured}` on {machine}, one thread,
torch {torch}.

{players} trainers' LoRA adapters (rank 8, query and value) on MiniLM, {rows} held-out sentences, float32; {measured}
coalitions measured, set-up included, {coalitions} stated. Seconds are CPU seconds: wall time on a core of one's own,
except that work beside it takes caches and clock (load average at the end: {load:.0f} on {cores} cores).

| way | seconds an evaluation | {coalitions} evaluations | speed-up | largest difference of a loss |
|---|---|---|---|---|
{ways}

*One by one*: merged weights, batches of {batch} rows as they come. *Unmerged*: refactored to rank 8 and loaded as an
adapter; its differences are the truncation, that is, another game. *Stacked*: {group} coalitions a pass, base products
shared, low-rank products stacked. *Ours*: merged weights, rows of like length together so that little is padding
({tokens} tokens a coalition instead of {padded}), outputs below the first adapter kept.

Sharing passes between coalitions saves nothing here: behind the first adapted layer every coalition has activations of
its own, matrix products already run at full speed on one coalition's rows, and a merged adapter costs no extra products
where stacked ones cost {stack_cost:.0%} in every adapted matrix.

The demo's valuation (4 trainers, {demo_rows} rows, 16 coalitions, aggregate and final evaluation, `value_round`):
{demo32:.1f} s in float32, {demo64:.1f} s in float64; values differ by at most {demo_difference:.1e} nats.
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=20, choices=range(4, COALITIONS + 1, 4))
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = Rounds()
    bench, thetas = rounds.bench, trainers(rounds, PLAYERS)
    held_out = [row for s in SOURCES for row in sentiment_rows(s, 600, 1000)]
    rows = [held_out[i] for i in np.random.default_rng(2).permutation(len(held_out))[: options.rows]]
    drawn = np.random.default_rng(1).random((COALITIONS, PLAYERS)) < 0.5
    drawn[~drawn.any(axis=1), 0] = True
    shares = mixture_weights(drawn)[: options.evaluations]
    figures, losses = {}, {}
    for name, way in WAYS.items():
        way(bench, thetas, shares[:1], rows[:BATCH])
        began = time.process_time()
        losses[name] = np.array(way(bench, thetas, shares, rows))
        figures[name] = (time.process_time() - began) / len(shares)
        print(f"{name}: {figures[name]:.3f} s an evaluation", flush=True)
    demo = demo_figures(rounds)
    chunks = Evaluator(bench, rows)._chunks
    plain = figures["one by one"]
    ways = [
        f"| {name} | {figures[name]:.3f} | {figures[name] * COALITIONS:.0f} s | {plain / figures[name]:.2f} "
        f"| {np.abs(losses[name] - losses['one by one']).max():.1e} |"
        for name in WAYS
    ]
    page = PAGE.format(
        measured=options.evaluations,
        machine=f"{platform.machine()} ({cpu_name()})",
        torch=torch.__version__,
        players=PLAYERS,
        rows=options.rows,
        coalitions=COALITIONS,
        ways="\n".join(ways),
        batch=BATCH,
        group=GROUP,
        tokens=sum(chunk.inputs["input_ids"].numel() for chunk in chunks),
        padded=sum(part["input_ids"].numel() for part in batches(bench, rows)),
        stack_cost=2 * PLAYERS * 8 / 384,
        load=os.getloadavg()[2],
        cores=os.cpu_count(),
        **demo,
    )
    record = {"seconds": figures, "evaluations": options.evaluations, "rows": options.rows, "demo": demo}
    for path, text in (
        (FIGURES / "valuation_speed.json", json.dumps(record, indent=1)),
        (PAGES / "valuation_speed.md", page),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def demo_figures(rounds: Rounds, demo_rows: int = 96) -> dict[str, float]:
    """`value_round` as a verifier of the demo calls it, in both precisions."""
    thetas = trainers(rounds, 5)[:4]
    contributions = [Contribution(theta, 50, i) for i, theta in enumerate(thetas)]
    rows = [row for s in SOURCES for row in sentiment_rows(s, 900, 900 + demo_rows // 3)]
    seconds, values = [], []
    for bench in (rounds.bench, Workbench.from_spec(rounds.spec, precision="float64")):
        began = time.process_time()
        valuation = value_round(bench, rounds.warm_start, contributions, rows, b"seed")
        seconds.append(time.process_time() - began)
        values.append(np.array(valuation.values_nanos) / 1e9)
    difference = float(np.abs(values[0] - values[1]).max())
    return {"demo_rows": demo_rows, "demo32": seconds[0], "demo64": seconds[1], "demo_difference": difference}


def cpu_name() -> str:
    text = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
