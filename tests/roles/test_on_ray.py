"""A verifier's replays and values and an auditor's, on a Ray cluster whose nodes are killed meanwhile: what is found is
what one process finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from deltaproof.chain.local_node import start_node
from deltaproof.chain.tasklog import TaskLog
from deltaproof.cli import app
from deltaproof.tuning.errors import WorkersLost
from deltaproof.tuning.numerics import _on_ray
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.numerics.workers import Workers
from incentives.valuation import value_round
from tests.incentives.tiny_rounds import ROWS, SEED, make_bench, make_contributions
from tests.worlds.rays import add_node, kill_node, ray_cluster
from tests.worlds.roles import RoleWorld, build_world, silent
from verifier.examining import Examiner
from verifier.facts import read_case

DRAW = "ab" * 32


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2) as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """A round up to its last phase: two honest trainers, one who skips half of its steps, one verifier."""
    with start_node("anvil", accounts=12) as node:
        built = build_world(node, tmp_path_factory.mktemp("world"), rounds=1, honest=2, verifiers=1)
        built.play(1)
        yield built
        built.close()


@pytest.fixture
def killing(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A node is killed when the first answer of workers has come; another one takes its place when the test ends."""
    killed: list[Any] = []
    plain = Workers.map

    def deadly(self: Workers[Any, Any], jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for found in plain(self, jobs):
            if not killed:
                killed.append(cluster.worker_nodes)
                kill_node(cluster, next(iter(cluster.worker_nodes)))
            yield found

    monkeypatch.setattr(Workers, "map", deadly)
    yield killed
    add_node(cluster)


def on(cluster: Any) -> Machine:
    return Machine(workers=2, backend="ray", ray_address=cluster.address)


def examined(world: RoleWorld, machine: Machine) -> bytes:
    """What a verifier that begins now attests of the round, replays and coalition values."""
    (verifier,) = world.verifiers
    log = TaskLog(world.gateway, verifier.log._contracts, world.task)
    log.refresh(1)
    case = read_case(world.gateway, world.store, log, verifier.spec, world.task, 1)
    examiner = Examiner(verifier.spec, world.store, verifier.account, silent, machine)
    try:
        attestation = examiner.examine(case, may_give_up=True, publish=False)
    finally:
        examiner.judges.close()
    assert attestation is not None
    return attestation.to_document()


def test_verifier_attests_the_same_where_a_node_is_killed(world: RoleWorld, cluster: Any, killing: list[Any]) -> None:
    assert examined(world, on(cluster)) == examined(world, HERE)
    assert killing


def test_full_audit_says_the_same_where_a_node_is_killed(world: RoleWorld, cluster: Any, killing: list[Any]) -> None:
    place = ["--rpc", world.node.rpc_url, "--contract", world.contract, "--store", str(world.store_folder)]

    def audited(*options: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["audit", *place, "--full", "--draw", DRAW, "--json", *options])
        assert result.exit_code == 0, result.output
        return {key: value for key, value in json.loads(result.stdout).items() if key != "seconds"}

    there = audited("--backend", "ray", "--ray-address", cluster.address, "--workers", "2")
    assert killing
    assert there == audited()


def test_values_along_the_step_have_the_same_bits_where_a_node_is_killed(
    world: RoleWorld, cluster: Any, killing: list[Any]
) -> None:
    bench = make_bench(
        world.verifiers[0].spec.model.source, scoring={"index": "aumann_shapley"}, aggregation={"weights": "rows"}
    )
    made = make_contributions(bench, 3)
    here, there = (value_round(bench, bench.start, made, ROWS, SEED, machine=m) for m in (HERE, on(cluster)))
    assert killing
    assert (here.values, here.passes) == (there.values, there.passes)
    assert np.array_equal(here.next_start, there.next_start)


def test_doctor_asks_workers_where_they_are_and_lets_one_measure(world: RoleWorld, cluster: Any) -> None:
    task = [
        "--task",
        "1",
        "--rpc",
        world.node.rpc_url,
        "--contract",
        world.contract,
        "--store",
        str(world.store_folder),
    ]
    there = ["--backend", "ray", "--ray-address", cluster.address, "--workers", "2"]
    result = CliRunner().invoke(app, ["doctor", *task, *there, "--json"])
    told = json.loads(result.stdout)
    assert [one["torch"] for one in told["worker_machines"]] == [told["machine"]["torch"]] * 2
    assert (told["workers"], told["device"]) == (2, "cpu")
    assert told["seconds"]["step"] > 0


def test_verifier_whose_cluster_has_no_node_left_rejects_nobody(
    world: RoleWorld, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_on_ray, "PATIENCE_SECONDS", 2.0)
    for node in list(cluster.worker_nodes):
        kill_node(cluster, node)
    with pytest.raises(WorkersLost, match="Start nodes"):
        examined(world, on(cluster))
