"""Typed gateway to the contracts, over web3.py."""

from deltaproof.chain.contracts.deployment import Deployment, DeployParams, deploy_all
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
