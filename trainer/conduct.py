"""How a trainer produces what it commits: honestly, or not.

The dishonest conduct exists so that anyone can watch a network refuse it; on a real task it costs the stake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.evidence.transcript import Record, StepOpening
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.training.optimizers import State, clip_scale
from deltaproof.tuning.training.recording import Progress, TrainedRound, batch_rows, open_steps, train_round
from deltaproof.tuning.training.step import RoundContext, apply_update, final_record, run_step, start_state, state_root
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["CONDUCTS", "Conduct", "Honest", "RoundWork", "SkipHalf"]


@dataclass(frozen=True)
class RoundWork:
    """Everything that a trainer's round needs. `folder` keeps the transcript."""

    bench: Workbench
    context: RoundContext
    start: Vector
    shard: Shard
    folder: Path


class Conduct(Protocol):
    """Produces a round's transcript in a folder, and openings from it."""

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound: ...

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]: ...


class Honest:
    """Every step is trained."""

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound:
        return train_round(work.bench, work.context, work.start, work.shard, work.folder, progress=progress)

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]:
        return open_steps(work.bench, work.context, work.shard, work.folder, steps)


class SkipHalf:
    """Trains every other step and makes the rest up.

    A skipped step gets the gradient of the step before, shrunk and jittered, with a proper optimiser update, the proper
    rows and a plausible loss. Everything that can be checked without recomputing the gradient holds.
    """

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound:
        forged = self._forge(work, progress)
        records = [record for record, _, _ in forged]
        theta = forged[-1][1]["theta"].numpy()
        root = merkle.root([record.digest for record in records])
        return TrainedRound(theta, root, component_root(theta), tuple(record.loss for record in records[:-1]))

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]:
        # The same lie every time: it derives from the round.
        forged = self._forge(work, lambda _: None)
        tree = merkle.levels([record.digest for record, _, _ in forged])
        for step in sorted(set(steps)):
            record, state, gradient = forged[step]
            yield StepOpening(
                before=record,
                after=forged[step + 1][0],
                before_proof=merkle.proof_from_levels(tree, step),
                after_proof=merkle.proof_from_levels(tree, step + 1),
                state={slot: values.numpy() for slot, values in state.items()},
                gradient=gradient,
                rows=tuple(work.shard.open(index) for index in work.context.batch(work.bench.spec, step)),
                error_root=work.context.error_root,
            )

    def _forge(self, work: RoundWork, progress: Progress) -> list[tuple[Record, State, Vector]]:
        """Record, state before and gradient of every step, and the final record with its state."""
        bench, context = work.bench, work.context
        draw = np.random.default_rng(int.from_bytes(context.key[:8], "big"))
        state = start_state(bench, work.start)
        forged: list[tuple[Record, State, Vector]] = []
        for step in range(bench.spec.training.steps):
            rows = batch_rows(bench, context, work.shard, step)
            if step % 2 == 0:
                result = run_step(bench, context, state, step, rows)
                forged.append((result.record, state, result.gradient))
                state = result.next_state
            else:
                before, _, gradient = forged[-1]
                noise = draw.standard_normal(gradient.shape, dtype=np.float32) * np.float32(np.abs(gradient).mean())
                gradient = (np.float32(0.8) * gradient + np.float32(0.1) * noise).astype(np.float32)
                record = Record(
                    step=step,
                    state_root=state_root(state, context.error_root),
                    grad_root=component_root(gradient),
                    rows_root=merkle.root([digest for digest, _ in rows]),
                    clip_scale=clip_scale(gradient, bench.spec.optimizer.clip_norm),
                    loss=float(np.float32(before.loss * 0.98)),
                )
                forged.append((record, state, gradient))
                state = apply_update(bench, state, step, torch.from_numpy(gradient), record.clip_scale)
            progress(forged[-1][0])
        forged.append(
            (final_record(bench.spec.training.steps, state, context.error_root), state, np.zeros_like(work.start))
        )
        return forged


CONDUCTS: dict[str, Conduct] = {"honest": Honest(), "skip-half": SkipHalf()}
