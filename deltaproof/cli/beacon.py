"""`deltaproof beacon show`, `publish`, `serve`: where seeds come from, and bringing them to the chain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.api.connecting import open_gateway, read_only_gateway
from deltaproof.cli.common import (
    ContractOption,
    DrandOption,
    JsonOption,
    KeyOption,
    RpcOption,
    show_result,
)
from deltaproof.cli.reporting import reporter
from deltaproof.errors import ChainUnavailable, UsageError
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from deltaproof.chain import Gateway
    from deltaproof.chain.abi.structs import BeaconNetwork
    from deltaproof.cli.documents.machines import BlockhashBeacon, PublishedRounds

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Where seeds come from, and bringing rounds of drand to the chain.")

LATEST_REQUESTS = 64
"""How many of the newest requests are looked at: rounds and votes wait for one each."""


@app.callback()
def beacon() -> None:
    """Where seeds come from, and bringing rounds of drand to the chain."""


@app.command("show")
def show(rpc: RpcOption, contract: ContractOption, as_json: JsonOption = False) -> None:
    """Which beacon the contracts draw seeds from, and which rounds of drand are missing."""
    from deltaproof.protocol.commit.drand import EVMNET
    from deltaproof.protocol.types import hex_of

    gateway = read_only_gateway(rpc, contract)
    network = gateway.beacon.network
    if network is None:
        kind: BlockhashBeacon = {"beacon": "blockhash", "contract": gateway.beacon.address}
        return show_result(kind, as_json=as_json, text=f"seeds are hashes of later blocks ({gateway.beacon.address})")
    missing = _missing(gateway, network)
    known = network.drand == EVMNET
    lines = [
        f"seeds are rounds of drand ({gateway.beacon.address}): "
        + ("evmnet of the League of Entropy" if known else "a network of somebody's own, who knows them in advance"),
        f"  chain {hex_of(network.chain_hash)}, a round every {network.period} s",
        f"  a request waits for a round {network.lead_seconds} s ahead, at most {network.patience_seconds} s for it",
        f"  rounds to publish: {', '.join(map(str, missing)) or 'none'}",
    ]
    result = {
        "beacon": "drand", "contract": gateway.beacon.address, "evmnet": known, "missing": missing,
        "network": network.drand.info(), "lead_seconds": network.lead_seconds,
        "patience_seconds": network.patience_seconds,
    }  # fmt: skip
    return show_result(result, as_json=as_json, text="\n".join(lines))


@app.command("publish")
def publish(
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    rounds: Annotated[
        list[int] | None, typer.Option("--round", help="Round of drand; by default those that requests wait for.")
    ] = None,
    drand: DrandOption = "",
    watch: Annotated[float, typer.Option("--watch", help="Look again after so many seconds, for ever.", min=0)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Fetch rounds of drand, check their signatures, and bring them to the chain. Anyone may.

    Sponsors and verifiers do this while they run; this is for when none of them does. A round that is published
    already costs nothing.
    """
    from deltaproof.chain.seeds import publish_round

    report = reporter(as_json)
    with open_gateway(rpc, contract, key, drand=drand) as gateway:
        network = gateway.beacon.network
        if network is None:
            raise UsageError("these contracts draw seeds from blocks; there is nothing to publish")
        while True:
            done: list[int] = []
            for round_ in rounds or _missing(gateway, network):
                try:
                    publish_round(gateway, network, round_)
                except ChainUnavailable as error:
                    if not watch:
                        raise
                    report("delayed", str(error), round=round_)
                    continue
                report("published", f"round {round_} of drand is on chain", round=round_)
                done.append(round_)
            if not watch:
                break
            time.sleep(watch)
    told: PublishedRounds = {"published": done}
    show_result(told, as_json=as_json, text=f"{counted(len(done), 'round')} published")


@app.command("serve")
def serve(
    home: Annotated[Path, typer.Option("--home", help="Folder that keeps the network's secret.", metavar="FOLDER")],
    period: Annotated[int, typer.Option(help="Seconds from one round to the next.", min=1)] = 3,
    genesis: Annotated[
        int | None, typer.Option(help="Unix seconds of the first round; the same at every start. Default: now.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; a free one if left out.", min=0, max=65_535)] = 0,
    as_json: JsonOption = False,
) -> None:
    """A drand network of one, for tests: it signs every round by itself, until Ctrl-C.

    Whoever holds its secret knows all seeds in advance. `deltaproof deploy --beacon drand --drand-network URL` uses it.
    """
    from deltaproof.chain.drand_node import DrandNode, serving
    from deltaproof.protocol.commit.bls import SecretKey
    from deltaproof.protocol.commit.secrets import HomeSecret

    report = reporter(as_json)
    secret = SecretKey.from_seed(HomeSecret.of(home).derive("drand network of one"))
    node = DrandNode(secret, int(time.time()) if genesis is None else genesis, period)
    try:
        with serving(node, port) as url:
            text = f"a network of one answers at {url}, genesis {node.network.genesis}"
            report("ready", text, url=url, info=node.network.info())
            while True:
                time.sleep(3600)
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}") from error


def _missing(gateway: Gateway, network: BeaconNetwork) -> list[int]:
    from deltaproof.chain.seeds import due_rounds

    newest = gateway.beacon.request_count()
    requests: Sequence[int] = range(max(1, newest - LATEST_REQUESTS + 1), newest + 1)
    return due_rounds(gateway, network, requests, gateway.connection.timestamp())
