"""A small web3signer: an HTTP server with one secp256k1 key, which answers as web3signer's eth1 mode does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

Answer = tuple[int, bytes]


@dataclass
class SignerServer:
    """What it holds and does. `misbehave` takes the place of an answer: HTTP status and body."""

    account: LocalAccount
    chain_id: int
    port: int = 0
    sign_with: LocalAccount | None = None
    """Another key than it says, for messages."""
    asked: list[str] = field(default_factory=list)
    misbehave: Callable[[str, list[Any]], Answer | None] = lambda method, parameters: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """What `--key` says."""
        return f"{self.url}#{self.account.address}"

    def answer(self, method: str, parameters: list[Any]) -> Answer:
        """web3signer's own words and codes; it keeps the chain's id to itself and ignores the caller's."""
        self.asked.append(method)
        if (odd := self.misbehave(method, parameters)) is not None:
            return odd
        if method == "eth_accounts":
            return result([self.account.address.lower()])
        if method != "eth_signTransaction":
            return error(-32601, "Method not found")
        (wanted,) = parameters
        if wanted["from"].lower() != self.account.address.lower():
            return error(-32000, "From address does not match available account")
        known = {"to", "gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "nonce", "value", "data"}
        fields = {name: value for name, value in wanted.items() if name in known} | {"chainId": self.chain_id}
        return result(self.signed(fields))

    def rest(self, path: str, data: bytes) -> Answer:
        """The interface for what is no transaction: keys by name, and signatures of the hash of any bytes."""
        self.asked.append(path)
        if (odd := self.misbehave(path, [data])) is not None:
            return odd
        public = self.account._key_obj.public_key.to_hex()
        if path == "/api/v1/eth1/publicKeys":
            return 200, json.dumps(["0x" + 128 * "1", public]).encode()
        if path != f"/api/v1/eth1/sign/{public}":
            return 404, b"Resource not found"
        signed = (self.sign_with or self.account).unsafe_sign_hash(keccak(data))
        return 200, ("0x" + bytes(signed.signature).hex()).encode()

    def signed(self, fields: dict[str, Any]) -> str:
        """The raw transaction in hexadecimal."""
        return "0x" + bytes(self.account.sign_transaction(fields).raw_transaction).hex()


def result(value: object) -> Answer:
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


def error(code: int, message: str) -> Answer:
    return 400, json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}).encode()


@contextmanager
def serving(chain_id: int, *, account: LocalAccount | None = None, port: int = 0) -> Iterator[SignerServer]:
    """Runs until the end of the block."""
    signer = SignerServer(account or Account.create(), chain_id)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/":
                self.send(signer.answer(request["method"], request["params"]))
            else:
                self.send(signer.rest(self.path, bytes.fromhex(request["data"][2:])))

        def do_GET(self) -> None:
            self.send(signer.rest(self.path, b""))

        def send(self, answer: Answer) -> None:
            status, body = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    signer.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield signer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
