"""`deltaproof chain up`, `deploy`, `faucet`: a chain of one's own, and the contracts on any chain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from deltaproof.chain_node import start_node
from deltaproof.cli.common import ContractOption, JsonOption, KeyOption, RpcOption, console
from deltaproof.reporting import reporter

__all__ = ["app", "deploy", "faucet"]

app = typer.Typer(no_args_is_help=True, help="A private chain on this machine.")


@app.callback()
def chain() -> None:
    """A private chain on this machine."""


@app.command("up")
def up(
    kind: Annotated[Literal["anvil", "ganache"], typer.Option(help="Which node to run.")] = "anvil",
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; a free one if left out.", min=1, max=65535)
    ] = None,
    accounts: Annotated[int, typer.Option(help="Funded development accounts.", min=1, max=1000)] = 10,
    chain_id: Annotated[int, typer.Option(help="Chain id.", min=1)] = 31337,
    block_time: Annotated[
        int | None, typer.Option(help="Seconds between blocks; left out, every transaction makes a block.", min=1)
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder to keep the chain in; a later `chain up` goes on from it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run Anvil or Ganache until Ctrl-C.

    Prints the RPC URL and the development keys. Those keys are public knowledge: never send real money to them.
    """
    report = reporter(as_json)
    node = start_node(
        kind, port=port, chain_id=chain_id, accounts=accounts, block_time_seconds=block_time, state_dir=state
    )
    with node:
        report("ready", f"{kind} answers at {node.rpc_url} (chain {chain_id})", rpc_url=node.rpc_url, chain_id=chain_id)
        if not as_json:
            for index, key in enumerate(node.private_keys):
                console.print(f"  key {index}: {key}", style="dim")
            console.print("Ctrl-C ends it.")
        while node.process.poll() is None:
            time.sleep(0.2)


def deploy(
    rpc: RpcOption,
    key: KeyOption,
    out: Annotated[Path | None, typer.Option(help="File for the addresses, JSON.")] = None,
    token: Annotated[
        str | None, typer.Option(help="ERC-20 that is staked; left out, a token with a public faucet is deployed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy all contracts. The deployer keeps no power over anybody's money."""
    raise NotImplementedError


def faucet(
    rpc: RpcOption,
    key: KeyOption,
    contract: ContractOption,
    accounts: Annotated[list[str], typer.Argument(help="Addresses that get tokens.")],
    amount: Annotated[int, typer.Option(help="Amount for each, smallest units.", min=1)] = 1000 * 10**18,
    as_json: JsonOption = False,
) -> None:
    """Mint demo tokens on a local chain. Real tokens have no faucet."""
    raise NotImplementedError
