"""A chain behind one or several JSON-RPC URLs: reached, checked, read at one block, its failures told apart."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import requests
from eth_abi import abi as eth_abi
from eth_abi.exceptions import DecodingError
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import (
    BadFunctionCallOutput,
    BadResponseFormat,
    BlockNotFound,
    ContractLogicError,
    ProviderConnectionError,
    RequestTimedOut,
    Web3RPCError,
)
from web3.middleware import AttributeDictMiddleware, ExtraDataToPOAMiddleware
from web3.types import BlockData

from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.abi.reverts import revert_of
from deltaproof.chain.rpc.blocks import BlockRef, Depth, HeadFollower
from deltaproof.chain.rpc.endpoints import TIMEOUT_SECONDS, Endpoints, shown_url, split_urls
from deltaproof.errors import BlockUnknown, ChainError, ChainUnavailable, ContractMissing, DeploymentError, WrongChain
from deltaproof.protocol.types import Address, Digest32

__all__ = ["TRANSPORT_ERRORS", "Connection", "View", "connect", "rpc_message"]

TRANSPORT_ERRORS = (
    requests.exceptions.RequestException,
    ProviderConnectionError,
    RequestTimedOut,
    BadResponseFormat,
    ChainUnavailable,
)
"""What says that an endpoint gave no usable answer, rather than what the answer was."""
View = tuple[Address, bytes]
"""A question to a contract: its address, and selector with arguments."""
MOST_VIEWS, FEWEST_VIEWS = 64, 8
"""Views in one call: far below what nodes let one call do. Where the answers are too long together, half as many are
asked, down to the second number."""
NO_HASHES = ('Cannot wrap a "object"', "cannot unmarshal object")
"""How nodes say that they take only numbers of blocks: Ganache, and old ones in Go."""
BARE_REVERT = "VM Exception while processing transaction: revert"
"""What Ganache says of a revert without data, which web3 takes for a failure of the node."""
MIDDLEWARE = [(ExtraDataToPOAMiddleware, "poa"), (AttributeDictMiddleware, "attrdict")]
"""Of web3's, what shapes answers. The rest resolves names, sets prices and checks again what `Endpoints` has checked:
a third of a call's processor time."""
KEPT_BLOCKS = 8
"""Blocks whose answers are kept: threads that look at one block ask each question once."""


class _Pin(threading.local):
    """The block that a thread reads at, with what was read there, and the newest that the thread has seen."""

    def __init__(self) -> None:
        self.block: BlockRef | None = None
        self.answers: dict[View, bytes] = {}
        self.heads = HeadFollower()


