"""What a machine is, and how long the work of a task takes on it, before anything is staked on that."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import numpy
import torch
import transformers

from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.outcome.reads import judging_seconds
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.base_models.batches import made_up_row
from deltaproof.tuning.base_models.loading import row_reader
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.numerics.workers import Workers
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.speed import Speed
from deltaproof.tuning.training.step import DrawnRound, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Measured", "longest_rows", "machine_facts", "measure", "measure_on", "speed_of", "worker_facts"]


def machine_facts() -> dict[str, object]:
    """Devices, memory, threads and the versions that decide bits, as JSON values."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "devices": ["cpu", *(_cuda(index) for index in range(torch.cuda.device_count()))],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_mib": pages >> 20,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "blas": "mkl" if torch.backends.mkl.is_available() else "other",  # type: ignore[no-untyped-call]
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "numpy": numpy.__version__,
        "transformers": transformers.__version__,
    }


def worker_facts(machine: Machine) -> list[dict[str, object]]:
    """`machine_facts` of where each worker is, and its host, as many as there are workers. Raises WorkersLost."""
    with Workers[int, dict[str, object]](machine, _WorkerFacts) as workers:
        return [facts for _, facts in workers.map(range(machine.workers))]


class _WorkerFacts:
    def __call__(self, _number: int) -> dict[str, object]:
        return {"host": platform.node(), **machine_facts()}


def _cuda(index: int) -> str:
    found = torch.cuda.get_device_properties(index)
    return f"cuda:{index} {found.name}, {found.total_memory >> 20} MiB"


@dataclass(frozen=True)
class Measured:
    """What one step, replay and evaluation took, seconds, and the most memory that this process held, MiB."""

    device: str
    precision: str
    speed: Speed
    load_seconds: float
    peak_mib: int
    modes: Mapping[str, float]
    """Seconds of a step's gradient in each numeric mode, whichever the task's is."""

    def margins(self, spec: TaskSpec, trainers: int, workers: int) -> Mapping[str, tuple[float, int]]:
        """Seconds of the work and of the time that it has, by phase: verifying has what a late opening leaves."""
        return {
            "commit": (self.speed.training(spec), spec.phases.commit),
            "attest_commit": (
                self.speed.verifying(spec, trainers, workers),
                judging_seconds(spec),
            ),
        }


def longest_rows(spec: TaskSpec, count: int) -> list[bytes]:
    """Rows as long as the task allows, which take longest, or images."""
    config = row_reader(spec.model).config
    if spec.model.kind == "image-classification":
        return [made_up_row(spec.model, config, "")] * count
    room = spec.data.max_row_bytes - len(made_up_row(spec.model, config, str(count)))
    text = ("a " * spec.model.max_tokens)[:room]
    return [made_up_row(spec.model, config, f"{text}{number}") for number in range(count)]


def measure_on(machine: Machine, spec: TaskSpec, rows: Sequence[bytes]) -> Measured:
    """`measure` where the machine's replays run: by one of its workers, if it has some. Raises WorkersLost as well."""
    if machine.backend == "inline":
        return measure(spec, rows, machine.device)
    with Workers[Sequence[bytes], Measured](machine, _Measuring, spec.to_document(), machine.device) as workers:
        ((_, found),) = workers.map([rows])
    return found


class _Measuring:
    """What the worker holds that measures."""

    def __init__(self, spec: bytes, device: str) -> None:
        self._spec, self._device = TaskSpec.from_document(spec), device

    def __call__(self, rows: Sequence[bytes]) -> Measured:
        return measure(self._spec, rows, self._device)


def measure(spec: TaskSpec, rows: Sequence[bytes], device: str = "cpu") -> Measured:
    """Take a training step, replay its gradient as a verifier does, and evaluate an adapter on `rows`, canonical.

    Each is done twice and timed once, so that nothing is loaded or compiled meanwhile. Raises what loading raises.
    """
    began = time.perf_counter()
    judge = Judge.from_spec(spec, device)
    trainer = judge.mirror or judge.reference
    scoring = Workbench.from_spec(spec, device, precision="float32")
    loaded = time.perf_counter() - began
    speed = speed_of(judge, scoring, spec, rows)
    content = (list(rows) * spec.training.batch_size)[: spec.training.batch_size]

    def gradient(bench: Workbench) -> object:
        return bench.gradient(content, bytes(32))[0].cpu()

    modes = {
        "exact": _timed(partial(gradient, judge.reference)),
        "bounded": _timed(partial(gradient, judge.mirror or scoring)),
    }
    return Measured(device, trainer.precision, speed, loaded, _peak_mib(), modes)


def speed_of(judge: Judge, scoring: Workbench, spec: TaskSpec, rows: Sequence[bytes]) -> Speed:
    """The seconds of the same with models that are loaded already."""
    trainer = judge.mirror or judge.reference
    shard = Shard(tuple(rows) * -(-spec.training.batch_size // len(rows)), PUBLIC_SALTS)
    start = trainer.initial_state()
    seed = sha256(b"deltaproof/doctor").digest()
    context = DrawnRound(0, 1, seed, component_root(start)).with_shard(bytes(20), shard)
    batch = batch_rows(trainer, context, shard, 0)

    def step() -> None:
        run_step(trainer, context, start_state(trainer, start), 0, batch).next_state["theta"].cpu()

    def replay() -> None:
        content = [row for _, row in batch]
        for bench in filter(None, (judge.mirror, judge.reference)):
            bench.gradient(content, context.dropout_key(0))[0].cpu()

    sample = rows[: min(len(rows), spec.validation.rows, spec.scoring.batch_size)]
    evaluator = Evaluator(scoring, sample)
    evaluation = _timed(lambda: evaluator.evaluate(start)) * spec.validation.rows / len(sample)
    return Speed(_timed(step), _timed(replay), evaluation)


def _timed(work: Callable[[], object]) -> float:
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10
