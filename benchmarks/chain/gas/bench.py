"""A private Anvil with one deployment on it, whose every call leaves its gas under a label."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from web3 import HTTPProvider, Web3

from benchmarks.shared.places import ROOT
from deltaproof.chain import DeployParams, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.local_node import development_keys
from deltaproof.protocol.types import address
from tests.worlds.simulated import UNIT, Terms, digest

__all__ = ["Bench", "anvil", "person"]

INTERFACES = {
    "registry": "StakeRegistry",
    "beacon": "BlockhashBeacon",
    "terms": "TaskTerms",
    "tasks": "TaskManager",
    "trainers": "TrainerPool",
    "verifiers": "VerifierPool",
    "vault": "RewardVault",
    "fees": "VerifierFees",
    "court": "DisputeCourt",
    "jury": "Jury",
    "faults": "FaultProver",
    "settlements": "SettlementProver",
}
"""Contract of each module of a deployment."""


@dataclass
class Bench:
    """A chain, one deployment on it, and the gas of every labelled call."""

    url: str
    contracts: dict[str, Any] = field(default_factory=dict)
    gas: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.web3 = Web3(HTTPProvider(self.url, request_kwargs={"timeout": 60}))
        self.sponsor: str = self.web3.eth.accounts[0]

    def send(self, sender: str, call: Any, label: str | None = None) -> Any:
        """Send and wait. Raises RuntimeError if the call reverted."""
        transaction = {"from": sender, "gas": 29_000_000, "gasPrice": 0}
        receipt = self.web3.eth.wait_for_transaction_receipt(call.transact(transaction), poll_latency=0.002)
        if receipt["status"] != 1:
            raise RuntimeError(f"{label or call} reverted")
        if label:
            self.gas[label] = receipt["gasUsed"]
        return receipt

    def wait(self, seconds: int = Terms.phase_seconds + 1) -> None:
        """Let time pass, and a block with it."""
        self.web3.provider.make_request("evm_increaseTime", [seconds])  # type: ignore[arg-type]
        self.mine()

    def mine(self) -> None:
        """An empty block."""
        self.web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]

    def deploy(self) -> None:
        """The whole set as `deltaproof deploy` makes it, and tokens for the sponsor, who may spend them."""
        with tempfile.TemporaryDirectory() as folder:
            connection, account = connect(self.url), load_account(development_keys(1)[0])
            with TransactionSender(connection, account, state_folder=Path(folder)) as sender:
                deployment = deploy_all(connection, sender, DeployParams(guardian=sender.address))
        names = {getattr(deployment.modules, module): name for module, name in INTERFACES.items()}
        for number in range(deployment.block, self.web3.eth.block_number + 1):
            for receipt in self.web3.eth.get_block_receipts(number):
                name = names[address(str(receipt["contractAddress"]))]
                self.gas[f"deploy {name}"] = receipt["gasUsed"]
        for module, place in asdict(deployment.modules).items():
            self.contracts[module] = self.web3.eth.contract(address=place, abi=compiled(INTERFACES[module]).abi)
        token = self.contracts["registry"].functions.token().call()
        self.contracts["token"] = self.web3.eth.contract(address=token, abi=compiled("DemoToken").abi)
        self.call("token", "mint", self.sponsor, 10**9 * UNIT)
        for module in ("registry", "vault"):
            self.call("token", "approve", self.contracts[module].address, 2**256 - 1)

    def call(self, module: str, function: str, *arguments: Any, sender: str | None = None, label: str = "") -> Any:
        """Call a contract as anybody, the sponsor by default."""
        method = getattr(self.contracts[module].functions, function)
        return self.send(sender or self.sponsor, method(*arguments), label)


def person(kind: str, i: int) -> Any:
    """An account with a known key."""
    return Account.from_key(digest("key", kind, i))


@contextmanager
def anvil(hardfork: str = "paris") -> Iterator[str]:
    """Where a private chain answers that signs for anybody, gas for nothing, a block per transaction."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--auto-impersonate", "--gas-price", "0", "--block-base-fee-per-gas", "0", "--gas-limit", "30000000"]
    process = subprocess.Popen(
        [ROOT / "node_modules/.bin/anvil", "--port", str(port), "--hardfork", hardfork, "--silent", *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        web3 = Web3(HTTPProvider(url))
        for _ in range(200):
            if web3.is_connected():
                break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
