"""Replays in several processes or on a Ray cluster. Which one, and how many workers, changes nothing in the verdicts.

Each worker loads the task's model once and judges single openings; results come back in the order of the jobs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from deltaproof.extras import need
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.replay import Judge, ReplayContext, StepVerdict

__all__ = ["Backend", "ReplayJob", "replay_many"]

Backend = Literal["inline", "processes", "ray"]
"""Where replays run: in this process, in processes of this machine, on a Ray cluster."""


@dataclass(frozen=True)
class ReplayJob:
    """One opening to judge; `opening` is its untrusted file."""

    context: ReplayContext
    step: int
    opening: bytes = field(repr=False)
    thorough: bool = True


def replay_many(
    spec: TaskSpec, jobs: Iterable[ReplayJob], *, workers: int = 1, backend: Backend = "inline", device: str = "cpu"
) -> Iterator[StepVerdict]:
    """Verdicts in the order of `jobs`. `processes` starts `workers` of one thread each; `ray` uses the running cluster.

    Raises what `Judge.from_spec` raises. `ray` needs the extra `ray`; the model must lie where every node finds it.
    """
    match backend:
        case "inline":
            judge = Judge.from_spec(spec, device)
            for job in jobs:
                yield _judge(judge, job)
        case "processes":
            start = multiprocessing.get_context("spawn")  # torch does not survive a fork
            arguments = (spec.to_document(), device)
            with ProcessPoolExecutor(workers, start, initializer=_start_worker, initargs=arguments) as pool:
                yield from pool.map(_judge_in_worker, jobs)
        case "ray":
            yield from _on_ray(spec, list(jobs), workers, device)


def _judge(judge: Judge, job: ReplayJob) -> StepVerdict:
    return judge.judge_bytes(job.opening, job.step, job.context, job.thorough)


_worker: list[Judge] = []
"""The judge of this worker process."""


def _start_worker(spec: bytes, device: str) -> None:
    torch.set_num_threads(1)
    _worker[:] = [Judge.from_spec(TaskSpec.from_document(spec), device)]


def _judge_in_worker(job: ReplayJob) -> StepVerdict:
    return _judge(_worker[0], job)


class _RayWorker:
    def __init__(self, spec: bytes, device: str) -> None:
        torch.set_num_threads(1)
        self.judge = Judge.from_spec(TaskSpec.from_document(spec), device)

    def run(self, job: ReplayJob) -> StepVerdict:
        return _judge(self.judge, job)


def _on_ray(spec: TaskSpec, jobs: list[ReplayJob], workers: int, device: str) -> Iterator[StepVerdict]:
    ray = need("ray", "ray.util")
    if not ray.is_initialized():
        ray.init(address="auto")
    remote: Any = ray.remote(num_cpus=1, num_gpus=int(device.startswith("cuda")))(_RayWorker)
    document, count = spec.to_document(), max(1, min(workers, len(jobs)))
    pool = ray.util.ActorPool([remote.remote(document, device) for _ in range(count)])
    yield from pool.map(lambda actor, job: actor.run.remote(job), jobs)
