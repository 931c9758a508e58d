"""One key's transactions on a real Anvil, while the node, the network and the process misbehave."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deltaproof.chain import Connection, LocalAccount, Receipt, TransactionSender, connect
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.contracts.registry import Token
from deltaproof.chain.rpc.sender import MOST_TIP_WEI
from deltaproof.errors import (
    ChainError,
    ChainUnavailable,
    ContractRevert,
    InsufficientFunds,
    SigningKeyError,
    TransactionPending,
    WrongChain,
)
from deltaproof.protocol.types import TokenAmount, address
from tests.chain.conftest import SenderFactory
from tests.chain.node_calls import funded_account, rpc
from tests.chain.rpc_proxy import RpcProxy

RECIPIENT = address("0x" + "ab" * 20)


def deploy_token(connection: Connection, sender: TransactionSender) -> Token:
    receipt = sender.send("deploy DemoToken", None, compiled("DemoToken").bytecode)
    assert receipt.created is not None
    return Token(connection, receipt.created, sender)


def in_background(action: Callable[[], Receipt]) -> Future[Receipt]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(action)
    pool.shutdown(wait=False)
    return future


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.02)
    return value


def pool_of(connection: Connection, account: LocalAccount) -> dict[str, Any]:
    content = rpc(connection, "txpool_content")["pending"]
    return dict(next((v for k, v in content.items() if k.lower() == account.address.lower()), {}))


def test_send_mined_returns_receipt(connection: Connection, account: LocalAccount, make_sender: SenderFactory) -> None:
    token = deploy_token(connection, make_sender(account))
    before = connection.balance(address(account.address))
    receipt = token.mint(RECIPIENT, TokenAmount(5))
    assert token.balance_of(RECIPIENT) == 5
    assert receipt.fee_wei == before - connection.balance(address(account.address))
    assert connection.block(receipt.block_number)["hash"] == receipt.block_hash


def test_send_refused_by_contract_names_error_and_sends_nothing(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    token = deploy_token(connection, make_sender(account))
    nonce = connection.web3.eth.get_transaction_count(account.address)
    with pytest.raises(ContractRevert) as caught:
        token.transfer(RECIPIENT, TokenAmount(7))
    assert caught.value.name == "ERC20InsufficientBalance"
    assert caught.value.arguments["needed"] == 7
    assert "needed=7" in str(caught.value)
    assert connection.web3.eth.get_transaction_count(account.address) == nonce


def test_send_unfunded_key_says_whom_to_fund(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    rpc(connection, "anvil_setBalance", account.address, hex(1000))
    with pytest.raises(InsufficientFunds, match=account.address):
        make_sender(account).send("deploy", None, compiled("DemoToken").bytecode)


def test_second_process_on_one_key_is_refused(account: LocalAccount, make_sender: SenderFactory) -> None:
    first = make_sender(account)
    with pytest.raises(SigningKeyError, match="in use by another process"):
        make_sender(account)
    first.close()
    make_sender(account)


def test_concurrent_sends_of_one_sender_use_consecutive_nonces(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    token = deploy_token(connection, make_sender(account))
    holder = address("0x" + "cd" * 20)
    threads = [threading.Thread(target=token.mint, args=(holder, TokenAmount(1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert token.balance_of(holder) == 8


def test_stuck_transaction_is_replaced_once_at_a_higher_fee(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    token = deploy_token(connection, make_sender(account, resend_seconds=0.3))
    holder = address("0x" + "01" * 20)
    rpc(connection, "evm_setAutomine", False)
    sent = in_background(lambda: token.mint(holder, TokenAmount(3)))
    first = wait_until(lambda: pool_of(connection, account))
    ((nonce, original),) = first.items()
    raised = wait_until(
        lambda: (p := pool_of(connection, account)) and p[nonce]["hash"] != original["hash"] and p[nonce]
    )
    assert int(raised["maxFeePerGas"], 16) * 8 >= int(original["maxFeePerGas"], 16) * 9
    rpc(connection, "evm_mine")
    receipt = sent.result(timeout=20)
    assert token.balance_of(holder) == 3
    assert connection.web3.eth.get_transaction_count(account.address) == int(nonce) + 1
    assert receipt.block_number == connection.block_number()


@pytest.mark.parametrize("hides_base_fee", [False, True])
def test_tip_that_a_node_asks_for_is_bounded(
    hides_base_fee: bool, connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    """Attack: a node that calls usual what takes all that the account holds, and shares it with who makes the block."""

    def dear(request: dict[str, Any], answer: dict[str, Any]) -> None:
        if request["method"] in ("eth_maxPriorityFeePerGas", "eth_gasPrice"):
            answer["result"] = hex(10**15)
        if hides_base_fee and request["method"] == "eth_getBlockByNumber":
            del answer["result"]["baseFeePerGas"]

    with RpcProxy(connection.url) as proxy:
        proxy.alter = dear
        through = connect(proxy.url)
        sender = make_sender(account, through=through)
        receipt = sender.send("nothing", RECIPIENT, b"")
        base = 0 if hides_base_fee else int(connection.block(receipt.block_number)["baseFeePerGas"])
        assert receipt.fee_wei == receipt.gas_used * (base + MOST_TIP_WEI)
        sender.close()
        limit = 2 * MOST_TIP_WEI
        receipt = make_sender(account, through=through, max_fee_wei=limit).send("nothing", RECIPIENT, b"")
        assert receipt.fee_wei == receipt.gas_used * limit, "what somebody says counts, though it is more"


def test_transaction_that_the_node_forgot_is_broadcast_again(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    token = deploy_token(connection, make_sender(account))
    holder = address("0x" + "02" * 20)
    rpc(connection, "evm_setAutomine", False)
    sent = in_background(lambda: token.mint(holder, TokenAmount(4)))
    (original,) = wait_until(lambda: pool_of(connection, account)).values()
    rpc(connection, "anvil_dropTransaction", original["hash"])
    (again,) = wait_until(lambda: pool_of(connection, account)).values()
    assert again["hash"] == original["hash"]
    rpc(connection, "evm_mine")
    sent.result(timeout=20)
    assert token.balance_of(holder) == 4


def test_transaction_over_time_is_finished_before_the_next(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    sender = make_sender(account, timeout_seconds=0.5)
    token = deploy_token(connection, sender)
    holder = address("0x" + "03" * 20)
    rpc(connection, "evm_setAutomine", False)
    with pytest.raises(TransactionPending, match="not mined within"):
        token.mint(holder, TokenAmount(1))
    with pytest.raises(TransactionPending):  # the next one waits for the first, and is not sent
        token.mint(holder, TokenAmount(10))
    assert len(pool_of(connection, account)) == 1
    rpc(connection, "evm_setAutomine", True)
    rpc(connection, "evm_mine")
    token.mint(holder, TokenAmount(100))
    assert token.balance_of(holder) == 101


KILLED = """
import sys
from pathlib import Path
from eth_account import Account
from deltaproof.chain import SenderPolicy, TransactionSender, connect
from deltaproof.chain.contracts.registry import Token
from deltaproof.chain.rpc.sender import MOST_TIP_WEI
from deltaproof.protocol.types import TokenAmount, address

