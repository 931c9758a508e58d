"""Money on the command line: tokens in and out, smallest units where they are named, a question before it moves."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account

from deltaproof.chain.local_node import Node
from deltaproof.cli.amounts import agreed
from deltaproof.errors import UsageError
from tests.cli.conftest import Run, read_options

OLD = str(330 * 10**18)
"""How 330 tokens were typed before."""


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def sit_down(answer: str) -> None:
        typed = io.StringIO(answer + "\n")
        typed.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", typed)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return sit_down


@pytest.mark.parametrize(
    "command",
    [
        ("faucet", "0x" + "11" * 20, "--amount", OLD), ("stake", "deposit", OLD, "--role", "challenger"),
        ("task", "fund", OLD, "--task", "1"),
    ],
)  # fmt: skip
def test_old_amount_in_smallest_units_is_refused_before_anything_is_asked(
    run: Run, deployed: list[str], command: tuple[str, ...]
) -> None:
    nowhere = ["--rpc", "http://127.0.0.1:9", *deployed[2:4], *deployed[6:8]]
    code, _, err = run(*command, *nowhere)
    assert code == 1
    assert f"for smallest units write {OLD}wei" in err


def test_create_funds_and_shows_in_tokens_and_json_in_smallest_units(
    run: Run, deployed: list[str], draft: Path
) -> None:
    text = draft.read_text().replace("budget_per_round = 1000", 'budget_per_round = "100 DEMO"')
    draft.write_text(text)
    create = ("task", "create", str(draft), *deployed, "--accept-risk")
    code, _, err = run(*create, "--fund", OLD)
    assert (code, f"write {OLD}wei" in err) == (1, True)
    code, out, err = run(*create, "--fund", "12.5")
    assert code == 1
    assert "12.5 DEMO pays for no round; a round and its verifiers cost 110 DEMO" in err
    code, out, err = run(*create, "--fund", "330")
    assert code == 0, err
    assert "funded with 330 DEMO" in out
    assert "a round pays up to 100.00 DEMO to trainers and 10.00 DEMO to verifiers" in err
    task = ["--task", "1"]
    code, out, err = run("task", "fund", "1.5 demo", *deployed[:4], *deployed[6:8], *task)
    assert (code, out.strip()) == (0, "task 1 has 331.50 DEMO for rounds that are to come")
    code, out, _ = run("task", "show", *read_options(deployed), *task)
    assert "balance: 331.50 DEMO" in out
    shown = json.loads(run("task", "show", *read_options(deployed), *task, "--json")[1])
    assert (shown["balance"], shown["budget_per_round"]) == (str(3315 * 10**17), str(10**20))


def test_dry_run_checks_everything_and_sends_nothing(run: Run, node: Node, deployed: list[str], draft: Path) -> None:
    create = ("task", "create", str(draft), *deployed, "--fund", "1100wei", "--json")
    code, out, err = run(*create, "--accept-risk", "--dry-run")
    assert code == 0, err
    told = json.loads(out)
    assert (told["dry_run"], told["funded"]) == (True, "1100")
    assert int(told["gas_wei"]) > 0
    assert json.loads(run("task", "list", *read_options(deployed), "--all", "--json")[1])["of"] == 0
    code, out, err = run(*create, "--accept-risk")
    assert code == 0, err
    assert json.loads(out)["spec_hash"] == told["spec_hash"], "a dry run tells of the task that would be made"
    draft.write_text(draft.read_text().replace("window = 1", "window = 0"))
    code, _, err = run(*create, "--dry-run")
    assert code == 1


def test_dry_run_of_terms_that_the_contract_refuses_fails(run: Run, deployed: list[str], draft: Path) -> None:
    chain, key = deployed[:4], deployed[6:8]
    assert run("guardian", "tasks", "--pause", *chain, *key)[0] == 0
    code, _, err = run("task", "create", str(draft), *deployed, "--accept-risk", "--dry-run")
    assert code == 1
    assert "refused by the contract" in err


def test_money_that_is_missing_is_told_before_a_model_is_loaded(
    run: Run, node: Node, deployed: list[str], draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("deltaproof.sponsor.drafts.complete_draft", never)
    code, _, err = run("task", "create", str(draft), *deployed, "--fund", "1000.5")
    assert code == 1
    assert f"deltaproof faucet {Account.from_key(node.private_keys[0]).address} --amount '0.5 DEMO'" in err
    empty = [*deployed]
    empty[empty.index("--key") + 1] = "0x" + "17" * 32
    code, _, err = run("task", "create", str(draft), *empty)
    assert "nothing of the chain's coin" in err


def test_person_is_asked_before_money_moves_and_a_no_sends_nothing(
    run: Run, deployed: list[str], at_terminal: Callable[[str], None]
) -> None:
    account = Account.from_key(deployed[deployed.index("--key") + 1]).address
    chain, key = deployed[:4], deployed[6:8]
    deposit = ("stake", "deposit", "2", "--role", "challenger", *chain, *key)
    at_terminal("n")
    code, _, err = run(*deposit)
    assert code == 1
    assert f"stake 2 DEMO of {account} as challenger: go on?" in err
    assert "nothing was sent" in err
    at_terminal("y")
    assert run(*deposit)[0] == 0
    at_terminal("n")
    assert run(*deposit, "--yes")[0] == 0
    at_terminal("n")
    assert run(*deposit, "--json")[0] == 0, "a script means what it says"
    free = json.loads(run("stake", "show", account, *chain, "--json")[1])["challenger"]["free"]
    assert free == str(6 * 10**18)


def test_script_has_to_agree_to_what_its_command_line_does_not_name() -> None:
    with pytest.raises(UsageError, match="add --yes"):
        agreed("bond 10 DEMO", yes=False, as_json=True, named=False)
    agreed("bond 10 DEMO", yes=True, as_json=True, named=False)
    agreed("stake 10 DEMO", yes=False, as_json=True)


def test_bond_of_a_dispute_needs_a_yes_from_a_script(run: Run, deployed: list[str], draft: Path) -> None:
    create = ("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    task = ["--task", str(json.loads(run(*create)[1])["task"])]
    chain, key = deployed[:4], deployed[6:8]
    code, _, err = run("dispute", "revote", *chain, *key, *task)
    assert code == 1
    assert "with a bond of 100 DEMO that is lost if the other side wins" in err
    assert "add --yes" in err
