"""A trainer of a bounded task that stays inside the bound of every step and leans in one direction over all of them."""

from __future__ import annotations

import numpy as np
import torch

from deltaproof.demo.cheat import Forged, Forger
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.evidence.transcript import StepRecord
from deltaproof.tuning.training.recording import Progress, batch_rows
from deltaproof.tuning.training.step import apply_update, final_record, run_step, start_state
from trainer.conduct import RoundWork

SHARE = 0.8
"""Of the spec's bound on a single step."""


class Lean(Forger):
    """Every gradient is pushed the same way by a share of the bound; everything else is honest."""

    def forge(self, work: RoundWork, progress: Progress) -> Forged:
        """See `Forger`."""
        bench, context, training = work.bench, work.context, work.bench.spec.training
        direction = np.random.default_rng(3).standard_normal(bench.layout.size)
        state, leaned = start_state(bench, work.start), Forged()
        for step in range(training.steps):
            result = run_step(bench, context, state, step, batch_rows(bench, context, work.shard, step))
            # Where the gradient is exactly zero it would be seen.
            push = np.where(result.gradient == 0.0, 0.0, direction)
            for where in bench.layout.slices.values():
                norm = np.linalg.norm(push[where]) or 1.0
                push[where] *= SHARE * training.bound_total * np.linalg.norm(result.gradient[where]) / norm
            gradient = (result.gradient + push).astype(np.float32)
            record = StepRecord(**{**result.record.__dict__, "grad_root": component_root(gradient)})
            leaned.append((record, state, gradient))
            progress(record)
            state = apply_update(bench, state, step, torch.from_numpy(gradient), record.clip_scale)
        leaned.append((final_record(training.steps, state, context.error_root), state, np.zeros_like(work.start)))
        return leaned
