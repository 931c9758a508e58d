"""Rounds of drand from relays and files that may say anything, and seeds that nobody brings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deltaproof.chain import Connection, DeployParams, Gateway, deploy_all
from deltaproof.chain.abi.structs import BeaconNetwork
from deltaproof.chain.drand_node import DrandNode, serving
from deltaproof.chain.rpc.relays import PUBLIC_RELAYS, Relays, network_at
from deltaproof.chain.seeds import bring_seed, due_rounds
from deltaproof.errors import ChainUnavailable, ContractRevert, EncodingError, UsageError
from deltaproof.protocol.commit.bls import SecretKey
from deltaproof.protocol.commit.drand import EVMNET, DrandNetwork, sign_round
from tests.chain.conftest import SenderFactory
from tests.chain.node_calls import funded_account, rpc

SECRET = SecretKey(0xBEAC07)
GENESIS = 1_000
NETWORK = DrandNode(SECRET, GENESIS, 2, clock=lambda: 0).network


def document(round_: int, *, named: int | None = None, secret: SecretKey = SECRET) -> bytes:
    signature = sign_round(secret, round_).to_bytes().hex()
    return json.dumps({"round": named or round_, "randomness": "", "signature": signature}).encode()


@contextmanager
def relay(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[str]:
    """A relay that says what it likes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


LIES = {
    "another round's signature": (200, document(8, named=7)),
    "another round": (200, document(8)),
    "another network's signature": (200, document(7, secret=SecretKey(5))),
    "infinity": (200, json.dumps({"round": 7, "signature": "00" * 64}).encode()),
    "HTML": (200, b"<html>busy</html>"),
    "an endless answer": (200, b'{"round": 7, "signature": "' + b"0" * 10**6),
    "an error": (500, b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_relay_that_lies_is_passed_over(lie: str) -> None:
    with relay(lambda path: LIES[lie]) as bad, relay(lambda path: (200, document(7))) as good:
        assert Relays([bad, good]).signature(NETWORK, 7) == sign_round(SECRET, 7)
        with pytest.raises(ChainUnavailable, match=f"round 7 of drand is not to be had: {bad}"):
            Relays([bad]).signature(NETWORK, 7)


def test_relay_is_asked_by_the_name_of_the_network() -> None:
    asked: list[str] = []
    with relay(lambda path: (asked.append(path), (200, document(3)))[1]) as url:
        Relays([url]).signature(NETWORK, 3)
    assert asked == [f"/{NETWORK.chain_hash.hex()}/public/3"]


def test_round_from_a_file_or_folder(tmp_path: Path) -> None:
    (tmp_path / "3.json").write_bytes(document(3))
    for source in (tmp_path, tmp_path / "3.json"):
        assert Relays([str(source)]).signature(NETWORK, 3) == sign_round(SECRET, 3)
    with pytest.raises(ChainUnavailable, match=r"4\.json"):
        Relays([str(tmp_path)]).signature(NETWORK, 4)


def test_network_without_known_relays_says_so() -> None:
    assert PUBLIC_RELAYS[EVMNET.chain_hash]
    with pytest.raises(ChainUnavailable, match="--drand"):
        Relays().signature(NETWORK, 1)


def test_network_of_one_answers_as_relays_do(tmp_path: Path) -> None:
    node = DrandNode(SECRET, GENESIS, 2, clock=lambda: GENESIS + 5)
    with serving(node) as url:
        assert network_at(url) == NETWORK
        assert Relays([url]).signature(NETWORK, 3) == sign_round(SECRET, 3)
        with pytest.raises(ChainUnavailable, match="404"):
            Relays([url]).signature(NETWORK, 4)
    assert node.answer("/public/latest") == node.answer("/public/3")
    assert node.answer("/public/0") is None
    (tmp_path / "info.json").write_text(json.dumps(NETWORK.info()))
    assert network_at(str(tmp_path / "info.json")) == NETWORK


def test_network_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        network_at(str(tmp_path / "nowhere"))
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(EncodingError, match="describes no drand network"):
        network_at(str(tmp_path / "wrong.json"))


# On chain.


class Ground:
    """A deployment with a drand beacon on the tests' chain, and requests that anybody can make."""

    def __init__(self, connection: Connection, make_sender: SenderFactory) -> None:
        self.connection = connection
        sender = make_sender(funded_account(connection))
        node = DrandNode(SECRET, connection.timestamp(), 2, clock=lambda: 0)
        self.network = BeaconNetwork.of(node.network, 4, 60)
        deployment = deploy_all(connection, sender, DeployParams(sender.address, drand=self.network))
        self.gateway = Gateway(connection, deployment, sender)
        self.asked: list[int] = []
        self.gateway.relays = self  # type: ignore[assignment]

    def signature(self, network: DrandNetwork, round_: int) -> object:
        self.asked.append(round_)
        return sign_round(SECRET, round_)

    def request(self) -> int:
        beacon = self.gateway.beacon
        beacon._write("request")
        return beacon.request_count()

    def bring(self, request: int) -> bool:
        return bring_seed(self.gateway, request, self.connection.timestamp())

    def pass_time(self, seconds: int) -> None:
        rpc(self.connection, "evm_increaseTime", seconds)
        rpc(self.connection, "evm_mine")


@pytest.fixture
def ground(connection: Connection, make_sender: SenderFactory) -> Ground:
    return Ground(connection, make_sender)


def test_seed_of_drand_is_brought_once_its_round_has_come(ground: Ground) -> None:
    beacon = ground.gateway.beacon
    assert beacon.network == ground.network
    request = ground.request()
    assert not ground.bring(request), "the round is in the future"
    assert ground.asked == []
    ground.pass_time(8)
    assert ground.bring(request)
    assert ground.asked == [beacon.drand_round(request)]
    assert ground.bring(request), "published already: nobody is asked again"
    assert len(ground.asked) == 1
    beacon.fulfil(request)
    assert beacon.seed(request).fixed


def test_rounds_that_requests_wait_for_are_listed_until_they_are_published(ground: Ground) -> None:
    first, second = ground.request(), ground.request()

    def due() -> list[int]:
        return due_rounds(ground.gateway, ground.network, [first, second], ground.connection.timestamp())

    assert due() == []
    ground.pass_time(8)
    rounds = sorted({ground.gateway.beacon.drand_round(r) for r in (first, second)})
    assert due() == rounds
    ground.bring(first)
    ground.bring(second)
    assert due() == []


def test_seed_that_nobody_published_falls_back_to_a_block(ground: Ground) -> None:
    beacon = ground.gateway.beacon
    request = ground.request()
    ground.pass_time(80)
    assert ground.bring(request), "the beacon has to be asked, to aim at a block"
    assert ground.asked == []
    beacon.fulfil(request)
    assert beacon.drand_round(request) == 0
    assert beacon.target_block(request) > 0
    rpc(ground.connection, "evm_mine")
    assert ground.bring(request)
    beacon.fulfil(request)
    assert beacon.seed(request).fixed


def test_wrong_signature_is_refused_by_the_chain(ground: Ground) -> None:
    with pytest.raises(ContractRevert, match="InvalidSignature"):
        ground.gateway.beacon.publish(5, sign_round(SECRET, 6))
