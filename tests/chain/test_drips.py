"""Nodes, relays of a beacon and remote signers that answer one byte at a time, or break off: nobody waits for them."""

from __future__ import annotations

import threading
import time

import pytest
from web3.types import RPCEndpoint

from deltaproof.chain import Connection
from deltaproof.chain.rpc import relays, remote_signer
from deltaproof.chain.rpc.endpoints import Endpoints
from deltaproof.chain.rpc.relays import Relays
from deltaproof.chain.rpc.remote_signer import RemoteSigner
from deltaproof.errors import ChainUnavailable
from deltaproof.protocol.commit.drand import sign_round
from deltaproof.protocol.types import address
from deltaproof.store.waiting import MOST_LEFT_BEHIND
from tests.chain.test_relays import NETWORK, SECRET, document, relay
from tests.store.test_waiting import STARTS, tarpit

DRIPS = {start: STARTS[start] for start in ("silent", "head", "body")}
PATIENCE = 15.0
"""Seconds; a byte each tenth of a second would take far longer than that to become an answer."""
BROKEN = {
    "broken off": b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{",
    "garbled": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    "no length of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnope\r\n",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(remote_signer, "TIMEOUT_SECONDS", 0.5)


@pytest.mark.parametrize("start", DRIPS)
def test_relay_that_drips_is_passed_over(start: str) -> None:
    """Attack: be one of several relays, and keep every process that moves a task on from doing anything else."""
    began = time.monotonic()
    with tarpit(DRIPS[start]) as bad, relay(lambda path: (200, document(7))) as good:
        assert Relays([bad, good]).signature(NETWORK, 7) == sign_round(SECRET, 7)
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("answer", BROKEN)
def test_relay_that_breaks_off_is_passed_over(answer: str) -> None:
    with tarpit(BROKEN[answer], closes=True) as bad, relay(lambda path: (200, document(7))) as good:
        assert Relays([bad, good]).signature(NETWORK, 7) == sign_round(SECRET, 7)


def test_relay_that_drips_keeps_few_threads() -> None:
    def lines() -> int:
        return sum(thread.name == "line" for thread in threading.enumerate())

    with tarpit(DRIPS["body"]) as bad:
        asked, before = Relays([bad]), lines()
        for _ in range(2 * MOST_LEFT_BEHIND):
            with pytest.raises(ChainUnavailable, match="too slowly"):
                asked.signature(NETWORK, 7)
        assert lines() <= before + MOST_LEFT_BEHIND


@pytest.mark.parametrize("start", DRIPS)
def test_node_that_drips_is_passed_over(start: str, connection: Connection) -> None:
    with tarpit(DRIPS[start]) as bad:
        endpoints, began = Endpoints([bad, connection.url], 0.5), time.monotonic()
        assert "result" in endpoints.make_request(RPCEndpoint("eth_blockNumber"), [])
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("start", DRIPS)
def test_signer_that_drips_is_away(start: str) -> None:
    with tarpit(DRIPS[start]) as bad:
        began = time.monotonic()
        with pytest.raises(ChainUnavailable, match=r"too slowly|does not answer"):
            RemoteSigner(bad, address("0x" + "11" * 20)).check()
        assert time.monotonic() - began < PATIENCE
