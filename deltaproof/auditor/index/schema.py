"""Tables of the index. Everything in them follows from the chain (and, for `leaves`, from a root that is on it).

All but `checkpoints` come out the same whenever and in whatever ranges they were read; `checkpoints` are how far the
follower got, and how it notices that the chain was reorganised.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Engine, Index, Integer, MetaData, String, Table, Text, create_engine, event
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from deltaproof.errors import DeltaproofError
from deltaproof.extras import how_to_install

__all__ = [
    "IndexUnusable",
    "blocks",
    "checkpoints",
    "deployment",
    "events",
    "leaves",
    "mentions",
    "metadata",
    "open_database",
    "seeds",
    "transactions",
]

metadata = MetaData()
"""All tables of an index."""

deployment = Table(
    "deployment",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What this database is an index of: chain id, genesis, contract addresses, first block."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(66), nullable=False),
)
"""Blocks up to which the index has been read, so that a reorganisation is noticed."""

blocks = Table(
    "blocks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(66), nullable=False),
    Column("timestamp", BigInteger, nullable=False),
)
"""Blocks that hold one of our events."""

seeds = Table(
    "seeds",
    metadata,
    Column("request", BigInteger, primary_key=True, autoincrement=False),
    Column("block", BigInteger, nullable=False, index=True),
    Column("target", BigInteger, nullable=False),
    Column("target_hash", String(66), nullable=False),
)
"""The block whose hash decided a seed; `block` is where the seed was fixed."""

transactions = Table(
    "transactions",
    metadata,
    Column("hash", String(66), primary_key=True),
    Column("block", BigInteger, nullable=False, index=True),
    Column("sender", String(42), nullable=False),
    Column("recipient", String(42), nullable=False),
    Column("input", Text, nullable=False),
)
"""Transactions whose calldata opens something that events do not carry: salts and quorum signatures."""

events = Table(
    "events",
    metadata,
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", Integer, primary_key=True, autoincrement=False),
    Column("transaction", String(66), nullable=False, index=True),
    Column("contract", String(16), nullable=False),
    Column("name", String(32), nullable=False),
    Column("task", BigInteger),
    Column("round", BigInteger),
    Column("arguments", Text, nullable=False),
    Index("events_task_round", "task", "round"),
    Index("events_name", "name", "task"),
)
"""Every event of the contracts, by its place on the chain."""

mentions = Table(
    "mentions",
    metadata,
    Column("account", String(42), primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", Integer, primary_key=True, autoincrement=False),
)
"""Which events speak of which account."""

leaves = Table(
    "leaves",
    metadata,
    Column("root", String(66), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("trainer", String(42), nullable=False, index=True),
    Column("verdict", Integer, nullable=False),
    Column("score_nanos", BigInteger, nullable=False),
    Column("stderr_nanos", String(20), nullable=False),
    Column("discount_bps", Integer, nullable=False),
    Column("payout", String(39), nullable=False),
)
"""Leaves of settlement trees, found in the store and checked against the root. Text where 64 bits may not do."""


class IndexUnusable(DeltaproofError):
    """The database cannot be opened, or is an index of something else."""


def open_database(url: str) -> Engine:
    """The database at a path (SQLite) or SQLAlchemy URL such as `postgresql+psycopg://user@host/name`.

    Raises IndexUnusable.
    """
    address = url if "://" in url else f"sqlite:///{url}"
    try:
        engine = create_engine(address)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _tune_sqlite)
        metadata.create_all(engine)
    except ImportError as error:
        hint = how_to_install("psycopg") if "psycopg" in str(error) else "install the driver that the URL names"
        raise IndexUnusable(f"cannot open the index {_without_password(address)}: {error}; {hint}") from error
    except (ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError) as error:
        raise IndexUnusable(f"cannot open the index {_without_password(address)}: {_first_line(error)}") from error
    return engine


def _tune_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
