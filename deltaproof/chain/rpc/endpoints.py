"""One or several JSON-RPC URLs as one provider for web3: bounded answers, failover, and nodes that serve another chain.

An endpoint that fails in any way (no connection, an error status, HTML where JSON should be, silence, a refusal to
serve more) rests for a growing while, and the next one is asked. Before an endpoint is believed, and again after each
failure, it has to show the chain id and the genesis block that the others serve.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from deltaproof.errors import BlockUnknown, ChainUnavailable, WrongChain, cause_of
from deltaproof.protocol.types import Digest32
from deltaproof.store.sessions import session_to
from deltaproof.store.waiting import LeftBehind, Line, TooSlow, Transfer, between_waits

__all__ = [
    "TIMEOUT_SECONDS",
    "CallCounter",
    "EndpointFailed",
    "Endpoints",
    "shown_url",
    "split_urls",
]

TIMEOUT_SECONDS = 20.0
"""Longest wait for one answer, to its last byte."""
MAX_ANSWER_BYTES = 256 * 1024 * 1024
ROUNDS = 3
"""How often every endpoint is asked before a call fails."""
FIRST_PAUSE_SECONDS = 0.2
FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 60.0
LIMIT_EXCEEDED = -32005
"""EIP-1474: the request exceeds a limit. For logs it means the range, which only the caller can shorten."""
REVERTED = 3
"""Of an execution that reverted, as nodes agree."""
SEND = "eth_sendRawTransaction"
UNKNOWN_BLOCK = (
    "header not found", "block not found", "unknown block", "resource not found", "could not find block",
    "hash not found", "not currently canonical", "header for hash not found", "block hash was not found",
)  # fmt: skip
"""What nodes say of a block that they do not have (yet), or no longer hold for the chain."""
BUSY = ("rate limit", "too many requests", "try again", "capacity", "overloaded", "timeout", "timed out")

CallCounter = Callable[[str, bool], None]
"""Told of every request that leaves: its method, and whether a proper answer came."""


class EndpointFailed(ChainUnavailable):
    """One endpoint gave no proper answer."""


class _Lines(threading.local):
    """The line of each thread to one endpoint."""

    line: Line | None = None


@dataclass
class _Endpoint:
    url: str
    session: requests.Session
    left_behind: LeftBehind = field(default_factory=LeftBehind)
    lines: _Lines = field(default_factory=_Lines)
    checked: bool = False
    rest_seconds: float = 0.0
    rests_until: float = 0.0
    trouble: str = ""


class Endpoints(JSONBaseProvider):
    """A web3 provider over several URLs, asked in the order given. Safe to share between threads."""

    def __init__(self, urls: Sequence[str], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Raises ChainUnavailable if one of them is no RPC URL."""
        super().__init__()
        if not urls:
            raise ChainUnavailable("no RPC URL was given; expected http://host:port or https://...")
        for url in urls:
            if urlsplit(url).scheme not in ("http", "https"):
                raise ChainUnavailable(f"{url!r} is not an RPC URL; expected http://host:port or https://...")
        self._endpoints = [_Endpoint(url, session_to(url, login=True)) for url in urls]
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self.identity: tuple[int, Digest32] | None = None
        """Chain id and genesis hash that every endpoint has to show; that of the first that answers."""
        self.counter: CallCounter = lambda method, answered: None

    @property
    def serving(self) -> str:
        """URL of the endpoint that is asked first now, without what may be secret in it."""
        return shown_url(self._in_order()[0].url)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """One answer, from the first endpoint that gives one.

        Raises ChainUnavailable naming every failure, BlockUnknown if no node has the block that is asked about: behind
        one URL may be several nodes, some of which lag.
        """
        if method == "eth_chainId" and self.identity is not None:
            return cast(RPCResponse, {"jsonrpc": "2.0", "id": 0, "result": hex(self.identity[0])})
        body = self.encode_rpc_request(method, params)
        # What was sent may have arrived although no answer came: the sender looks for it before it sends again.
        rounds = 1 if method == SEND else ROUNDS
        behind = ""
        for round_ in range(rounds):
            for endpoint in self._in_order():
                try:
                    self._check(endpoint)
                    answer = self._post(endpoint, method, body)
                except (EndpointFailed, WrongChain) as error:
                    self._rest(endpoint, str(error))
                    continue
                endpoint.rest_seconds, endpoint.trouble = 0.0, ""
                behind = _missing_block(answer)
                if not behind:
                    return answer
            if round_ + 1 < rounds:
                time.sleep(FIRST_PAUSE_SECONDS * 2**round_)
        if behind:
            raise BlockUnknown(f"{method}: no node has the block that was seen a moment ago: {behind}")
        raise ChainUnavailable("; ".join(e.trouble for e in self._endpoints if e.trouble) or "no endpoint answers")

    def identify(self) -> tuple[int, Digest32]:
        """Chain id and genesis hash of the first endpoint that answers. Raises ChainUnavailable, or WrongChain if one
        of the others, where it answers, serves another chain."""
        failures = []
        for endpoint in self._endpoints:
            try:
                self._check(endpoint)
            except EndpointFailed as error:
                self._rest(endpoint, str(error))
                failures.append(str(error))
        if self.identity is None:
            raise ChainUnavailable("; ".join(failures))
        return self.identity

    def _check(self, endpoint: _Endpoint) -> None:
        """Make sure that an endpoint serves our chain. Raises EndpointFailed, WrongChain."""
        if endpoint.checked:
            return
        chain = self._asked(endpoint, "eth_chainId", [])
        genesis = self._asked(endpoint, "eth_getBlockByNumber", ["0x0", False])
        try:
            found = int(str(chain), 16), Digest32(bytes.fromhex(str(genesis["hash"])[2:]))
        except (KeyError, TypeError, ValueError) as error:
            raise EndpointFailed(f"{shown_url(endpoint.url)} has no genesis block to show") from error
        if self.identity is None:
            self.identity = found
        elif found != self.identity:
            endpoint.checked = False
            raise WrongChain(
                f"{shown_url(endpoint.url)} serves chain {found[0]} (genesis 0x{found[1].hex()[:16]}...), the others "
                f"chain {self.identity[0]} (genesis 0x{self.identity[1].hex()[:16]}...); take it out of --rpc"
            )
        endpoint.checked = True

    def _asked(self, endpoint: _Endpoint, method: str, params: list[Any]) -> Any:
        answer = self._post(endpoint, method, self.encode_rpc_request(RPCEndpoint(method), params))
        if "result" not in answer:
            raise EndpointFailed(f"{shown_url(endpoint.url)} refuses {method}: {answer.get('error')}")
        return answer["result"]

    def _post(self, endpoint: _Endpoint, method: str, body: bytes) -> RPCResponse:
        answered = False
        try:
            answer = _parsed(endpoint.url, method, self._read(endpoint, method, body))
            answered = True
        finally:
            self.counter(method, answered)
        return answer

    def _read(self, endpoint: _Endpoint, method: str, body: bytes) -> tuple[int, bytes]:
        """Status and body.

        Attack: answer one byte at a time, so that whoever asks waits for ever, and asks no other endpoint.
        """
        if endpoint.lines.line is None:
            endpoint.lines.line = Line(endpoint.left_behind)
        try:
            # What is urgent is not done in the middle of a question: its own questions would come in between.
            with between_waits(None):
                return endpoint.lines.line.run(
                    lambda transfer: self._exchanged(endpoint, method, body, transfer), seconds=self._timeout
                )
        except TooSlow as error:
            raise EndpointFailed(f"{shown_url(endpoint.url)} answers {method} too slowly") from error

    def _exchanged(self, endpoint: _Endpoint, method: str, body: bytes, transfer: Transfer) -> tuple[int, bytes]:
        try:
            with endpoint.session.post(
                endpoint.url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=self._timeout,
                stream=True,
            ) as response:
                answer = transfer.gathered(response.iter_content(64 * 1024), MAX_ANSWER_BYTES)
                if len(answer) > MAX_ANSWER_BYTES:
                    raise EndpointFailed(f"{shown_url(endpoint.url)} answers {method} with too many bytes")
                return response.status_code, answer
        except (requests.RequestException, OSError) as error:
            raise EndpointFailed(
                f"{shown_url(endpoint.url)} gives no answer to {method} ({cause_of(error)})"
            ) from error

    def _rest(self, endpoint: _Endpoint, trouble: str) -> None:
        with self._lock:
            endpoint.checked = False
            endpoint.trouble = trouble
            longest = LONGEST_REST_SECONDS if len(self._endpoints) > 1 else 0.0
            endpoint.rest_seconds = min(max(2 * endpoint.rest_seconds, FIRST_REST_SECONDS), longest)
            endpoint.rests_until = time.monotonic() + endpoint.rest_seconds

    def _in_order(self) -> list[_Endpoint]:
        """Those that do not rest, as given; then those that rest, the soonest to wake first."""
        now = time.monotonic()
        with self._lock:
            return sorted(self._endpoints, key=lambda e: e.rests_until if e.rests_until > now else 0.0)


