"""JSON-RPC as the index needs it: batches, bounded retries, and answers that are too large told apart.

The typed gateway of `deltaproof.chain` answers questions about the present; here whole ranges of history are read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import requests
from web3.exceptions import BadResponseFormat, ProviderConnectionError, RequestTimedOut, Web3Exception
from web3.providers.rpc import HTTPProvider
from web3.types import RPCEndpoint

from deltaproof.chain.rpc.endpoints import shown_url
from deltaproof.errors import ChainError, ChainUnavailable, cause_of
from deltaproof.reporting import counted

__all__ = ["AnswerTooLarge", "Call", "Rpc"]

Call = tuple[str, list[Any]]
"""A JSON-RPC method and its parameters."""

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.25
BATCH_CALLS = 200
TRANSPORT_ERRORS = (
    requests.exceptions.RequestException,
    ProviderConnectionError,
    RequestTimedOut,
    BadResponseFormat,
    Web3Exception,
    ValueError,
    RecursionError,
)
TOO_LARGE = ("too large", "more than", "limit", "exceed", "too many", "range", "response size")


class AnswerTooLarge(ChainError):
    """The node refuses to answer a query of this size; a smaller one may do."""


class Rpc:
    """One endpoint."""

    def __init__(self, url: str, *, attempts: int = ATTEMPTS, pause_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        if not url.startswith(("http://", "https://")):
            raise ChainUnavailable(f"{url!r} is not an RPC URL; expected http://host:port or https://...")
        self.url = url
        self._provider = HTTPProvider(url, {"timeout": 60.0}, exception_retry_configuration=None)
        self._attempts, self._pause = attempts, pause_seconds

    @property
    def shown(self) -> str:
        """The URL without what may be secret in it.

        Attack: read the operator's access key in what an explorer or a published report says of its node.
        """
        return shown_url(self.url)

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call. Raises ChainUnavailable, AnswerTooLarge or ChainError."""
        return self.batch([(method, list(params))])[0]

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls. Raises like `call`, for the first call that fails."""
        results: list[Any] = []
        for start in range(0, len(calls), BATCH_CALLS):
            results += self._retried(calls[start : start + BATCH_CALLS])
        return results

    def _retried(self, calls: Sequence[Call]) -> list[Any]:
        for attempt in range(1, self._attempts + 1):
            try:
                return self._once(calls)
            except TRANSPORT_ERRORS as error:
                if attempt == self._attempts:
                    message = f"no proper answer from {self.shown} after {counted(attempt, 'attempt')}: {_told(error)}"
                    raise ChainUnavailable(message) from error
            time.sleep(self._pause * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _once(self, calls: Sequence[Call]) -> list[Any]:
        if len(calls) == 1:
            method, params = calls[0]
            answers: Any = [self._provider.make_request(RPCEndpoint(method), params)]
        else:
            answers = self._provider.make_batch_request([(RPCEndpoint(m), params) for m, params in calls])
        if not isinstance(answers, list) or len(answers) != len(calls):
            raise ValueError(f"{len(calls)} calls got a malformed answer")
        return [_result(method, answer) for (method, _), answer in zip(calls, answers, strict=True)]


def _told(error: Exception) -> str:
    """What went wrong, without the URL, which the words of `requests` hold."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"status {error.response.status_code}"
    return cause_of(error) if isinstance(error, OSError) else str(error)


def _result(method: str, answer: Any) -> Any:
    if not isinstance(answer, dict):
        raise ValueError(f"{method}: malformed answer")
    if error := answer.get("error"):
        message = str(error.get("message", error)) if isinstance(error, dict) else str(error)
        if method == "eth_getLogs" and any(word in message.lower() for word in TOO_LARGE):
            raise AnswerTooLarge(f"{method}: {message}")
        raise ChainError(f"{method}: {message}")
    if "result" not in answer:
        raise ValueError(f"{method}: answer without result")
    return answer["result"]
