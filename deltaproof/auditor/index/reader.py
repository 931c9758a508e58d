"""Questions to the index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, Select, delete, func, insert, select

from deltaproof.auditor.index import schema
from deltaproof.auditor.index.events import Event, event_type
from deltaproof.auditor.index.follower import IndexedDeployment, read_deployment
from deltaproof.auditor.index.schema import IndexUnusable
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.types import Address, Digest32, TokenAmount, hex_of

__all__ = ["Index", "IndexedBlock", "Seed", "Transaction"]

KEPT_TRANSACTIONS = 20_000


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction whose calldata matters."""

    hash: str
    sender: Address
    recipient: str
    input: bytes


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """A block that holds events. `timestamp` in seconds since 1970."""

    number: int
    hash: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class Seed:
    """What decided a beacon request."""

    request: int
    target: int
    target_hash: bytes


class Index:
    """Reads what a follower wrote."""

    def __init__(self, engine: Engine) -> None:
        """Raises IndexUnusable if nothing was indexed yet."""
        self.engine = engine
        found = read_deployment(engine)
        if found is None:
            raise IndexUnusable("this index is empty; run `deltaproof index` first")
        self.deployment: IndexedDeployment = found
        self._transactions: dict[str, Transaction | None] = {}
        self._latest: tuple[str, dict[tuple[str, ...], dict[int, Event]]] = ("", {})
        """The beacon's last event of some kinds for each argument, as of the head with that hash."""

    def events(
        self,
        *,
        task: int | None = None,
        round_: int | None = None,
        names: Iterable[str] | None = None,
        contract: str | None = None,
        account: str | None = None,
        blocks: Iterable[int] | None = None,
    ) -> list[Event]:
        """Events that fit every argument, in the order of the chain."""
        table = schema.events
        query = select(table).order_by(table.c.block, table.c.log_index)
        if task is not None:
            query = query.where(table.c.task == task)
        if round_ is not None:
            query = query.where(table.c.round == round_)
        if names is not None:
            query = query.where(table.c.name.in_(tuple(names)))
        if blocks is not None:
            query = query.where(table.c.block.in_(tuple(blocks)))
        if contract is not None:
            query = query.where(table.c.contract == contract)
        if account is not None:
            there = schema.mentions
            query = query.join(there, (there.c.block == table.c.block) & (there.c.log_index == table.c.log_index))
            query = query.where(there.c.account == account)
        return self._found(query)

    def events_with(self, digits: str) -> list[Event]:
        """Events of a transaction, or with these hexadecimal digits among their arguments, in the order of the chain.

        `digits` as `0x...` in lower case; it has to be checked for being nothing else.
        """
        table = schema.events
        inside = table.c.arguments.contains(digits.removeprefix("0x"), autoescape=True)
        query = select(table).where((table.c.transaction == digits) | inside)
        return self._found(query.order_by(table.c.block, table.c.log_index))

    def _found(self, query: Select[Any]) -> list[Event]:
        with self.engine.connect() as db:
            rows = db.execute(query).all()
        return [
            Event(
                r.block,
                r.log_index,
                r.transaction,
                r.contract,
                r.name,
                event_type(r.contract, r.name).load(r.arguments),
            )
            for r in rows
        ]

    def head(self) -> IndexedBlock:
        """The last checkpoint; its time is not known."""
        table = schema.checkpoints
        with self.engine.connect() as db:
            row = db.execute(select(table).order_by(table.c.number.desc()).limit(1)).first()
        return IndexedBlock(row.number, row.hash, 0) if row else IndexedBlock(-1, "", 0)

    def blocks(self, numbers: Iterable[int]) -> dict[int, IndexedBlock]:
        """Blocks with events, by number."""
        table = schema.blocks
        with self.engine.connect() as db:
            rows = [
                row
                for part in _parts(sorted(set(numbers)))
                for row in db.execute(select(table).where(table.c.number.in_(part)))
            ]
        return {row.number: IndexedBlock(row.number, row.hash, row.timestamp) for row in rows}

    def block_numbers(self) -> frozenset[int]:
        """Numbers of all blocks with events."""
        with self.engine.connect() as db:
            return frozenset(db.execute(select(schema.events.c.block).distinct()).scalars())

    def transaction(self, transaction: str) -> Transaction | None:
        """The transaction if its calldata was kept."""
        if transaction not in self._transactions:
            self.prefetch([transaction])
        return self._transactions[transaction]

    def prefetch(self, transactions: Iterable[str]) -> None:
        """Read many transactions at once, before they are asked for one by one."""
        if len(self._transactions) > KEPT_TRANSACTIONS:
            self._transactions.clear()
        wanted = sorted(set(transactions))
        self._transactions |= dict.fromkeys(wanted)
        table = schema.transactions
        with self.engine.connect() as db:
            for part in _parts(wanted):
                for row in db.execute(select(table).where(table.c.hash.in_(part))):
                    data = bytes.fromhex(row.input[2:])
                    self._transactions[row.hash] = Transaction(row.hash, row.sender, row.recipient, data)

    def seed(self, request: int) -> Seed | None:
        """The block that decided a request, if it was fixed."""
        table = schema.seeds
        with self.engine.connect() as db:
            row = db.execute(select(table).where(table.c.request == request)).first()
        return Seed(row.request, row.target, bytes.fromhex(row.target_hash[2:])) if row else None

    def drand_round(self, request: int) -> int | None:
        """The round of drand that decides a request; None where a block does, or the request was never made."""
        if self.deployment.drand is None:
            return None
        aimed = self._beacon_events(("SeedRequested", "SeedRearmed"), "id", request)
        return aimed.args["target"] if aimed is not None and aimed.name == "SeedRequested" else None

    def drand_signature(self, drand_round: int) -> tuple[int, int] | None:
        """The published signature of a round, a point of G1, not checked."""
        published = self._beacon_events(("SignaturePublished",), "drand_round", drand_round)
        return None if published is None else (published.args["signature"]["x"], published.args["signature"]["y"])

    def request_event(self, request: int) -> Event | None:
        """Where a seed was asked for."""
        return self._beacon_events(("SeedRequested",), "id", request)

    def _beacon_events(self, names: tuple[str, ...], key: str, value: int) -> Event | None:
        """The last of the beacon's events of that kind with that argument."""
        # A long-lived index grows, and a request may be aimed anew.
        if self._latest[0] != (head := self.head().hash):
            self._latest = (head, {})
        known = self._latest[1]
        if names not in known:
            known[names] = {event.args[key]: event for event in self.events(names=names, contract="beacon")}
        return known[names].get(value)

    def deciding_blocks(self, blocks: Iterable[int]) -> set[int]:
        """Blocks whose hashes decided the seeds that were fixed in these blocks."""
        table = schema.seeds
        with self.engine.connect() as db:
            rows = [
                row
                for part in _parts(sorted(set(blocks)))
                for row in db.execute(select(table.c.target).where(table.c.block.in_(part))).scalars()
            ]
        return set(rows)

    def calldata(self, blocks: Iterable[int]) -> list[dict[str, str]]:
        """The kept transactions of these blocks, as an endpoint answers."""
        table = schema.transactions
        with self.engine.connect() as db:
            rows = [
                row
                for part in _parts(sorted(set(blocks)))
                for row in db.execute(select(table).where(table.c.block.in_(part)).order_by(table.c.hash))
            ]
        return [
            {"hash": r.hash, "blockNumber": hex(r.block), "from": r.sender, "to": r.recipient, "input": r.input}
            for r in rows
        ]

    def beyond_tasks(self) -> list[Event]:
        """Events in blocks that hold none of any task: stakes, keys, seeds, votes."""
        table = schema.events
        of_tasks = select(table.c.block).where(table.c.task.is_not(None))
        query = select(table.c.block).where(table.c.block.not_in(of_tasks)).distinct()
        with self.engine.connect() as db:
            blocks = list(db.execute(query).scalars())
        return [event for part in _parts(sorted(blocks)) for event in self.events(blocks=[int(n) for n in part])]

    def tasks(self) -> list[int]:
        """Numbers of all tasks."""
        return [event.args["task_id"] for event in self.events(names=["TaskCreated"])]

    def rounds(self, task: int) -> list[int]:
        """Rounds of a task that were opened."""
        return [event.args["round"] for event in self.events(task=task, names=["RoundOpened"])]

    def accounts(self) -> list[Address]:
        """Trainers and verifiers who ever enrolled, sorted."""
        enrolled = self.events(names=["TrainerEnrolled", "VerifierEnrolled"])
        return sorted({e.args.get("trainer") or e.args["verifier"] for e in enrolled})

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        tables = (schema.blocks, schema.events, schema.transactions, schema.leaves)
        with self.engine.connect() as db:
            return {t.name: db.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}

    # Leaves of settlements: not on chain, but their root is.

    def leaves(self, root: Digest32) -> tuple[SettlementLeaf, ...] | None:
        """Leaves under a settlement root, if somebody found them."""
        table = schema.leaves
        query = select(table).where(table.c.root == hex_of(root)).order_by(table.c.position)
        with self.engine.connect() as db:
            rows = db.execute(query).all()
        return tuple(_leaf(row) for row in rows) or None

    def leaves_of(self, trainer: Address) -> dict[str, SettlementLeaf]:
        """A trainer's leaves by the root that they are under."""
        table = schema.leaves
        with self.engine.connect() as db:
            rows = db.execute(select(table).where(table.c.trainer == trainer)).all()
        return {row.root: _leaf(row) for row in rows}

    def all_leaves(self, roots: Sequence[Digest32]) -> dict[str, tuple[SettlementLeaf, ...]]:
        """Leaves under many roots."""
        table = schema.leaves
        found: dict[str, list[SettlementLeaf]] = {}
        with self.engine.connect() as db:
            for part in _parts([hex_of(root) for root in roots]):
                query = select(table).where(table.c.root.in_(part)).order_by(table.c.root, table.c.position)
                for row in db.execute(query):
                    found.setdefault(row.root, []).append(_leaf(row))
        return {root: tuple(leaves) for root, leaves in found.items()}

    def keep_leaves(self, root: Digest32, leaves: Sequence[SettlementLeaf]) -> None:
        """Remember leaves that were checked against the root."""
        rows = [
            {
                "root": hex_of(root),
                "position": position,
                "trainer": leaf.trainer,
                "verdict": int(leaf.verdict),
                "score_nanos": leaf.score_nanos,
                "stderr_nanos": str(leaf.stderr_nanos),
                "discount_bps": leaf.discount_bps,
                "payout": str(leaf.payout),
            }
            for position, leaf in enumerate(leaves)
        ]
        with self.engine.begin() as db:
            db.execute(delete(schema.leaves).where(schema.leaves.c.root == hex_of(root)))
            if rows:
                db.execute(insert(schema.leaves), rows)


def _parts(values: Sequence[int] | Sequence[str], size: int = 500) -> Iterable[Sequence[int] | Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _leaf(r: Row[Any]) -> SettlementLeaf:
    return SettlementLeaf(
        trainer=Address(r.trainer),
        verdict=Verdict(r.verdict),
        score_nanos=r.score_nanos,
        stderr_nanos=int(r.stderr_nanos),
        discount_bps=r.discount_bps,
        payout=TokenAmount(int(r.payout)),
    )
