"""Contracts and demo tokens on a chain of one's own: what `chain up --contracts` adds to the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eth_account import Account

from deltaproof.chain import Deployment, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.errors import ContractMissing
from deltaproof.protocol.types import TokenAmount, address

__all__ = ["DEMO_TOKENS", "demo_contracts", "deploy_demo"]

DEMO_TOKENS = 10_000
"""What every account gets."""


def demo_contracts(rpc: str, keys: Sequence[str], kept: Path | None, deploying: Callable[[], None]) -> Deployment:
    """The contracts of a chain that is kept, or new ones, which `deploy_demo` makes; `deploying` hears that.

    `kept` is the file that remembers them: tasks, stakes and pay of a kept chain are on the contracts that were there
    first. Raises DeploymentError, ChainError.
    """
    if kept is not None and kept.exists():
        found = Deployment.load(kept)
        try:
            found.check(connect(rpc))
        except ContractMissing:  # the chain itself was not kept: it ended before its state was written
            pass
        else:
            return found
    deploying()
    made = deploy_demo(rpc, keys)
    if kept is not None:
        made.save(kept)
    return made


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
