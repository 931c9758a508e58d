"""Deploy all contracts: ``brownie run deploy --network <name>`` (accounts[0] pays and becomes guardian).

Settings come from the environment: ``DELTAPROOF_TOKEN`` (address of the ERC-20 to stake; a ``DemoToken`` is deployed
without it) and ``DELTAPROOF_UNBONDING_SECONDS``. The addresses are printed as JSON.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import brownie
from brownie import accounts

ORDER = ("registry", "beacon", "tasks", "trainers", "verifiers", "vault", "court", "faults")
"""Contracts by their name in `Modules`, in the order of deployment: nonce after nonce of one account."""

UNIT = 10**18


@dataclass(frozen=True)
class Settings:
    """What a deployment fixes for ever. Amounts in the stake token's smallest unit, times in seconds."""

    unbonding_seconds: int = 7 * 24 * 3600
    min_committee_stake: int = 100 * UNIT
    beacon_delay_blocks: int = 1
    demand_bond: int = 10 * UNIT
    revote_bond: int = 100 * UNIT
    winner_bps: int = 5_000
    committee_bps: int = 4_000
    committee_size: int = 9
    answer_seconds: int = 3600
    vote_seconds: int = 6 * 3600

    @property
    def court(self) -> tuple[int, ...]:
        """`IDisputeCourt.CourtParams`."""
        return (
            self.demand_bond,
            self.revote_bond,
            self.winner_bps,
            self.committee_bps,
            self.committee_size,
            self.answer_seconds,
            self.vote_seconds,
        )


@dataclass(frozen=True)
class Deployment:
    """One set of contracts, as brownie's contract objects."""

    token: Any
    registry: Any
    beacon: Any
    tasks: Any
    trainers: Any
    verifiers: Any
    vault: Any
    court: Any
    faults: Any

    def addresses(self) -> dict[str, str]:
        return {name: getattr(self, name).address for name in ("token", *ORDER)}


def main() -> None:
    """Entry point of ``brownie run``."""
    settings = Settings(
        unbonding_seconds=int(os.environ.get("DELTAPROOF_UNBONDING_SECONDS", Settings.unbonding_seconds))
    )
    token = os.environ.get("DELTAPROOF_TOKEN")
    deployment = deploy(accounts[0], brownie.interface.IERC20(token) if token else None, settings)
    print(json.dumps(deployment.addresses(), indent=2))


def deploy(deployer: Any, token: Any = None, settings: Settings = Settings()) -> Deployment:
    """Deploy everything from `deployer`. Raises RuntimeError if the contracts do not agree on their addresses."""
    sender = {"from": deployer}
    project = brownie.project.get_loaded_projects()[0]
    if token is None:
        token = project.DemoToken.deploy(sender)
    modules = tuple(deployer.get_deployment_address(deployer.nonce + i) for i in range(len(ORDER)))
    made = (
        project.StakeRegistry.deploy(
            modules, token.address, settings.unbonding_seconds, settings.min_committee_stake, sender
        ),
        project.BlockhashBeacon.deploy(settings.beacon_delay_blocks, sender),
        project.TaskManager.deploy(modules, deployer, sender),
        project.TrainerPool.deploy(modules, sender),
        project.VerifierPool.deploy(modules, sender),
        project.RewardVault.deploy(modules, sender),
        project.DisputeCourt.deploy(modules, settings.court, sender),
        project.FaultProver.deploy(modules, sender),
    )
    for contract, address in zip(made, modules, strict=True):
        if contract.address != address:
            raise RuntimeError(f"{contract._name} is at {contract.address}, the set says {address}")
    return Deployment(token, *made)
