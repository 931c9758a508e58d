"""Contracts and demo tokens on a chain of one's own: what `chain up --contracts` adds to the node."""

from __future__ import annotations

from collections.abc import Sequence

from eth_account import Account

from deltaproof.chain import Deployment, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.protocol.types import TokenAmount, address

__all__ = ["DEMO_TOKENS", "deploy_demo"]

DEMO_TOKENS = 10_000
"""What every account gets."""


def deploy_demo(rpc: str, keys: Sequence[str]) -> Deployment:
    """Deploy the contracts with the first key, whose account becomes guardian, and mint demo tokens for every key.

    Raises DeploymentError, ChainError.
    """
    connection, deployer = connect(rpc), load_account(keys[0])
    with TransactionSender(connection, deployer) as sender:
        deployment = deploy_all(connection, sender, DeployParams(guardian=address(deployer.address)))
        gateway = Gateway(connection, deployment, sender)
        token = gateway.token(gateway.registry.token())
        units = TokenAmount(DEMO_TOKENS * 10 ** token.decimals())
        for key in keys:
            token.mint(address(Account.from_key(key).address), units)
    return deployment
