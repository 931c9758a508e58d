"""`deltaproof store`: a store that strangers can share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof import __version__
from deltaproof.api.connecting import read_only_gateway
from deltaproof.cli.common import ContractOption, JsonOption, NeededStoreOption, RpcOption
from deltaproof.cli.reporting import reporter
from deltaproof.errors import EncodingError, UsageError
from deltaproof.extras import need

if TYPE_CHECKING:
    from deltaproof.protocol.types import Address

__all__ = ["app", "named_sponsors"]

app = typer.Typer(no_args_is_help=True, help="A store that strangers can share.")

MEBIBYTE = 2**20


@app.callback()
def store_commands() -> None:
    """A store that strangers can share."""


@app.command("serve")
def serve(
    rpc: RpcOption,
    contract: ContractOption,
    store: NeededStoreOption,
    home: Annotated[
        Path, typer.Option("--home", help="Folder for unfinished uploads and the ledger of who wrote what.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for everybody.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.", min=0, max=65_535)] = 8700,
    archive: Annotated[
        str, typer.Option(help="Folder or URL that artifacts go to when their time is over. By default they go away.")
    ] = "",
    keep_days: Annotated[
        float, typer.Option(help="How long artifacts stay after the last claim and slashing of their tasks.", min=0)
    ] = 30.0,
    max_artifact: Annotated[int, typer.Option(help="Largest artifact, MiB, whatever a task allows.", min=1)] = 1_024,
    sponsors: Annotated[
        str, typer.Option(help="Addresses of sponsors whose tasks are served, separated by commas; by default all.")
    ] = "",
    reads_per_second: Annotated[float, typer.Option(help="Reads that one address may make.", min=0.1)] = 200.0,
    writes_per_second: Annotated[float, typer.Option(help="Writes that one address may make.", min=0.1)] = 50.0,
    connections: Annotated[int, typer.Option(help="Most connections at once.", min=1)] = 1_024,
    connections_per_address: Annotated[int, typer.Option(help="Most connections of one address.", min=1)] = 256,
    proxies: Annotated[
        str, typer.Option(help="Addresses of proxies whose X-Forwarded-For is believed, separated by commas.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Serve a folder or bucket to everybody over HTTP: anybody reads, and who has a role in a task writes.

    Participants give its URL as `--store http://host:port`. It needs no key. Put a proxy with TLS before it on the
    open network; see docs/gateway.md.
    """
    need("uvicorn", "fastapi", "prometheus_client")
    from deltaproof.gateway.server import GatewayOptions, StoreServer
    from deltaproof.gateway.traffic import ConnectionLimits

    if connections_per_address > connections:
        raise UsageError("--connections-per-address cannot be more than --connections")
    options = GatewayOptions(
        store=store,
        home=home,
        version=__version__,
        archive=archive,
        keep_seconds=keep_days * 86_400,
        max_artifact_bytes=max_artifact * MEBIBYTE,
        sponsors=named_sponsors(sponsors),
        reads_per_second=reads_per_second,
        writes_per_second=writes_per_second,
        connections=ConnectionLimits(connections, connections_per_address),
        proxies=proxies,
    )
    report = reporter(as_json)

    def ready(bound: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        report("ready", f"store of {contract} at http://{shown}:{bound}", url=f"http://{shown}:{bound}")

    StoreServer(read_only_gateway(rpc, contract), options, host, port).serve(ready)


def named_sponsors(text: str) -> frozenset[Address]:
    """Addresses separated by commas; none for no text. Raises UsageError."""
    from deltaproof.protocol.types import address

    try:
        return frozenset(address(part.strip()) for part in text.split(",")) if text else frozenset()
    except EncodingError as error:
        raise UsageError(f"--sponsors {text!r}: {error}") from error
