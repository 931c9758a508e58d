"""Deployment files, and deployments that are not what they claim to be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from web3.types import RPCEndpoint

from deltaproof.api.connecting import open_gateway
from deltaproof.chain import Deployment, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.contracts.deployment import CASE_LEVELS, _ModuleSet
from deltaproof.chain.events.rounds import NewTasksPaused
from deltaproof.chain.local_node import development_keys, start_node
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.chain.rpc.endpoints import Endpoints
from deltaproof.disputing.jury import LAST_LEVEL
from deltaproof.errors import BlockUnknown, ChainUnavailable, ContractRevert, DeploymentError, WrongChain
from deltaproof.protocol.rules import CONTRACTS_VERSION
from deltaproof.protocol.types import TokenAmount, address
from tests.chain.rpc_proxy import RawAnswer, RpcProxy
from tests.worlds.gateways import GatewayWorld


def test_deployment_file_round_trips(world: GatewayWorld, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "deployment.json"
    world.deployment.save(path)
    assert Deployment.load(path) == world.deployment
    found = Deployment.at(world.connection, world.deployment.modules.tasks)
    assert found.modules == world.deployment.modules


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chain_id": "31337"}, "chain_id"),
        ({"registry": "0x12"}, "registry"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_damaged_deployment_file_names_the_key(
    world: GatewayWorld, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "deployment.json"
    world.deployment.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DeploymentError, match=message):
        Deployment.load(path)


def test_delay_shorter_than_a_case_is_refused_before_anything_is_sent(world: GatewayWorld) -> None:
    params = DeployParams(guardian=address("0x" + "11" * 20))
    assert params.longest_dispute_seconds == 3 * 86_400
    with pytest.raises(DeploymentError, match="3 days at least"):
        deploy_all(world.connection, None, dataclasses.replace(params, unbonding_seconds=86_400))  # type: ignore[arg-type]
    dataclasses.replace(params, unbonding_seconds=3 * 86_400).require_sound()
    slow = dataclasses.replace(params, court=dataclasses.replace(params.court, answer_seconds=8 * 86_400))
    with pytest.raises(DeploymentError, match="8 days at least"):
        slow.require_sound()
    assert CASE_LEVELS == LAST_LEVEL + 1


def test_deployment_that_does_not_fit_is_refused(world: GatewayWorld) -> None:
    modules = world.deployment.modules
    swapped = dataclasses.replace(world.deployment, modules=dataclasses.replace(modules, vault=modules.court))
    with pytest.raises(DeploymentError, match="belongs to another deployment"):
        swapped.check(world.connection)
    elsewhere = dataclasses.replace(world.deployment, chain_id=1)
    with pytest.raises(WrongChain, match="chain 1"):
        elsewhere.check(world.connection)
    with pytest.raises(DeploymentError, match="no contract at"):
        Deployment.at(world.connection, address("0x" + "77" * 20))
    with pytest.raises(DeploymentError, match="is not the TaskManager"):
        Deployment.at(world.connection, modules.registry)


def test_outage_at_any_moment_is_not_taken_for_a_wrong_contract(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that is started while its node fails waits for it; one that meets a wrong contract ends."""
    monkeypatch.setattr("deltaproof.chain.rpc.endpoints.FIRST_PAUSE_SECONDS", 0.0)
    with RpcProxy(world.connection.url) as proxy:
        connection = connect(proxy.url)
        proxy.seen.clear()
        Deployment.at(connection, world.deployment.modules.tasks)
        calls = len(proxy.seen)
        for served in range(calls):
            proxy.fault = lambda request: None
            Endpoints.identify(connection.web3.provider)  # type: ignore[arg-type]
            proxy.seen.clear()
            proxy.fault = lambda request, served=served: RawAnswer(500) if len(proxy.seen) > served else None
            with pytest.raises(ChainUnavailable):
                Deployment.at(connection, world.deployment.modules.tasks)


