"""`deltaproof dispute` and `watch` as people call them: dry runs send nothing, errors say what to do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from eth_utils.abi import function_signature_to_4byte_selector

from tests.chain.rpc_proxy import RpcProxy
from tests.cli.conftest import Run


def test_disputes_are_listed_and_their_prices_told_before_anything_is_sent(
    run: Run,
    deployed: list[str],
    draft: Path,
) -> None:
    code, out, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    task = ["--task", str(json.loads(out)["task"])]
    chain, key = deployed[:4], deployed[6:8]
    code, out, _ = run("dispute", "list", *chain)
    assert (code, out.strip()) == (0, "nothing is in dispute")
    somebody = "0x" + 40 * "1"
    code, out, err = run("dispute", "demand", *chain, *key, *task, "--trainer", somebody, "--leaf", "--dry-run")
    assert code == 0, err
    assert "bond 10.00 DEMO" in out
    code, out, err = run("dispute", "revote", *chain, *key, *task, "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out) == {"bond": str(100 * 10**18), "level": 0}
    code, _, err = run("dispute", "demand", *chain, *key, *task, "--trainer", somebody)
    assert code == 1
    assert "--step N, --score-by VERIFIER, or --leaf" in err
    code, _, err = run("dispute", "show", "case", "7", *chain)
    assert code == 1
    assert "there is no case 7" in err
    code, _, err = run("dispute", "revote", *chain, *key)
    assert "either --task N, for a new case, or --appeal CASE" in err
    code, out, err = run("dispute", "prove", *deployed[:8], *task, "--json")
    assert code == 0, err
    assert json.loads(out.splitlines()[-1]) == {"credit": "0"}


def test_watch_needs_no_key_and_tells_of_a_task_that_is_not_there(run: Run, deployed: list[str]) -> None:
    code, _, err = run("watch", *deployed[:6], "--task", "999", "--once")
    assert code == 1
    assert "there is no task 999" in err
    code, out, err = run("watch", *deployed[:6], "--once")
    assert code == 0, err
    assert out.strip().endswith("looked at 0 tasks: nothing wrong was found")
    code, out, _ = run("watch", *deployed[:6], "--once", "--json")
    assert {key: json.loads(out)[key] for key in ("event", "tasks", "faults")} == {
        "event": "looked", "tasks": 0, "faults": 0,
    }  # fmt: skip
    code, _, err = run("watch", *deployed[:6], "--once", "--dry-run", "--key", "nobody.key")
    assert (code, "cannot read key file nobody.key" in err) == (1, True)
    code, _, err = run("dispute", "show", "case", "3", *deployed[:4])
    assert (code, "there is no case 3; there are no cases yet" in err) == (1, True)


def test_watch_waits_out_a_node_that_does_not_answer(run: Run, deployed: list[str]) -> None:
    count = function_signature_to_4byte_selector("taskCount()").hex()
    asked: list[float] = []

    def refused_for_a_while(request: dict[str, Any]) -> str | None:
        if request["method"] != "eth_call" or count not in request["params"][0]["data"]:
            return None
        asked.append(time.monotonic())
        return "refuse" if asked[-1] - asked[0] < 2 else None

    with RpcProxy(deployed[1]) as proxy:
        proxy.fault = refused_for_a_while
        code, out, err = run("watch", "--rpc", proxy.url, *deployed[2:6], "--once", "--json")
    assert code == 0, err
    assert "delayed" in [json.loads(line)["event"] for line in out.splitlines()]


def test_watch_of_many_tasks_looks_at_the_chain_once_for_all_and_shows_what_it_does(
    run: Run, deployed: list[str], draft: Path, tmp_path: Path
) -> None:
    for _ in range(3):
        create = ("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
        assert run(*create)[0] == 0
    home = tmp_path / "watch"
    with RpcProxy(deployed[1]) as proxy:
        where = ("--rpc", proxy.url, *deployed[2:6], "--home", str(home), "--once", "--json")
        code, _, err = run("watch", *where)
    assert code == 0, err
    assert proxy.seen.count("eth_getBlockByNumber") == 2, "the genesis and the head"
    status = json.loads(run("agent", "status", "--home", str(home), "--json")[1])
    (watch,) = status if isinstance(status, list) else status["roles"]
    assert watch["role"] == "watch"
    assert len(watch["tasks"]) >= 3
    code, _, err = run("watch", *deployed[:6], "--once", "--health-port", "1")
    assert code == 1
    assert "--health-port needs a --home" in err
