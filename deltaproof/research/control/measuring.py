"""What a training step of the environment takes on this machine: where the constants of `costs` come from."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from deltaproof.research.control.rounds import Federation
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import RoundContext, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["StepCost", "measured_memory", "measured_steps"]

_REPEATS = 25


@dataclass(frozen=True)
class StepCost:
    """Of one step on one emulator at one rank: the processor's seconds (least of 25), and bytes."""

    emulator: int
    rank: int
    seconds: float
    memory_bytes: int


def measured_steps(federation: Federation) -> list[StepCost]:
    """For every emulator and rank."""
    return [
        StepCost(emulator, rank, _seconds(federation, bench), measured_memory(federation, bench))
        for rank in federation.knobs.ranks
        for emulator in range(len(federation.emulators))
        for bench in [federation.bench(emulator, rank)]
    ]


def measured_memory(federation: Federation, bench: Workbench) -> int:
    """Weights in float32, adapter, gradient and both moments, and what autograd keeps for the backward pass, bytes."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # an address is only a name while its tensor lives
    own = {parameter.data_ptr() for parameter in bench.model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    size = bench.spec.training.batch_size
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        bench.gradient(list(federation.digits.shards[0].rows[:size]), bytes(32))
    weights = sum(parameter.numel() * parameter.element_size() for parameter in bench.model.parameters())
    return weights + 4 * 4 * bench.layout.size + sum(kept.values())


def _seconds(federation: Federation, bench: Workbench) -> float:
    shard = federation.digits.shards[0]
    context: RoundContext = federation.context(0, 0, bench.start)
    state, rows = start_state(bench, bench.start), batch_rows(bench, context, shard, 0)
    taken = []
    for _ in range(_REPEATS):
        started = time.process_time()
        run_step(bench, context, state, 0, rows)
        taken.append(time.process_time() - started)
    return min(taken)
