"""Commands whose key is in a web3signer; a role waits for one that is away."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from eth_account import Account

from deltaproof.api.connecting import open_gateway
from deltaproof.chain import connect
from deltaproof.chain.local_node import Node
from tests.chain.node_calls import rpc
from tests.chain.signer_server import serving
from tests.cli.conftest import Run


def test_key_in_a_remote_signer_stakes_like_any_other(run: Run, node: Node, deployed: list[str]) -> None:
    chain = deployed[:4]
    with serving(node.chain_id) as signer:
        account = signer.account.address
        rpc(connect(node.rpc_url), "anvil_setBalance", account, hex(10**18))
        code, _, err = run("faucet", *chain, "--key", node.private_keys[0], account, "--amount", "10")
        assert code == 0, err
        deposit = ("stake", "deposit", "7", "--role", "trainer", *chain, "--key", signer.key, "--yes", "--json")
        code, _, err = run(*deposit)
        assert code == 0, err
        code, out, _ = run("stake", "show", account, *chain, "--json")
        assert json.loads(out)["trainer"]["free"] == str(7 * 10**18)
        assert signer.asked.count("eth_signTransaction") == 2, "approve and deposit"
        code, _, err = run(*deposit[:-3], f"{signer.url}#{Account.create().address}", "--yes")
        assert (code, "holds no key of" in err) == (1, True)
    code, _, err = run(*deposit)
    assert (code, "does not answer" in err, "start it, or correct --key" in err) == (1, True, True)


def test_task_is_created_from_a_remote_signer_like_any_other(
    run: Run, node: Node, deployed: list[str], tmp_path: Path
) -> None:
    (tmp_path / "task.toml").write_text("")
    with serving(node.chain_id) as signer:
        key = ("--key", signer.key)
        code, _, err = run("task", "create", str(tmp_path / "task.toml"), *deployed[:6], *deployed[8:], *key)
    assert code != 0
    assert f"{signer.account.address} has nothing of the chain's coin" in err, "it is known, beside a draft of nothing"
    assert "cannot read key file" not in err


def test_role_waits_for_a_signer_that_comes_later(node: Node, deployed: list[str]) -> None:
    with serving(node.chain_id) as first:
        account, port = first.account, first.port
    told: list[str] = []
    with ExitStack() as later:

        def report(event: str, message: str, **_fields: object) -> None:
            told.append(f"{event}: {message}")
            if len(told) == 1:
                later.enter_context(serving(node.chain_id, account=account, port=port))

        key = f"http://127.0.0.1:{port}#{account.address}"
        with open_gateway(node.rpc_url, deployed[3], key, wait=report) as gateway:
            assert gateway.account == account.address
    assert len(told) == 1
    assert f"reaching the chain waits: the signer at http://127.0.0.1:{port} does not answer" in told[0]
