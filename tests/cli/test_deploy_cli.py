"""`deltaproof deploy`: what it costs is known before the first contract is paid for, and play money is asked for."""

from __future__ import annotations

import json

import pytest
from eth_account import Account

from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain import DeployParams, Receipt, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.contracts.deploying import deployment_gas, stake_token
from deltaproof.chain.local_node import Node, start_node
from deltaproof.chain.rpc.fees import Fees, coins
from deltaproof.errors import DeploymentError, EncodingError
from deltaproof.protocol.types import address
from tests.cli.conftest import Run

POOR = "0x" + "17" * 32
NAMES = 13
"""The twelve contracts, and the demo token."""


def nonce(node: Node, key: str) -> int:
    return connect(node.rpc_url).web3.eth.get_transaction_count(address(Account.from_key(key).address))


def test_gas_of_a_deployment_is_known_before_it_is_made(node: Node) -> None:
    used: dict[str, int] = {}

    def made(name: str, receipt: Receipt) -> None:
        used[name] = receipt.gas_used

    connection, deployer = connect(node.rpc_url), load_account(node.private_keys[3])
    params = DeployParams(guardian=address(deployer.address))
    with TransactionSender(connection, deployer) as sender:
        deploy_all(connection, sender, params, made)
    assert len(used) == NAMES
    assert 0.98 * sum(used.values()) < deployment_gas(params) <= sum(used.values())


def test_deploy_that_coin_does_not_reach_for_in_all_sends_nothing(run: Run, node: Node) -> None:
    """Enough for the first contracts: they would be paid for, and no later deployment could use them."""
    rpc = ("--rpc", node.rpc_url, "--key")
    _, out, _ = run("deploy", *rpc, node.private_keys[0], "--dry-run", "--json")
    fee = int(json.loads(out)["fee"])
    poor = Account.from_key(POOR).address
    Rpc(node.rpc_url).call("anvil_setBalance", poor, hex(fee // 2))
    code, _, err = run("deploy", *rpc, POOR)
    assert (code, f"{poor} has {coins(fee // 2)} of the chain's coin" in err) == (1, True), err
    assert "send it some" in err
    assert nonce(node, POOR) == 0


def test_dry_run_of_deploy_says_what_it_costs_and_sends_nothing(run: Run, node: Node) -> None:
    before = nonce(node, node.private_keys[0])
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", node.private_keys[0], "--dry-run")
    assert code == 0, err
    assert "of the chain's coin at today's price" in out
    assert "nothing was sent" in out
    assert nonce(node, node.private_keys[0]) == before


def test_deploy_tells_each_contract_on_standard_error(run: Run, node: Node) -> None:
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", node.private_keys[0], "--json")
    assert code == 0, err
    assert err.count("is made") == NAMES
    assert len(out.splitlines()) == 1


def test_real_chain_gets_play_money_only_by_its_name(run: Run) -> None:
    with start_node("anvil", chain_id=424_242) as node:
        deploy = ("deploy", "--rpc", node.rpc_url, "--key", node.private_keys[0])
        code, _, err = run(*deploy)
        assert (code, "--token demo" in err) == (1, True), err
        assert nonce(node, node.private_keys[0]) == 0
        code, out, err = run(*deploy, "--token", "demo", "--dry-run", "--json")
        assert (code, json.loads(out)["chain_id"]) == (0, 424_242), err


def test_stake_token_is_an_address_or_play_money() -> None:
    place = "0x" + "aA" * 20
    assert stake_token(None, 31_337) is None
    assert stake_token("demo", 1) is None
    assert stake_token(place.lower(), 1) == address(place.lower())
    with pytest.raises(DeploymentError, match="no test chain"):
        stake_token(None, 1)
    with pytest.raises(EncodingError):
        stake_token("DAI", 1)


def test_likely_price_is_what_the_next_block_takes() -> None:
    assert Fees(2 * 7 + 3, 3).likely_wei == 10
    assert Fees(9, None).likely_wei == 9
