"""Making a deployment: twelve contracts, and where nobody names a token one for play, from one key.

The contracts know each other by immutable addresses, computed from the deployer's nonces before the first of them
exists; each constructor refuses another place than its own. So a deployment that was broken off is gone on with as
long as its key sends nothing else, and what it costs in all is looked at before the first contract is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.abi.structs import Modules
from deltaproof.chain.contracts.begun import DeploymentNote, modules_from, next_nonce
from deltaproof.chain.contracts.deployment import Deployment, DeployParams
from deltaproof.chain.contracts.registry import Token
from deltaproof.chain.rpc.blocks import LOCAL_CHAINS
from deltaproof.chain.rpc.connection import Connection
from deltaproof.chain.rpc.sender import Receipt, TransactionSender
from deltaproof.errors import ChainError, ChainUnavailable, DeploymentError
from deltaproof.protocol.types import Address, address

__all__ = ["PLAY_TOKEN", "deploy_all", "deployment_gas", "price_deployment", "stake_token"]

PLAY_TOKEN = "demo"
"""What asks for the demo token by name."""
CREATION_GAS = 21_000 + 32_000
"""Of a transaction, and of the contract that it creates (EIP-2)."""
CODE_BYTE_GAS, WORD_GAS, ZERO_BYTE_GAS, OTHER_BYTE_GAS = 200, 2, 4, 16
"""A byte of code that stays; a word of creation code (EIP-3860); bytes of call data (EIP-2028)."""

Plan = tuple[tuple[str, Sequence[Any]], ...]


def stake_token(said: str | None, chain_id: int) -> Address | None:
    """The ERC-20 to stake, from what a person said: an address, `demo`, or nothing. None is the demo token.

    A chain that is no test chain gets the demo token only by its name: whoever mints it has any stake for nothing, and
    no contract can be told another token afterwards. Raises DeploymentError, or EncodingError for another word.
    """
    if said and said != PLAY_TOKEN:
        return address(said)
    if not said and chain_id not in LOCAL_CHAINS:
        raise DeploymentError(
            f"chain {chain_id} is no test chain: say which ERC-20 is staked, --token 0x...; or --token {PLAY_TOKEN} "
            "for one that anybody may mint, which is for trying and secures nothing"
        )
    return None


def deployment_gas(params: DeployParams, made: int | None = None) -> int:
    """Gas that creating the contracts takes, all or but for the first that are `made`; what constructors write, about a
    hundredth, is left out."""
    names = [name for name, _ in _plan(params, _NOWHERE, _NOBODY)][made or 0 :]
    token = ["DemoToken"] if made is None and params.stake_token is None else []
    return sum(_creation_gas(name) for name in [*token, *names])


def price_deployment(
    connection: Connection, sender: TransactionSender, params: DeployParams, made: int | None = None
) -> int:
    """Wei that a deployment costs at today's price, or what is lacking after `made` contracts, without what a rollup
    takes for its data. Nothing is sent.

    Raises DeploymentError if the contracts are not compiled, if the stake token is none, or if the terms contradict
    each other; InsufficientFunds if the account cannot pay for all of it.
    """
    params.require_sound()
    if params.stake_token is not None:
        _require_token(connection, params.stake_token, sender.address)
    what = "deploying all contracts" if made is None else "deploying the contracts that are lacking"
    return sender.price(what, deployment_gas(params, made))


def deploy_all(
    connection: Connection,
    sender: TransactionSender,
    params: DeployParams,
    made: Callable[[str, Receipt], None] | None = None,
    note: DeploymentNote | None = None,
) -> Deployment:
    """Deploy the whole set from one key. `made` hears the name of each contract when it is there.

    With a `note`, one that was broken off is gone on with, and one that breaks off can be. Raises what
    `price_deployment` raises before anything is sent.
    """
    if note is not None:
        sender.finish_pending()  # what was sent last may be one of the contracts
    begun = None if note is None else note.read()
    there = None if begun is None else begun.made(connection, sender.address)
    price_deployment(connection, sender, params, there)

    def deploy(name: str, arguments: Sequence[Any]) -> Receipt:
        receipt = _deploy(sender, name, arguments)
        if made is not None:
            made(name, receipt)
        return receipt

    if begun is None or there is None:
        token = params.stake_token or _created(deploy("DemoToken", ()))
        first, block, there = next_nonce(connection, sender.address), connection.block_number(), 0
        if note is not None:
            note.write(first, block, token)
    else:
        token, first, block = begun.token, begun.first, begun.block
    modules = modules_from(sender.address, first)
    receipts = [deploy(name, arguments) for name, arguments in _plan(params, modules, token)[there:]]
    if there == 0:
        block = receipts[0].block_number
    deployment = Deployment(connection.chain_id, block, modules)
    deployment.check(connection)
    if note is not None:
        note.clear()
    return deployment


_NOBODY = address("0x" + "00" * 20)
_NOWHERE = Modules(**{field.name: _NOBODY for field in fields(Modules)})


def _plan(params: DeployParams, modules: Modules, token: Address) -> Plan:
    """The contracts in the order of `Modules`, with the arguments of their constructors."""
    return (
        ("StakeRegistry", (modules, token, params.unbonding_seconds)),
        _beacon(params),
        ("TaskTerms", (modules, params.guardian)),
        ("TaskManager", (modules,)),
        ("TrainerPool", (modules,)),
        ("VerifierPool", (modules,)),
        ("RewardVault", (modules,)),
        ("VerifierFees", (modules,)),
        ("DisputeCourt", (modules, params.court)),
        ("Jury", (modules, params.jury)),
        ("FaultProver", (modules,)),
        ("SettlementProver", (modules,)),
    )


def _beacon(params: DeployParams) -> tuple[str, Sequence[Any]]:
    if params.drand is None:
        return "BlockhashBeacon", (params.beacon_delay_blocks,)
    return "DrandBeacon", (params.drand, params.beacon_delay_blocks)


def _creation_gas(name: str) -> int:
    contract = compiled(name)
    code, zeros = contract.bytecode, contract.bytecode.count(0)
    sent = ZERO_BYTE_GAS * zeros + OTHER_BYTE_GAS * (len(code) - zeros)
    return CREATION_GAS + sent + WORD_GAS * -(-len(code) // 32) + CODE_BYTE_GAS * len(contract.deployed)


def _require_token(connection: Connection, token: Address, account: Address) -> None:
    try:
        Token(connection, token).balance_of(account)
    except ChainUnavailable:
        raise
    except ChainError as error:
        raise DeploymentError(f"{token} is no ERC-20 token on chain {connection.chain_id}: {error}") from error


def _deploy(sender: TransactionSender, name: str, arguments: Sequence[Any]) -> Receipt:
    contract = compiled(name)
    if not contract.bytecode:
        raise DeploymentError(f"{name} has no bytecode; it is an interface or abstract")
    factory = sender.connection.web3.eth.contract(abi=contract.abi, bytecode=contract.bytecode)
    data = bytes.fromhex(str(factory.constructor(*encode(tuple(arguments))).data_in_transaction)[2:])
    return sender.send(f"deploy {name}", None, data)


def _created(receipt: Receipt) -> Address:
    if receipt.created is None:
        raise DeploymentError(f"{receipt.label}: no contract was created")
    return receipt.created
