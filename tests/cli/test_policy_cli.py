"""`deltaproof agent policy`, and what a role says that is told neither a task nor a policy, or both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_policy_is_written_once_and_tells_which_tasks_fit(run: Run, deployed: list[str], draft: Path) -> None:
    code, _, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    file = draft.parent / "policy.toml"
    code, out, _ = run("agent", "policy", str(file), "--init")
    assert (code, "put in a reward token" in out) == (0, True)
    code, _, err = run("agent", "policy", str(file), "--init")
    assert (code, "File exists" in err) == (1, True)
    code, _, err = run("agent", "policy", str(file))
    assert (code, "put the address of a reward token here" in err) == (1, True)
    assert "Value error" not in err
    assert "[key]" not in err

    chain = deployed[:6]
    token = json.loads(run("task", "list", *chain, "--json")[1])["tasks"][-1]["token"]
    text = file.read_text().replace("0x" + 40 * "0", token)
    file.write_text(text)
    code, out, _ = run("agent", "policy", str(file))
    assert (code, "is a policy" in out) == (0, True)
    code, out, err = run("agent", "policy", str(file), *chain, "--json")
    assert code == 0, err
    (task,) = json.loads(out)["tasks"]
    assert not task["fits"]
    assert "a step, less than 0.01 DEMO" in task["why"]
    file.write_text(text.replace('"0.01"', '"1wei"'))
    code, out, _ = run("agent", "policy", str(file), *chain, "--role", "verifier")
    assert (code, out.splitlines()[-1]) == (0, "task 1: fits")
    assert run("agent", "policy", str(file), *chain, "--role", "sponsor")[0] == 1


@pytest.mark.parametrize("role", ["trainer", "verifier"])
def test_role_needs_a_task_or_a_policy_and_not_both(run: Run, deployed: list[str], draft: Path, role: str) -> None:
    data = ["--data", str(draft.parent / "rows.jsonl")] if role == "trainer" else []
    code, _, err = run(role, "run", *deployed, *data)
    assert code == 1
    assert "--task N; or which tasks fit: --policy FILE" in err
    code, _, err = run(role, "run", *deployed, *data, "--task", "1", "--policy", str(draft))
    assert code == 1
    assert "not both" in err
    code, _, err = run(role, "run", *deployed, *data, "--policy", str(draft))
    assert code == 1
    assert "model: Extra inputs are not permitted" in err
