"""On a chain that is no test chain phases are longer: a draft for trying is refused there, in whole and at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deltaproof.api.local import deploy_demo
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.rules import MIN_NOTICE_SECONDS, MIN_PHASE_SECONDS
from deltaproof.sponsor.beginning import DRAFT
from deltaproof.sponsor.short_phases import short_phases, short_phases_note
from tests.cli.conftest import Run

LONG = {
    **dict.fromkeys(("commit", "reveal", "opening", "attest_commit", "attest_reveal", "settle"), MIN_PHASE_SECONDS),
    **dict.fromkeys(("window", "slash", "activation"), MIN_NOTICE_SECONDS),
    "claim": 2 * MIN_NOTICE_SECONDS,
}


def test_each_short_phase_is_told_with_what_it_needs() -> None:
    assert not list(short_phases({"phases": LONG}))
    assert short_phases_note({"phases": LONG}) is None
    for name, least in LONG.items():
        (problem,) = short_phases({"phases": LONG | {name: least - 1}})
        assert (problem.key, f"{least} or more" in problem.remedy) == (f"phases.{name}", True)
    (unsaid,) = short_phases({"phases": {name: value for name, value in LONG.items() if name != "activation"}})
    assert unsaid.key == "phases.activation"
    assert not list(short_phases({"phases": LONG | {"window": "long"}})), "told by who reads the spec"


def test_draft_for_trying_is_refused_by_a_real_chain_before_a_model_is_loaded(
    run: Run, draft: Path, tmp_path: Path
) -> None:
    code, out, err = run("task", "check", str(draft), "--accept-risk", "--patience", "0", "--json")
    assert code == 0, err
    assert any("phases.window is" in note and "phases.activation is 0" in note for note in json.loads(out)["notes"])
    with start_node("anvil", chain_id=424_242) as node:
        tasks = deploy_demo(node.rpc_url, node.private_keys[:1]).modules.tasks
        place = ["--rpc", node.rpc_url, "--contract", str(tasks), "--store", str(tmp_path / "store")]
        mine = ["--key", node.private_keys[0], "--home", str(tmp_path / "home")]
        code, out, _ = run("task", "create", str(draft), *place, *mine, "--accept-risk", "--json")
    assert code == 1
    told = {problem["key"]: problem["remedy"] for problem in json.loads(out)["problems"]}
    assert told["phases.window"] == f"set it to {MIN_NOTICE_SECONDS} or more"
    assert told["phases.activation"] == f"set it to {MIN_NOTICE_SECONDS} or more"
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("key", ["window", "activation"])
def test_draft_of_task_init_says_what_a_real_chain_needs(key: str) -> None:
    line = next(line for line in DRAFT.splitlines() if line.startswith((f"{key} =", f"# {key} =")))
    assert f"{MIN_NOTICE_SECONDS:_}" in line
