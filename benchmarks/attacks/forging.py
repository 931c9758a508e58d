"""The attackers' workshop: transcripts with any wrong step, and all hashes around it right.

A forger commits to what it made up: every record, proof and digest is consistent, because a cheat that does not even
get its own hashes right is no test of anything. What it cannot choose is what the chain fixes before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from deltaproof.protocol.evidence.rows import OpenedRow, Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord
from deltaproof.protocol.wire import merkle
from deltaproof.replaying.replay import Judge, ReplayContext, StepVerdict
from deltaproof.tuning.training.optimizers import State, clip_scale
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import (
    RoundContext,
    StepResult,
    apply_update,
    final_record,
    run_step,
    start_state,
    state_root,
)
from deltaproof.tuning.training.workbench import Workbench


@dataclass(frozen=True)
class ForgedStep:
    """One step as the attacker records it."""

    gradient: Vector
    next_state: State
    rows: tuple[OpenedRow, ...] | None = None
    loss: float = 0.7
    clip: float = 1.0


@dataclass(frozen=True)
class Forged:
    """A whole forged transcript: an opening of every step, and what was committed."""

    openings: tuple[StepOpening, ...]
    transcript_root: bytes
    theta: Vector

    def context(self, round_: RoundContext) -> ReplayContext:
        return ReplayContext(round_, self.transcript_root, component_root(self.theta))


Honest = Callable[[State], StepResult]
Attack = Callable[[int, State, Honest], ForgedStep | None]
"""Given step, state and the means to do the step honestly: what to record instead, or None to be honest."""


def forge(
    bench: Workbench, context: RoundContext, shard: Shard, attack: Attack, start: Vector | None = None,
    begun: Callable[[State], State] = lambda state: state,
) -> Forged:  # fmt: skip
    """Train with `attack` deciding each step; `begun` may change the state before the first one."""
    spec, steps = bench.spec, bench.spec.training.steps
    state = begun(start_state(bench, bench.initial_state() if start is None else start))
    records: list[StepRecord] = []
    shown: list[tuple[State, Vector, tuple[OpenedRow, ...]]] = []
    for step in range(steps):

        def honest(from_state: State, step: int = step) -> StepResult:
            return run_step(bench, context, from_state, step, batch_rows(bench, context, shard, step))

        forgery = attack(step, state, honest)
        if forgery is None:
            result = honest(state)
            forgery = ForgedStep(
                result.gradient, result.next_state, loss=result.record.loss, clip=result.record.clip_scale
            )
        rows = forgery.rows or tuple(shard.open(index) for index in context.batch(spec, step))
        records.append(
            StepRecord(
                step,
                state_root(state),
                component_root(forgery.gradient),
                merkle.root([row.digest for row in rows]),
                forgery.clip,
                float(np.float32(forgery.loss)),
            )
        )
        shown.append((state, forgery.gradient, rows))
        state = forgery.next_state
    records.append(final_record(steps, state))
    tree = merkle.levels([record.digest for record in records])
    openings = tuple(
        StepOpening(
            records[t], records[t + 1],
            merkle.proof_from_levels(tree, t), merkle.proof_from_levels(tree, t + 1),
            {slot: values.numpy() for slot, values in shown[t][0].items()}, shown[t][1], shown[t][2],
        )
        for t in range(steps)
    )  # fmt: skip
    return Forged(openings, tree[-1][0], state["theta"].numpy())


def exact_update(bench: Workbench, state: State, step: int, gradient: Vector, **changes: object) -> ForgedStep:
    """The forged gradient followed by the correct optimiser: the careful cheat's step."""
    scale = clip_scale(gradient, bench.spec.optimizer.clip_norm)
    following = apply_update(bench, state, step, torch.from_numpy(gradient), scale)
    return ForgedStep(gradient, following, clip=scale, **changes)  # type: ignore[arg-type]


def judge_all(judge: Judge, forged: Forged, context: RoundContext, steps: list[int] | None = None) -> list[StepVerdict]:
    """Verdicts on the given steps (all by default), in order."""
    replay = forged.context(context)
    wanted = range(len(forged.openings)) if steps is None else steps
    return [judge.judge_step(forged.openings[step], step, replay) for step in wanted]
