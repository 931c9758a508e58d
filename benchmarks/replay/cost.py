"""What verifiable training costs: a plain peft loop, bounded and exact mode side by side, in one run.

    python -m benchmarks.replay.cost [--profile full|short] [--device cpu|cuda]

The three trainers take turns step by step, so that whatever else the machine does hits them alike; times are medians of
processor time on CPU (one thread) and of wall time on a GPU. Results: docs/results/replay_cost.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from benchmarks.shared.replay_tasks import (
    MODELS,
    machine_facts,
    round_context,
    sentiment_shard,
    table,
    task,
    write_results,
)
from deltaproof.protocol.draws.samples import samples_needed
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.evidence.transcript import RECORD_BYTES, serialize_opening
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.training.recording import batch_rows, open_steps, train_round, transcript_folder
from deltaproof.tuning.training.step import RoundContext, run_step, start_state
from deltaproof.tuning.training.transcript_writer import default_keep_every
from deltaproof.tuning.training.workbench import Workbench

MODEL = "MiniLM-L6"
LONG_ROUND = 1000
REPLAYED = 9
THOROUGH = 3
"""Samples of a trainer that a verifier of bounded mode also replays in float64, for the drift test."""


@dataclass
class Stopwatch:
    """Median seconds of what it times."""

    clock: Callable[[], float]
    seconds: list[float] = field(default_factory=list)

    def time(self, action: Callable[[], Any]) -> Any:
        begun = self.clock()
        result = action()
        self.seconds.append(self.clock() - begun)
        return result

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("full", "short"), default="full")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = 4 if options.profile == "short" else 25
    facts = measure(steps, options.device)
    text = markdown(facts)
    if options.profile == "full":
        write_results("replay_cost" if options.device == "cpu" else "replay_cost_gpu", facts, text)
    else:
        print(text)


def measure(steps: int, device: str) -> dict[str, Any]:
    clock = _gpu_clock if device.startswith("cuda") else time.process_time
    sizes = {"optimizer": "adamw", "steps": LONG_ROUND, "batch": 16, "tokens": 64, "rank": 8}
    bounded = Workbench.from_spec(task(MODEL, numeric="bounded", **sizes), device)
    exact = Workbench.from_spec(task(MODEL, numeric="exact", **sizes), device)
    shard = sentiment_shard(bounded.spec.model.kind, rows=2000)
    watches = {name: Stopwatch(clock) for name in ("plain", "naive float64", "bounded", "exact")}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            "plain": plain_loop(bounded, shard, torch.float32, device),
            "naive float64": plain_loop(bounded, shard, torch.float64, device),
            "bounded": recorded_loop(bounded, shard, Path(folder) / "bounded"),
            "exact": recorded_loop(exact, shard, Path(folder) / "exact"),
        }
        for step in range(steps + 1):
            for name, trainer in trainers.items():
                if step == 0:
                    trainer(step)  # warm-up
                else:
                    watches[name].time(lambda trainer=trainer, step=step: trainer(step))
        verifying = {
            mode: verifier_costs(bench, shard, Path(folder) / f"round-{mode}", clock)
            for mode, bench in (("bounded", bounded), ("exact", exact))
        }
    theta = exact.initial_state()
    hashing = Stopwatch(clock)
    for _ in range(50):
        hashing.time(lambda: [component_root(theta) for _ in range(4)])
    plain = watches["plain"].median
    needed = samples_needed(0.05, 0.99)
    trained = {name: watch.median for name, watch in watches.items()}
    return {
        "machine": machine_facts(),
        "device": device,
        "model": MODEL,
        "values": exact.layout.size,
        "seconds_per_step": trained,
        "overhead": {name: seconds / plain for name, seconds in trained.items()},
        "hashing_share": hashing.median / plain,
        "samples": needed + 2,
        "verifier": {
            mode: cost | {"share_of_training": verifier_share(cost, needed + 2, mode)}
            for mode, cost in verifying.items()
        },
        "steps_timed": steps,
    }


def plain_loop(bench: Workbench, shard: Shard, dtype: torch.dtype, device: str) -> Callable[[int], None]:
    """What anybody would write with transformers, peft and torch.optim: same rows and sizes, nothing recorded."""
    facts, spec = MODELS[MODEL], bench.spec
    transformers.utils.logging.set_verbosity_error()
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        resolve_source(facts["source"]), num_labels=2, dtype=dtype
    )
    config = peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=facts["targets"])
    model = peft.get_peft_model(base, config).to(device).eval()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.01)
    context = round_context(bench, shard)

    def step(t: int) -> None:
        rows = [shard.rows[i] for i in context.batch(spec, t)]
        batch = make_batch(rows, spec.model, tokenizer=bench.tokenizer, config=None, parts=1, device=device)
        optimizer.zero_grad()
        model(**batch.parts[0]).loss.backward()
        optimizer.step()

    return step


def recorded_loop(bench: Workbench, shard: Shard, folder: Path) -> Callable[[int], None]:
    """A verifiable trainer's step, everything included: batch, gradient, optimiser, hashing, records on disk."""
    context = round_context(bench, shard)
    writer = transcript_folder(bench, context, folder)
    writer.begin(bench.initial_state())
    holder = {"state": start_state(bench, bench.initial_state())}

    def step(t: int) -> None:
        result = run_step(bench, context, holder["state"], t, batch_rows(bench, context, shard, t))
        writer.append(result.record, holder["state"], result.gradient)
        holder["state"] = result.next_state
        if (t + 1) % 10 == 0:
            writer.checkpoint(t + 1, holder["state"])

    return step


