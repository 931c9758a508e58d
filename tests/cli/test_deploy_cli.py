"""`deltaproof deploy`: what it costs is known before the first contract is paid for, and play money is asked for."""

from __future__ import annotations

import json

import pytest
from eth_account import Account

from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain import DeployParams, Receipt, SenderPolicy, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.structs import Modules
from deltaproof.chain.contracts.begun import DeploymentNote, modules_from
from deltaproof.chain.contracts.deploying import deployment_gas, stake_token
from deltaproof.chain.local_node import Node, start_node
from deltaproof.chain.rpc.fees import Fees, coins
from deltaproof.errors import DeploymentError, EncodingError, TransactionPending
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


class BrokenOff(Exception):
    """What a person's Ctrl-C is to a deployment."""


def broken_off(node: Node, key: str, after: int) -> Modules:
    """A deployment by the command's own means that ends after so many contracts; where all of it comes to stand."""
    connection, deployer = connect(node.rpc_url), load_account(key)
    params = DeployParams(guardian=address(deployer.address))
    names: list[str] = []

    def made(name: str, receipt: Receipt) -> None:
        names.append(name)
        if len(names) == after + 1:  # the demo token comes first
            raise BrokenOff

    with TransactionSender(connection, deployer) as sender:
        note = DeploymentNote(sender, params)
        with pytest.raises(BrokenOff):
            deploy_all(connection, sender, params, made, note)
        begun = note.read()
        assert begun is not None
        return modules_from(sender.address, begun.first)


@pytest.mark.parametrize("after", [1, 7, 12])
def test_deployment_that_was_broken_off_is_gone_on_with(run: Run, node: Node, after: int) -> None:
    key = node.private_keys[4]
    places = broken_off(node, key, after)
    before = nonce(node, key)
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", key, "--json")
    assert code == 0, err
    assert f"{after} of 12 contracts are made" in err
    assert nonce(node, key) - before == err.count("is made") == 12 - after
    assert json.loads(out)["tasks"] == places.tasks
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", key, "--json")
    assert (code, err.count("is made")) == (0, NAMES), "what is finished is not gone on with"
    assert json.loads(out)["tasks"] != places.tasks


def test_deployment_that_was_broken_off_before_its_first_contract_keeps_its_token(run: Run, node: Node) -> None:
    key = node.private_keys[8]
    deploy = ("deploy", "--rpc", node.rpc_url, "--key", key, "--json")
    _, out, _ = run(*deploy)
    token = address(json.loads(out)["token"])
    connection, deployer = connect(node.rpc_url), load_account(key)
    with TransactionSender(connection, deployer) as sender:
        note = DeploymentNote(sender, DeployParams(guardian=address(deployer.address)))
        note.write(nonce(node, key), connection.block_number(), token)
    code, out, err = run(*deploy)
    assert (code, err.count("is made")) == (0, 12), err
    assert "0 of 12 contracts are made" in err
    assert json.loads(out)["token"] == token


def test_dry_run_sends_nothing_of_what_an_earlier_run_left_either(run: Run, node: Node) -> None:
    """A transaction in flight is left to whoever goes on."""
    key = node.private_keys[9]
    broken_off(node, key, 4)
    rpc = Rpc(node.rpc_url)
    rpc.call("evm_setAutomine", False)
    try:
        connection, deployer = connect(node.rpc_url), load_account(key)
        hasty = SenderPolicy(timeout_seconds=1)
        with TransactionSender(connection, deployer, policy=hasty) as sender, pytest.raises(TransactionPending):
            deploy_all(connection, sender, DeployParams(address(deployer.address)), None, None)
        rpc.call("anvil_dropAllTransactions")
        code, _, err = run("deploy", "--rpc", node.rpc_url, "--key", key, "--dry-run")
        assert code == 0, err
        assert "4 of 12 contracts are made" in err
        assert rpc.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    finally:
        rpc.call("evm_setAutomine", True)


def test_deployment_begins_anew_where_the_key_sent_something_else(run: Run, node: Node) -> None:
    key = node.private_keys[5]
    places = broken_off(node, key, 3)
    with TransactionSender(connect(node.rpc_url), load_account(key)) as sender:
        sender.send("something else", sender.address, b"")
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", key, "--json")
    assert (code, err.count("is made")) == (0, NAMES), err
    assert "begins anew" in err
    assert json.loads(out)["tasks"] != places.tasks


def test_deployment_on_other_terms_is_another(run: Run, node: Node) -> None:
    key = node.private_keys[6]
    broken_off(node, key, 3)
    code, _, err = run("deploy", "--rpc", node.rpc_url, "--key", key, "--unbonding-days", "9")
    assert (code, err.count("is made")) == (0, NAMES), err
    assert "broken off" not in err


def test_damaged_note_of_a_deployment_is_named(run: Run, node: Node) -> None:
    key = node.private_keys[7]
    broken_off(node, key, 2)
    connection, deployer = connect(node.rpc_url), load_account(key)
    with TransactionSender(connection, deployer) as sender:
        path = DeploymentNote(sender, DeployParams(guardian=address(deployer.address))).path
    path.write_text("{")
    code, _, err = run("deploy", "--rpc", node.rpc_url, "--key", key)
    assert (code, str(path) in err.replace("\n", "")) == (1, True), err
    path.unlink()


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
