"""Workers on a Ray cluster of several nodes: what is lost is done again elsewhere, what comes is used, and every wait
ends. One cluster serves all tests, in their order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deltaproof.tuning.errors import WorkersLost
from deltaproof.tuning.numerics import _on_ray
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.numerics.workers import Workers
from tests.worlds.rays import add_node, kill_node, ray_cluster

CUDA_ERROR = "CUDA error: an illegal memory access was encountered"


class Fragile:
    """Negates a job, slowly, and says where. Jobs named in `bad` do what it says, until they have done so `times`
    times."""

    def __init__(self, folder: str, bad: dict[int, str] | None = None, times: int = 1) -> None:
        self.folder, self.bad, self.times = Path(folder), bad or {}, times

    def __call__(self, job: int) -> tuple[int, str]:
        import ray

        what = self.bad.get(job, "")
        if what and len(list(self.folder.glob(f"{what}-*"))) < self.times:
            (self.folder / f"{what}-{time.monotonic_ns()}").touch()
            if what == "killed":
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
            if what == "hangs":
                time.sleep(600)
            raise RuntimeError(CUDA_ERROR)
        if job < 0:
            raise ValueError(f"no such job: {job}")
        time.sleep(0.03)
        return -job, ray.get_runtime_context().get_node_id()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2) as found:
        yield found


def on(cluster: Any, workers: int = 2) -> Machine:
    return Machine(workers=workers, backend="ray", ray_address=cluster.address)


def answers(workers: Workers[int, tuple[int, str]], count: int) -> list[int]:
    return [answer for _, (answer, _) in workers.map(range(count))]


def test_both_nodes_answer_in_the_order_of_the_jobs_and_errors_arrive(cluster: Any, tmp_path: Path) -> None:
    with Workers[int, tuple[int, str]](on(cluster), Fragile, str(tmp_path)) as workers:
        found = list(workers.map(range(12)))
        assert [(job, answer) for job, (answer, _) in found] == [(job, -job) for job in range(12)]
        assert len({node for _, (_, node) in found}) == 2
        with pytest.raises(ValueError, match="no such job: -1"):
            list(workers.map([1, -1, 2]))
        assert answers(workers, 3) == [0, -1, -2], "answers that nobody waited for are not taken for later ones"


def test_pools_of_one_process_share_workers_where_the_cluster_has_room_for_no_more(
    cluster: Any, tmp_path: Path
) -> None:
    """A verifier's replays keep their workers while it asks others for coalition values."""
    first, second = (Workers[int, tuple[int, str]](on(cluster), Fragile, str(tmp_path)) for _ in range(2))
    with first, second:
        both = [next(first.map(range(3))), next(second.map(range(3)))]
        assert [job for job, _ in both] == [0, 0]
        first.close()
        assert answers(second, 3) == [0, -1, -2]


def test_worker_that_dies_hangs_or_whose_gpu_fails_is_replaced_by_the_pool_itself(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_on_ray, "JOB_SECONDS", 20.0)  # a worker on a busy machine takes seconds to load torch
    bad = {2: "killed", 5: "fails", 8: "hangs"}
    with Workers[int, tuple[int, str]](on(cluster), Fragile, str(tmp_path), bad) as workers:
        assert answers(workers, 12) == [-job for job in range(12)]
    assert len(list(tmp_path.iterdir())) == 3


def test_job_that_kills_every_worker_is_given_up_and_is_nobodys_fault(cluster: Any, tmp_path: Path) -> None:
    lost = pytest.raises(WorkersLost, match="fewer --workers a node")
    with Workers[int, tuple[int, str]](on(cluster), Fragile, str(tmp_path), {3: "killed"}, 99) as workers, lost:
        answers(workers, 6)


def test_end_of_the_process_that_speaks_with_the_cluster_is_waited_out(cluster: Any, tmp_path: Path) -> None:
    """Ray ends it when the cluster's head is gone for a minute."""
    with Workers[int, tuple[int, str]](on(cluster), Fragile, str(tmp_path)) as workers:
        found = workers.map(range(40))
        next(found)
        (driver,) = (one._driver for one in _on_ray._clusters.values() if not one.lost)
        os.kill(driver.pid, signal.SIGKILL)
        with pytest.raises(WorkersLost, match="is gone"):
            list(found)
        assert answers(workers, 3) == [0, -1, -2]


def test_node_that_is_killed_loses_no_answer_and_one_that_comes_is_used(cluster: Any, tmp_path: Path) -> None:
    first, second = cluster.worker_nodes
    with Workers[int, tuple[int, str]](on(cluster), Fragile, str(tmp_path)) as workers:
        found = workers.map(range(300))
        given = [next(found) for _ in range(3)]
        kill_node(cluster, first)
        given += [next(found) for _ in range(60)]
        alone = {node for _, (_, node) in given[-20:]}
        add_node(cluster)
        given += found
    assert [(job, answer) for job, (answer, _) in given] == [(job, -job) for job in range(300)]
    assert alone == {second.node_id}
    assert len({node for _, (_, node) in given[-20:]}) == 2


def test_cluster_without_a_node_left_is_a_clear_error(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_on_ray, "PATIENCE_SECONDS", 3.0)
    lost = pytest.raises(WorkersLost, match=r"had no place .* Start nodes \(`ray start")
    with Workers[int, tuple[int, str]](on(cluster), Fragile, str(tmp_path)) as workers, lost:
        found = workers.map(range(300))
        next(found)
        for node in list(cluster.worker_nodes):
            kill_node(cluster, node)
        list(found)
    assert issubclass(WorkersLost, OSError), "which a verifier waits out"


def test_address_where_no_cluster_is_is_a_clear_error(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    machine = Machine(workers=1, backend="ray", ray_address="127.0.0.1:1")
    lost = pytest.raises(WorkersLost, match=r"ray start --head.* RAY_AUTH_MODE=token")
    with Workers[int, tuple[int, str]](machine, Fragile, str(tmp_path)) as workers, lost:
        answers(workers, 1)
