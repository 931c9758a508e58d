"""Transactions from one key: one at a time, in nonce order, never twice.

What can happen to a transaction, and what is done about it:
- The contract would refuse it. The gas estimate says so, and nothing is sent (ContractRevert).
- It does more than was estimated, because another's transaction came first: the last of several actors moves a task on
  to its next phase. The gas limit has room for that. If it fails all the same, and would succeed now, it is estimated
  and sent once more; the first time had no effect.
- The node forgets it. The same signed bytes are broadcast again.
- It is stuck at a low fee. The same nonce and call are signed again with a higher fee; only one of them can be mined.
- It takes longer than the bound: TransactionPending. The next call waits for it first, also in a later process.
- Its block disappears in a reorganisation before it has the wanted confirmations. It is waited for again.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from eth_account.messages import SignableMessage
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError
from web3.types import BlockIdentifier, LogReceipt, TxParams, TxReceipt

from deltaproof.chain.rpc.blocks import LAG_SECONDS, LOCAL_CHAINS
from deltaproof.chain.rpc.connection import TRANSPORT_ERRORS, Connection, rpc_message
from deltaproof.chain.rpc.fees import Fees, bumped, coins, current_fees
from deltaproof.chain.rpc.journal import Pending, TransactionJournal, default_state_folder
from deltaproof.chain.rpc.remote_signer import Signer
from deltaproof.errors import ChainError, ChainUnavailable, InsufficientFunds, TransactionError, TransactionPending
from deltaproof.protocol.types import Address, Digest32, address, hex_of

__all__ = ["Receipt", "SenderPolicy", "TransactionSender"]

# What nodes say when the very transaction, or another of its nonce, is with them already.
ALREADY_THERE = ("already known", "already imported", "known transaction", "nonce too low", "underpriced")
FIRST_POLL_SECONDS = 0.02
LAST_POLL_SECONDS = 1.0
MOST_TIP_WEI = 500 * 10**9
"""Per gas, where nobody says what is offered at most; what tips are usual only the node says. Where it shows no base
fee, of the whole price: who hides the base fee could ask for as much."""
LAG_POLLS = 5
"""How often a node that seems to lag is asked again."""


@dataclass(frozen=True)
class SenderPolicy:
    """How long to wait, when to raise the fee, how far to go with it."""

    timeout_seconds: float = 180.0
    """Longest wait for one transaction."""
    resend_seconds: float = 30.0
    """Wait before the fee is raised."""
    confirmations: int = 0
    """Blocks to see on top of the transaction's own."""
    gas_margin: float = 1.25
    """Gas limit over the estimate, at least."""
    gas_room: int = 300_000
    """Gas above the estimate, at least: a phase's end costs that much more than another step in it."""
    max_fee_wei: int | None = None
    """Most wei per gas ever offered; None: what the chain asks, with a tip of `MOST_TIP_WEI` at most."""


@dataclass(frozen=True)
class Receipt:
    """A transaction that was mined and succeeded."""

    label: str
    transaction_hash: Digest32
    block_number: int
    block_hash: Digest32
    gas_used: int
    fee_wei: int
    """What the sender paid for gas."""
    created: Address | None
    """Address of the contract that it created."""
    logs: tuple[LogReceipt, ...] = field(repr=False)


class _FailedForNow(TransactionError):
    """Failed on chain for no reason that would hold now: the gas did not reach, or the state changed twice."""


