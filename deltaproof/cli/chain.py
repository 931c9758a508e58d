"""`deltaproof chain up`, `deploy`, `faucet`: a chain of one's own, and the contracts on any chain."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deltaproof.api.connecting import open_gateway, parse_address
from deltaproof.cli.amounts import AMOUNT, YesOption, agreed
from deltaproof.cli.common import (
    ContractOption,
    GasPriceOption,
    JsonOption,
    KeyOption,
    RpcOption,
    console,
    show_result,
    told_on_stderr,
)
from deltaproof.cli.interrupts import say_when_stopped
from deltaproof.cli.reporting import reporter
from deltaproof.errors import UsageError

if TYPE_CHECKING:
    from deltaproof.chain import Receipt, TransactionSender
    from deltaproof.chain.contracts.begun import DeploymentNote
    from deltaproof.cli.documents.machines import Minted, PricedDeployment

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
        int,
        typer.Option(
            help="Seconds between blocks; with Anvil each transaction makes one at once, besides. 0: no others, and a "
            "clock that stands still in between, so that no phase ends by its deadline.",
            min=0,
        ),
    ] = 1,
    state: Annotated[
        Path | None, typer.Option(help="Folder to keep the chain in; a later `chain up` goes on from it.")
    ] = None,
    contracts: Annotated[
        bool,
        typer.Option(
            "--contracts",
            help="Deploy the contracts, too, and give each account demo tokens. A chain that was kept goes on with "
            "its own.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run Anvil or Ganache until Ctrl-C.

    Prints the RPC URL and the development accounts with their private keys. Those keys are public knowledge: never
    send real money to them. A key goes into a file of its own, which other commands take as `--key`.
    """
    from eth_account import Account

    from deltaproof.chain.local_node import NodeError, start_node

    report = reporter(as_json)
    node = start_node(
        kind, port=port, chain_id=chain_id, accounts=accounts, block_time_seconds=block_time or None, state_dir=state
    )
    with node:
        place: dict[str, str] = {}
        if state is None:
            say_when_stopped("the chain is gone: --state FOLDER keeps the next one")
        if contracts:
            from deltaproof.api.local import demo_contracts

            wait = ": a block each, about half a minute" if kind == "ganache" else ""
            kept = state / f"{kind}-deployment.json" if state is not None else None
            deployment = demo_contracts(
                node.rpc_url, node.private_keys, kept, lambda: typer.echo(f"deploying the contracts{wait}", err=True)
            )
            place["contract"] = str(deployment.modules.tasks)
        text = f"{kind} answers at {node.rpc_url} (chain {chain_id})"
        keys = list(node.private_keys)
        owners = [str(Account.from_key(key).address) for key in keys]
        report("ready", text, rpc_url=node.rpc_url, chain_id=chain_id, accounts=owners, private_keys=keys, **place)
        if not as_json:
            console.print("accounts with their private keys, which everybody knows:")
            for owner, key in zip(owners, keys, strict=True):
                console.print(f"  {owner}  {key}", style="dim", soft_wrap=True)
            if place:
                said = f"export DELTAPROOF_RPC={node.rpc_url} DELTAPROOF_CONTRACT={place['contract']}"
                console.print(f"use it: {said}", soft_wrap=True)
            console.print("Ctrl-C ends it." if state else "Ctrl-C ends it; only --state FOLDER keeps a chain.")
        while node.process.poll() is None:
            time.sleep(0.2)
        raise NodeError(
            f"{kind} ended by itself, with status {node.process.returncode}; the same command starts it again"
        )


def _made_before(note: DeploymentNote, sender: TransactionSender) -> int | None:
    """How many contracts a deployment that was broken off has made, also told to a person; None if there is nothing to
    go on with."""
    from deltaproof.chain.contracts.bytecode import CONTRACTS

    if (begun := note.read()) is None:
        return None
    if (made := begun.made(sender.connection, sender.address)) is None:
        told_on_stderr(
            "anew",
            "begins anew: of the deployment that was broken off a contract is lacking, or its key sent something else",
        )
    else:
        done = f"{made} of {len(CONTRACTS)} contracts are made"
        told_on_stderr("goes-on", f"goes on with a deployment that was broken off: {done}")
    return made


