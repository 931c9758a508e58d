"""Starts a role and keeps it alive: outages at the start are waited out, and what it does can be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deltaproof.agent.limits import NO_LIMITS, DiskLimit, Limits, limit_memory
from deltaproof.agent.loop import Agent
from deltaproof.agent.patience import HOPELESS, insist
from deltaproof.agent.watching import Observed, serve_health
from deltaproof.agent.witness import Witness
from deltaproof.chain import Gateway
from deltaproof.chain.rpc.endpoints import Endpoints
from deltaproof.cli.connect import open_gateway, parse_depth
from deltaproof.errors import InsufficientFunds, OverLimit, UsageError, is_out_of_memory
from deltaproof.reporting import Reporter
from deltaproof.tuning.errors import CodecError, MethodError, NarrowingError

__all__ = ["Settings", "live"]


_UNFIT = (*HOPELESS, InsufficientFunds, OverLimit, MethodError, CodecError, NarrowingError)
"""What keeps a role from a task: besides what no waiting mends, a stake that it cannot pay, and terms that no
machine can compute."""


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
    limits: Limits = NO_LIMITS


def live(settings: Settings, report: Reporter, make: Callable[[Gateway, Reporter], Agent]) -> None:
    """Make the agent and let it live until nothing is left to do. Raises what no waiting mends."""
    parse_depth(settings.confirmations)
    limits = settings.limits
    disk = DiskLimit(settings.home, limits.disk)
    if limits.memory is not None:
        limit_memory(limits.memory, limits.processes)
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
        agent = insist(lambda: _made(make, gateway, observed, limits), "starting", gateway.account, observed, _UNFIT)
        agent.looked, agent.disk = observed.looked, disk
        if settings.witness:
            agent.lookout.witness = Witness(settings.witness, gateway.connection, observed)
        agent.live()


def _made(make: Callable[[Gateway, Reporter], Agent], gateway: Gateway, report: Reporter, limits: Limits) -> Agent:
    """The agent. Raises UsageError where the memory that it is allowed does not even hold what it works with."""
    if limits.stake is not None:
        gateway.max_stake = limits.stake.within(gateway.money(gateway.registry.token()))
    try:
        return make(gateway, report)
    except (MemoryError, RuntimeError) as error:
        if limits.memory is None or not is_out_of_memory(error):
            raise
        raise UsageError(
            f"the task's model does not fit into --max-memory {limits.memory:g}: {error}; raise it, "
            "use fewer --workers, or take another task (deltaproof doctor --task N measures what one needs)"
        ) from error