class TransactionSender:
    """Sends what one key signs. Safe to share between threads; another process with the same key is refused."""

    def __init__(
        self,
        connection: Connection,
        account: Signer,
        *,
        policy: SenderPolicy | None = None,
        state_folder: Path | None = None,
    ) -> None:
        """Take the key's lock. Raises SigningKeyError if another process of this machine holds it."""
        self.connection = connection
        self.address: Address = address(account.address)
        self.policy = policy or SenderPolicy()
        self._account = account
        self._mutex = threading.RLock()
        self._next_nonce = 0
        """After the last transaction that was seen mined: a node that lags would give its nonce out again."""
        self._journal = TransactionJournal(state_folder or default_state_folder(), connection.genesis, self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the key's lock back."""
        self._journal.close()

    def beside(self, what: str) -> Path:
        """The file for something else of this key on this chain, beside what it has in flight."""
        return self._journal.beside(what)

    def send(self, label: str, to: Address | None, data: bytes) -> Receipt:
        """Send one transaction (`to` None: create a contract) and wait until it is mined.

        Raises ContractRevert or InsufficientFunds before anything is sent, TransactionPending if it takes too long,
        TransactionError if it failed on chain, ChainUnavailable if the node does not answer.
        """
        with self._mutex:
            self.finish_pending()
            try:
                return self._sent(label, to, data)
            except _FailedForNow:
                return self._sent(label, to, data)

    def sign_message(self, message: SignableMessage) -> bytes:
        """The key's signature of something that is no transaction: 65 bytes, r, s, v."""
        return bytes(self._account.sign_message(message).signature)

    def finish_pending(self) -> Receipt | None:
        """Wait for what an earlier run of this key left in flight, if anything."""
        with self._mutex:
            pending = self._journal.read()
            if pending is None:
                return None
            if pending.nonce > self._count_from(pending.nonce):  # the chain was set back; it can never be mined
                self._journal.clear()
                return None
            try:
                return self._mined(pending)
            except TransactionError as error:
                if isinstance(error, TransactionPending):
                    raise
                return None  # it was mined and failed: whoever sent it is gone, and the chain's state tells the rest

    def _sent(self, label: str, to: Address | None, data: bytes) -> Receipt:
        transaction = self._prepare(label, to, data)
        pending = self._signed(Pending(label, transaction, ()))
        # Written down first: a process killed right after the broadcast would not know what it had sent.
        self._journal.write(pending)
        self._broadcast(pending, first=True)
        return self._mined(pending)

    def rehearse(self, label: str, to: Address | None, data: bytes) -> int:
        """Most wei that a transaction could cost now; nothing is sent. Raises what `send` raises before it sends."""
        prepared = self._prepare(label, to, data)
        return int(str(prepared["gas"])) * Fees.of(prepared).max_wei

    def price(self, label: str, gas: int) -> int:
        """Wei that so much gas costs at today's price; nothing is sent. Raises InsufficientFunds."""
        needed = gas * self._capped(current_fees(self.connection)).likely_wei
        self._require_coin(label, needed)
        return needed

    def _require_coin(self, label: str, needed: int) -> None:
        balance = self.connection.balance(self.address)
        if balance < needed:
            raise InsufficientFunds(
                f"{label}: account {self.address} has {coins(balance)} of the chain's coin and may need "
                f"{coins(needed)} for gas; send it some"
            )

    def _prepare(self, label: str, to: Address | None, data: bytes) -> dict[str, object]:
        call: dict[str, object] = {"from": self.address, "data": hex_of(data), "value": 0}
        if to is not None:
            call["to"] = to
        with self.connection.translated(label):
            estimate = self._estimate(label, call)
        fees = self._capped(current_fees(self.connection))
        # What is not used comes back, so room costs nothing but a balance that reaches.
        gas = max(int(estimate * self.policy.gas_margin), estimate + self.policy.gas_room)
        self._require_coin(label, gas * fees.max_wei)
        nonce = self._next_nonce = self._count_from(self._next_nonce)
        return call | {"gas": gas, "nonce": nonce, "chainId": self.connection.chain_id} | fees.fields()

    def _estimate(self, label: str, call: dict[str, object]) -> int:
        try:
            # A chain that makes blocks on demand has an old latest block; what counts is the time of the next.
            block: BlockIdentifier = "pending" if self.connection.chain_id in LOCAL_CHAINS else "latest"
            return self.connection.web3.eth.estimate_gas(cast(TxParams, call), block)
        except Web3RPCError as error:
            if "insufficient funds" in rpc_message(error).lower():
                raise InsufficientFunds(f"{label}: {rpc_message(error)} (account {self.address})") from error
            raise

    def _signed(self, pending: Pending) -> Pending:
        fields = {key: value for key, value in pending.transaction.items() if key != "from"}
        raw = self._account.sign_transaction(fields).raw_transaction
        return Pending(pending.label, pending.transaction, (*pending.raw, raw.hex()))

    def _broadcast(self, pending: Pending, *, first: bool) -> None:
        try:
            self.connection.web3.eth.send_raw_transaction(HexBytes(pending.raw[-1]))
        except (*TRANSPORT_ERRORS, ContractLogicError):
            return  # it may have arrived all the same: `_mined` finds out
        except Web3RPCError as error:
            message = rpc_message(error)
            if not first or any(words in message.lower() for words in ALREADY_THERE):
                return
            self._journal.clear()
            kind = InsufficientFunds if "insufficient funds" in message.lower() else TransactionError
            raise kind(f"{pending.label}: refused by the node: {message}") from error

    def _mined(self, pending: Pending) -> Receipt:
        """Poll until one form of it is mined and confirmed; broadcast again or raise the fee on the way."""
        started = time.monotonic()
        raised, poll = started, FIRST_POLL_SECONDS
        gap_since: float | None = None
        silence: Exception | None = None
        while True:
            try:
                receipt = self._receipt(pending)
                if receipt is not None and self._is_confirmed(receipt):
                    return self._concluded(pending, receipt)
                if receipt is None:
                    # The nonce is used, or out of reach, or the node has lost it, or it waits at too low a fee.
                    mined = self._nonce("latest")
                    gap_since = (gap_since or time.monotonic()) if mined < pending.nonce else None
                    if gap_since is not None and time.monotonic() - gap_since >= LAG_SECONDS:
                        raise self._stranded(pending, mined)
                    if mined > pending.nonce:
                        self._expect_own_receipt(pending)
                    elif not self._is_known(pending):
                        self._broadcast(pending, first=False)
                    elif time.monotonic() - raised >= self.policy.resend_seconds:
                        pending, raised = self._with_higher_fee(pending), time.monotonic()
                silence = None
            except (ChainUnavailable, Web3RPCError, *TRANSPORT_ERRORS) as error:
                silence = error
            if time.monotonic() - started >= self.policy.timeout_seconds:
                reason = f"; the node does not answer: {silence}" if silence else ""
                raise TransactionPending(
                    f"{pending.label}: not mined within {self.policy.timeout_seconds:.0f} s "
                    f"(transaction {hex_of(_hashes(pending)[-1])}, nonce {pending.nonce}){reason}"
                ) from silence
            time.sleep(poll)
            poll = min(2 * poll, LAST_POLL_SECONDS)

    def _stranded(self, pending: Pending, mined: int) -> TransactionError:
        """An earlier transaction of ours is gone with its block, so this one can never be mined before it is sent anew.

        What it was for may have changed with the block: whoever sent it looks again and decides anew.
        """
        self._journal.clear()
        self._next_nonce = mined
        return TransactionError(
            f"{pending.label}: a reorganisation took an earlier transaction of {self.address} (nonce {mined}) away; "
            "what is still wanted is sent again"
        )

    def _receipt(self, pending: Pending) -> TxReceipt | None:
        # Any form may be the one that was mined, also an older one with a lower fee.
        for transaction_hash in _hashes(pending):
            try:
                receipt = self.connection.web3.eth.get_transaction_receipt(HexBytes(transaction_hash))
            except TransactionNotFound:
                continue
            if bytes(receipt["transactionHash"]) != transaction_hash:
                raise ChainError(f"{self.connection.url} answered with the receipt of another transaction")
            return receipt
        return None

    def _is_confirmed(self, receipt: TxReceipt) -> bool:
        if self.policy.confirmations == 0:
            return True
        if self.connection.block_number() < receipt["blockNumber"] + self.policy.confirmations:
            return False
        # A receipt may be of a block that a reorganisation has thrown out since.
        block = self.connection.block(receipt["blockNumber"])
        return bytes(block["hash"]) == bytes(receipt["blockHash"])

    def _is_known(self, pending: Pending) -> bool:
        for transaction_hash in reversed(_hashes(pending)):
            try:
                self.connection.web3.eth.get_transaction(HexBytes(transaction_hash))
            except TransactionNotFound:
                continue
            return True
        return False

    def _with_higher_fee(self, pending: Pending) -> Pending:
        offered = Fees.of(pending.transaction)
        raised = self._capped(bumped(offered, current_fees(self.connection)))
        tip, tipped = raised.priority_wei, offered.priority_wei
        if raised.max_wei <= offered.max_wei or (tip is not None and tipped is not None and tip <= tipped):
            return pending  # at our limit; nodes refuse a replacement that does not pay more
        replacement = self._signed(Pending(pending.label, pending.transaction | raised.fields(), pending.raw))
        self._journal.write(replacement)
        self._broadcast(replacement, first=False)
        return replacement

    def _concluded(self, pending: Pending, receipt: TxReceipt) -> Receipt:
        self._journal.clear()
        self._next_nonce = pending.nonce + 1
        self.connection.saw(int(receipt["blockNumber"]), Digest32(bytes(receipt["blockHash"])))
        if receipt["status"] != 1:
            self._replay_to_learn_why(pending, receipt)
        created = receipt.get("contractAddress")
        return Receipt(
            label=pending.label,
            transaction_hash=Digest32(bytes(receipt["transactionHash"])),
            block_number=int(receipt["blockNumber"]),
            block_hash=Digest32(bytes(receipt["blockHash"])),
            gas_used=int(receipt["gasUsed"]),
            fee_wei=int(receipt["gasUsed"]) * int(receipt["effectiveGasPrice"]),
            created=address(created) if created else None,
            logs=tuple(receipt["logs"]),
        )

    def _replay_to_learn_why(self, pending: Pending, receipt: TxReceipt) -> None:
        kept = ("from", "to", "data", "value")
        call: Any = {key: pending.transaction[key] for key in kept if key in pending.transaction}
        # The same call on the state behind the block: it reverts with the contract's reason, if that still holds.
        with self.connection.translated(pending.label):
            self.connection.web3.eth.call(call, receipt["blockNumber"])
        raise _FailedForNow(
            f"{pending.label}: failed on chain in block {receipt['blockNumber']}, though it would succeed now "
            f"(transaction {hex_of(bytes(receipt['transactionHash']))}, {receipt['gasUsed']} gas)"
        )

    def _expect_own_receipt(self, pending: Pending) -> None:
        """Our nonce is used: by us, if our receipt appears in a moment (it still has to be confirmed), or if a
        reorganisation gives the nonce back; else by another transaction."""
        for _ in range(5):
            time.sleep(FIRST_POLL_SECONDS)
            if self._receipt(pending) is not None or self._nonce("latest") <= pending.nonce:
                return
        self._journal.clear()
        raise TransactionError(
            f"{pending.label}: another program used nonce {pending.nonce} of {self.address}; "
            "each agent needs a key of its own"
        )

    def _nonce(self, block: str) -> int:
        with self.connection.translated("eth_getTransactionCount"):
            count = self.connection.web3.eth.get_transaction_count(cast(Any, self.address), cast(Any, block))
        return int(count)

    def _count_from(self, expected: int) -> int:
        """The next nonce as the node counts; one below `expected` is a node that lags or, if it stays, a chain that
        went back."""
        for _ in range(LAG_POLLS):
            nonce = self._nonce("pending")
            if nonce >= expected:
                break
            time.sleep(LAST_POLL_SECONDS)
        return nonce

    def _capped(self, fees: Fees) -> Fees:
        """Attack: be the node, and call a tip usual that is all that the account holds, for whoever makes the block."""
        limit, tip = self.policy.max_fee_wei, fees.priority_wei
        if limit is None:
            if tip is None:
                return Fees(min(fees.max_wei, MOST_TIP_WEI), None)
            return Fees(fees.max_wei - max(tip - MOST_TIP_WEI, 0), min(tip, MOST_TIP_WEI))
        if fees.max_wei <= limit:
            return fees
        return Fees(limit, None if tip is None else min(tip, limit))


def _hashes(pending: Pending) -> list[Digest32]:
    return [Digest32(keccak(hexstr=raw)) for raw in pending.raw]