def deploy(
    rpc: RpcOption,
    key: KeyOption,
    out: Annotated[Path | None, typer.Option(help="File for the addresses, JSON.")] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="ERC-20 that is staked; or `demo`, a new token that anybody may mint, which a test chain gets if "
            "nothing is said.",
            metavar="ADDRESS|demo",
        ),
    ] = None,
    unbonding_days: Annotated[
        float,
        typer.Option(
            help="Delay before stake can leave: no shorter than a case with all its appeals, three days.", min=0.0001
        ),
    ] = 7.0,
    beacon: Annotated[
        Literal["blockhash", "drand"], typer.Option(help="Where seeds come from; see docs/beacons.md.")
    ] = "blockhash",
    drand_network: Annotated[
        str,
        typer.Option(
            "--drand-network",
            help="URL of a relay, or a file with its /info: another network than evmnet of the League of Entropy. "
            "Whoever holds its key knows every seed in advance.",
            metavar="SOURCE",
        ),
    ] = "",
    drand_lead: Annotated[
        int | None,
        typer.Option(
            help="Seconds from a request to the round that decides; longer than clocks differ. Default: 30.", min=1
        ),
    ] = None,
    drand_patience_days: Annotated[
        float | None,
        typer.Option(help="How long a round may stay unpublished before a block decides. Default: 3.", min=0.0001),
    ] = None,
    max_gas_price: GasPriceOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check token, terms and balance, say what it costs, and send nothing.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deploy all contracts.

    The deployer becomes guardian, who may pause new tasks, and new rounds for a week, and nothing else.

    What all of it costs is looked at first, and on a chain that is no test chain a person at a terminal is asked. A
    deployment that is broken off is gone on with by the same command, as long as the key sends nothing else in between.
    """
    from deltaproof.chain import (
        Deployment,
        DeployParams,
        Gateway,
        SenderPolicy,
        TransactionSender,
        connect,
        deploy_all,
        load_signer,
    )
    from deltaproof.chain.abi.structs import BeaconNetwork
    from deltaproof.chain.contracts.begun import DeploymentNote
    from deltaproof.chain.contracts.deploying import PLAY_TOKEN, deployment_gas, price_deployment, stake_token
    from deltaproof.chain.contracts.deployment import DRAND_LEAD_SECONDS, DRAND_PATIENCE_SECONDS
    from deltaproof.chain.rpc.blocks import LOCAL_CHAINS
    from deltaproof.chain.rpc.fees import coins
    from deltaproof.chain.rpc.relays import network_at
    from deltaproof.protocol.commit.drand import EVMNET
    from deltaproof.protocol.types import address

    if drand_network and beacon != "drand":
        raise UsageError("--drand-network goes with --beacon drand")
    network = network_at(drand_network) if drand_network else EVMNET
    patience = DRAND_PATIENCE_SECONDS if drand_patience_days is None else int(drand_patience_days * 86_400)
    terms = BeaconNetwork.of(network, drand_lead or DRAND_LEAD_SECONDS, patience)
    named = token if not token or token == PLAY_TOKEN else parse_address(token, "--token")
    if out is not None:
        Deployment.require_place(out)
    connection = connect(rpc)
    account = load_signer(key)
    params = DeployParams(
        guardian=address(account.address),
        stake_token=stake_token(named, connection.chain_id),
        unbonding_seconds=int(unbonding_days * 86_400),
        drand=terms if beacon == "drand" else None,
    )
    policy = SenderPolicy(max_fee_wei=None if max_gas_price is None else int(max_gas_price * 10**9))
    paid = 0

    def made(name: str, receipt: Receipt) -> None:
        nonlocal paid
        paid += receipt.fee_wei
        told_on_stderr("made", f"{name} is made, {coins(paid)} of the chain's coin paid so far")

    with TransactionSender(connection, account, policy=policy) as sender:
        note = DeploymentNote(sender, params)
        there = _made_before(note, sender)
        fee, gas = price_deployment(connection, sender, params, there), deployment_gas(params, there)
        cost = f"about {coins(fee)} of the chain's coin at today's price, for {gas:,} gas"
        if dry_run:
            plan: PricedDeployment = {
                "chain_id": connection.chain_id,
                "gas": gas,
                "fee": str(fee),
                "account": account.address,
                "dry_run": True,
            }
            text = f"{account.address} can deploy on chain {connection.chain_id}: {cost}; nothing was sent"
            show_result(plan, as_json=as_json, text=text)
            return
        if connection.chain_id not in LOCAL_CHAINS:
            agreed(f"deploy on chain {connection.chain_id} for {cost}", yes=yes, as_json=as_json)
        deployment = deploy_all(connection, sender, params, made, note)
        staked = Gateway(connection, deployment, sender).registry.token()
    if out is not None:
        deployment.save(out)
    modules = asdict(deployment.modules)
    lines = [f"deployed on chain {deployment.chain_id}"]
    lines += [f"  {name:<11} {place}" for name, place in modules.items()]
    lines.append(f"  stake token {staked}")
    lines.append(f"use it: export DELTAPROOF_RPC={rpc} DELTAPROOF_CONTRACT={modules['tasks']}")
    show_result({"chain_id": deployment.chain_id, **modules, "token": staked}, as_json=as_json, text="\n".join(lines))


def faucet(
    rpc: RpcOption,
    key: KeyOption,
    contract: ContractOption,
    accounts: Annotated[list[str], typer.Argument(help="Addresses that get tokens.")],
    amount: Annotated[str, typer.Option(help="Tokens for each, such as 500 or 0.5.", metavar=AMOUNT)] = "1000",
    as_json: JsonOption = False,
) -> None:
    """Mint demo tokens, where they are what is staked: on a test chain, or after `deploy --token demo`.

    Real tokens have no faucet.
    """
    from deltaproof.chain.contracts.money import Amount

    asked, receivers = Amount.read(amount, "--amount"), [parse_address(account, "ACCOUNTS") for account in accounts]
    with open_gateway(rpc, contract, key) as gateway:
        token = gateway.token(gateway.registry.token())
        money = gateway.money(token.address)
        units = asked.positive(money)
        for account in receivers:
            token.mint(account, units)
    result: Minted = {"token": token.address, "amount": str(units), "accounts": [*receivers]}
    text = f"minted {money.text(units)} for each of {len(receivers)} ({token.address})"
    show_result(result, as_json=as_json, text=text)
