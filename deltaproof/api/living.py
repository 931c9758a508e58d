"""Starts a role, in one task or in many, and keeps it alive: outages at the start are waited out, and what it does can
be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deltaproof.agent.fleet import Fetch, Fleet
from deltaproof.agent.limits import NO_LIMITS, DiskLimit, Limits, limit_memory
from deltaproof.agent.lookout import Lookout
from deltaproof.agent.loop import Agent
from deltaproof.agent.patience import HOPELESS, IDLE_POLL_SECONDS, insist
from deltaproof.agent.policy import load_policy
from deltaproof.agent.watching import Observed, serve_health
from deltaproof.agent.witness import Witness
from deltaproof.api.connecting import open_gateway, parse_depth, stores
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.announced import Stores
from deltaproof.chain.offers import Offer
from deltaproof.chain.rpc.endpoints import Endpoints
from deltaproof.errors import InsufficientFunds, OverLimit, UsageError, is_out_of_memory
from deltaproof.protocol.types import Address, TaskId, TokenAmount
from deltaproof.reporting import Reporter
from deltaproof.tuning.errors import CodecError, MethodError, NarrowingError

__all__ = ["Between", "Make", "Settings", "count_calls", "live", "live_by_choice", "observing"]

Make = Callable[[Gateway, TaskId, Reporter], Agent]
"""The agent of one task."""
Between = Callable[[Gateway, Reporter], Callable[[int], None]]
"""What an account minds while it is at work in no task, told the chain's time."""
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
    witness: str = ""
    confirmations: str = ""
    poll: float = IDLE_POLL_SECONDS
    max_gas_gwei: float | None = None
    health_port: int | None = None
    task: int | None = None
    policy: Path | None = None
    drand: str = ""
    limits: Limits = NO_LIMITS


def live(settings: Settings, report: Reporter, make: Make) -> None:
    """Make the agent of one task and let it live until nothing is left to do. Raises what no waiting mends."""
    task = settings.task
    assert task is not None
    with _seen(settings, report, make) as (gateway, observed, made):
        agent = insist(lambda: made(TaskId(task), observed), "starting", gateway.account, observed, _UNFIT)
        agent.lookout.witness = _witness(settings, gateway, observed)
        agent.live()


def live_by_choice(
    settings: Settings,
    report: Reporter,
    make: Make,
    *,
    role: Role,
    store: str,
    stake: Callable[[Gateway], TokenAmount | None] = lambda gateway: None,
    between: Between = lambda gateway, report: lambda now: None,
) -> None:
    """One task if the settings name one, else every task that fits their policy, until the process is asked to end.

    `store`: what `--store` says, empty for what each task's sponsor announced. `between`: see `Fleet`.

    Raises UsageError if they say neither or both.
    """
    if settings.task is not None and settings.policy is not None:
        raise UsageError("say --task N or --policy FILE, not both (DELTAPROOF_TASK and DELTAPROOF_POLICY count, too)")
    if settings.task is not None:
        return live(settings, report, make)
    if settings.policy is None:
        raise UsageError(
            "say which task: --task N; or which tasks fit: --policy FILE "
            "(`deltaproof agent policy FILE --init` writes one)"
        )
    policy, limits = load_policy(settings.policy), settings.limits
    # The workers of each task are processes of their own.
    limits = replace(limits, processes=1 + policy.most_tasks * (limits.processes - 1))
    with _seen(replace(settings, limits=limits), report, make) as (gateway, observed, made):
        lookout = Lookout(gateway.connection, parse_depth(settings.confirmations))
        lookout.witness = _witness(settings, gateway, observed)
        locked = insist(lambda: stake(gateway), "reading the stake token", gateway.account, observed, HOPELESS)
        store_of = stores(store, gateway)
        Fleet(
            gateway, store_of, role, policy, made, observed, lookout,
            stake=locked, poll_seconds=settings.poll, unfit=_UNFIT, between=between(gateway, observed),
            fetch=_fetching(store_of, gateway.account if role is Role.TRAINER else None, policy.work.most_model_gb),
        ).live()  # fmt: skip


