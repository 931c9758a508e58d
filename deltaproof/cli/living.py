"""Starts a role and keeps it alive: outages at the start are waited out, and what it does can be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deltaproof.agent.loop import Agent
from deltaproof.agent.patience import HOPELESS, insist
from deltaproof.agent.watching import Observed, serve_health
from deltaproof.agent.witness import Witness
from deltaproof.chain import Gateway
from deltaproof.chain.rpc.endpoints import Endpoints
from deltaproof.cli.connect import open_gateway, parse_depth
from deltaproof.errors import UsageError
from deltaproof.reporting import Reporter
from deltaproof.tuning.errors import CodecError, MethodError, NarrowingError

__all__ = ["Settings", "live"]


_UNFIT = (*HOPELESS, MethodError, CodecError, NarrowingError)
"""What keeps a role from a task for good: besides what no waiting mends, terms that no machine can compute."""


@dataclass(frozen=True)
class Settings:
    """What all roles are told alike."""

    role: str
    rpc: str
    contract: str
    key: str
    home: Path
    witness: str
    confirmations: str
    max_gas_gwei: float | None
    health_port: int | None
    drand: str = ""


def live(settings: Settings, report: Reporter, make: Callable[[Gateway, Reporter], Agent]) -> None:
    """Make the agent and let it live until nothing is left to do. Raises what no waiting mends."""
    parse_depth(settings.confirmations)
    observed = Observed(report, settings.role, settings.home)
    if settings.health_port is not None:
        try:
            serve_health(observed, settings.health_port)
        except OSError as error:
            raise UsageError(f"--health-port {settings.health_port}: {error.strerror}") from error
    gas = settings.max_gas_gwei
    with open_gateway(
        settings.rpc, settings.contract, settings.key, max_gas_gwei=gas, wait=observed, drand=settings.drand
    ) as gateway:
        provider = gateway.connection.web3.provider
        assert isinstance(provider, Endpoints)
        provider.counter = observed.counted_call
        agent = insist(lambda: make(gateway, observed), "starting", gateway.account, observed, _UNFIT)
        agent.looked = observed.looked
        if settings.witness:
            agent.witness = Witness(settings.witness, gateway.connection, observed)
        agent.live()
