"""Making a deployment: twelve contracts, and where nobody names a token one for play, from one key.

The contracts know each other by immutable addresses, computed from the deployer's nonces before the first of them
exists; each constructor refuses another place than its own. So a deployment that was broken off cannot be gone on
with: what it would cost in all is looked at before the first contract is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, cast

from web3.types import Nonce
from web3.utils import get_create_address

from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.abi.structs import Modules
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


def deployment_gas(params: DeployParams) -> int:
    """Gas that creating all contracts takes; what constructors write, about a hundredth, is left out."""
    names = [name for name, _ in _plan(params, _NOWHERE, _NOBODY)]
    return sum(_creation_gas(name) for name in [*([] if params.stake_token else ["DemoToken"]), *names])


def price_deployment(connection: Connection, sender: TransactionSender, params: DeployParams) -> int:
    """Wei that a deployment costs at today's price, without what a rollup takes for its data. Nothing is sent.

    Raises DeploymentError if the contracts are not compiled, if the stake token is none, or if the terms contradict
    each other; InsufficientFunds if the account cannot pay for all of it.
    """
    params.require_sound()
    if params.stake_token is not None:
        _require_token(connection, params.stake_token, sender.address)
    return sender.price("deploying all contracts", deployment_gas(params))


def deploy_all(
    connection: Connection,
    sender: TransactionSender,
    params: DeployParams,
    made: Callable[[str, Receipt], None] | None = None,
) -> Deployment:
    """Deploy the whole set from one key. `made` hears the name of each contract when it is there.

    Raises what `price_deployment` raises, before anything is sent: no contract could be made to take others afterwards.
    """
    price_deployment(connection, sender, params)

    def deploy(name: str, arguments: Sequence[Any]) -> Receipt:
        receipt = _deploy(sender, name, arguments)
        if made is not None:
            made(name, receipt)
        return receipt

    token = params.stake_token
    if token is None:
        token = _created(deploy("DemoToken", ()))
    modules = _predicted(connection, sender.address)
    receipts = [deploy(name, arguments) for name, arguments in _plan(params, modules, token)]
    deployment = Deployment(connection.chain_id, receipts[0].block_number, modules)
    deployment.check(connection)
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


def _predicted(connection: Connection, deployer: Address) -> Modules:
    """Addresses of the next contracts of this key, in the order in which `deploy_all` makes them."""
    with connection.translated("eth_getTransactionCount"):
        first = int(connection.web3.eth.get_transaction_count(cast(Any, deployer), "latest"))
    names = [field.name for field in fields(Modules)]
    return Modules(
        **{name: address(get_create_address(cast(Any, deployer), Nonce(first + i))) for i, name in enumerate(names)}
    )
