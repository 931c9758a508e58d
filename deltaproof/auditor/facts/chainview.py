"""What the contracts themselves say, at the block the index stands at: the other side of every sum of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from deltaproof.auditor.index.events import INTERFACES, named_type, snake
from deltaproof.auditor.index.follower import IndexedDeployment
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain.abi.compiled import compiled
from deltaproof.errors import ChainError
from deltaproof.protocol.types import Address

__all__ = ["ChainView", "Question", "RpcView", "token_balance"]


@dataclass(frozen=True)
class Question:
    """A view function of a contract of the deployment, or of a token by its address."""

    contract: str
    function: str
    arguments: tuple[Any, ...] = ()


class ChainView(Protocol):
    """Answers questions about the state of the contracts at one block."""

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """Answers in order; a struct is a dict, several values a tuple. Raises ChainError."""


class RpcView:
    """Asks an RPC endpoint."""

    def __init__(self, rpc: Rpc, deployment: IndexedDeployment, block: int) -> None:
        self._rpc, self._deployment, self._block = rpc, deployment, block

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """See `ChainView`."""
        calls = []
        for question in questions:
            entry = _function(question)
            types = [collapse_if_tuple(item) for item in entry["inputs"]]
            data = keccak(text=abi_to_signature(entry))[:4] + abi_encode(types, question.arguments)  # type: ignore[arg-type]
            place = self._deployment.contracts.get(question.contract, question.contract)
            calls.append(("eth_call", [{"to": place, "data": "0x" + data.hex()}, hex(self._block)]))
        answers = self._rpc.batch(calls)
        return [_decoded(question, answer) for question, answer in zip(questions, answers, strict=True)]


def token_balance(token: Address, holder: Address) -> Question:
    """ERC-20 balance."""
    return Question(token, "balanceOf", (holder,))


def _token_view(name: str, output: str, *inputs: str) -> dict[str, Any]:
    types = [{"name": "", "type": kind} for kind in inputs]
    return {"type": "function", "name": name, "inputs": types, "outputs": [{"name": "", "type": output}]}


_TOKEN_VIEWS = {
    "balanceOf": _token_view("balanceOf", "uint256", "address"),
    "decimals": _token_view("decimals", "uint8"),
    "symbol": _token_view("symbol", "string"),
}
"""Of ERC-20 and its extension for metadata."""


def _function(question: Question) -> dict[str, Any]:
    if question.contract not in INTERFACES:
        return _TOKEN_VIEWS[question.function]
    for entry in compiled(INTERFACES[question.contract]).abi:
        if entry["type"] == "function" and entry["name"] == question.function:
            return entry
    raise KeyError(f"{question.contract} has no function {question.function}")


def _decoded(question: Question, answer: str) -> Any:
    outputs = _function(question)["outputs"]
    try:
        values = abi_decode([collapse_if_tuple(item) for item in outputs], bytes.fromhex(answer[2:]))
    except (DecodingError, ValueError) as error:
        raise ChainError(f"{question.contract}.{question.function} answered with malformed data: {error}") from error
    named = [named_type(item, value) for item, value in zip(outputs, values, strict=True)]
    if len(named) == 1:
        return named[0]
    return {snake(item["name"]): value for item, value in zip(outputs, named, strict=True)}
