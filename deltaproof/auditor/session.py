"""An index kept in step with a chain, opened from what a person types: a URL, an address, a database."""

from __future__ import annotations

from sqlalchemy import Engine

from deltaproof.auditor.index.follower import Follower, Synced
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.index.schema import open_database
from deltaproof.protocol.types import Address

__all__ = ["MEMORY", "open_index", "opened_follower"]

MEMORY = "sqlite://"
"""A database that lives as long as the command."""


def opened_follower(rpc: Rpc, tasks: Address, database: str = MEMORY) -> tuple[Follower, Engine]:
    """A follower on its database. Raises IndexUnusable or ChainError."""
    engine = open_database(database)
    return Follower(engine, rpc, tasks), engine


def open_index(rpc: Rpc, tasks: Address, database: str = MEMORY) -> tuple[Index, Synced]:
    """An index brought up to the head of the chain. Raises IndexUnusable or ChainError."""
    follower, engine = opened_follower(rpc, tasks, database)
    return Index(engine), follower.sync()
