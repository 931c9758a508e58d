"""What a verifier reads of a trainer's round: openings whole or in parts, single steps or runs; and what runs promise.

    python -m benchmarks.replay.evidence [--steps N] [--samples K] [--draws N]

One honest round on MiniLM in each mode, judged from a place that gives parts of openings, as gateways do: bytes and
seconds, and whether findings and receipts are the same. Then the chance to be caught, from real draws, for corruption
that is spread over the round and for corruption that lies close together. Results: docs/results/evidence.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared.replay_tasks import (
    machine_facts,
    round_context,
    sentiment_shard,
    table,
    task,
    wilson,
    write_results,
)
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.types import Digest32, address
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import LocalBackend
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.step import DrawnRound
from deltaproof.tuning.training.workbench import Workbench

MODEL, BATCH, TOKENS, RANK = "MiniLM-L6", 8, 32, 8
RUNS = (1, 10)
LONG, PROMISED = 1_000, 90
"""Steps and samples of the round whose promise is measured: 99 % for a corrupted twentieth."""
CORRUPTED = 50
SEED = Digest32(bytes(range(32)))
TRAINER = address(b"\x01" * 20)


class Counted(LocalBackend):
    """A folder that counts what is read of openings."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bytes = self.requests = 0

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        return self.counted(path, super().read(path, max_bytes))

    def counted(self, path: str, data: bytes) -> bytes:
        """The same bytes, counted."""
        if path.startswith("openings/"):
            self.bytes, self.requests = self.bytes + len(data), self.requests + 1
        return data


class Parts(Counted):
    """One that is read in parts, too: every opening in it was checked as a whole, as gateways do."""

    def read_range(self, path: str, start: int, size: int) -> bytes:
        """See `Ranged`."""
        with (self.root / path).open("rb") as file:
            file.seek(start)
            return self.counted(path, file.read(size))


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--samples", type=int, default=PROMISED)
    parser.add_argument("--draws", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for mode in ("exact", "bounded") for row in judged(mode, options.steps, options.samples)]
    promised = [chances(run, options.draws) for run in RUNS]
    facts = {"machine": machine_facts(), "steps": options.steps, "samples": options.samples, "rows": rows,
             "draws": options.draws, "promised": promised}  # fmt: skip
    write_results("evidence", facts, markdown(facts))
    if any(row["verdict"] != "accepted" or not row["same"] for row in rows):
        raise SystemExit("an honest round was refused, or parts gave another finding than the whole")


