"""A drand network of one, for tests and private chains: it answers as relays do, and whoever holds its key knows every
round in advance. Never for anything that is worth a lie.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.drand import DrandNetwork, randomness_of, sign_round
from deltaproof.protocol.types import Digest32

__all__ = ["DrandNode", "serving"]


class DrandNode:
    """The network: its key, and what it says when it is asked."""

    def __init__(self, secret: SecretKey, genesis: int, period: int, clock: Callable[[], float] = time.time) -> None:
        """`genesis` and `period` in seconds; `clock` says what time it is."""
        key = secret.public_key().g2
        name = sha256(b"".join(coordinate.to_bytes(32, "big") for coordinate in (*key, genesis, period))).digest()
        self.network = DrandNetwork(key, genesis, period, Digest32(name))
        self._secret, self._clock = secret, clock
        self._signature = lru_cache(maxsize=1024)(lambda round_: sign_round(secret, round_))

    def answer(self, path: str) -> dict[str, object] | None:
        """What a relay answers to a path; None for what it does not have, a round of the future among it."""
        parts = [part for part in path.split("/") if part not in ("", self.network.chain_hash.hex())]
        match parts:
            case ["info"]:
                return self.network.info()
            case ["public", "latest"]:
                return self._round(self._newest())
            case ["public", number] if number.isdecimal() and len(number) < 20:
                return self._round(int(number))
            case _:
                return None

    def _newest(self) -> int:
        # The first round from now on is not signed yet.
        return self.network.first_round_from(int(self._clock()) + 1) - 1

    def _round(self, number: int) -> dict[str, object] | None:
        if not 1 <= number <= self._newest():
            return None
        signature = self._signature(number)
        randomness = randomness_of(signature).hex()
        return {"round": number, "randomness": randomness, "signature": signature.to_bytes().hex()}


@contextmanager
def serving(node: DrandNode, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1, on a free port for 0; the URL of the relay. Raises OSError if the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = node.answer(self.path)
            body = json.dumps(found if found is not None else {"error": "not there"}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads who asked."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
