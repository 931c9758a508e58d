"""One trainer and one verifier process in several tasks at once, by policy, on a real chain."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deltaproof.demo.processes import Supervisor, Worker
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.tuning.base_models.presets import minimal_model
from tests.worlds.market import DRAFT, PATIENCE, Market

POLICY = """
most_tasks = 4
[pay]
"{token}" = "{least}wei"
[stake]
most_per_task = "10wei"
most_in_all = "{in_all}wei"
[work]
models = ["model"]
methods = {methods}
"""
"""Two stakes of ten units, and what a verifier keeps free beside; a task that pays `least` units a step."""
IN_ALL = {"trainer": 20, "verifier": 25}
LEAST = {"trainer": 10, "verifier": 5}
SPONSORS = {1: 0, 2: 1}
"""Keys by task: each sponsors one, since a key belongs to one process."""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """Tasks 1 and 2 are alike; task 3 pays too little."""
    model = minimal_model(tmp_path / "model", "bert")
    text = DRAFT.format(model=model).replace("= 60\n", "= 600\n").replace("steps = 4", "steps = 12")
    (tmp_path / "task.toml").write_text(text)
    (tmp_path / "poor.toml").write_text(text.replace("budget_per_round = 1000", "budget_per_round = 100"))
    for name in ("rows", "ann"):
        write_shard(
            tmp_path / f"{name}.jsonl", [canonical_row({"text": f"{name} {i}", "label": i % 2}) for i in range(12)]
        )
    settings = {"DELTAPROOF_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1"}
    with Supervisor(tmp_path / "logs", settings, preload=True) as commands:
        market = Market.open(commands, tmp_path)
        market.create("task", SPONSORS[2])
        market.create("poor", SPONSORS[1])
        yield market


def by_policy(market: Market, name: str, number: int, role: str, *arguments: str) -> Worker:
    return market.role(name, number, role, "--policy", str(market.folder / f"{role}.toml"), *arguments, task=None)


def write_policies(market: Market, methods: str) -> None:
    listed: Any = market.run("list", "task", "list")
    token = listed["tasks"][0]["token"]
    for role, least in LEAST.items():
        text = POLICY.format(token=token, methods=methods, least=least, in_all=IN_ALL[role])
        (market.folder / f"{role}.toml").write_text(text)


def test_one_process_a_role_serves_two_tasks_to_pay_and_goes_on_where_it_has_a_stake(market: Market) -> None:
    write_policies(market, '["lora"]')
    vera = by_policy(market, "vera", 2, "verifier")
    ann = by_policy(market, "ann", 3, "trainer", "--data", str(market.folder / "ann.jsonl"))
    taken = {market.wait(ann, "taken").fields["task"] for _ in range(2)}
    assert taken == {1, 2}
    for task, key in SPONSORS.items():
        market.role("sponsor" if key == 0 else f"sponsor-{key}", key, "sponsor", task=str(task))
    market.wait(ann, "committed")
    os.killpg(ann.process.pid, signal.SIGKILL)
    ann.process.wait(PATIENCE)

    write_policies(market, '["adalora"]')
    ann = by_policy(market, "ann", 3, "trainer", "--data", str(market.folder / "ann.jsonl"))
    assert {market.wait(ann, "resumed").fields["task"] for _ in range(2)} == {1, 2}
    paid = {market.wait(ann, "paid").fields["task"] for _ in range(2)}
    assert paid == {1, 2}
    until_over(market, vera, "verifier")
    states = until_over(market, ann, "trainer")
    assert "less than" in states[3]["why"]
    assert "method is lora" in states[3]["why"]
    for worker in (ann, vera):
        os.killpg(worker.process.pid, signal.SIGINT)
        assert worker.process.wait(PATIENCE) == 130, worker.tail(20)
    shown: Any = market.run("history", "history")
    for task in shown["tasks"]:
        assert len(task["history"]) == (1 if task["task"] in SPONSORS else 0)
        for round_ in task["history"]:
            (leaf,) = round_["trainers"]
            assert (round_["outcome"], leaf["verdict"]) == ("settled", "accepted")
            assert leaf["claimed"] == leaf["payout"] > 0
            assert round_["verifiers"][0]["fee"] == 100
            assert not round_["slashes"]


def status(market: Market, name: str, role: str) -> Any:
    return json.loads((market.folder / "homes" / name / f"status-{role}.json").read_text())


def until_over(market: Market, worker: Worker, role: str) -> dict[int, Any]:
    """What the status says of each task, once both that were taken are over and all is claimed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        shown = status(market, worker.name, role)
        others = {other["task"]: other for other in shown["others"]}
        if not shown["tasks"] and all(others.get(task, {}).get("state") == "ended" for task in SPONSORS):
            return others
        time.sleep(0.5)
    raise AssertionError(worker.tail(40))