@pytest.mark.parametrize(
    "answer",
    [RawAnswer(500), RawAnswer(200, b"<html>"), {"code": -32603, "message": "internal error"}, "0x"],
    ids=["500", "HTML", "refused", "no code"],
)
def test_role_that_starts_while_its_node_fails_waits_and_goes_on(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """Whichever question of the start gets the odd answer first; the next two starts get it from the beginning."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    contract, key = world.deployment.modules.tasks, development_keys(6)[5]
    waits: list[str] = []

    def report(event: str, message: str, **fields: object) -> None:
        waits.append(message)
        if len(waits) >= 3:
            proxy.fault, proxy.alter = lambda request: None, lambda request, answer: None

    with RpcProxy(world.connection.url) as proxy:
        with open_gateway(proxy.url, contract, key) as gateway:
            assert gateway.deployment.modules == world.deployment.modules
        for served in range(1, len(proxy.seen), 3):
            waits.clear()
            proxy.seen.clear()

            def alter(request: dict[str, Any], value: dict[str, Any], served: int = served) -> None:
                if len(proxy.seen) > served and request["method"] in ("eth_getCode", "eth_call"):
                    value["result"] = "0x"

            def fail(request: dict[str, Any], served: int = served) -> Any:
                return answer if len(proxy.seen) > served else None

            proxy.alter, proxy.fault = (alter, proxy.fault) if answer == "0x" else (proxy.alter, fail)
            with open_gateway(proxy.url, contract, key, wait=report) as gateway:
                assert gateway.deployment.modules == world.deployment.modules
            assert len(waits) == 3, (served, waits)


def test_node_that_still_fetches_the_chain_does_not_deny_a_contract(world: GatewayWorld) -> None:
    nowhere = address("0x" + "77" * 20)
    with RpcProxy(world.connection.url) as proxy:
        proxy.alter = lambda request, value: (
            value.update(result={"startingBlock": "0x0", "currentBlock": "0x1", "highestBlock": "0x9"})
            if request["method"] == "eth_syncing"
            else None
        )
        with pytest.raises(ChainUnavailable, match="still fetches the chain"):
            Deployment.at(connect(proxy.url), nowhere)


def test_deployment_of_another_version_is_refused_and_says_which(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _ModuleSet(world.connection, world.deployment.modules.fees).version() == CONTRACTS_VERSION
    monkeypatch.setattr("deltaproof.chain.contracts.deployment.CONTRACTS_VERSION", 3)
    for refuse in (
        lambda: world.deployment.check(world.connection),
        lambda: Deployment.at(world.connection, world.deployment.modules.tasks),
    ):
        with pytest.raises(DeploymentError, match="is of version 2; this deltaproof speaks to contracts of version 3"):
            refuse()
    # A contract without a version, as those of version 1: the token here.
    token = Gateway(world.connection, world.deployment).registry.token()
    with pytest.raises(DeploymentError, match="is of version 1, or none"):
        Deployment.at(world.connection, token)


def test_same_contracts_and_gateway_work_on_ganache(tmp_path: Path) -> None:
    with start_node("ganache", accounts=1) as node:
        connection = connect(node.rpc_url)
        account = load_account(node.private_keys[0])
        with TransactionSender(connection, account, state_folder=tmp_path) as sender:
            deployment = deploy_all(connection, sender, DeployParams(guardian=sender.address))
            gateway = Gateway(connection, deployment, sender)
            gateway.terms.set_new_tasks_paused(True)
            with pytest.raises(ContractRevert) as caught:
                gateway.registry.deposit(Role.TRAINER, TokenAmount(0))
            assert caught.value.name == "ZeroAmount"
            events = list(gateway.events.read(deployment.block, connection.block_number()))
            assert [entry.event for entry in events] == [NewTasksPaused(paused=True)]
            assert gateway.beacon.network is None, "a revert without data"


def test_node_that_takes_no_hash_of_a_block_is_read_by_number_and_not_after_a_reorganisation(tmp_path: Path) -> None:
    with start_node("ganache", accounts=1) as node:
        connection = connect(node.rpc_url)
        request = connection.web3.provider.make_request
        with TransactionSender(connection, load_account(node.private_keys[0]), state_folder=tmp_path) as sender:
            gateway = Gateway(connection, deploy_all(connection, sender, DeployParams(guardian=sender.address)), sender)
            token = gateway.token(gateway.registry.token())
            before = request(RPCEndpoint("evm_snapshot"), [])["result"]
            token.approve(gateway.registry.address, TokenAmount(7))
            head = connection.head()
            for block, allowed in ((BlockRef.of(connection.block(head.number - 1)), 0), (head, 7)):
                with connection.reading_at(block):
                    assert token.allowance(sender.address, gateway.registry.address) == allowed
            request(RPCEndpoint("evm_revert"), [before])
            late = Gateway(connect(node.rpc_url), gateway.deployment, sender)
            for _ in range(2):  # the block is not there, and then another is
                with pytest.raises(BlockUnknown), late.connection.reading_at(head):
                    late.registry.token()
                request(RPCEndpoint("evm_mine"), [])
