"""Workers answer in order, their errors arrive, and those that die, hang or lose their GPU are replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deltaproof.errors import UsageError
from deltaproof.tuning.errors import WorkersLost
from deltaproof.tuning.numerics import workers as workers_module
from deltaproof.tuning.numerics.machine import HERE, Machine, machine_of, pick_device
from deltaproof.tuning.numerics.workers import Workers, new_processes

TWO = Machine(workers=2, backend="processes")


def squares(offset: int) -> Callable[[int], int]:
    def work(job: int) -> int:
        if job < 0:
            raise ValueError(f"no square of {job}")
        return job * job + offset

    return _Named(work)


class _Named:
    """What pickles by where it is made: workers make it themselves."""

    def __init__(self, work: Callable[[int], int]) -> None:
        self.work = work

    def __call__(self, job: int) -> int:
        return self.work(job)


class Fragile:
    """Kills its process at one job, until `marker` exists."""

    def __init__(self, marker: str, fatal: bool) -> None:
        self.marker, self.fatal = Path(marker), fatal

    def __call__(self, job: int) -> int:
        if job == 3 and (self.fatal or not self.marker.exists()):
            self.marker.touch()
            self.fail()
        return -job

    def fail(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class FailingGpu(Fragile):
    """As torch says it: from then on nothing on the device works in this process."""

    broken = False

    def __call__(self, job: int) -> int:
        if self.broken:
            self.fail()
        return super().__call__(job)

    def fail(self) -> None:
        self.broken = True
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


class Hanging(Fragile):
    def fail(self) -> None:
        time.sleep(600)


def test_answers_come_in_the_order_of_the_jobs_and_few_are_taken_ahead() -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(20):
            taken.append(job)
            yield job

    with Workers[int, int](TWO, squares, 7) as workers:
        found = workers.map(jobs())
        assert next(found) == (0, 7)
        assert len(taken) <= 4
        assert list(found) == [(job, job * job + 7) for job in range(1, 20)]


def test_error_of_the_work_arrives_and_the_workers_go_on() -> None:
    with Workers[int, int](TWO, squares, 0) as workers:
        with pytest.raises(ValueError, match="no square of -1"):
            list(workers.map([1, -1]))
        assert list(workers.map([2])) == [(2, 4)]


def test_worker_that_is_killed_is_replaced_and_its_job_done_again(tmp_path: Path) -> None:
    with Workers[int, int](TWO, Fragile, str(tmp_path / "killed"), False) as workers:
        assert list(workers.map(range(6))) == [(job, -job) for job in range(6)]
    assert (tmp_path / "killed").exists()


def test_job_that_kills_every_worker_is_given_up_and_is_nobodys_fault(tmp_path: Path) -> None:
    lost = pytest.raises(WorkersLost, match="fewer --workers")
    with Workers[int, int](TWO, Fragile, str(tmp_path / "killed"), True) as workers, lost:
        list(workers.map(range(6)))
    assert issubclass(WorkersLost, OSError), "which a verifier waits out"


def test_worker_whose_gpu_failed_is_replaced_by_the_pool_itself(tmp_path: Path) -> None:
    with Workers[int, int](TWO, FailingGpu, str(tmp_path / "failed"), False) as workers:
        assert list(workers.map(range(6))) == [(job, -job) for job in range(6)]
    assert (tmp_path / "failed").exists()


def test_gpu_that_fails_every_worker_is_told_as_such_and_is_nobodys_fault(tmp_path: Path) -> None:
    lost = pytest.raises(WorkersLost, match="the GPU failed: CUDA error: an illegal")
    with Workers[int, int](TWO, FailingGpu, str(tmp_path / "failed"), True) as workers, lost:
        list(workers.map(range(6)))


def test_worker_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "JOB_SECONDS", 10.0)
    with Workers[int, int](TWO, Hanging, str(tmp_path / "hung"), False) as workers:
        assert list(workers.map(range(6))) == [(job, -job) for job in range(6)]
    assert (tmp_path / "hung").exists()


def test_what_a_worker_cannot_make_is_told_as_it_is_here(tmp_path: Path) -> None:
    with Workers[int, int](TWO, Fragile, None, False) as workers, pytest.raises(TypeError, match="NoneType"):
        list(workers.map([1]))


def test_workers_for_the_processor_are_forked_where_nothing_was_computed_and_those_for_a_gpu_are_not_forked() -> None:
    assert new_processes("cpu").get_start_method() == "forkserver"
    assert {new_processes(device).get_start_method() for device in ("cuda", "cuda:1")} == {"spawn"}


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, sys
from pathlib import Path
from deltaproof.tuning.numerics import workers as workers_module
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.numerics.workers import Workers
from tests.tuning.test_workers import Told

if __name__ == "__main__":
    with Workers(Machine(workers=1, backend="processes"), Told, {str(tmp_path / "pid")!r}) as workers:
        list(workers.map([1]))
        os.kill(os.getpid(), 9)
"""
    script = tmp_path / "parent.py"
    script.write_text(program)
    place = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(place)}
    subprocess.run([sys.executable, str(script)], cwd=place, env=environment, timeout=120, check=False)
    worker = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while _lives(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.1)


class Told:
    """Writes down which process it is in."""

    def __init__(self, path: str) -> None:
        Path(path).write_text(str(os.getpid()))

    def __call__(self, job: int) -> int:
        return job


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]
    except FileNotFoundError:
        return False


# The machine file and options.


def test_options_go_before_the_machine_file(tmp_path: Path) -> None:
    file = tmp_path / "machine.toml"
    file.write_text('device = "cpu"\nworkers = 3\n')
    assert machine_of(file) == Machine("cpu", 3, "processes")
    assert machine_of(file, workers=1) == HERE
    assert machine_of(file, workers=1, checkpointing=True) == Machine(checkpointing=True)
    file.write_text('device = "cpu"\nworkers = 3\ncheckpointing = true\n')
    assert machine_of(file) == Machine("cpu", 3, "processes", checkpointing=True)
    file.write_text('device = "cpu"\nworkers = 3\n')
    assert machine_of(file, backend="ray", ray_address="10.0.0.1:6379") == Machine("cpu", 3, "ray", "10.0.0.1:6379")


def test_devices_of_a_ray_cluster_are_the_workers_and_this_process_needs_none() -> None:
    import torch

    cluster = machine_of(device="cuda:1", backend="ray")
    assert cluster.device == "cuda", "Ray shows each worker one device"
    assert cluster.device_here == ("cuda" if torch.cuda.is_available() else "cpu")
    assert Machine("cuda:1").device_here == "cuda:1"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("workers = 0", "workers"),
        ("gpu = 1", "gpu"),
        ('backend = "threads"', "backend"),
        ("device =", "machine file"),
        ('backend = "inline"\nworkers = 2', "several workers need"),
    ],
)
def test_machine_file_that_cannot_be_is_refused(tmp_path: Path, content: str, what: str) -> None:
    file = tmp_path / "machine.toml"
    file.write_text(content)
    with pytest.raises(UsageError, match=what):
        machine_of(file)


@pytest.mark.parametrize("asked", ["tpu", "mps", "cuda:99", "cpu:3"])
def test_device_that_is_not_here_is_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="--device"):
        pick_device(asked)


def test_torch_without_cuda_is_told_from_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for built, words in ((None, "is a build without CUDA: install torch"), ("12.8", "look at nvidia-smi")):
        monkeypatch.setattr(torch.version, "cuda", built)
        with pytest.raises(UsageError, match=words):
            pick_device("cuda")


def test_auto_is_a_device_that_is_here() -> None:
    import torch

    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
