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

ORDER = (
    "registry", "beacon", "terms", "tasks", "trainers", "verifiers", "vault", "fees", "court", "jury", "faults",
    "settlements",
)  # fmt: skip
"""Contracts by their name in `Modules`, in the order of deployment: nonce after nonce of one account."""

UNIT = 10**18


@dataclass(frozen=True)
class Settings:
    """What a deployment fixes for ever. Amounts in the stake token's smallest unit, times in seconds."""

    unbonding_seconds: int = 7 * 24 * 3600
    beacon_delay_blocks: int = 1
    demand_bond: int = 10 * UNIT
    winner_bps: int = 5_000
    answer_seconds: int = 24 * 3600
    case_bond: int = 100 * UNIT
    seats: int = 21
    juror_bps: int = 4_000
    juror_absence_bps: int = 5
    wrong_vote_bps: int = 500
    vote_seconds: int = 6 * 3600
    appeal_seconds: int = 6 * 3600
    juror_activation_seconds: int = 24 * 3600

    @property
    def court(self) -> tuple[int, ...]:
        """`IDisputeCourt.CourtParams`."""
        return (self.demand_bond, self.winner_bps, self.answer_seconds)

    @property
    def jury(self) -> tuple[int, ...]:
        """`IJury.JuryParams`."""
        return (
            self.case_bond,
            self.seats,
            self.juror_bps,
            self.juror_absence_bps,
            self.wrong_vote_bps,
            self.vote_seconds,
            self.appeal_seconds,
            self.juror_activation_seconds,
        )


@dataclass(frozen=True)
class Deployment:
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
        project.StakeRegistry.deploy(modules, token.address, settings.unbonding_seconds, sender),
        project.BlockhashBeacon.deploy(settings.beacon_delay_blocks, sender),
        project.TaskTerms.deploy(modules, deployer, sender),
        project.TaskManager.deploy(modules, sender),
        project.TrainerPool.deploy(modules, sender),
        project.VerifierPool.deploy(modules, sender),
        project.RewardVault.deploy(modules, sender),
        project.VerifierFees.deploy(modules, sender),
        project.DisputeCourt.deploy(modules, settings.court, sender),
        project.Jury.deploy(modules, settings.jury, sender),
        project.FaultProver.deploy(modules, sender),
        project.SettlementProver.deploy(modules, sender),
    )
    for contract, address in zip(made, modules, strict=True):
        if contract.address != address:
            raise RuntimeError(f"{contract._name} is at {contract.address}, the set says {address}")
    return Deployment(token, *made)
