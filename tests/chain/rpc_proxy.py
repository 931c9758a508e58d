"""A JSON-RPC proxy in front of a real node that misbehaves on request: what public endpoints do to their users."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Request = dict[str, Any]
Fault = Callable[[Request], dict[str, Any] | str | None]
"""What to do with a request: None forwards it (as the fault may have changed it), a dict is the error to answer with,
"drop" forwards it and closes the connection without an answer, "refuse" closes it without forwarding."""


class RpcProxy:
    """Listens on a free port; `fault` may be replaced at any time, `seen` counts methods."""

    def __init__(self, target: str) -> None:
        self.fault: Fault = lambda request: None
        self.seen: list[str] = []
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
                if verdict == "refuse":
                    self.close_connection = True
                    return
                if isinstance(verdict, dict):
                    answer = json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": verdict}).encode()
                else:
                    answer = proxy.forward(json.dumps(request).encode())
                if verdict == "drop":
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

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
        self._server.shutdown()
        self._server.server_close()
