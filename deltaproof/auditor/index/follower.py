"""Follows the chain into the database: bounded ranges of logs, each written at once, rolled back when the chain turns.

A range is accepted only if its first block has the last checkpoint as its parent and its last block is the same before
and after the logs were read, so that the rows always describe one chain. Everything between two commits can be
repeated; a follower that was killed continues from its last checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_utils.crypto import keccak
from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from deltaproof.auditor.index import schema
from deltaproof.auditor.index.events import INTERFACES
from deltaproof.auditor.index.rows import AIMED, IndexRowReader, IndexRows, deciding_block, read_headers
from deltaproof.auditor.index.rpc import AnswerTooLarge, Rpc
from deltaproof.auditor.index.schema import IndexUnusable
from deltaproof.errors import ChainError, ChainReorganised, ChainUnavailable, DeploymentError
from deltaproof.protocol.types import Address, address
from deltaproof.store.permits import PermitDomain

__all__ = ["Follower", "IndexedDeployment", "Progress", "Synced", "deployment_at", "read_deployment"]

RANGE_BLOCKS = 5_000
MAX_LOGS = 20_000
MAX_RESTARTS = 8
NETWORK_WORDS = 9

Progress = Callable[[int, int, int], None]
"""Called with (blocks done, blocks in all, events written)."""


@dataclass(frozen=True)
class IndexedDeployment:
    """What an index is an index of."""

    chain_id: int
    genesis: str
    contracts: Mapping[str, Address]
    """By name in `Modules`."""
    first_block: int
    drand: Mapping[str, Any] | None = None
    """The beacon's drand network as `DrandBeacon.network` says it, with the key's coordinates as text; None where
    blocks decide."""

    @property
    def permit_domain(self) -> PermitDomain:
        """What is signed for stores of this deployment is bound to."""
        return PermitDomain(self.chain_id, self.contracts["tasks"])

    def to_text(self) -> str:
        """As the index keeps it: JSON with sorted keys."""
        return json.dumps({**self.__dict__, "contracts": dict(self.contracts)}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> IndexedDeployment:
        """From what `to_text` gave. Only for text of one's own database."""
        return cls(**json.loads(text))


@dataclass
class Synced:
    """What one `sync` did."""

    head: int = 0
    head_hash: str = ""
    events: int = 0
    rolled_back_to: int | None = None
    """Fork point, if the chain had been reorganised."""


