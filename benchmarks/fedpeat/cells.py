"""One cell of benchmarks.fedpeat: `python -m benchmarks.fedpeat.cells WHAT TASK ARM SEED RATE`, a process of its own.

`bare` is what any trainer of that model has in memory before it loads one: torch, transformers and the model's classes.
`trainer` trains one round and reports peak memory and seconds a step. `quality` plays all rounds, for the held-out
rows, and `trial` for those where learning rates are chosen. `verifier` replays. The last line of the output is the
result, JSON.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.shared.places import BUILD

if TYPE_CHECKING:
    from benchmarks.fedpeat.tasks import Arm, FedpeatTask

STEPS = 6
CACHE = BUILD / "fedpeat" / "cache"


def bare(kind: str) -> dict[str, Any]:
    import torch  # noqa: F401
    import transformers

    names = ("BertForSequenceClassification",) if kind == "MiniLM" else ("LlamaForCausalLM",)
    for name in (*names, "AutoTokenizer", "AutoModelForCausalLM", "AutoModelForSequenceClassification"):
        getattr(transformers, name)
    return {"peak_mib": _peak_mib()}


def trainer(task: FedpeatTask, arm: Arm, seed: int, rate: float) -> dict[str, Any]:
    """A round of a few steps by the product's own trainer; full fine-tuning by a plain loop with torch's own Adam,
    because a transcript of all of a model's values is not what anybody would keep."""
    import torch

    torch.set_num_threads(1)
    spec = task.spec(arm, seed, rate)
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"steps": STEPS})})
    from deltaproof.tuning.training.workbench import Workbench

    bench = Workbench.from_spec(spec)
    _, shard = next(iter(task.trainers(arm)))
    seconds: list[float] = []
    mark = time.process_time()

    def lap(_: object) -> None:
        nonlocal mark
        now = time.process_time()
        seconds.append(now - mark)
        mark = now

    start = bench.initial_state()
    context = _context(arm, "first", 1, seed, shard, start)
    mark = time.process_time()
    if arm.method == "full":
        _plain_round(bench, context, shard, lap)
    else:
        from deltaproof.tuning.training.recording import train_round

        with tempfile.TemporaryDirectory() as folder:
            train_round(bench, context, start, shard, Path(folder) / "round", progress=lap)
    return {"peak_mib": _peak_mib(), "step_seconds": statistics.median(seconds[1:]), "values": bench.layout.size}


def trial(task: FedpeatTask, arm: Arm, seed: int, rate: float) -> dict[str, Any]:
    """The loss that decides on a rate, nats; infinite where training diverges."""
    from deltaproof.tuning.errors import DivergenceError

    try:
        return {"loss": _played(task, arm, seed, rate, task.dev)["loss"]}
    except DivergenceError:
        return {"loss": math.inf}


def quality(task: FedpeatTask, arm: Arm, seed: int, rate: float) -> dict[str, Any]:
    """The result on held-out rows."""
    return _played(task, arm, seed, rate, task.held_out)


def _played(task: FedpeatTask, arm: Arm, seed: int, rate: float, rows: Sequence[bytes]) -> dict[str, Any]:
    """All rounds; the result on these rows, in the full model and as trainers see it."""
    import torch

    from deltaproof.tuning.combining.evaluation import Evaluator
    from deltaproof.tuning.combining.mixing import aggregate_thetas
    from deltaproof.tuning.training.federation import plugged
    from deltaproof.tuning.training.recording import batch_rows
    from deltaproof.tuning.training.step import run_step, start_state
    from deltaproof.tuning.training.workbench import Workbench

    torch.set_num_threads(1)
    spec = task.spec(arm, seed, rate)
    bench = Workbench.from_spec(spec)
    start = bench.initial_state()
    for number in range(1, task.rounds + 1):
        reached = []
        for name, shard in task.trainers(arm):
            context = _context(arm, name, number, seed, shard, start)
            if arm.method == "full":
                bench.load(start)
                reached.append(_plain_round(bench, context, shard))
                continue
            state = start_state(bench, start)
            for step in range(spec.training.steps):
                state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
            reached.append(state["theta"].numpy())
        start = aggregate_thetas(bench, reached, None)[0]
    own = Evaluator(bench, rows).evaluate(start)
    found = own
    if spec.federation is not None:
        full = Workbench.from_spec(plugged(spec), precision="float32")
        found = Evaluator(full, rows).evaluate(start)
    return {
        "accuracy": found.accuracy, "loss": found.loss, "emulator_accuracy": own.accuracy, "emulator_loss": own.loss,
        "predictions": found.predictions,
    }  # fmt: skip


