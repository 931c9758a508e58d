"""Both local chains: started, used, refused and ended for real."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from web3 import Web3

from deltaproof.chain import local_node as chain_node
from deltaproof.chain.local_node import Node, NodeError, NodeKind, development_keys, start_node

KINDS: tuple[NodeKind, ...] = ("anvil", "ganache")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> NodeKind:
    return request.param


def connect(node: Node) -> Web3:
    return Web3(Web3.HTTPProvider(node.rpc_url))


def transfer(web3: Web3, private_key: str, recipient: str, value_wei: int) -> None:
    sender = Account.from_key(private_key)
    transaction = {
        "to": recipient,
        "value": value_wei,
        "gas": 21_000,
        "maxFeePerGas": Web3.to_wei(20, "gwei"),
        "maxPriorityFeePerGas": Web3.to_wei(1, "gwei"),
        "nonce": web3.eth.get_transaction_count(sender.address),
        "chainId": web3.eth.chain_id,
    }
    sent = web3.eth.send_raw_transaction(sender.sign_transaction(transaction).raw_transaction)
    assert web3.eth.wait_for_transaction_receipt(sent, timeout=20)["status"] == 1


def group_is_gone(process_group: int) -> bool:
    try:
        os.killpg(process_group, 0)
    except ProcessLookupError:
        return True
    return False


def test_start_node_serves_chain_with_funded_keys(kind: NodeKind) -> None:
    with start_node(kind, chain_id=4242, accounts=3) as node:
        web3 = connect(node)
        assert web3.eth.chain_id == 4242
        addresses = [Account.from_key(key).address for key in node.private_keys]
        assert len(addresses) == 3
        assert [web3.eth.get_balance(a) for a in addresses] == [Web3.to_wei(10_000, "ether")] * 3
        recipient = Account.create().address
        transfer(web3, node.private_keys[0], recipient, 7)
        assert web3.eth.get_balance(recipient) == 7


def test_stop_ends_process_group_and_frees_port(kind: NodeKind) -> None:
    node = start_node(kind)
    port = int(node.rpc_url.rsplit(":", 1)[1])
    node.stop()
    assert node.process.poll() is not None
    assert group_is_gone(node.process.pid)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    node.stop()  # a second time does no harm


def test_with_block_ends_chain_when_body_fails(kind: NodeKind) -> None:
    with pytest.raises(ZeroDivisionError), start_node(kind) as node:
        raise ZeroDivisionError
    assert group_is_gone(node.process.pid)


def test_old_states_of_a_chain_go_with_it_and_those_of_a_killed_one_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anvil writes a state down for each block beyond the first hundreds, up to gigabytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def folders() -> list[Path]:
        return [path for path in (tmp_path / "deltaproof" / "chains").iterdir() if path.is_dir()]

    killed, living = start_node("anvil"), start_node("anvil")
    with living:
        connect(living).provider.make_request("anvil_mine", [hex(600), "0x1"])
        written = [file for folder in folders() for file in folder.rglob("*.json")]
        assert len(written) > 50, "the folder is where they are written"
        os.killpg(killed.process.pid, signal.SIGKILL)
        killed.process.wait(10)
        assert len(folders()) == 2
        with start_node("anvil"):
            assert len(folders()) == 2, "of the living one, and of this"
            assert all(path.exists() for path in written)
    assert folders() == []


def test_start_node_mines_by_clock_when_block_time_given(kind: NodeKind) -> None:
    with start_node(kind, block_time_seconds=1) as node:
        web3 = connect(node)
        first = web3.eth.block_number
        deadline = time.monotonic() + 10
        while web3.eth.block_number < first + 2:
            assert time.monotonic() < deadline, "no block without a transaction"
            time.sleep(0.1)


def test_start_node_continues_from_state_dir(kind: NodeKind, tmp_path: Path) -> None:
    recipient = Account.create().address
    with start_node(kind, state_dir=tmp_path) as node:
        transfer(connect(node), node.private_keys[0], recipient, 11)
        height = connect(node).eth.block_number
    with start_node(kind, state_dir=tmp_path) as node:
        web3 = connect(node)
        assert web3.eth.get_balance(recipient) == 11
        assert web3.eth.block_number >= height
        transfer(web3, node.private_keys[0], recipient, 1)


def test_start_node_keeps_its_first_block_over_restarts(tmp_path: Path) -> None:
    """Agents know a chain by its first block: of a node that shows another one they believe nothing."""
    seen = []
    for _ in range(6):
        with start_node("anvil", state_dir=tmp_path) as node:
            seen.append(connect(node).eth.get_block(0)["hash"])
            connect(node).provider.make_request("evm_mine", [])  # type: ignore[arg-type]
        time.sleep(0.4)  # Anvil dates the first block to the second
    assert len(set(seen)) == 1


def test_start_node_clock_stands_still_while_the_chain_is_down(kind: NodeKind, tmp_path: Path) -> None:
    with start_node(kind, state_dir=tmp_path, block_time_seconds=1) as node:
        time.sleep(1.5)
        before = connect(node).eth.get_block("latest")
    time.sleep(4)
    with start_node(kind, state_dir=tmp_path, block_time_seconds=1) as node:
        time.sleep(1.5)
        after = connect(node).eth.get_block("latest")
    assert after["number"] > before["number"] > 0
    assert after["timestamp"] - before["timestamp"] <= 3


def test_start_node_two_chains_at_once_take_different_ports() -> None:
    with start_node("anvil") as one, start_node("anvil") as other:
        assert one.rpc_url != other.rpc_url
        assert connect(one).eth.chain_id == connect(other).eth.chain_id


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_start_node_refuses_port_in_use(kind: NodeKind, taken_port: int) -> None:
    with pytest.raises(NodeError, match=f"port {taken_port} on 127.0.0.1 is in use"):
        start_node(kind, port=taken_port)


def test_start_node_reports_what_process_said_when_it_ends(
    kind: NodeKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "node.log"
    name_program(monkeypatch, kind, tmp_path, "echo no space left on device; exit 28")
    with pytest.raises(NodeError, match=f"{kind} ended with status 28: no space left on device"):
        start_node(kind, log_path=log)
    assert log.read_text() == "no space left on device\n"


def test_start_node_ends_program_that_does_not_answer(
    kind: NodeKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The leader of the group is a wrapper; the child that outlives it must end too.
    name_program(monkeypatch, kind, tmp_path, f"sleep 61 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(NodeError, match=r"gave no answer within 0\.5 s"):
        start_node(kind, patience_seconds=0.5)
    child = int((tmp_path / "child").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def name_program(monkeypatch: pytest.MonkeyPatch, kind: NodeKind, folder: Path, script: str) -> None:
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv(f"DELTAPROOF_{kind.upper()}", str(program))


def test_start_node_names_set_up_when_program_missing(
    kind: NodeKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(chain_node, "_LOCKED_BINARIES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(f"DELTAPROOF_{kind.upper()}", raising=False)
    with pytest.raises(NodeError, match=f"{kind} is not installed; run: make setup"):
        start_node(kind)


def test_start_node_refuses_named_program_that_cannot_run(
    kind: NodeKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"DELTAPROOF_{kind.upper()}", str(tmp_path / "absent"))
    with pytest.raises(NodeError, match="absent, which is not an executable file"):
        start_node(kind)


def test_development_keys_are_those_of_the_known_mnemonic() -> None:
    first, second = development_keys(2)
    assert Account.from_key(first).address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert Account.from_key(second).address == "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