url, key, state, token, holder = sys.argv[1:]
connection = connect(url)
sender = TransactionSender(connection, Account.from_key(key), state_folder=Path(state))
print("sending", flush=True)
Token(connection, address(token), sender).mint(address(holder), TokenAmount(6))
"""


def test_process_killed_after_broadcast_leaves_one_transaction(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory, tmp_path: Path
) -> None:
    sender = make_sender(account)
    token = deploy_token(connection, sender)
    sender.close()
    holder = address("0x" + "04" * 20)
    rpc(connection, "evm_setAutomine", False)
    arguments = (connection.url, account.key.hex(), str(tmp_path / "state"), token.address, holder)
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE) as process:
        wait_until(lambda: pool_of(connection, account), seconds=30)
        process.kill()
    rpc(connection, "evm_setAutomine", True)
    rpc(connection, "evm_mine")
    successor = make_sender(account)
    receipt = successor.finish_pending()
    assert receipt is not None
    assert receipt.label == "DemoToken.mint"
    assert token.balance_of(holder) == 6
    assert successor.finish_pending() is None


def test_block_that_disappears_is_waited_for_again(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    first = make_sender(account)
    token = deploy_token(connection, first)
    first.close()
    patient = Token(connection, token.address, make_sender(account, confirmations=1))
    holder = address("0x" + "05" * 20)
    snapshot = rpc(connection, "evm_snapshot")
    sent = in_background(lambda: patient.mint(holder, TokenAmount(9)))
    wait_until(lambda: token.balance_of(holder) == 9)
    time.sleep(1.5)  # the sender has seen its receipt by now and waits for a confirmation
    assert not sent.done()
    rpc(connection, "evm_revert", snapshot)  # the block is gone, and the node forgot the transaction
    wait_until(lambda: token.balance_of(holder) == 9, seconds=30.0)
    rpc(connection, "evm_mine")
    receipt = sent.result(timeout=20)
    assert connection.block(receipt.block_number)["hash"] == receipt.block_hash
    assert token.balance_of(holder) == 9


def test_lost_answers_never_send_twice(connection: Connection, make_sender: SenderFactory) -> None:
    account = funded_account(connection)
    holder = address("0x" + "06" * 20)
    with RpcProxy(connection.url) as proxy:
        through = connect(proxy.url)
        sender = make_sender(account, through=through)
        token = deploy_token(through, sender)
        lost = {"eth_sendRawTransaction": 1, "eth_getTransactionReceipt": 3}

        def lose_answers(request: dict[str, Any]) -> str | None:
            if lost.get(request["method"], 0) > 0:
                lost[request["method"]] -= 1
                return "drop"
            return None

        proxy.fault = lose_answers
        nonce = connection.web3.eth.get_transaction_count(account.address)
        token.mint(holder, TokenAmount(2))
        assert lost == {"eth_sendRawTransaction": 0, "eth_getTransactionReceipt": 0}
        assert token.balance_of(holder) == 2
        assert connection.web3.eth.get_transaction_count(account.address) == nonce + 1


def test_foreign_receipt_is_not_believed(
    connection: Connection, account: LocalAccount, make_sender: SenderFactory
) -> None:
    token = deploy_token(connection, make_sender(account))
    foreign = token.mint(RECIPIENT, TokenAmount(1)).transaction_hash
    with RpcProxy(connection.url) as proxy:
        other = funded_account(connection)
        through = connect(proxy.url)
        dishonest = Token(through, token.address, make_sender(other, through=through))

        def with_foreign_receipt(request: dict[str, Any]) -> None:
            if request["method"] == "eth_getTransactionReceipt":
                request["params"] = ["0x" + foreign.hex()]

        proxy.fault = with_foreign_receipt
        with pytest.raises(ChainError, match="receipt of another transaction"):
            dishonest.mint(RECIPIENT, TokenAmount(1))


def test_connect_nothing_there_says_so() -> None:
    with pytest.raises(ChainUnavailable, match="no chain answers at"):
        connect("http://127.0.0.1:9", timeout_seconds=1)
    with pytest.raises(ChainUnavailable, match="not an RPC URL"):
        connect("127.0.0.1:8545")


def test_connect_other_chain_says_which(connection: Connection) -> None:
    with pytest.raises(WrongChain, match="serves chain 31337, not chain 1"):
        connect(connection.url, chain_id=1)