class _Answers:
    """What views answered, by block. What was answered at a block stays true of it, so all threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Digest32, dict[View, bytes]] = OrderedDict()

    def at(self, block: BlockRef) -> dict[View, bytes]:
        """Of one block; the one that was not asked for the longest time is forgotten."""
        with self._lock:
            answers = self._blocks.setdefault(block.hash, {})
            self._blocks.move_to_end(block.hash)
            while len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
            return answers


class Connection:
    """A checked chain. Not shared between processes; safe to share between threads."""

    def __init__(self, web3: Web3, url: str, chain_id: int, genesis: Digest32) -> None:
        self.web3 = web3
        self.url = url
        self.chain_id = chain_id
        self.genesis = genesis
        """Hash of block 0: tells private chains with the same id apart."""
        self._pin = _Pin()
        self._answers = _Answers()
        self._deep: tuple[Digest32, int, BlockRef] | None = None
        self._most_views = MOST_VIEWS
        self._by_hash = True
        """Whether the node takes the hash of a block to read at (EIP-1898). Ganache does not."""

    # Blocks.

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

    def head(self, depth: Depth = 0) -> BlockRef:
        """The newest block that has `depth` blocks on top, never one before a block that this thread has seen."""
        return self.accepted(self.deep(depth))

    def deep(self, depth: Depth) -> BlockRef:
        """The newest block that has `depth` blocks on top, as the node says."""
        if depth == "finalized":
            with self.translated("finalized block"):
                return BlockRef.of(self.web3.eth.get_block("finalized"))
        latest = BlockRef.of(self.block())
        if depth == 0:
            return latest
        known = self._deep
        if known is None or known[:2] != (latest.hash, depth):
            known = self._deep = (latest.hash, depth, BlockRef.of(self.block(max(0, latest.number - depth))))
        return known[2]

    def accepted(self, block: BlockRef) -> BlockRef:
        """The block, or the newest that this thread has seen while the block may come from a node that lags."""
        return self._pin.heads.accept(block)

    def saw(self, number: int, digest: Digest32) -> None:
        """A block that certainly exists: this thread, where it reads at one block, goes on at this one."""
        block = BlockRef(number, digest, self._pin.block.timestamp if self._pin.block else 0)
        self._pin.heads.saw(block)
        if self._pin.block is not None:
            self._pin.block, self._pin.answers = block, self._answers.at(block)

    @contextmanager
    def reading_at(self, block: BlockRef) -> Iterator[None]:
        """Let this thread read every view at one block, each only once; own transactions move it on to theirs.

        A node that does not have the block says so (BlockUnknown) instead of answering from another.
        """
        before = self._pin.block, self._pin.answers
        self._pin.block, self._pin.answers = block, self._answers.at(block)
        try:
            yield
        finally:
            self._pin.block, self._pin.answers = before

    @property
    def read_block(self) -> BlockRef:
        """The block that this thread reads at; the latest where it reads at none in particular."""
        return self._pin.block or BlockRef.of(self.block())

    # Views.

    def read(self, label: str, view: View, block: int | None = None) -> bytes:
        """What a view returns, ABI-encoded: at a block of that number, else at the thread's block, else the latest.

        Raises ContractRevert, ChainUnavailable, ContractMissing if no contract answers.
        """
        if block is None and view in self._pin.answers:
            return self._pin.answers[view]
        with self.translated(label):
            answer = bytes(self._call({"to": view[0], "data": _hex(view[1])}, block))
        if not answer:
            raise ContractMissing(f"{label}: no such contract there ({view[0]})")
        if block is None and self._pin.block is not None:
            self._pin.answers[view] = answer
        return answer

    def prefetch(self, views: Sequence[View]) -> None:
        """Read many views at the thread's block in one call; views that fail are left to be read alone.

        Only saves calls: where a node does not run such a call, nothing is read ahead.
        """
        wanted = [view for view in views if view not in self._pin.answers]
        if self._pin.block is None or len(wanted) < 2:
            return
        code, start = compiled("CallBatch").bytecode, 0
        while start < len(wanted) and self._most_views:
            part = wanted[start : start + self._most_views]
            data = code + eth_abi.encode(["(address,bytes)[]"], [part])
            try:
                with self.translated("CallBatch"):
                    answer = bytes(self._call({"data": _hex(data)}, None))
                (answers,) = eth_abi.decode(["(bool,bytes)[]"], answer)
            except ChainUnavailable:
                raise
            except (ChainError, DecodingError):
                # The answers come as the code of a contract, which has 24,576 bytes at most (EIP-170). And some nodes
                # refuse every call without a target: views are then read one by one, which is slow but right.
                self._most_views = len(part) // 2 if len(part) > FEWEST_VIEWS else 0
                continue
            good = zip(part, answers, strict=True)
            self._pin.answers.update({view: bytes(data) for view, (success, data) in good if success and data})
            start += len(part)

    def _call(self, transaction: dict[str, str], block: int | None) -> HexBytes:
        at = self._pin.block
        if block is not None or at is None:
            return self.web3.eth.call(cast(Any, transaction), "latest" if block is None else block)
        if self._by_hash:
            place: Any = {"blockHash": _hex(at.hash), "requireCanonical": True}
            try:
                return self.web3.eth.call(cast(Any, transaction), place)
            except Web3RPCError as error:
                if not any(complaint in rpc_message(error) for complaint in NO_HASHES):
                    raise
                self._by_hash = False
        try:
            return self.web3.eth.call(cast(Any, transaction), at.number)
        finally:
            self._require(at)

    def _require(self, block: BlockRef) -> None:
        """Raises BlockUnknown unless the chain has this very block: what was read by its number is then of it."""
        try:
            found = BlockRef.of(self.web3.eth.get_block(block.number))
        except BlockNotFound:
            found = None
        if found is None or found.hash != block.hash:
            raise BlockUnknown(f"block {block.number} that was seen a moment ago is not there any more")

    def syncing(self) -> bool:
        """Whether the node says that it still fetches the chain. Raises ChainUnavailable."""
        with self.translated("eth_syncing"):
            return bool(self.web3.eth.syncing)

    # Accounts.

    def balance(self, account: Address) -> int:
        """Native currency of an account, wei."""
        with self.translated("eth_getBalance"):
            return int(self.web3.eth.get_balance(_checksum(account)))

    def gas_price(self) -> int:
        """What a transaction pays for a unit of gas at this moment, wei. Raises ChainUnavailable."""
        with self.translated("eth_gasPrice"):
            return int(self.web3.eth.gas_price)

    def has_code(self, account: Address, block: int | None = None) -> bool:
        """Whether a contract lives at the address, or did at the block of that number."""
        return len(self.code(account, block)) > 0

    def code(self, account: Address, block: int | None = None) -> bytes:
        """The code at the address, or what it was at the block of that number; empty if there is none."""
        with self.translated("eth_getCode"):
            return bytes(self.web3.eth.get_code(_checksum(account), "latest" if block is None else block))

    @contextmanager
    def translated(self, call: str) -> Iterator[None]:
        """Turn web3's exceptions into ours. `call` names what was attempted."""
        try:
            yield
        except ContractLogicError as error:
            raise revert_of(call, error) from error
        except ChainError:
            raise
        except TRANSPORT_ERRORS as error:
            raise ChainUnavailable(f"{call}: no proper answer from {shown_url(self.url)}: {error}") from error
        except BadFunctionCallOutput as error:
            raise DeploymentError(f"{call}: no such contract there ({error})") from error
        except BlockNotFound as error:
            raise ChainError(f"{call}: {error}") from error
        except Web3RPCError as error:
            if rpc_message(error).endswith(BARE_REVERT):
                raise revert_of(call, ContractLogicError(rpc_message(error))) from error
            raise ChainError(f"{call}: {shown_url(self.url)} refused: {rpc_message(error)}") from error


def connect(url: str, *, chain_id: int | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> Connection:
    """Reach an endpoint (`http://`, `https://`), or several separated by commas, and check what they serve.

    Blocks may hold more than Ethereum's 32 bytes of `extraData`, as where authorities sign them.
    Raises ChainUnavailable if nothing answers, WrongChain if one serves another chain than `chain_id` or the others.
    """
    provider = Endpoints(list(split_urls(url)), timeout_seconds)
    try:
        found, genesis = provider.identify()
    except ChainUnavailable as error:
        raise ChainUnavailable(f"no chain answers at {shown_url(url)}: {error}") from error
    if chain_id is not None and found != chain_id:
        raise WrongChain(f"{shown_url(url)} serves chain {found}, not chain {chain_id}")
    return Connection(Web3(provider, middleware=MIDDLEWARE), url, found, genesis)


def rpc_message(error: Web3RPCError) -> str:
    """What the node said, without the envelope."""
    response = error.rpc_response or {}
    body = response.get("error")
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(error.message)


def _checksum(account: Address) -> ChecksumAddress:
    return ChecksumAddress(account)  # type: ignore[arg-type]


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
