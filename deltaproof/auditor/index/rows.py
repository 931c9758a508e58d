"""Rows of the index from logs: what one range of blocks, or one bundle, says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert

from deltaproof.auditor.index import schema
from deltaproof.auditor.index.events import EventType, event_types
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.errors import ChainError, ChainReorganised
from deltaproof.protocol.types import Address, address

__all__ = ["AIMED", "OPENED_BY_CALLDATA", "IndexRowReader", "IndexRows", "deciding_block", "read_headers"]

AIMED = ("SeedRequested", "SeedRearmed")
"""What says which block or round decides a seed."""

OPENED_BY_CALLDATA = frozenset({"Revealed", "AttestationRevealed", "SettlementPosted", "KeyRegistered"})
"""Events whose transaction carries what they leave out: salts, quorum proofs, proofs of possession."""


@dataclass
class IndexRows:
    """Rows before they are written."""

    events: list[dict[str, Any]] = field(default_factory=list)
    mentions: list[dict[str, Any]] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    seeds: list[dict[str, Any]] = field(default_factory=list)
    transactions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def insert(self, db: Connection) -> None:
        """Write all of them. Raises SQLAlchemyError."""
        for table, rows in (
            (schema.events, self.events),
            (schema.mentions, self.mentions),
            (schema.blocks, self.blocks),
            (schema.seeds, self.seeds),
            (schema.transactions, list(self.transactions.values())),
        ):
            if rows:
                db.execute(insert(table), rows)


@dataclass
class IndexRowReader:
    """Turns logs of a deployment's contracts into rows, and asks an endpoint for what logs leave out."""

    rpc: Rpc
    contracts: Mapping[str, Address]
    """By name in `Modules`."""
    earlier_targets: Callable[[], dict[int, int | None]] = dict
    """Beacon requests of earlier ranges, and the block that decides each, if one does."""
    by_rounds: bool = False
    """Whether the beacon's requests are decided by rounds of drand, not by blocks."""

    def __post_init__(self) -> None:
        self._names = {account.lower(): name for name, account in self.contracts.items()}

    def rows(self, logs: Sequence[Mapping[str, Any]]) -> IndexRows:
        """Raises ChainError, or ChainReorganised if the chain turned meanwhile."""
        rows = IndexRows()
        hashes: dict[int, str] = {}
        wanted: dict[str, None] = {}
        for log in logs:
            if log.get("removed"):
                raise ChainReorganised("a log was removed while it was read")
            kind = self._event_type(log)
            if kind is None:
                continue
            number = int(log["blockNumber"], 16)
            if hashes.setdefault(number, log["blockHash"]) != log["blockHash"]:
                raise ChainReorganised(f"logs of two blocks {number}")
            self._add_event(rows, kind, number, log)
            if kind.name in OPENED_BY_CALLDATA:
                wanted[log["transactionHash"]] = None
        self._add_blocks(rows, hashes)
        self._add_transactions(rows, list(wanted))
        return rows

    def decoded(self, logs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows of the events alone. Raises ChainError."""
        rows = IndexRows()
        for log in logs:
            if (kind := self._event_type(log)) is not None:
                self._add_event(rows, kind, int(log["blockNumber"], 16), log)
        return rows.events

    def _event_type(self, log: Mapping[str, Any]) -> EventType | None:
        name = self._names.get(log["address"].lower())
        if name is None:
            raise ChainError(f"the node answered with a log of {log['address']}, which nobody asked for")
        if not log["topics"]:
            return None
        return event_types().get((name, bytes.fromhex(log["topics"][0][2:])))

    def _add_event(self, rows: IndexRows, kind: EventType, number: int, log: Mapping[str, Any]) -> None:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        args = kind.decode(topics, bytes.fromhex(log["data"][2:]))
        position = {"block": number, "log_index": int(log["logIndex"], 16)}
        rows.events.append(
            {
                **position,
                "transaction": log["transactionHash"],
                "contract": kind.contract,
                "name": kind.name,
                "task": args.get("task_id"),
                "round": args.get("round"),
                "arguments": kind.dump(args),
            }
        )
        rows.mentions += [{"account": account, **position} for account in kind.subjects(args)]

    def _add_blocks(self, rows: IndexRows, hashes: Mapping[int, str]) -> None:
        targets = self._deciding_blocks(rows.events)
        numbers = sorted({*hashes, *(target for _, target in targets.values())})
        headers = dict(zip(numbers, read_headers(self.rpc, numbers), strict=True))
        for number, block_hash in hashes.items():
            if headers[number]["hash"] != block_hash:
                raise ChainReorganised(f"block {number} changed while it was read")
            timestamp = int(headers[number]["timestamp"], 16)
            rows.blocks.append({"number": number, "hash": block_hash, "timestamp": timestamp})
        for request, (block, target) in targets.items():
            row = {"request": request, "block": block, "target": target, "target_hash": headers[target]["hash"]}
            rows.seeds.append(row)

    def _deciding_blocks(self, events: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, int]]:
        """Request: (block where its seed was fixed, block whose hash decided it)."""
        decoded = [(e["name"], e["block"], json.loads(e["arguments"])) for e in events if e["contract"] == "beacon"]
        fixed = {args["id"]: block for name, block, args in decoded if name == "SeedFixed"}
        if not fixed:
            return {}
        targets = self.earlier_targets()
        aimed = ((name, args) for name, _, args in decoded if name in AIMED)
        targets |= {args["id"]: deciding_block(name, args, by_rounds=self.by_rounds) for name, args in aimed}
        decided = {request: (block, targets.get(request)) for request, block in fixed.items()}
        return {request: (block, target) for request, (block, target) in decided.items() if target is not None}

    def _add_transactions(self, rows: IndexRows, hashes: Sequence[str]) -> None:
        for given, answer in zip(
            hashes, self.rpc.batch([("eth_getTransactionByHash", [h]) for h in hashes]), strict=True
        ):
            if answer is None or answer["blockNumber"] is None:
                raise ChainReorganised(f"transaction {given} is gone")
            rows.transactions[given] = {
                "hash": given,
                "block": int(answer["blockNumber"], 16),
                "sender": address(answer["from"]),
                "recipient": address(answer["to"]) if answer["to"] else "",
                "input": answer["input"],
            }


def deciding_block(name: str, args: Mapping[str, int], *, by_rounds: bool) -> int | None:
    """The block that decides a seed after this event; None where a round of drand does."""
    if name == "SeedRearmed":
        return args["target_block"]
    return None if by_rounds else args["target"]


def read_headers(rpc: Rpc, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Blocks by number, without transactions. Raises ChainReorganised for one that the endpoint does not have."""
    answers = rpc.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
    for number, block in zip(numbers, answers, strict=True):
        if block is None:
            raise ChainReorganised(f"block {number} is gone")
    return answers
