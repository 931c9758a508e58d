"""Typed gateway to the contracts, over web3.py. Importing the package alone loads nothing of it."""

from typing import TYPE_CHECKING

from deltaproof.lazy import names_of

if TYPE_CHECKING:
    from deltaproof.chain.contracts.deploying import deploy_all
    from deltaproof.chain.contracts.deployment import Deployment, DeployParams
    from deltaproof.chain.contracts.gateway import Gateway
    from deltaproof.chain.rpc.connection import Connection, connect
    from deltaproof.chain.rpc.keys import LocalAccount, load_account
    from deltaproof.chain.rpc.remote_signer import RemoteSigner, load_signer
    from deltaproof.chain.rpc.sender import Receipt, SenderPolicy, TransactionSender

__all__ = [
    "Connection",
    "DeployParams",
    "Deployment",
    "Gateway",
    "LocalAccount",
    "Receipt",
    "RemoteSigner",
    "SenderPolicy",
    "TransactionSender",
    "connect",
    "deploy_all",
    "load_account",
    "load_signer",
]

__getattr__ = names_of(
    __name__,
    {
        "Connection": "rpc.connection",
        "DeployParams": "contracts.deployment",
        "Deployment": "contracts.deployment",
        "Gateway": "contracts.gateway",
        "LocalAccount": "rpc.keys",
        "Receipt": "rpc.sender",
        "RemoteSigner": "rpc.remote_signer",
        "SenderPolicy": "rpc.sender",
        "TransactionSender": "rpc.sender",
        "connect": "rpc.connection",
        "deploy_all": "contracts.deploying",
        "load_account": "rpc.keys",
        "load_signer": "rpc.remote_signer",
    },
)
