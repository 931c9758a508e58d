"""`python -m deltaproof.demo.cheat`: the demo's cheat, a trainer who skips half of its steps and makes them up.

It exists so that anyone can watch a network refuse it. On a real task it costs the stake.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import typer

from deltaproof.api.connecting import open_gateway, task_store
from deltaproof.cli import run_app
from deltaproof.cli.common import (
    ContractOption,
    HomeOption,
    JsonOption,
    KeyOption,
    PollOption,
    RowsOption,
    RpcOption,
    StoreOption,
    TaskOption,
)
from deltaproof.cli.reporting import reporter
from deltaproof.protocol.evidence.rows import distinct_rows, read_shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord
from deltaproof.protocol.types import TaskId
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.training.optimizers import State, clip_scale
from deltaproof.tuning.training.recording import Progress, TrainedRound, batch_rows
from deltaproof.tuning.training.step import apply_update, final_record, run_step, start_state, state_root
from trainer.conduct import RoundWork
from trainer.life import Trainer

__all__ = ["Forged", "Forger", "SkipHalf", "cheat", "main"]


def main() -> None:
    """Take part in a task with a key, like `deltaproof trainer run --top-up`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(cheat)
    run_app(app, "deltaproof.demo.cheat")


def cheat(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    task: TaskOption,
    data: RowsOption,
    poll: PollOption = 2.5,
    as_json: JsonOption = False,
) -> None:
    """Skip half of every round's steps and make them up; fill the slashed stake up and go on."""
    rows = distinct_rows(read_shard(data))
    with open_gateway(rpc, contract, key) as gateway:
        opened, report = task_store(store, gateway, task), reporter(as_json)
        Trainer(gateway, opened, TaskId(task), rows, home, SkipHalf(), report, top_up=True, poll_seconds=poll).live()


Forged = list[tuple[StepRecord, State, Vector]]
"""Record, state before and gradient of every step; at the end the final record with its state."""


class Forger(ABC):
    """Commits and opens what it made up, with all hashes right. `forge` must tell the same lie every time."""

    @abstractmethod
    def forge(self, work: RoundWork, progress: Progress) -> Forged:
        """The whole round."""

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound:
        """See `Conduct`: what is made up, with all hashes right."""
        forged = self.forge(work, progress)
        records = [record for record, _, _ in forged]
        theta = forged[-1][1]["theta"].numpy()
        root = merkle.root([record.digest for record in records])
        return TrainedRound(theta, root, component_root(theta), tuple(record.loss for record in records[:-1]))

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]:
        """See `Conduct`: the same lies again."""
        forged = self.forge(work, lambda _: None)
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


class SkipHalf(Forger):
    """Trains the first step, then every other one, and makes the rest up. The last is made up, and always replayed.

    A skipped step gets the gradient of the step before, shrunk and jittered, with a proper optimiser update, the proper
    rows and a plausible loss. Everything that can be checked without recomputing the gradient holds.
    """

    def forge(self, work: RoundWork, progress: Progress) -> Forged:
        """See `Forger`."""
        bench, context = work.bench, work.context
        draw = np.random.default_rng(int.from_bytes(context.key[:8], "big"))
        state = start_state(bench, work.start)
        forged: Forged = []
        steps = bench.spec.training.steps
        for step in range(steps):
            rows = batch_rows(bench, context, work.shard, step)
            if step == 0 or (steps - 1 - step) % 2:
                result = run_step(bench, context, state, step, rows)
                forged.append((result.record, state, result.gradient))
                state = result.next_state
            else:
                before, _, gradient = forged[-1]
                noise = draw.standard_normal(gradient.shape, dtype=np.float32) * np.float32(np.abs(gradient).mean())
                gradient = (np.float32(0.8) * gradient + np.float32(0.1) * noise).astype(np.float32)
                record = StepRecord(
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
        forged.append((final_record(steps, state, context.error_root), state, np.zeros_like(work.start)))
        return forged


if __name__ == "__main__":
    main()
