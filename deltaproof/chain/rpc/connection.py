"""One JSON-RPC endpoint: reached, checked, and with its failures told apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import (
    BadFunctionCallOutput,
    BadResponseFormat,
    BlockNotFound,
    ContractLogicError,
    ProviderConnectionError,
    RequestTimedOut,
    Web3RPCError,
)
from web3.providers.rpc import HTTPProvider
from web3.providers.rpc.utils import ExceptionRetryConfiguration
from web3.types import BlockData

from deltaproof.chain.abi.reverts import revert_of
from deltaproof.errors import ChainError, ChainUnavailable, DeploymentError, WrongChain
from deltaproof.protocol.types import Address, Digest32

__all__ = ["Connection", "connect"]

TIMEOUT_SECONDS = 30.0
TRANSPORT_ERRORS = (requests.exceptions.RequestException, ProviderConnectionError, RequestTimedOut, BadResponseFormat)


class Connection:
    """A checked endpoint. Not shared between processes; safe to share between threads."""

    def __init__(self, web3: Web3, url: str, chain_id: int, genesis: Digest32) -> None:
        self.web3 = web3
        self.url = url
        self.chain_id = chain_id
        self.genesis = genesis
        """Hash of block 0: tells private chains with the same id apart."""

    def block_number(self) -> int:
        """Number of the latest block."""
        with self.translated("eth_blockNumber"):
            return int(self.web3.eth.block_number)

    def block(self, number: int | None = None) -> BlockData:
        """The block of that number, or the latest. Raises ChainError if there is none."""
        with self.translated(f"block {number if number is not None else 'latest'}"):
            return self.web3.eth.get_block("latest" if number is None else number)

    def timestamp(self) -> int:
        """Time of the latest block, seconds since the epoch: the only clock that contracts know."""
        return int(self.block()["timestamp"])

    def balance(self, account: Address) -> int:
        """Native currency of an account, wei."""
        with self.translated("eth_getBalance"):
            return int(self.web3.eth.get_balance(_checksum(account)))

    def has_code(self, account: Address) -> bool:
        """Whether a contract lives at the address."""
        with self.translated("eth_getCode"):
            return len(self.web3.eth.get_code(_checksum(account))) > 0

    def contract(self, account: Address, abi: list[dict[str, Any]]) -> Contract:
        """web3's view of the contract at an address."""
        return self.web3.eth.contract(address=_checksum(account), abi=abi)

    @contextmanager
    def translated(self, call: str) -> Iterator[None]:
        """Turn web3's exceptions into ours. `call` names what was attempted."""
        try:
            yield
        except ContractLogicError as error:
            raise revert_of(call, error) from error
        except TRANSPORT_ERRORS as error:
            raise ChainUnavailable(f"{call}: no proper answer from {self.url}: {error}") from error
        except BadFunctionCallOutput as error:
            raise DeploymentError(f"{call}: no such contract there ({error})") from error
        except BlockNotFound as error:
            raise ChainError(f"{call}: {error}") from error
        except Web3RPCError as error:
            raise ChainError(f"{call}: {self.url} refused: {rpc_message(error)}") from error


def connect(url: str, *, chain_id: int | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> Connection:
    """Reach an endpoint (`http://`, `https://`) and check what it serves.

    Raises ChainUnavailable if nothing answers, WrongChain if it serves another chain than `chain_id`.
    """
    if not url.startswith(("http://", "https://")):
        raise ChainUnavailable(f"{url!r} is not an RPC URL; expected http://host:port or https://...")
    retries = ExceptionRetryConfiguration(
        errors=(requests.exceptions.ConnectionError, requests.exceptions.HTTPError, requests.exceptions.Timeout)
    )
    provider = HTTPProvider(url, {"timeout": timeout_seconds}, exception_retry_configuration=retries)
    web3 = Web3(provider)
    try:
        found = int(web3.eth.chain_id)
        genesis = web3.eth.get_block(0)["hash"]
    except (*TRANSPORT_ERRORS, Web3RPCError, ValueError) as error:
        raise ChainUnavailable(f"no chain answers at {url}: {_first_line(error)}") from error
    if chain_id is not None and found != chain_id:
        raise WrongChain(f"{url} serves chain {found}, not chain {chain_id}")
    return Connection(web3, url, found, Digest32(bytes(HexBytes(genesis))))


def rpc_message(error: Web3RPCError) -> str:
    """What the node said, without the envelope."""
    response = error.rpc_response or {}
    body = response.get("error")
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(error.message)


def _checksum(account: Address) -> ChecksumAddress:
    return ChecksumAddress(account)  # type: ignore[arg-type]


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0][:300] if text else type(error).__name__
