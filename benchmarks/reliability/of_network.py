"""What nodes, providers and stores do to their users."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.reliability.kinds import Kind, Stage, Undo
from deltaproof.errors import ArtifactMissing, StoreUnavailable
from tests.chain.rpc_proxy import Fault, LaggingPool, RawAnswer, Request, RpcProxy

__all__ = ["NETWORK"]

KEPT_STATES, KEPT_LOGS, LOG_RANGE = 8, 100, 5
"""Blocks: how many a pruned node has left, and how many a stingy one answers for at once."""


def healthy(_request: Request) -> None:
    """Forwards everything."""


def at_node(make: Callable[[RpcProxy, Random, threading.Event], Fault]) -> Callable[[Stage], Undo]:
    """A fault of the node of one role, or of everybody's; the event says that it is over."""

    def begin(stage: Stage) -> Undo:
        hit, over = stage.chosen(), threading.Event()
        for role in hit:
            role.proxy.fault = make(role.proxy, stage.draw, over)

        def end() -> None:
            over.set()
            for role in hit:
                role.proxy.fault = healthy

        return end

    return begin


def always(verdict: Any) -> Callable[[Stage], Undo]:
    """The same answer to every request."""
    return at_node(lambda proxy, draw, over: lambda request: verdict)


def slow(_proxy: RpcProxy, draw: Random, over: threading.Event) -> Fault:
    def fault(_request: Request) -> None:
        over.wait(draw.uniform(0.1, 2.0))

    return fault


def hanging(_proxy: RpcProxy, _draw: Random, over: threading.Event) -> Fault:
    def fault(_request: Request) -> str:
        over.wait(60.0)
        return "refuse"

    return fault


def now_and_then(_proxy: RpcProxy, draw: Random, _over: threading.Event) -> Fault:
    """Each request by itself: fine, or one of the ways to fail."""
    ways: list[Any] = [None, None, "refuse", "drop", "cut", RawAnswer(500), RawAnswer(429), RawAnswer(200)]
    return lambda request: draw.choice(ways)


def pruned(proxy: RpcProxy, _draw: Random, _over: threading.Event) -> Fault:
    def ask(method: str, *parameters: Any) -> Any:
        return LaggingPool(proxy)._ask(method, *parameters)

    def fault(request: Request) -> Request | None:
        head = int(ask("eth_blockNumber"), 16)
        if request["method"] == "eth_getLogs":
            if int(request["params"][0]["fromBlock"], 16) < head - KEPT_LOGS:
                return {"code": 4444, "message": "pruned history unavailable"}
        elif request["method"] in ("eth_call", "eth_getCode", "eth_getBalance"):
            place = request["params"][1]
            if isinstance(place, dict):
                block = ask("eth_getBlockByHash", place["blockHash"], False)
                place = block["number"] if block else "latest"
            if place.startswith("0x") and int(place, 16) < head - KEPT_STATES:
                return {"code": -32000, "message": "missing trie node: state is not available"}
        return None

    return fault


def short_ranges(_proxy: RpcProxy, _draw: Random, _over: threading.Event) -> Fault:
    def fault(request: Request) -> Request | None:
        if request["method"] != "eth_getLogs":
            return None
        query = request["params"][0]
        asked = int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1
        return {"code": -32602, "message": f"block range is too wide: {LOG_RANGE}"} if asked > LOG_RANGE else None

    return fault


def some_logs(stage: Stage) -> Undo:
    """Answers of logs lose their newer half."""

    def halve(request: Request, answer: dict[str, Any]) -> None:
        if request["method"] == "eth_getLogs" and answer.get("result"):
            answer["result"] = answer["result"][: len(answer["result"]) // 2]

    hit = stage.chosen()
    for role in hit:
        role.proxy.alter = halve

    def end() -> None:
        for role in hit:
            role.proxy.alter = lambda request, answer: None

    return end


def at_store(make: Callable[[Random], Callable[[str, str], None]]) -> Callable[[Stage], Undo]:
    """A fault of the store as one role sees it, or everybody."""

    def begin(stage: Stage) -> Undo:
        hit = stage.chosen()
        for role in hit:
            role.store.fault = make(stage.draw)

        def end() -> None:
            for role in hit:
                role.store.fault = lambda access, path: None

        return end

    return begin


def away(_draw: Random) -> Callable[[str, str], None]:
    def fault(access: str, path: str) -> None:
        raise StoreUnavailable(path, "the store is away")

    return fault


def slow_store(draw: Random) -> Callable[[str, str], None]:
    return lambda access, path: time.sleep(draw.uniform(0.2, 2.0))


def empty(_draw: Random) -> Callable[[str, str], None]:
    """As an unmounted folder, or a replica that has not caught up: nothing is there."""

    def fault(access: str, path: str) -> None:
        if access == "read":
            raise ArtifactMissing(path, "not in the store")

    return fault


def lying(stage: Stage) -> Undo:
    """Altered, shortened, lengthened and foreign bytes under every name."""
    draw, hit = stage.draw, stage.chosen()

    def alter(_path: str, data: bytes) -> bytes:
        place = draw.randrange(len(data)) if data else 0
        return draw.choice([
            data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] if data else b"x",
            data[:place], data + bytes(draw.randrange(1, 9)), b"", b"<html>no such bucket</html>", draw.randbytes(200),
        ])  # fmt: skip

    for role in hit:
        role.store.alter = alter

    def end() -> None:
        for role in hit:
            role.store.alter = lambda path, data: data

    return end


LIMIT = {"code": -32005, "message": "limit exceeded"}
_KINDS = [
    Kind("latency", "node", "each answer takes up to 2 s longer", at_node(slow)),
    Kind("refused", "node", "connections are closed without an answer", always("refuse")),
    Kind("dropped", "node", "requests arrive, answers do not", always("drop")),
    Kind("cut answers", "node", "answers end in the middle", always("cut")),
    Kind("status 500", "node", "an error status with HTML", always(RawAnswer(500))),
    Kind("status 429", "node", "asked to slow down", always(RawAnswer(429))),
    Kind("HTML", "node", "status 200 with HTML where JSON should be", always(RawAnswer(200))),
    Kind("limit", "node", "JSON-RPC error -32005", always(LIMIT)),
    Kind("any of these", "node", "each request fails in another way, or not", at_node(now_and_then)),
    Kind("hanging", "node", "says nothing for 5 to 30 s", at_node(hanging), lasts=(5.0, 30.0)),
    Kind("lagging pool", "node", "three nodes, two of them blocks behind", at_node(lambda p, d, o: LaggingPool(p))),
    Kind("pruned", "node", "old states and logs are gone", at_node(pruned)),
    Kind("short ranges", "node", "logs of at most 5 blocks at once", at_node(short_ranges)),
    Kind("partial logs", "node", "half of the logs are left out", some_logs),
    Kind("store away", "store", "no access", at_store(away)),
    Kind("slow store", "store", "each access takes up to 2 s longer", at_store(slow_store)),
    Kind("empty store", "store", "nothing seems to be there", at_store(empty)),
    Kind("lying store", "store", "altered, cut and foreign bytes", lying),
]
NETWORK = [dataclasses.replace(kind, at_once=3) for kind in _KINDS]
"""Each hits a node or store of its own."""
