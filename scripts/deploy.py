"""Deploy all contracts: ``brownie run deploy --network <name>`` (accounts[0] pays and becomes guardian).

Settings come from the environment: ``DELTAPROOF_TOKEN`` (address of the ERC-20 to stake; ``demo`` deploys a
``DemoToken``, which anybody may mint, and a test chain gets that if nothing is said), ``DELTAPROOF_UNBONDING_SECONDS``
and ``DELTAPROOF_BEACON`` (``drand`` for evmnet of the League of Entropy, else hashes of blocks); all else is as
`DeployParams` says. The addresses are printed as JSON.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import brownie
from brownie import accounts

from deltaproof.chain import DeployParams
from deltaproof.chain.abi.codec import encode
from deltaproof.chain.contracts.bytecode import CONTRACTS
from deltaproof.chain.contracts.deploying import stake_token
from deltaproof.chain.contracts.deployment import evmnet_terms
from deltaproof.protocol.types import Address


@dataclass(frozen=True)
class DeployedContracts:
    """One set of contracts, as brownie's contract objects."""

    token: Any
    registry: Any
    beacon: Any
    terms: Any
    tasks: Any
    trainers: Any
    verifiers: Any
    vault: Any
    fees: Any
    court: Any
    jury: Any
    faults: Any
    settlements: Any

    def addresses(self) -> dict[str, str]:
        return {name: getattr(self, name).address for name in ("token", *CONTRACTS)}


def main() -> None:
    """Entry point of ``brownie run``."""
    params = DeployParams(
        guardian=Address(accounts[0].address),
        unbonding_seconds=int(os.environ.get("DELTAPROOF_UNBONDING_SECONDS", DeployParams.unbonding_seconds)),
        drand=evmnet_terms() if os.environ.get("DELTAPROOF_BEACON") == "drand" else None,
    )
    token = stake_token(os.environ.get("DELTAPROOF_TOKEN"), brownie.chain.id)
    deployment = deploy(accounts[0], brownie.interface.IERC20(token) if token else None, params)
    print(json.dumps(deployment.addresses(), indent=2))


def deploy_beacon(project: Any, params: DeployParams, sender: dict[str, Any]) -> Any:
    """Seeds from blocks, or from the rounds of a drand network."""
    if params.drand is None:
        return project.BlockhashBeacon.deploy(params.beacon_delay_blocks, sender)
    return project.DrandBeacon.deploy(encode(params.drand), params.beacon_delay_blocks, sender)


def deploy(deployer: Any, token: Any = None, params: DeployParams | None = None) -> DeployedContracts:
    """Deploy everything from `deployer`. Raises RuntimeError if the contracts do not agree on their addresses."""
    params = params or DeployParams(guardian=Address(deployer.address))
    params.require_sound()
    sender = {"from": deployer}
    project = brownie.project.get_loaded_projects()[0]
    if token is None:
        token = project.DemoToken.deploy(sender)
    modules = tuple(deployer.get_deployment_address(deployer.nonce + i) for i in range(len(CONTRACTS)))
    made = (
        project.StakeRegistry.deploy(modules, token.address, params.unbonding_seconds, sender),
        deploy_beacon(project, params, sender),
        project.TaskTerms.deploy(modules, params.guardian, sender),
        project.TaskManager.deploy(modules, sender),
        project.TrainerPool.deploy(modules, sender),
        project.VerifierPool.deploy(modules, sender),
        project.RewardVault.deploy(modules, sender),
        project.VerifierFees.deploy(modules, sender),
        project.DisputeCourt.deploy(modules, encode(params.court), sender),
        project.Jury.deploy(modules, encode(params.jury), sender),
        project.FaultProver.deploy(modules, sender),
        project.SettlementProver.deploy(modules, sender),
    )
    for contract, address in zip(made, modules, strict=True):
        if contract.address != address:
            raise RuntimeError(f"{contract._name} is at {contract.address}, the set says {address}")
    return DeployedContracts(token, *made)