def judged(mode: str, steps: int, samples: int) -> Iterator[dict[str, Any]]:
    """One round in a mode, judged whole and in parts, for single steps and for runs."""
    spec = task(MODEL, optimizer="adamw", numeric=mode, steps=steps, batch=BATCH, tokens=TOKENS, rank=RANK)
    bench, judges, rows = Workbench.from_spec(spec), Judges(spec), sentiment_shard(spec.model.kind).rows
    shard = Shard(tuple(dict.fromkeys(rows)), Digest32(bytes(32)))  # a shard holds each row once
    context = round_context(bench, shard, trainer=bytes.fromhex(TRAINER[2:]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = train_round(bench, context, bench.initial_state(), shard, folder / "round")
        whole = ArtifactStore(LocalBackend(folder / "store"))
        whole.put_tensors(trained.theta)
        submission = Submission(
            TRAINER, shard.root, len(shard.rows), trained.theta_digest, trained.transcript_root
        )  # fmt: skip
        drawn = DrawnRound(context.task_id, context.round, context.order_seed, context.start_digest)
        for run in RUNS:
            sample = draw_samples(SEED, 1, 0, TRAINER, steps=steps, extra=samples, run=run)
            for opening in open_steps(bench, context, shard, folder / "round", sample):
                whole.put_opening(trained.transcript_root, TRAINER, opening)
            found: list[Judgement] = []
            for kind in (Counted, Parts):
                place = kind(folder / "store")
                began = time.process_time()
                found.append(judge_submission(judges, ArtifactStore(place), drawn, submission, sample))
                seconds = time.process_time() - began
                first, last = found[0], found[-1]
                same = (first.finding, first.read, first.opened) == (last.finding, last.read, last.opened)
                yield {
                    "mode": mode, "run": run, "parts": kind is Parts, "steps": len(sample), "bytes": place.bytes,
                    "requests": place.requests, "seconds": seconds, "verdict": last.finding.verdict.name.lower(),
                    "same": same, "values": bench.layout.size,
                }  # fmt: skip


def chances(run: int, draws: int) -> dict[str, Any]:
    """How often a draw hits corrupted steps, by where they lie."""
    random = np.random.default_rng(run)
    places: Mapping[str, Any] = {
        "a twentieth of the steps, anywhere": lambda: random.choice(LONG - 2, CORRUPTED, replace=False) + 1,
        "the same in clusters of ten": lambda: np.concatenate(
            [
                np.arange(10) + 1 + 10 * block
                for block in random.choice((LONG - 10) // 10, CORRUPTED // 10, replace=False)
            ]
        ),
        "the same in one piece": lambda: np.arange(CORRUPTED) + 1 + random.integers(LONG - CORRUPTED - 1),
        "ten steps in one piece": lambda: np.arange(10) + 1 + random.integers(LONG - 11),
        "one step": lambda: random.integers(1, LONG - 1, 1),
    }
    hits = dict.fromkeys(places, 0)
    for number in range(draws):
        seed = Digest32(number.to_bytes(32, "big"))
        drawn = set(draw_samples(seed, 1, 0, TRAINER, steps=LONG, extra=PROMISED, run=run))
        for name, corrupted in places.items():
            hits[name] += bool(drawn.intersection(corrupted().tolist()))
    return {"run": run, "hits": hits, "draws": draws}


def markdown(facts: Mapping[str, Any]) -> str:
    """The page."""
    whole = {(row["mode"], row["run"]): row for row in facts["rows"] if not row["parts"]}
    plain = {row["mode"]: row["bytes"] for row in facts["rows"] if not row["parts"] and row["run"] == RUNS[0]}
    rows = [
        (
            row["mode"], row["run"], "in parts" if row["parts"] else "whole", row["steps"], f"{row['bytes']:,}",
            f"{plain[row['mode']] / row['bytes']:.1f}", row["requests"],
            f"{row['seconds'] / whole[row['mode'], row['run']]['seconds']:.2f}", row["verdict"],
            "the same" if row["same"] else "ANOTHER",
        )
        for row in facts["rows"]
    ]  # fmt: skip
    header = (
        "mode",
        "run",
        "openings",
        "steps",
        "bytes",
        "fewer by",
        "requests",
        "CPU",
        "verdict",
        "checks and receipts",
    )
    names = list(facts["promised"][0]["hits"])
    chance = [
        (name, *(_share(found["hits"][name], found["draws"]) for found in facts["promised"])) for name in names
    ]  # fmt: skip
    values = facts["rows"][0]["values"]
    return "\n\n".join([
        HEAD.format(steps=facts["steps"], samples=facts["samples"], values=f"{values:,}"),
        table(header, rows), PROMISE.format(long=LONG, promised=PROMISED, draws=f"{facts['draws']:,}"),
        table(("corrupted", *(f"runs of {found['run']}" for found in facts["promised"])), chance), NOTES,
        f"Machine: {facts['machine']}",
    ])  # fmt: skip


def _share(hits: int, draws: int) -> str:
    low, high = wilson(hits, draws)
    return f"{hits / draws:.4f} ({low:.4f} to {high:.4f})"


HEAD = """# What a verifier reads

An honest round of {steps} steps on MiniLM, LoRA of rank 8 ({values} values), judged from {samples} drawn steps and both
ends. *Whole*: every opening as it lies in the store. *In parts*: the head of each, and of its tensors what the verifier
cannot compute. It computes the state after a step that it has judged, and in exact mode the gradient; both are held
against what the trainer committed. *Fewer by* is against whole openings of single steps. *CPU* is processor time of
judging, against whole openings of the same steps. Made by `python -m benchmarks.replay.evidence`."""
PROMISE = """## What runs promise

How often a draw of {promised} of {long} steps hits a corrupted one ({draws} draws; 95 %, Wilson). A replay refuses a
corrupted step ([attacks](attacks.md)), so that is the chance to be caught."""
NOTES = """\
- Corruption that is spread is found as often. What lies close together is found as seldom as a single step: who needs
  ten neighbouring steps pays for one. Stakes have to cover what a whole run can earn; `task check` counts it so.
- Only gateways are read in parts: they take an opening when all of it fits. A folder or a bucket takes anything, and
  what nobody reads there, nobody would miss.
- Sealed openings are read whole, and so are those that workers judge (`--workers`), and all openings where something
  can have come too late."""


if __name__ == "__main__":
    main()