def verifier_costs(bench: Workbench, shard: Shard, folder: Path, clock: Callable[[], float]) -> dict[str, Any]:
    """Seconds of a step and of its replay, parsing and hashing included, and bytes of an opening and of the evidence.

    Trainer and verifier take turns on the same steps, because rows differ in length.
    """
    training = {**bench.spec.training.model_dump(), "steps": REPLAYED}
    small = Workbench.from_spec(
        type(bench.spec).model_validate({**bench.spec.model_dump(), "training": training}), bench.device
    )
    context: RoundContext = round_context(small, shard)
    trained = train_round(small, context, small.initial_state(), shard, folder, keep_every=1)
    judge = Judge.from_spec(small.spec, bench.device)
    replay = ReplayContext(context, trained.transcript_root, trained.theta_digest)
    openings = list(open_steps(small, context, shard, folder, range(REPLAYED)))
    files = [serialize_opening(opening) for opening in openings]
    watches = {what: Stopwatch(clock) for what in ("step", "replay", "thorough_replay")}
    for number, (opening, data) in enumerate(zip(openings, files, strict=True)):
        state = {slot: torch.from_numpy(values).to(bench.device) for slot, values in opening.state.items()}
        rows = batch_rows(small, context, shard, number)
        actions: dict[str, Callable[[], Any]] = {
            "step": lambda s=state, n=number, r=rows: run_step(small, context, s, n, r),
            "replay": lambda d=data, n=number: judge.judge_bytes(d, n, replay, thorough=False),
            "thorough_replay": lambda d=data, n=number: judge.judge_bytes(d, n, replay, thorough=True),
        }
        for what, action in actions.items():
            if number == 0:
                action()  # warm-up
            result = watches[what].time(action)
            if what != "step" and not result.accepted:
                raise AssertionError(result.message)
    long = bench.spec.training.steps * 2
    per_state = len(bench.slots) * 4 * bench.layout.size
    kept = (long - 1) // default_keep_every(long)
    return {
        **{what: watch.median for what, watch in watches.items()},
        "opening_bytes": len(files[1]),
        "evidence_steps": long,
        "every_state_bytes": long * per_state,
        "evidence_bytes": RECORD_BYTES * (long + 1) + 2 * 4 * bench.layout.size + kept * per_state,
    }


def verifier_share(cost: dict[str, Any], samples: int, mode: str) -> float:
    """The verifier's time for all samples over the trainer's for the whole round."""
    thorough = min(THOROUGH, samples) if mode == "bounded" else samples
    seconds = thorough * cost["thorough_replay"] + (samples - thorough) * cost["replay"]
    return seconds / (LONG_ROUND * cost["step"])


def markdown(facts: dict[str, Any]) -> str:
    trainers = [
        (name, f"{seconds:.4f}", f"{facts['overhead'][name]:.3f}")
        for name, seconds in facts["seconds_per_step"].items()
    ]
    verifiers = [
        (
            mode, facts["samples"], f"{cost['step']:.4f}", f"{cost['replay']:.4f}", f"{cost['thorough_replay']:.4f}",
            f"{cost['share_of_training']:.4f}", f"{cost['opening_bytes']:,}", f"{cost['evidence_bytes']:,}",
            f"{cost['every_state_bytes'] / cost['evidence_bytes']:,.0f}",
        )
        for mode, cost in facts["verifier"].items()
    ]  # fmt: skip
    return "\n".join(
        [
            "# What verifiable training costs",
            "",
            f"{facts['model']}, LoRA r=8 on query and value and the head ({facts['values']:,} values), AdamW, "
            f"batch 16, up to 64 tokens, real review sentences; medians of {facts['steps_timed']} steps, trainers "
            f"taking turns, on {facts['device']}. Made by `python -m benchmarks.replay.cost`.",
            "",
            "## Trainer",
            "",
            table(("trainer", "seconds a step", "against the plain loop"), trainers),
            "",
            f"Hashing three components and the gradient takes {facts['hashing_share']:.2%} of a plain step.",
            "",
            f"## Verifier, for N = {LONG_ROUND:,} steps at 99 % against 5 % corruption",
            "",
            table(
                (
                    "mode", "samples", "seconds a step", "seconds a replay", "with float64",
                    "share of the trainer's time", "bytes an opening", "bytes of evidence, N = 2,000",
                    "every state / evidence",
                ),
                verifiers,
            ),
            "",
            "Replays include parsing, hashing and proofs. In bounded mode three samples also run in float64; in exact "
            "mode all do. Shares multiply measured replays; the 1,000 steps were not all run.",
            "",
            f"Machine: {facts['machine']}",
        ]
    )  # fmt: skip


def _gpu_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
