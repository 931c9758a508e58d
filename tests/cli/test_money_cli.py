"""Money at risk as a person minds it: stake, bonds, funds, and the way out."""

from __future__ import annotations

import json
from pathlib import Path

from eth_account import Account

from deltaproof.chain.local_node import Node
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from tests.cli.conftest import Run


def test_stake_goes_in_and_comes_out_again(run: Run, node: Node, deployed: list[str]) -> None:
    chain, key = deployed[:4], deployed[6:8]
    account = Account.from_key(node.private_keys[0]).address
    code, _, err = run("stake", "deposit", "1.5 demo", "--role", "challenger", *chain, *key, "--json")
    assert code == 0, err
    code, out, _ = run("stake", "show", account, *chain, "--json")
    assert json.loads(out)["challenger"]["free"] == str(15 * 10**17)
    code, out, _ = run("stake", "withdraw", "--role", "challenger", *chain, *key, "--json")
    assert code == 0
    assert "can be withdrawn in" in json.loads(out)["steps"][0]["message"]
    code, out, _ = run("stake", "withdraw", "--role", "challenger", *chain, *key, "--json")
    assert json.loads(out)["steps"][0]["message"] == "paid out 1.50 DEMO", (
        "a challenger's stake needs no delay: disputes lock what backs them"
    )
    code, out, _ = run("stake", "show", account, *chain, "--json")
    assert json.loads(out)["challenger"]["total"] == "0"
    code, out, err = run("stake", "withdraw", "--role", "owner", *chain, *key)
    assert code == 1
    assert "--role is trainer, verifier or challenger" in err


def test_treasury_stakes_for_the_key_of_an_agent(run: Run, node: Node, deployed: list[str]) -> None:
    chain, key = deployed[:4], deployed[6:8]
    agent = Account.from_key(node.private_keys[7]).address
    deposit = ("stake", "deposit", "2", "--role", "trainer", "--for", agent, *chain, *key)
    code, out, err = run(*deposit)
    assert (code, out.strip()) == (0, f"deposited 2.00 DEMO as trainer for {agent}"), err
    code, out, _ = run("stake", "show", agent, *chain, "--json")
    assert json.loads(out)["trainer"]["free"] == str(2 * 10**18)
    code, _, err = run("stake", "deposit", "2000000", "--role", "trainer", "--for", agent, *chain, *key)
    assert code == 1
    assert f"is to stake 2000000 DEMO for {agent}" in err


def test_task_takes_more_money_and_who_never_joined_has_nothing_to_leave(
    run: Run,
    deployed: list[str],
    draft: Path,
) -> None:
    code, out, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    task = ["--task", str(json.loads(out)["task"])]
    chain, key = deployed[:4], deployed[6:8]
    code, out, err = run("task", "fund", "50wei", *chain, *key, *task, "--json")
    assert code == 0, err
    assert {key: json.loads(out)[key] for key in ("balance", "reserved")} == {"balance": "1150", "reserved": "0"}
    code, out, _ = run("task", "expire", *chain, *key, *task)
    assert (code, out.strip()) == (0, "nothing has expired")
    code, _, err = run("bond", "clear", *chain, *key, *task)
    assert (code, "does not take part in task" in err) == (1, True)
    code, _, err = run("bond", "clear", *chain, *key, "--task", "99")
    assert (code, "there is no task 99" in err) == (1, True)
    code, _, err = run("stake", "leave", "--role", "trainer", *chain, *key, *task)
    assert code == 1
    assert "does not take part" in err
    code, out, _ = run("claim", *deployed[:8], "--all", "--json")
    assert json.loads(out)["claimed"] == []
    code, _, err = run("claim", *deployed[:8])
    assert "--task N, or --all" in err
    code, _, err = run("agent", "status", "--home", str(draft.parent))
    assert "no role has run" in err


def test_limits_of_a_role_are_refused_before_anything_is_staked(
    run: Run, node: Node, deployed: list[str], draft: Path, tmp_path: Path
) -> None:
    code, out, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    chain, account = deployed[:4], Account.from_key(node.private_keys[0]).address
    rows = tmp_path / "mine.jsonl"
    write_shard(rows, [canonical_row({"text": f"mine {i}", "label": i % 2}) for i in range(8)])
    trainer = ["trainer", "run", *deployed, "--task", str(json.loads(out)["task"]), "--data", str(rows)]
    for limit, words in [
        (["--max-stake", "1wei"], "staked in all, and --max-stake allows 0.000000000000000001 DEMO; raise it"),
        (["--max-disk", "0.02"], "--max-disk 0.02: logs alone may take 0.024 GiB; give more"),
        (["--max-memory", "0.05"], "--max-memory 0.05: 1 process needs"),
    ]:
        code, out, err = run(*trainer, *limit)
        assert code == 1, err
        assert words in err
        code, out, err = run("stake", "show", account, *chain, "--json")
        assert json.loads(out)["trainer"]["total"] == "0"


def test_task_that_has_ended_takes_no_money_and_no_stake(
    run: Run, node: Node, deployed: list[str], draft: Path, tmp_path: Path
) -> None:
    assert run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk")[0] == 0
    chain, key, task = deployed[:4], deployed[6:8], ["--task", "1"]
    sponsor = Account.from_key(node.private_keys[0]).address
    code, _, err = run("task", "cancel", *chain, "--key", node.private_keys[1], *task)
    assert (code, f"task 1 belongs to {sponsor}" in err) == (1, True)
    verifier = ("verifier", "run", *deployed[:8], *task, "--home", str(tmp_path / "verifier"))
    code, _, err = run(*verifier, "--stake", "1wei")
    assert (code, "--stake 0.000000000000000001 DEMO is less than the" in err) == (1, True)
    assert run("task", "cancel", *chain, *key, *task)[0] == 0
    rows = ("--data", str(draft.parent / "rows.jsonl"))
    trainer = ("trainer", "run", *deployed[:8], *task, "--home", str(tmp_path / "trainer"), *rows)
    for command in (("task", "fund", "50wei", *chain, *key, *task), verifier, trainer):
        code, _, err = run(*command)
        assert (code, "task 1 has ended: no money or stake was moved" in err) == (1, True), err
    staked = json.loads(run("stake", "show", sponsor, *chain, "--json")[1])
    assert (staked["trainer"]["total"], staked["verifier"]["total"]) == ("0", "0")