class Follower:
    """Keeps one database in step with one deployment."""

    def __init__(
        self,
        engine: Engine,
        rpc: Rpc,
        tasks: Address,
        *,
        first_block: int | None = None,
        range_blocks: int = RANGE_BLOCKS,
        confirmations: int = 0,
    ) -> None:
        """`confirmations`: how many blocks below the head to stay. Raises IndexUnusable (another chain's index)."""
        self._engine, self._rpc = engine, rpc
        self._range_blocks, self._confirmations = range_blocks, confirmations
        self.deployment = self._claim_database(tasks, first_block)
        by_rounds = self.deployment.drand is not None
        self._reader = IndexRowReader(rpc, self.deployment.contracts, self._earlier_targets, by_rounds=by_rounds)

    def sync(self, progress: Progress | None = None) -> Synced:
        """Bring the database up to the head of the chain. Raises ChainError, ChainReorganised or IndexUnusable."""
        done = Synced()
        for _ in range(MAX_RESTARTS):
            try:
                self._roll_back(done)
                self._advance(done, progress)
                return done
            except ChainReorganised:
                continue
            except SQLAlchemyError as error:
                raise IndexUnusable(f"the database of the index: {str(error).splitlines()[0]}") from error
        raise ChainReorganised(f"the chain changed {MAX_RESTARTS} times while it was read; try again")

    # Which deployment.

    def _claim_database(self, tasks: Address, first_block: int | None) -> IndexedDeployment:
        known = read_deployment(self._engine)
        chain_id, genesis = self._rpc.batch([("eth_chainId", []), ("eth_getBlockByNumber", ["0x0", False])])
        here = (int(chain_id, 16), genesis["hash"], tasks)
        if known is not None:
            if (known.chain_id, known.genesis, known.contracts["tasks"]) != here:
                raise IndexUnusable(
                    f"this database is an index of {known.contracts['tasks']} on chain {known.chain_id} "
                    f"(genesis {known.genesis}); {self._rpc.shown} serves chain {here[0]} (genesis {here[1]})"
                )
            return known
        found = deployment_at(self._rpc, tasks, self._deployed_at(tasks) if first_block is None else first_block)
        with self._engine.begin() as db:
            db.execute(insert(schema.deployment).values(key="deployment", value=found.to_text()))
        return found

    def _deployed_at(self, tasks: Address) -> int:
        """First block with code at the address; 0 if the node does not keep old state."""
        low, high = 0, int(self._rpc.call("eth_blockNumber"), 16)
        try:
            while low < high:
                middle = (low + high) // 2
                has_code = self._rpc.call("eth_getCode", tasks, hex(middle)) != "0x"
                low, high = (low, middle) if has_code else (middle + 1, high)
        except ChainError:
            return 0
        # Constructors of the same deployment emitted events shortly before: the registry comes first.
        return max(0, low - len(INTERFACES))

    # Reorganisations.

    def _roll_back(self, done: Synced) -> None:
        fork = self._fork_point()
        if fork is None:
            return
        with self._engine.begin() as db:
            done.events -= len(db.execute(select(schema.events.c.block).where(schema.events.c.block > fork)).all())
            for table in (schema.mentions, schema.transactions, schema.seeds, schema.events):
                db.execute(delete(table).where(table.c.block > fork))
            known = self._known(db).get(fork)
            for numbered in (schema.blocks, schema.checkpoints):
                db.execute(delete(numbered).where(numbered.c.number > fork))
            kept = db.execute(select(schema.checkpoints).where(schema.checkpoints.c.number == fork)).first()
            if kept is None and known is not None:
                db.execute(insert(schema.checkpoints).values(number=fork, hash=known))
        done.rolled_back_to = fork if done.rolled_back_to is None else min(fork, done.rolled_back_to)

    def _fork_point(self) -> int | None:
        """Highest block that we and the chain agree on, if that is not our last one."""
        with self._engine.connect() as db:
            last = db.execute(select(schema.checkpoints).order_by(schema.checkpoints.c.number.desc()).limit(1)).first()
            if last is None or self._is_canonical(last.number, last.hash):
                return None
            known = sorted(self._known(db).items())
        low, high = -1, len(known) - 1  # known[low] agrees (or nothing does), known[high] does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._is_canonical(*known[middle]) else (low, middle)
        return known[low][0] if low >= 0 else self.deployment.first_block - 1

    def _known(self, db: Connection) -> dict[int, str]:
        rows = list(db.execute(select(schema.blocks.c.number, schema.blocks.c.hash)))
        rows += db.execute(select(schema.checkpoints.c.number, schema.checkpoints.c.hash))
        return {row.number: row.hash for row in rows}

    def _is_canonical(self, number: int, block_hash: str) -> bool:
        block = self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return block is not None and block["hash"] == block_hash

    # Ranges.

    def _advance(self, done: Synced, progress: Progress | None) -> None:
        head = int(self._rpc.call("eth_blockNumber"), 16) - self._confirmations
        with self._engine.connect() as db:
            query = select(schema.checkpoints).order_by(schema.checkpoints.c.number.desc()).limit(1)
            last = db.execute(query).first()
        start = last.number + 1 if last else self.deployment.first_block
        previous = last.hash if last else None
        done.head, done.head_hash = start - 1, previous or ""
        first, size = start, self._range_blocks
        while start <= head:
            end = min(start + size - 1, head)
            try:
                rows, previous = self._read_range(start, end, previous)
            except AnswerTooLarge:
                if size == 1:
                    raise
                size = max(1, size // 2)
                continue
            self._write(rows, end, previous)
            done.head, done.head_hash = end, previous
            done.events += len(rows.events)
            if progress:
                progress(end - first + 1, head - first + 1, done.events)
            start, size = end + 1, min(self._range_blocks, size * 2)

    def _read_range(self, start: int, end: int, previous: str | None) -> tuple[IndexRows, str]:
        first, last = self._blocks([start, end])
        if previous is not None and first["parentHash"] != previous:
            raise ChainReorganised(f"block {start} does not follow the block that was read before")
        query = {"address": list(self.deployment.contracts.values()), "fromBlock": hex(start), "toBlock": hex(end)}
        logs = self._rpc.call("eth_getLogs", query)
        if len(logs) > MAX_LOGS and end > start:
            raise AnswerTooLarge(f"{len(logs)} logs in blocks {start} to {end}")
        rows = self._reader.rows(logs)
        if self._blocks([end])[0]["hash"] != last["hash"]:
            raise ChainReorganised(f"block {end} changed while it was read")
        return rows, last["hash"]

    def _blocks(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        return read_headers(self._rpc, numbers)

    def _earlier_targets(self) -> dict[int, int | None]:
        table = schema.events
        query = select(table.c.name, table.c.arguments).where(table.c.name.in_(AIMED))
        with self._engine.connect() as db:
            rows = db.execute(query.order_by(table.c.block, table.c.log_index)).all()
        decoded = ((row.name, json.loads(row.arguments)) for row in rows)
        by_rounds = self.deployment.drand is not None
        return {args["id"]: deciding_block(name, args, by_rounds=by_rounds) for name, args in decoded}

    def _write(self, rows: IndexRows, end: int, end_hash: str) -> None:
        try:
            with self._engine.begin() as db:
                rows.insert(db)
                db.execute(insert(schema.checkpoints).values(number=end, hash=end_hash))
        except SQLAlchemyError as error:
            message = str(error).splitlines()[0]
            raise IndexUnusable(
                f"cannot write the index (is another `deltaproof index` writing it?): {message}"
            ) from error


def read_deployment(engine: Engine) -> IndexedDeployment | None:
    """What the database is an index of; None if it is empty."""
    with engine.connect() as db:
        row = db.execute(select(schema.deployment.c.value).where(schema.deployment.c.key == "deployment")).first()
    return IndexedDeployment.from_text(row.value) if row else None


def deployment_at(rpc: Rpc, tasks: Address, first_block: int) -> IndexedDeployment:
    """The deployment that an endpoint knows at this address. Raises ChainError or DeploymentError."""
    chain_id, genesis = rpc.batch([("eth_chainId", []), ("eth_getBlockByNumber", ["0x0", False])])
    contracts = _modules(rpc, tasks)
    drand = _drand_network(rpc, contracts["beacon"])
    return IndexedDeployment(int(chain_id, 16), genesis["hash"], contracts, first_block, drand)


def _modules(rpc: Rpc, tasks: Address) -> dict[str, Address]:
    call = {"to": tasks, "data": "0x" + keccak(text="modules()")[:4].hex()}
    answer = bytes.fromhex(rpc.call("eth_call", call, "latest")[2:])
    if len(answer) != 32 * len(INTERFACES):
        raise DeploymentError(f"there is no TaskManager of deltaproof at {tasks}")
    named = abi_decode(["address"] * len(INTERFACES), answer)
    contracts = {name: address(a) for name, a in zip(INTERFACES, named, strict=True)}
    if contracts["tasks"] != tasks:
        raise DeploymentError(f"{tasks} says that the TaskManager is {contracts['tasks']}")
    return contracts


def _drand_network(rpc: Rpc, beacon: Address) -> dict[str, Any] | None:
    """What a `DrandBeacon` says of its network; None for a beacon that knows of none."""
    call = {"to": beacon, "data": "0x" + keccak(text="network()")[:4].hex()}
    try:
        answer = bytes.fromhex(rpc.call("eth_call", call, "latest")[2:])
    except ChainUnavailable:
        raise
    except ChainError:
        return None
    if len(answer) != 32 * NETWORK_WORDS:
        return None
    words = [int.from_bytes(answer[i : i + 32], "big") for i in range(0, len(answer), 32)]
    names = ("genesis", "period", "lead_seconds", "patience_seconds")
    times = dict(zip(names, words[4:8], strict=True))
    return {"public_key": [str(word) for word in words[:4]], **times, "chain_hash": answer[-32:].hex()}
