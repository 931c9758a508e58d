"""`deltaproof profile`: what somebody says of itself reaches `task show`, beside its address."""

from __future__ import annotations

import json
from pathlib import Path

from eth_account import Account

from tests.cli.conftest import Run, read_options


def test_profile_is_set_shown_and_taken_back(run: Run, deployed: list[str], draft: Path) -> None:
    code, _, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    keyed, where = deployed[:8], read_options(deployed)
    account = Account.from_key(deployed[7]).address
    code, out, err = run("profile", "show", account, *where)
    assert (code, out.strip()) == (0, f"{account}: says nothing"), err
    said = ["--name", "Ann's lab", "--url", "https://ann.example", "--contact", "ann@mail.example"]
    code, _, err = run("profile", "set", *keyed, "--task", "1", *said)
    assert code == 0, err
    code, out, err = run("profile", "show", account, *where, "--json")
    assert code == 0, err
    (told,) = json.loads(out)["profiles"]
    assert (told["account"], told["name"], told["contact"]) == (account, "Ann's lab", "ann@mail.example")
    code, out, err = run("task", "show", *where, "--task", "1")
    assert code == 0, err
    assert f"sponsor: {account} (Ann's lab)" in out
    assert (
        json.loads(run("task", "show", *where, "--task", "1", "--json")[1])["profiles"][account]["name"] == "Ann's lab"
    )
    code, _, err = run("profile", "set", *keyed, "--task", "1", "--name", "two\nlines")
    assert (code, "--name: write one line" in err) == (1, True)
    code, _, err = run("profile", "set", *keyed, "--task", "1")
    assert code == 0, err
    assert "(Ann's lab)" not in run("task", "show", *where, "--task", "1")[1]
