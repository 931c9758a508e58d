"""Deployments of strangers: code that answers as ours does, and our code on a state that another constructor made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deltaproof.auditor.audit.check import Check, Status, Subject
from deltaproof.auditor.audit.deployed import check_deployment
from deltaproof.auditor.index.follower import Follower
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Call, Rpc
from deltaproof.auditor.index.schema import open_database
from deltaproof.chain import Connection, Deployment, DeployParams, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.local_node import start_node
from deltaproof.errors import DeploymentError

FIRST_SLOT = bytes.fromhex("6001600055")
"""Writes 1 to slot 0."""
RETURN_THE_REST = bytes.fromhex("8060116000396000f3")
"""After the push of a length: returns so many bytes behind the 17 of the whole constructor."""


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[tuple[Connection, TransactionSender]]:
    with start_node("anvil", accounts=1) as node:
        connection = connect(node.rpc_url)
        with TransactionSender(connection, load_account(node.private_keys[0]), state_folder=tmp_path) as sender:
            yield connection, sender


def audited(deployment: Deployment, connection: Connection, first_block: int | None = None) -> list[Check]:
    engine, rpc = open_database("sqlite://"), Rpc(connection.url)
    Follower(engine, rpc, deployment.modules.tasks, first_block=first_block).sync()
    return list(check_deployment(Index(engine), rpc, Subject(0)))


def outcomes(checks: list[Check]) -> Counter[tuple[str, Status]]:
    return Counter((check.name, check.status) for check in checks)


def test_deployment_by_our_command_passes(chain: tuple[Connection, TransactionSender]) -> None:
    deployment = deploy_all(*chain, DeployParams(guardian=chain[1].address))
    checks = audited(deployment, chain[0])
    assert outcomes(checks) == {("contract code", Status.PASS): 12, ("contract creation", Status.PASS): 12}
    assert all(check.transaction for check in checks if check.name == "contract creation")
    late = audited(deployment, chain[0], first_block=chain[0].block_number())
    # The last of the twelve lies in that block.
    assert outcomes(late)["contract creation", Status.NOT_CHECKABLE] == 11


def test_vault_of_other_code_is_refused_before_anybody_stakes(chain: tuple[Connection, TransactionSender]) -> None:
    connection, sender = chain
    deployment = deploy_all(connection, sender, DeployParams(guardian=sender.address))
    vault = deployment.modules.vault
    code = bytearray(connection.code(vault))
    code[len(code) // 2] ^= 1
    raw(connection, "anvil_setCode", vault, "0x" + code.hex())
    with pytest.raises(DeploymentError, match=f"vault contract at {vault} is not the code of RewardVault"):
        Deployment.at(connection, deployment.modules.tasks)
    failed = [check for check in audited(deployment, connection) if check.status is Status.FAIL]
    assert [(check.name, check.participant) for check in failed] == [("contract code", vault)]


def test_our_code_on_a_state_of_another_constructor_fails_the_audit(
    chain: tuple[Connection, TransactionSender],
) -> None:
    connection, sender = chain
    before = raw(connection, "evm_snapshot")
    params = DeployParams(guardian=sender.address)
    honest = deploy_all(connection, sender, params)
    codes = {place: connection.code(at) for place, at in asdict(honest.modules).items()}
    token = raw(connection, "eth_getTransactionByHash", creation_of_token(connection))["input"]
    raw(connection, "evm_revert", before)
    sender.send("deploy the token", None, bytes.fromhex(token[2:]))
    for place, code in codes.items():
        made = sender.send(place, None, FIRST_SLOT + b"\x61" + len(code).to_bytes(2, "big") + RETURN_THE_REST + code)
        assert made.created == getattr(honest.modules, place)
    hostile = Deployment.at(connection, honest.modules.tasks)
    assert int(raw(connection, "eth_getStorageAt", hostile.modules.registry, "0x0", "latest"), 16) == 1
    found = outcomes(audited(hostile, connection))
    assert found == {("contract code", Status.PASS): 12, ("contract creation", Status.FAIL): 12}


def creation_of_token(connection: Connection) -> str:
    """The first transaction of the chain."""
    return str(raw(connection, "eth_getBlockByNumber", "0x1", False)["transactions"][0])


def raw(connection: Connection, method: str, *params: Any) -> Any:
    return Rpc(connection.url).call(method, *params)


@pytest.mark.parametrize("odd", [None, {}, {"transactions": [{"to": None, "nonce": "x", "from": "y"}]}, "block"])
def test_node_that_answers_oddly_leaves_it_open(chain: tuple[Connection, TransactionSender], odd: object) -> None:
    class Odd(Rpc):
        def batch(self, calls: Sequence[Call]) -> list[Any]:
            answers = super().batch(calls)
            return [
                odd if method == "eth_getBlockByNumber" else a for (method, _), a in zip(calls, answers, strict=True)
            ]

    deployment = deploy_all(*chain, DeployParams(guardian=chain[1].address))
    engine, rpc = open_database("sqlite://"), Rpc(chain[0].url)
    Follower(engine, rpc, deployment.modules.tasks).sync()
    found = outcomes(list(check_deployment(Index(engine), Odd(rpc.url), Subject(0))))
    assert found == {("contract code", Status.PASS): 12, ("contract creation", Status.NOT_CHECKABLE): 1}