def shown_url(url: str) -> str:
    """Scheme, host and port, of several URLs in a list: paths and user names of RPC URLs carry access keys."""

    def shown(part: str) -> str:
        parts = urlsplit(part)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}"

    return ", ".join(map(shown, split_urls(url)))


def _missing_block(answer: RPCResponse) -> str:
    """What the node says if it does not have the block asked about, else nothing."""
    refusal = answer.get("error")
    message = str(refusal.get("message", "")) if isinstance(refusal, dict) and not _is_revert(refusal) else ""
    return message if any(words in message.lower() for words in UNKNOWN_BLOCK) else ""


def _is_revert(refusal: object) -> bool:
    """Whether it is a contract that refuses, whose reason may say anything.

    Attack: let a reward token refuse in the words of a busy node, so that whoever asks takes the node for away.
    """
    return isinstance(refusal, dict) and (
        refusal.get("code") == REVERTED or "revert" in str(refusal.get("message", "")).lower()
    )


def _parsed(url: str, method: str, answer: tuple[int, bytes]) -> RPCResponse:
    """The JSON-RPC answer. Raises EndpointFailed for anything else, and for a node that asks to be left alone."""
    status, body = answer
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EndpointFailed(f"{shown_url(url)} answers {method} with status {status} and no JSON") from error
    if not isinstance(value, dict) or not ("result" in value or isinstance(value.get("error"), dict)):
        raise EndpointFailed(f"{shown_url(url)} answers {method} with status {status} and no JSON-RPC")
    refusal = value.get("error") or {}
    message = str(refusal.get("message", "")) if isinstance(refusal, dict) else str(refusal)
    busy = refusal and method != "eth_getLogs" and not _is_revert(refusal) and (
        refusal.get("code") == LIMIT_EXCEEDED or any(word in message.lower() for word in BUSY)
    )  # fmt: skip
    if status == 429 or status >= 500 or busy:
        raise EndpointFailed(f"{shown_url(url)} does not serve {method} now (status {status}): {message[:200]}")
    return cast(RPCResponse, value)


def split_urls(urls: str) -> Iterator[str]:
    """The parts of a comma-separated list."""
    return (part.strip() for part in urls.split(",") if part.strip())
