"""Logs to typed events, over block ranges of any length.

Providers limit how many blocks or logs one request may cover and say so in ways of their own; a range that fails is
halved until it passes, and grows again afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

from eth_abi.exceptions import InsufficientDataBytes
from eth_typing import ABIEvent
from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3
from web3.exceptions import LogTopicError, MismatchedABI, Web3RPCError
from web3.types import FilterParams, LogReceipt

from deltaproof.chain.abi.codec import decode
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.events import disputes, participants, rounds
from deltaproof.chain.events.base import ContractEvent, LoggedEvent
from deltaproof.chain.rpc.connection import TRANSPORT_ERRORS, Connection, rpc_message
from deltaproof.errors import ChainError, ChainUnavailable
from deltaproof.protocol.types import Address, Digest32, address

__all__ = ["EVENT_TYPES", "INTERFACES", "LogReader"]

INTERFACES = (
    "ITaskTerms",
    "ITaskManager",
    "ITrainerPool",
    "IVerifierPool",
    "IVerifierFees",
    "IRewardVault",
    "IStakeRegistry",
    "IDrandBeacon",
    "IDisputeCourt",
    "IJury",
    "IFaultProver",
    "ISettlementProver",
)
"""Interfaces of the contracts whose events are read."""
EVENT_TYPES: dict[str, type[ContractEvent]] = {
    name: getattr(module, name) for module in (disputes, participants, rounds) for name in module.__all__
}
"""Every event of theirs by its Solidity name."""
FIRST_RANGE_BLOCKS = 2_000
LONGEST_RANGE_BLOCKS = 1_000_000
SILENCES = 2
"""How often in a row no answer counts as a range that is too long for the node's time, not as a node that is away."""


class LogReader:
    """Events of a set of contracts."""

    def __init__(self, connection: Connection, contracts: Iterable[Address]) -> None:
        self._connection = connection
        self._contracts = tuple(contracts)
        self._longest = LONGEST_RANGE_BLOCKS
        """Shorter than every range that was refused."""

    def read(
        self, first_block: int, last_block: int, kinds: Collection[type[ContractEvent]] = ()
    ) -> Iterator[LoggedEvent]:
        """Events of blocks first..last in chain order; with `kinds`, these only.

        Raises ChainUnavailable if the node does not answer, ChainError if it refuses even single blocks.
        """
        wanted = {kind.__name__ for kind in kinds}
        topics = [topic for topic, (name, _) in _by_topic().items() if not wanted or name in wanted]
        start, length, silences = first_block, min(FIRST_RANGE_BLOCKS, self._longest), 0
        while start <= last_block:
            end = min(start + length - 1, last_block)
            try:
                logs = self._logs(start, end, topics)
            except (Web3RPCError, *TRANSPORT_ERRORS) as error:
                silences = 0 if isinstance(error, Web3RPCError) else silences + 1
                if start == end or silences > SILENCES:
                    raise _refused(self._connection, start, error) from error
                length = self._longest = max(1, (end - start + 1) // 2)
                continue
            yield from self.decoded(logs)
            start, length, silences = end + 1, min(2 * length, self._longest), 0

    def decoded(self, logs: Sequence[LogReceipt]) -> Iterator[LoggedEvent]:
        """The typed events among logs, e.g. of a receipt, in order; logs of other contracts are skipped."""
        for log in sorted(logs, key=lambda entry: (entry["blockNumber"], entry["logIndex"])):
            if address(log["address"]) in self._contracts and not log.get("removed") and log["topics"]:
                found = _by_topic().get(bytes(log["topics"][0]))
                if found is not None:
                    yield _logged(found[0], found[1], log)

    def _logs(self, first: int, last: int, topics: list[bytes]) -> Sequence[LogReceipt]:
        query: Any = {
            "fromBlock": first,
            "toBlock": last,
            "address": list(self._contracts),
            "topics": [["0x" + topic.hex() for topic in topics]],
        }
        params: FilterParams = query
        logs = self._connection.web3.eth.get_logs(params)
        if any(not first <= log["blockNumber"] <= last for log in logs):
            raise ChainError(f"{self._connection.url} answered with logs of blocks that were not asked for")
        return logs


def _logged(name: str, event: Any, log: LogReceipt) -> LoggedEvent:
    try:
        arguments = event().process_log(log)["args"]
    except (MismatchedABI, LogTopicError, InsufficientDataBytes) as error:
        raise ChainError(f"malformed {name} in block {log['blockNumber']}: {error}") from error
    ordered = [arguments[entry["name"]] for entry in event.abi["inputs"]]
    return LoggedEvent(
        event=decode(EVENT_TYPES[name], ordered),
        contract=address(log["address"]),
        block_number=int(log["blockNumber"]),
        block_hash=Digest32(bytes(log["blockHash"])),
        transaction_hash=Digest32(bytes(log["transactionHash"])),
        log_index=int(log["logIndex"]),
    )


@lru_cache(maxsize=1)
def _by_topic() -> dict[bytes, tuple[str, Any]]:
    """Name and web3 decoder of each event, by its first topic."""
    found: dict[bytes, tuple[str, Any]] = {}
    for interface in INTERFACES:
        abi = compiled(interface).abi
        events = Web3().eth.contract(abi=abi).events
        for entry in abi:
            if entry["type"] == "event":
                found[event_abi_to_log_topic(cast(ABIEvent, entry))] = (entry["name"], events[entry["name"]])
    return found


def _refused(connection: Connection, block: int, error: Exception) -> ChainError:
    if isinstance(error, Web3RPCError):
        return ChainError(f"{connection.url} refuses the logs of block {block}: {rpc_message(error)}")
    return ChainUnavailable(f"no answer from {connection.url} to the logs of block {block}: {error}")
