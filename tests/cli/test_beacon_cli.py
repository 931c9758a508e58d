"""Seeds from drand as a person uses them: a network of one, a deployment on it, and bringing a round by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deltaproof.chain import Gateway, TransactionSender, connect, load_account
from deltaproof.chain.contracts.deployment import Deployment
from deltaproof.chain.drand_node import DrandNode, serving
from deltaproof.chain.local_node import Node
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.drand import EVMNET
from deltaproof.protocol.types import address
from tests.cli.conftest import Run

SECRET = SecretKey(0xC11)


def test_round_that_a_seed_waits_for_is_published_by_hand(run: Run, node: Node, tmp_path: Path) -> None:
    connection = connect(node.rpc_url)
    rpc, key = ["--rpc", node.rpc_url], ["--key", node.private_keys[5]]
    drand = DrandNode(SECRET, connection.timestamp(), 1, clock=connection.timestamp)
    with serving(drand) as url:
        deploying = ["--beacon", "drand", "--drand-network", url, "--drand-lead", "2"]
        code, out, err = run("deploy", *rpc, *key, *deploying, "--json")
        assert code == 0, err
        contract = ["--contract", json.loads(out)["tasks"]]
        code, out, _ = run("beacon", "show", *rpc, *contract, "--json")
        shown = json.loads(out)
        assert (shown["beacon"], shown["evmnet"], shown["missing"]) == ("drand", False, [])
        _request_a_seed(connection, node.private_keys[5], contract[1])
        connection.web3.provider.make_request("evm_increaseTime", [5])  # type: ignore[arg-type]
        connection.web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
        code, out, _ = run("beacon", "show", *rpc, *contract, "--json")
        (missing,) = json.loads(out)["missing"]
        code, _, err = run("beacon", "publish", *rpc, *contract, *key, "--drand", str(tmp_path))
        assert code == 1
        assert f"round {missing} of drand is not to be had" in err
        code, out, err = run("beacon", "publish", *rpc, *contract, *key, "--drand", f"{tmp_path},{url}", "--json")
        assert code == 0, err
        assert json.loads(out.splitlines()[-1])["published"] == [missing]
        code, out, _ = run("beacon", "show", *rpc, *contract)
        assert "a network of somebody's own" in out
        assert "rounds to publish: none" in out


def _request_a_seed(connection: object, key: str, contract: str) -> None:
    chain = connect(connection.url)  # type: ignore[attr-defined]
    with TransactionSender(chain, load_account(key)) as sender:
        Gateway(chain, Deployment.at(chain, address(contract)), sender).beacon._write("request")


def test_contracts_with_evmnet_are_deployed_without_a_network(run: Run, node: Node) -> None:
    rpc, key = ["--rpc", node.rpc_url], ["--key", node.private_keys[6]]
    code, out, err = run("deploy", *rpc, *key, "--beacon", "drand", "--json")
    assert code == 0, err
    code, out, _ = run("beacon", "show", *rpc, "--contract", json.loads(out)["tasks"], "--json")
    shown = json.loads(out)
    assert shown["evmnet"]
    assert shown["network"] == json.loads(json.dumps(EVMNET.info()))
    assert (shown["lead_seconds"], shown["patience_seconds"]) == (30, 3 * 86_400)


@pytest.mark.parametrize("command", ["show", "publish"])
def test_contracts_with_blocks_have_nothing_to_publish(run: Run, node: Node, command: str) -> None:
    rpc, key = ["--rpc", node.rpc_url], ["--key", node.private_keys[7]]
    _, out, _ = run("deploy", *rpc, *key, "--json")
    contract = ["--contract", json.loads(out)["tasks"]]
    code, out, err = run("beacon", command, *rpc, *contract, *(key if command == "publish" else []))
    told = {"show": (0, "seeds are hashes of later blocks"), "publish": (1, "nothing to publish")}
    assert code == told[command][0]
    assert told[command][1] in out + err


def test_own_network_needs_the_drand_beacon(run: Run, node: Node) -> None:
    command = ["--rpc", node.rpc_url, "--key", node.private_keys[7], "--drand-network", "info.json"]
    code, _, err = run("deploy", *command)
    assert code == 1
    assert "--drand-network goes with --beacon drand" in err
