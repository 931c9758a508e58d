"""`deltaproof task watch`: phases, counts and ends of rounds, each told once, through outages and reorganisations."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import function_signature_to_4byte_selector

from deltaproof.api.following import TaskWatch
from deltaproof.chain.local_node import start_node
from tests.chain.rpc_proxy import RpcProxy
from tests.cli.conftest import Run, read_options
from tests.worlds.roles import RoleWorld, build_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    with start_node("anvil") as node:
        built = build_world(node, tmp_path_factory.mktemp("world"), rounds=1, honest=1, verifiers=1)
        yield built
        built.close()


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, event: str, message: str, **fields: Any) -> None:
        self.events.append((event, message, fields))

    def take(self) -> list[tuple[str, str]]:
        told, self.events = [(event, message) for event, message, _ in self.events], []
        return told


def test_watch_tells_each_phase_who_acted_and_how_the_round_ended_once(world: RoleWorld, run: Run) -> None:
    told = Told()
    watch = TaskWatch(world.gateway, world.task, told)
    watch.look()
    watch.look()
    assert told.take() == [("phase", "task 1: before its first round")]
    snapshot = world.raw("evm_snapshot")
    round_ = world.open_round()
    watch.look()
    (phase, line), acted = told.take()
    assert phase == "phase"
    assert line.startswith("task 1, round 1: commit until ")
    assert acted == ("acted", "round 1: 0 of 2 trainers committed")

    world.raw("evm_revert", snapshot)
    for _ in range(9):
        world.raw("evm_mine")
    watch.look()
    assert ("phase", "task 1: before its first round") in told.take(), "a reorganisation took the round"
    assert world.open_round() == round_
    watch.look()
    told.take()
    for trainer in world.trainers:
        trainer.commit(round_)
        watch.look()
    assert told.take()[0] == ("acted", "round 1: 1 of 2 trainers committed")
    world.work()
    world.attest()
    watch.look()
    assert [event for event, _ in told.take()] == ["phase"], "a phase that nobody saw is not made up"
    world.settle()
    watch.look()
    watch.look()
    (ended, how), (done, end) = told.take()
    assert (ended, done) == ("round-ended", "done")
    assert how.startswith("round 1 of 1 settled: ")
    assert "to trainers" in how
    assert end == "task 1 has ended, after 1 of 1 round"
    options = ["--rpc", world.node.rpc_url, "--contract", world.contract, "--task", "1"]
    code, out, err = run("task", "watch", *options, "--json")
    assert code == 0, err
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["done"], "what ended before is history"


def test_watch_of_a_task_that_cannot_pay_names_what_is_missing(run: Run, deployed: list[str], draft: Path) -> None:
    assert run("task", "create", str(draft), *deployed, "--accept-risk")[0] == 0
    where = read_options(deployed)[:4]
    code, out, err = run("task", "watch", *where, "--task", "1", "--once", "--json")
    assert code == 0, err
    told = {line["event"]: line for line in map(json.loads, out.splitlines())}
    assert told["phase"]["phase"] == "idle"
    assert told["unfunded"]["missing"] == "1100"
    assert "deltaproof task fund '0.0000000000000011 DEMO' --task 1" in told["unfunded"]["message"]
    assert run("task", "fund", "0.0000000000000011 DEMO", *where, *deployed[6:8], "--task", "1")[0] == 0
    code, out, _ = run("task", "watch", *where, "--task", "1", "--once")
    assert (code, out.splitlines()[0][10:]) == (0, "task 1: before its first round")
    assert "fund" not in out
    code, _, err = run("task", "watch", *where, "--task", "9", "--once")
    assert (code, "there is no task 9" in err) == (1, True)


def test_watch_waits_out_a_node_that_is_away(run: Run, deployed: list[str], draft: Path) -> None:
    assert run("task", "create", str(draft), *deployed, "--accept-risk")[0] == 0
    phase_of = function_signature_to_4byte_selector("phaseOf(uint64)").hex()
    asked: list[float] = []

    def refused_for_a_while(request: dict[str, Any]) -> str | None:
        if request["method"] != "eth_call" or phase_of not in request["params"][0]["data"]:
            return None
        asked.append(time.monotonic())
        return "refuse" if asked[-1] - asked[0] < 2 else None

    with RpcProxy(deployed[1]) as proxy:
        proxy.fault = refused_for_a_while
        code, out, err = run("task", "watch", "--rpc", proxy.url, *deployed[2:4], "--task", "1", "--once", "--json")
    assert code == 0, err
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert "delayed" in events
    assert events[-2:] == ["phase", "unfunded"]
