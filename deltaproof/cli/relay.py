"""`deltaproof relay run`: bring what trainers sign to the chain, and pay the gas."""

from __future__ import annotations

from typing import Annotated

import typer

from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.cli.common import (
    ConfirmationsOption,
    ContractOption,
    GasPriceOption,
    HealthOption,
    HomeOption,
    JsonOption,
    KeyOption,
    PollOption,
    RpcOption,
    StoreOption,
    WitnessOption,
)
from deltaproof.cli.reporting import reporter
from deltaproof.extras import need

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Bring others' commitments, reveals and claims to the chain, and pay the gas."
)


@app.callback()
def relay() -> None:
    """A relayer's working life."""


@app.command()
def run(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    task: Annotated[list[int], typer.Option("--task", help="Number of a task to serve; may be given several times.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for everybody.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.", min=0, max=65_535)] = 8800,
    gather: Annotated[
        float, typer.Option(help="How many seconds the first commitment or reveal waits for others.", min=0)
    ] = 15.0,
    claims: Annotated[bool, typer.Option(help="Also claim the pay of those whose commitments came in batches.")] = True,
    requests_per_second: Annotated[float, typer.Option(help="Requests that one address may make.", min=0.1)] = 20.0,
    connections: Annotated[int, typer.Option(help="Most connections at once.", min=1)] = 512,
    proxies: Annotated[
        str, typer.Option(help="Addresses of proxies whose X-Forwarded-For is believed, separated by commas.")
    ] = "",
    witness: WitnessOption = "",
    confirmations: ConfirmationsOption = "",
    poll: PollOption = IDLE_POLL_SECONDS,
    max_gas_price: GasPriceOption = None,
    health_port: HealthOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring trainers' commitments and reveals in batches, claim their pay, and pay the gas of all of it.

    Trainers give its URL as `--relay http://host:port`. The contracts pay a relayer nothing: it is a gift of the
    sponsor, or of anybody. It serves enrolled trainers of its tasks only, needs no stake, and can lose nothing but gas;
    nothing that it does or leaves undone costs a trainer its bond. Put a proxy with TLS before it on the open network.
    """
    need("uvicorn", "fastapi", "prometheus_client")
    from deltaproof import __version__
    from deltaproof.api.relaying import RelaySettings, relay_tasks

    settings = RelaySettings(
        rpc, contract, store, key, home, tuple(task), host, port, gather, claims, requests_per_second, connections,
        proxies, witness, confirmations, poll, max_gas_price, health_port, __version__,
    )  # fmt: skip
    relay_tasks(settings, reporter(as_json))