def _fetching(store_of: Stores, trainer: Address | None, most_gb: float) -> Fetch:
    """Fetches the models of a task, of one that is still to be joined only if they are no larger than that."""

    def fetch(offer: Offer, joins: bool, report: Reporter) -> None:
        from deltaproof.replaying.estimate import weights_bytes
        from deltaproof.tuning.base_models.loading import resolve_source
        from deltaproof.tuning.emulators.fetching import fetch_models

        spec = offer.spec
        if spec is None:  # what makes the agent says why
            return
        if joins and (size := weights_bytes(spec, trainer) / 1e9) > most_gb:
            raise UsageError(
                f"its model has {size:.1f} GB of weights, and the policy takes {most_gb:g} at most: "
                "raise most_model_gb in [work]"
            )
        fetch_models(store_of(offer.number), spec, trainer, report)
        if trainer is None and spec.federation is not None and spec.federation.source.startswith("hub:"):
            resolve_source(spec.federation.source, report)  # values are measured on the full model

    return fetch


def observing(report: Reporter, role: str, home: Path, health_port: int | None) -> Observed:
    """Who keeps log, status and metrics of a role in its home, and serves them if there is a port.

    Raises UsageError if the port is taken.
    """
    observed = Observed(report, role, home)
    if health_port is not None:
        try:
            serve_health(observed, health_port)
        except OSError as error:
            raise UsageError(f"--health-port {health_port}: {error.strerror}") from error
    return observed


def count_calls(gateway: Gateway, observed: Observed) -> None:
    """Let the RPC calls of a gateway be counted in the metrics."""
    provider = gateway.connection.web3.provider
    assert isinstance(provider, Endpoints)
    provider.counter = observed.counted_call


@contextmanager
def _seen(
    settings: Settings, report: Reporter, make: Make
) -> Iterator[tuple[Gateway, Observed, Callable[[TaskId, Reporter], Agent]]]:
    """The chain behind the settings, somebody who keeps log, status and metrics of what is done on it, and who makes
    agents within the limits."""
    parse_depth(settings.confirmations)
    limits = settings.limits
    disk = DiskLimit(settings.home, limits.disk)
    if limits.memory is not None:
        limit_memory(limits.memory, limits.processes)
    observed = observing(report, settings.role, settings.home, settings.health_port)
    gas = settings.max_gas_gwei
    with open_gateway(
        settings.rpc, settings.contract, settings.key, max_gas_gwei=gas, wait=observed, drand=settings.drand
    ) as gateway:
        count_calls(gateway, observed)
        if limits.stake is not None:
            most = limits.stake
            gateway.max_stake = insist(
                lambda: most.within(gateway.money(gateway.registry.token())),
                "reading the stake token", gateway.account, observed, HOPELESS,
            )  # fmt: skip

        def made(task: TaskId, told: Reporter) -> Agent:
            agent = _made(lambda: make(gateway, task, told), limits)
            agent.looked, agent.disk = observed.looked, disk
            return agent

        yield gateway, observed, made


def _made(make: Callable[[], Agent], limits: Limits) -> Agent:
    """The agent. Raises UsageError where the memory that it is allowed does not even hold what it works with."""
    try:
        return make()
    except (MemoryError, RuntimeError) as error:
        if limits.memory is None or not is_out_of_memory(error):
            raise
        raise UsageError(
            f"the task's model does not fit into --max-memory {limits.memory:g}: {error}; raise it, "
            "use fewer --workers, or take another task (deltaproof doctor --task N measures what one needs)"
        ) from error


def _witness(settings: Settings, gateway: Gateway, report: Reporter) -> Witness | None:
    return Witness(settings.witness, gateway.connection, report) if settings.witness else None
