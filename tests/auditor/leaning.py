"""A trainer of a bounded task that stays inside the bound of every step and leans in one direction over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.training.optimizers import State
from deltaproof.tuning.training.recording import Progress, TrainedRound, batch_rows
from deltaproof.tuning.training.step import apply_update, final_record, run_step, start_state
from trainer.conduct import RoundWork

SHARE = 0.8
"""Of the spec's bound on a single step."""


class Lean:
    """Every gradient is pushed the same way by a share of the bound; everything else is honest."""

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound:
        leaned = _lean(work)
        for record, _, _ in leaned[:-1]:
            progress(record)
        theta = leaned[-1][1]["theta"].numpy()
        root = merkle.root([record.digest for record, _, _ in leaned])
        return TrainedRound(theta, root, component_root(theta), tuple(record.loss for record, _, _ in leaned[:-1]))

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]:
        leaned = _lean(work)
        tree = merkle.levels([record.digest for record, _, _ in leaned])
        for step in sorted(set(steps)):
            record, state, gradient = leaned[step]
            yield StepOpening(
                before=record,
                after=leaned[step + 1][0],
                before_proof=merkle.proof_from_levels(tree, step),
                after_proof=merkle.proof_from_levels(tree, step + 1),
                state={slot: values.numpy() for slot, values in state.items()},
                gradient=gradient,
                rows=tuple(work.shard.open(index) for index in work.context.batch(work.bench.spec, step)),
                error_root=work.context.error_root,
            )


def _lean(work: RoundWork) -> list[tuple[StepRecord, State, Vector]]:
    """StepRecord, state before and gradient of every step, and the final record with its state."""
    bench, context, training = work.bench, work.context, work.bench.spec.training
    direction = np.random.default_rng(3).standard_normal(bench.layout.size)
    state, leaned = start_state(bench, work.start), []
    for step in range(training.steps):
        result = run_step(bench, context, state, step, batch_rows(bench, context, work.shard, step))
        push = np.where(result.gradient == 0.0, 0.0, direction)  # where the gradient is exactly zero it would be seen
        for where in bench.layout.slices.values():
            norm = np.linalg.norm(push[where]) or 1.0
            push[where] *= SHARE * training.bound_total * np.linalg.norm(result.gradient[where]) / norm
        gradient = (result.gradient + push).astype(np.float32)
        record = StepRecord(**{**result.record.__dict__, "grad_root": component_root(gradient)})
        leaned.append((record, state, gradient))
        state = apply_update(bench, state, step, torch.from_numpy(gradient), record.clip_scale)
    leaned.append((final_record(training.steps, state, context.error_root), state, np.zeros_like(work.start)))
    return leaned
