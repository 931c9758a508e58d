"""A key that another process holds: real transactions on Anvil, and every way in which a signer can fail its user."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

from deltaproof.chain import Connection, RemoteSigner, TransactionSender, load_account, load_signer
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.contracts.registry import Token
from deltaproof.chain.local_node import Node
from deltaproof.chain.rpc import remote_signer
from deltaproof.chain.rpc.remote_signer import SignerUnavailable
from deltaproof.errors import SigningKeyError
from deltaproof.protocol.types import TokenAmount, address
from tests.chain.node_calls import rpc
from tests.chain.signer_server import SignerServer, error, result, serving

RECIPIENT = address("0x" + "ab" * 20)
PLAIN = {"to": RECIPIENT, "data": "0x12", "value": 0, "gas": 50_000, "nonce": 7, "chainId": 31337, "gasPrice": 10**9}
DYNAMIC = {name: value for name, value in PLAIN.items() if name != "gasPrice"}
DYNAMIC |= {"maxFeePerGas": 10**9, "maxPriorityFeePerGas": 10}


@pytest.fixture
def server(connection: Connection) -> Iterator[SignerServer]:
    with serving(connection.chain_id) as running:
        rpc(connection, "anvil_setBalance", running.account.address, hex(10**18))
        yield running


@pytest.fixture
def sender(connection: Connection, server: SignerServer, tmp_path: Path) -> Iterator[TransactionSender]:
    with TransactionSender(connection, load_signer(server.key), state_folder=tmp_path) as opened:
        yield opened


def token_of(connection: Connection, sender: TransactionSender) -> Token:
    receipt = sender.send("deploy DemoToken", None, compiled("DemoToken").bytecode)
    assert receipt.created is not None
    return Token(connection, receipt.created, sender)


def test_transactions_are_signed_elsewhere_and_mined_here(
    connection: Connection, sender: TransactionSender, server: SignerServer
) -> None:
    token = token_of(connection, sender)
    token.mint(RECIPIENT, TokenAmount(5))
    assert token.balance_of(RECIPIENT) == 5
    assert sender.address == address(server.account.address)
    assert server.asked == ["eth_signTransaction"] * 2


@pytest.mark.parametrize("fields", [PLAIN, DYNAMIC, {**DYNAMIC, "nonce": 0, "data": "0x"}], ids=["plain", "1559", "0"])
def test_signed_bytes_are_those_of_a_local_key(server: SignerServer, fields: dict[str, Any]) -> None:
    asked = {**fields, "chainId": server.chain_id}
    raw = load_signer(server.key).sign_transaction(asked).raw_transaction
    assert raw == server.account.sign_transaction(asked).raw_transaction
    no_place = {name: value for name, value in asked.items() if name != "to"} | {"gas": 100_000}
    raw = load_signer(server.key).sign_transaction(no_place).raw_transaction
    assert Account.recover_transaction(raw) == server.account.address


def test_execution_client_answers_with_the_transaction_beside_its_bytes(server: SignerServer) -> None:
    asked = {**DYNAMIC, "chainId": server.chain_id}
    server.misbehave = lambda method, parameters: result({"raw": server.signed(asked), "tx": {}})
    assert load_signer(server.key).sign_transaction(asked).raw_transaction


def test_signer_that_is_away_is_waited_for_and_nothing_was_sent(
    connection: Connection, sender: TransactionSender, server: SignerServer
) -> None:
    token, kept = token_of(connection, sender), server.misbehave
    before = rpc(connection, "eth_getTransactionCount", sender.address, "pending")
    server.misbehave = lambda method, parameters: (502, b"<html>Bad Gateway</html>")
    with pytest.raises(SignerUnavailable, match="HTTP 502; is --key the address of a web3signer"):
        token.mint(RECIPIENT, TokenAmount(1))
    assert rpc(connection, "eth_getTransactionCount", sender.address, "pending") == before
    server.misbehave = kept
    token.mint(RECIPIENT, TokenAmount(1))
    assert token.balance_of(RECIPIENT) == 1


def test_signer_that_hangs_or_is_down_does_not_hold_the_role(
    server: SignerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_signer, "TIMEOUT_SECONDS", 0.2)
    asked = {**DYNAMIC, "chainId": server.chain_id}

    def hang(method: str, parameters: list[Any]) -> None:
        time.sleep(1.0)

    server.misbehave = hang
    with pytest.raises(SignerUnavailable, match="does not answer"):
        load_signer(server.key).sign_transaction(asked)
    with pytest.raises(SignerUnavailable, match=r"http://127.0.0.1:9 does not answer .*; start it, or correct --key"):
        RemoteSigner("http://me:secret@127.0.0.1:9", address(server.account.address)).check()


def test_signer_without_the_account_is_told_at_once(server: SignerServer, connection: Connection) -> None:
    load_signer(server.key)
    other = Account.create().address
    stranger = load_signer(f"{server.url}#{other}")
    assert isinstance(stranger, RemoteSigner)
    with pytest.raises(SigningKeyError, match=f"holds no key of {other}"):
        stranger.check()
    with pytest.raises(SignerUnavailable, match="refuses eth_signTransaction: From address does not match"):
        stranger.sign_transaction({**DYNAMIC, "chainId": connection.chain_id})


def test_signer_of_another_chain_is_named_with_the_option_that_mends_it(server: SignerServer) -> None:
    server.chain_id = 5
    for fields in (PLAIN, DYNAMIC):
        with pytest.raises(SigningKeyError, match=r"chain 5, and this is chain 31337: start it with --chain-id 31337"):
            load_signer(server.key).sign_transaction({**fields, "chainId": 31337})


@pytest.mark.parametrize(
    "change",
    [
        {"to": address("0x" + "cd" * 20)},
        {"value": 1},
        {"nonce": 8},
        {"data": "0x34"},
        {"gas": 60_000},
        {"maxFeePerGas": 10**10},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_other_transaction_than_was_asked_for_is_never_sent(server: SignerServer, change: dict[str, Any]) -> None:
    asked = {**DYNAMIC, "chainId": server.chain_id}
    server.misbehave = lambda method, parameters: result(server.signed(asked | change))
    with pytest.raises(SigningKeyError, match="signed another transaction than it was asked to"):
        load_signer(server.key).sign_transaction(asked)


def test_signature_of_another_key_is_never_sent(server: SignerServer) -> None:
    asked, stranger = {**DYNAMIC, "chainId": server.chain_id}, Account.create()
    raw = "0x" + bytes(stranger.sign_transaction(asked).raw_transaction).hex()
    server.misbehave = lambda method, parameters: result(raw)
    with pytest.raises(SigningKeyError, match=f"for {stranger.address} instead of"):
        load_signer(server.key).sign_transaction(asked)


def test_messages_are_signed_there_as_by_a_local_key(server: SignerServer) -> None:
    """What a store gateway asks of writers (EIP-712), and the signature under an audit report (EIP-191)."""
    types = {"Write": [{"name": "path", "type": "string"}]}
    typed = encode_typed_data({"name": "store", "chainId": 1}, types, {"path": "blobs/1"})
    for message in (typed, encode_defunct(b"a report")):
        signature = load_signer(server.key).sign_message(message).signature
        assert signature == server.account.sign_message(message).signature
    with pytest.raises(SigningKeyError, match="holds no key of"):
        load_signer(f"{server.url}#{RECIPIENT}").sign_message(typed)
    server.sign_with = Account.create()
    with pytest.raises(SigningKeyError, match="signed another message"):
        load_signer(server.key).sign_message(typed)
    signer = load_signer(server.key)
    for odd in ("", "0x12", "zz", "0x" + "00" * 65, "0x" + "ff" * 65):
        server.misbehave = lambda what, data, odd=odd: (200, odd.encode()) if "sign" in what else None
        with pytest.raises(SignerUnavailable, match="answers with no signature"):
            signer.sign_message(typed)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: result("0x"), lambda: result("0x02"), lambda: result("0x02c0"), lambda: result(7), lambda: result({}),
        lambda: result("not hexadecimal"), lambda: result("0xf8" + "00" * 40), lambda: (200, b"[" * 100_000),
        lambda: (200, b"[]"), lambda: (200, b'{"result": 1, "result": 2}'), lambda: (200, b"x" * 2_000_000),
        lambda: error(-32000, "x" * 100_000), lambda: result("0x02" + "f8" + "ff" * 30),
    ],
)  # fmt: skip
def test_odd_answer_is_an_error_of_ours(server: SignerServer, answer: Callable[[], Any]) -> None:
    server.misbehave = lambda method, parameters: answer()
    with pytest.raises(SignerUnavailable) as refused:
        load_signer(server.key).sign_transaction({**DYNAMIC, "chainId": server.chain_id})
    assert len(str(refused.value)) < 1000


def test_key_that_names_no_account_says_how_to_write_it(node: Node) -> None:
    with pytest.raises(SigningKeyError, match="name the account behind a #"):
        load_signer("https://signer.example:9000")
    with pytest.raises(SigningKeyError, match=r"https://HOST:PORT#0xADDRESS") as refused:
        load_signer("https://me:secret@signer.example:9000/path#0x12")
    assert "secret" not in str(refused.value)
    assert load_signer(node.private_keys[0]).address == load_account(node.private_keys[0]).address
