"""What sealing costs: seconds and bytes of a round's openings and adapters, in the open and sealed, on a real model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.shared.replay_tasks import round_context, sentiment_shard, task
from deltaproof.protocol.commit.sealing import ENVELOPE_BYTES, AdapterSecret, ReadingKey, TranscriptSecret
from deltaproof.protocol.evidence.transcript import parse_opening, serialize_opening
from deltaproof.protocol.types import StepIndex
from deltaproof.protocol.wire.tensorfile import write_vectors
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.training.recording import batch_rows, open_steps, train_round
from deltaproof.tuning.training.step import run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["sealing"]

READERS = 10
STEPS = 12
REPEATED = 5
SECRET = TranscriptSecret(b"\x01" * 32)
ADAPTERS = AdapterSecret(b"\x02" * 32)


def sealing() -> dict[str, Any]:
    """MiniLM-L6 as the demo tunes it: processor seconds of a step, a replay, sealing and opening, and bytes."""
    torch.set_num_threads(1)
    spec = task("MiniLM-L6", optimizer="adam", numeric="exact", steps=STEPS, batch=8, tokens=32, rank=8)
    bench, shard = Workbench.from_spec(spec), sentiment_shard("sequence-classification")
    context = round_context(bench, shard)
    with tempfile.TemporaryDirectory() as folder:
        trained = train_round(bench, context, bench.initial_state(), shard, Path(folder), keep_every=1)
        openings = list(open_steps(bench, context, shard, Path(folder), range(STEPS)))
    root, limits = trained.transcript_root, context.opening_limits(spec, bench.layout.size)
    judge = Judge.from_spec(spec)
    replay = ReplayContext(context, root, trained.theta_digest)
    plain = [serialize_opening(opening) for opening in openings]
    sealed = [SECRET.seal(root, StepIndex(step), data) for step, data in enumerate(plain)]
    digest, adapter = trained.theta_digest, write_vectors({"values": trained.theta}, {})
    sealed_adapter = ADAPTERS.seal(digest, adapter)
    rows = batch_rows(bench, context, shard, 0)
    state = start_state(bench, bench.initial_state())
    keys = [ReadingKey(bytes([number + 2]) * 32) for number in range(READERS)]
    seconds = {
        "step": _seconds(lambda: run_step(bench, context, state, 0, rows)),
        "serialise": _seconds(lambda: serialize_opening(openings[1])),
        "seal": _seconds(lambda: SECRET.seal(root, StepIndex(1), plain[1])),
        "unseal": _seconds(lambda: SECRET.unseal(root, StepIndex(1), sealed[1])),
        "parse": _seconds(lambda: parse_opening(plain[1], limits)),
        "replay": _seconds(lambda: judge.judge_bytes(plain[1], 1, replay)),
        "seal an adapter": _seconds(lambda: ADAPTERS.seal(digest, adapter)),
        "unseal an adapter": _seconds(lambda: ADAPTERS.unseal(digest, sealed_adapter)),
        "envelope": _seconds(lambda: SECRET.envelope(keys[0].public)),
        "open envelope": _seconds(lambda: keys[0].opened(SECRET.envelope(keys[0].public))),
    }
    envelopes = READERS * ENVELOPE_BYTES
    return {
        "values": bench.layout.size,
        "steps": STEPS,
        "readers": READERS,
        "seconds": seconds,
        "opening_bytes": {"open": len(plain[1]), "sealed": len(sealed[1])},
        "adapter_bytes": {"open": len(adapter), "sealed": len(sealed_adapter)},
        "round_bytes": {"open": sum(map(len, plain)), "sealed": sum(map(len, sealed)) + envelopes},
        "shares": {
            "trainer, every step opened": _trainer(seconds, opened=STEPS, steps=STEPS),
            "trainer, 92 of 1,000 steps opened": _trainer(seconds, opened=92, steps=1_000),
            "trainer, the same with private adapters": _trainer(seconds, opened=92, steps=1_000, private=True),
            "verifier, of its replays": _verifier(seconds),
            "verifier, the same with private adapters": _verifier(seconds, private=True),
        },
    }


def _trainer(seconds: dict[str, float], *, opened: int, steps: int, private: bool = False) -> float:
    """Sealing and envelopes over training the round; with private adapters the start and the own delta, too."""
    adapters = seconds["unseal an adapter"] + seconds["seal an adapter"] if private else 0.0
    return (opened * seconds["seal"] + READERS * seconds["envelope"] + adapters) / (steps * seconds["step"])


def _verifier(seconds: dict[str, float], *, private: bool = False) -> float:
    """Opening one trainer's steps, and making every envelope again, over replaying them; with private adapters start,
    delta and next adapter, too."""
    adapters = 2 * seconds["unseal an adapter"] + seconds["seal an adapter"] if private else 0.0
    envelopes = READERS * seconds["envelope"]
    return (STEPS * seconds["unseal"] + envelopes + adapters) / (STEPS * seconds["replay"])


def _seconds(action: Callable[[], object]) -> float:
    """Median processor seconds, after a warm-up."""
    action()
    taken = []
    for _ in range(REPEATED):
        begun = time.process_time()
        for _ in range(4):
            action()
        taken.append((time.process_time() - begun) / 4)
    return median(taken)