def verifier(task: FedpeatTask, arm: Arm, seed: int, rate: float) -> dict[str, Any]:
    """Seconds that a step's replay takes, without and with the float64 part that every third sample has as well."""
    import torch

    from deltaproof.protocol.evidence.transcript import serialize_opening
    from deltaproof.replaying.replay import Judge, ReplayContext
    from deltaproof.tuning.training.recording import open_steps, train_round
    from deltaproof.tuning.training.workbench import Workbench

    torch.set_num_threads(1)
    spec = task.spec(arm, seed, rate)
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"steps": STEPS})})
    bench = Workbench.from_spec(spec)
    _, shard = next(iter(task.trainers(arm)))
    start = bench.initial_state()
    context = _context(arm, "first", 1, seed, shard, start)
    with tempfile.TemporaryDirectory() as folder:
        trained = train_round(bench, context, start, shard, Path(folder) / "round", keep_every=1)
        openings = list(open_steps(bench, context, shard, Path(folder) / "round", range(STEPS)))
    files = [serialize_opening(opening) for opening in openings]
    judge = Judge.from_spec(spec)
    known = ReplayContext(context, trained.transcript_root, trained.theta_digest)
    times: dict[bool, list[float]] = {False: [], True: []}
    for step, data in enumerate(files):
        for thorough, spent in times.items():
            began = time.process_time()
            verdict = judge.judge_bytes(data, step, known, thorough=thorough)
            spent.append(time.process_time() - began)
            if not verdict.accepted:
                raise AssertionError(verdict.message)
    return {
        "replay_seconds": statistics.median(times[False][1:]),
        "thorough_seconds": statistics.median(times[True][1:]),
        "opening_bytes": len(files[1]),
        "peak_mib": _peak_mib(),
    }


def _plain_round(bench: Any, context: Any, shard: Any, lap: Any = lambda _: None) -> Any:
    """What anybody would write: the model's own parameters, torch's Adam, the rate falling linearly."""
    import numpy as np
    import torch

    from deltaproof.tuning.base_models.batches import make_batch
    from deltaproof.tuning.base_models.loss import loss_sum

    spec = bench.spec
    optimizer = torch.optim.Adam(bench.parameters, lr=spec.optimizer.learning_rate)
    for step in range(spec.training.steps):
        for group in optimizer.param_groups:
            group["lr"] = spec.optimizer.learning_rate * (1.0 - step / spec.training.steps)
        rows = [shard.rows[i] for i in context.batch(spec, step)]
        batch = make_batch(rows, spec.model, tokenizer=bench.tokenizer, config=bench.model.config, parts=1)
        optimizer.zero_grad()
        (loss_sum(bench.model, batch.parts[0], spec.model.kind) / batch.count).backward()
        optimizer.step()
        lap(step)
    return np.concatenate([p.detach().numpy().reshape(-1) for p in bench.parameters])


def _context(arm: Any, name: str, number: int, seed: int, shard: Any, start: Any) -> Any:
    from deltaproof.protocol.evidence.state import component_root
    from deltaproof.tuning.training.step import DrawnRound

    # A digest of all of a model's values is left out where nothing is recorded.
    digest = bytes(32) if arm.method == "full" else component_root(start)
    return DrawnRound(1, number, bytes([seed]) * 32, digest).with_shard(sha256(name.encode()).digest()[:20], shard)


def _peak_mib() -> float:
    """Of this program: the kernel's other figure, ru_maxrss, also covers the process that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("this kernel does not tell a process's peak memory")


def main() -> None:
    os.environ["XDG_CACHE_HOME"] = str(CACHE)  # before anything of the product is imported
    what, task_name, arm_name, seed, rate = sys.argv[1:]
    if what == "bare":
        print(json.dumps(bare(task_name)))
        return
    from benchmarks.fedpeat.tasks import ARMS, TASKS

    task, arm = TASKS[task_name](), next(arm for arm in ARMS[task_name] if arm.name == arm_name)
    if what == "emulator":
        federation = task.spec(arm, int(seed), float(rate)).federation
        print(json.dumps(federation.emulators[0].model_dump(mode="json") if federation else {}))
        return
    cell = {"trainer": trainer, "quality": quality, "trial": trial, "verifier": verifier}[what]
    print(json.dumps(cell(task, arm, int(seed), float(rate))))


if __name__ == "__main__":
    main()
