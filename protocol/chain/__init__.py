"""Typed gateway to the contracts, over web3.py."""

from protocol.chain.connection import Connection, connect
from protocol.chain.deployment import Deployment, DeployParams, deploy_all
from protocol.chain.gateway import Gateway
from protocol.chain.keys import LocalAccount, load_account
from protocol.chain.sender import Receipt, SenderPolicy, TransactionSender

__all__ = [
    "Connection",
    "DeployParams",
    "Deployment",
    "Gateway",
    "LocalAccount",
    "Receipt",
    "SenderPolicy",
    "TransactionSender",
    "connect",
    "deploy_all",
    "load_account",
]
