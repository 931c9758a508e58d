"""Deployment files, and deployments that are not what they claim to be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from deltaproof.chain import Deployment, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.contracts.deployment import _ModuleSet
from deltaproof.chain.events.rounds import NewTasksPaused
from deltaproof.chain.local_node import start_node
from deltaproof.chain.rpc.endpoints import Endpoints
from deltaproof.errors import ChainUnavailable, ContractRevert, DeploymentError, WrongChain
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
