"""A JSON-RPC proxy in front of a real node that misbehaves on request: what public endpoints do to their users."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

Request = dict[str, Any]


@dataclass(frozen=True)
class RawAnswer:
    """An answer that is no JSON-RPC: status and body."""

    status: int
    body: bytes = b"<html>Bad gateway</html>"


Fault = Callable[[Request], "dict[str, Any] | RawAnswer | str | None"]
"""What to do with a request: None forwards it (as the fault may have changed it), a dict is the error to answer with,
"drop" forwards it and closes the connection without an answer, "refuse" closes it without forwarding, "cut" closes it
in the middle of the answer, "hang" says nothing until the proxy closes."""
Alteration = Callable[[Request, dict[str, Any]], None]
"""Changes the node's answer to a request in place."""


class RpcProxy:
    """Listens on a free port; `fault` and `alter` may be replaced at any time, `seen` counts methods."""

    def __init__(self, target: str) -> None:
        self.fault: Fault = lambda request: None
        self.alter: Alteration = lambda request, answer: None
        self.seen: list[str] = []
        self.closing = threading.Event()
        parts = urlsplit(target)
        assert parts.hostname is not None
        self._target = (parts.hostname, parts.port)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = json.loads(body)
                proxy.seen.append(request["method"])
                verdict = proxy.fault(request)
                if verdict in ("refuse", "hang"):
                    if verdict == "hang":
                        proxy.closing.wait()
                    self.close_connection = True
                    return
                status = 200
                if isinstance(verdict, RawAnswer):
                    status, answer = verdict.status, verdict.body
                elif isinstance(verdict, dict):
                    answer = json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": verdict}).encode()
                else:
                    value = json.loads(proxy.forward(json.dumps(request).encode()))
                    proxy.alter(request, value)
                    answer = json.dumps(value).encode()
                if verdict == "drop":
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer[: len(answer) // 2] if verdict == "cut" else answer)
                self.close_connection = self.close_connection or verdict == "cut"

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def forward(self, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(*self._target, timeout=30)
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class LaggingPool:
    """As a fault: one URL before three nodes, another for each request. Two of them see each block later."""

    DELAY_SECONDS = 0.6

    UNKNOWN: ClassVar[Request] = {"code": -32000, "message": "header not found"}

    def __init__(self, proxy: RpcProxy) -> None:
        self._proxy = proxy
        self._turn = itertools.count()
        self._seen: dict[int, float] = {}

    def __call__(self, request: Request) -> Request | None:
        head = int(self._ask("eth_blockNumber"), 16)
        now, behind = time.monotonic(), next(self._turn) % 3
        self._seen.setdefault(head, now)
        reached = head
        while reached > head - behind and now - self._seen.get(reached, 0.0) < behind * self.DELAY_SECONDS:
            reached -= 1
        parameters = request["params"]
        for position, value in enumerate(parameters):
            if value == "latest":
                parameters[position] = hex(reached)
            elif isinstance(value, dict) and "blockHash" in value:
                block = self._ask("eth_getBlockByHash", value["blockHash"], False)
                if block is None or int(block["number"], 16) > reached:
                    return self.UNKNOWN
        if request["method"] == "eth_getLogs":
            # As some nodes do: no error for blocks that they have not seen, only fewer logs.
            parameters[0]["toBlock"] = hex(min(reached, int(parameters[0]["toBlock"], 16)))
            if int(parameters[0]["fromBlock"], 16) > reached:
                parameters[0]["fromBlock"] = parameters[0]["toBlock"]
        return None

    def _ask(self, method: str, *parameters: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 0, "method": method, "params": parameters}
        return json.loads(self._proxy.forward(json.dumps(request).encode()))["result"]
