"""Where on a long chain a task's events begin, found in some thirty calls instead of reading from block 0.

A task's first block is found by bisection over what the contract said at earlier blocks, and remembered. Nodes that no
longer know that past are asked for block times instead: the chain says when a round ended, and no event of a later
round lies before it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.errors import ChainError, ChainUnavailable, EncodingError
from deltaproof.folders import write_whole
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.protocol.wire.encoding import canonical_json, parse_json

__all__ = ["first_block", "log_start"]

MAX_CACHE_BYTES = 4096


def log_start(gateway: Gateway, task_id: TaskId, round_: RoundIndex, cache: Path | None) -> int:
    """A block at or before the first event that a participant of `round_` needs: of that round and the one before.

    Raises ChainUnavailable or ChainError.
    """
    if round_ > 2:
        ended = gateway.tasks.round(task_id, RoundIndex(round_ - 2)).ended_at
        return _first_at_or_after(gateway, ended)
    return first_block(gateway, task_id, cache)


def first_block(gateway: Gateway, task_id: TaskId, cache: Path | None) -> int:
    """A block before which the task did not exist; its own where the node knows the past, else the deployment's.

    `cache` is a folder that remembers it. Raises ChainUnavailable, or ChainError if there is no such task.
    """
    path = cache / "first-block.json" if cache else None
    key = {"genesis": gateway.connection.genesis.hex(), "contract": gateway.tasks.address, "task": task_id}
    if path is not None and (known := _remembered(path, key)) is not None:
        return known
    last = gateway.connection.read_block.number
    try:
        found = _bisect(gateway.deployment.block, last, lambda number: _existed(gateway, task_id, number))
    except ChainUnavailable:
        raise
    except ChainError:  # the node has pruned that past; reading starts earlier than it has to
        return gateway.deployment.block
    if path is not None:
        with suppress(OSError):  # a full disk costs the same calls once more, and no answer to a demand
            write_whole(path, canonical_json({**key, "block": found}))
    return found


def _existed(gateway: Gateway, task_id: TaskId, number: int) -> bool:
    """Whether the task existed at a block. Raises ChainError if the node does not know any more."""
    if not gateway.connection.has_code(gateway.terms.address, number):
        return False
    return gateway.terms.task_count(number) >= task_id


def _first_at_or_after(gateway: Gateway, seconds: int) -> int:
    connection = gateway.connection
    last = connection.read_block.number
    return _bisect(gateway.deployment.block, last, lambda number: connection.block(number)["timestamp"] >= seconds)


def _bisect(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first number in low..high for which `holds`, which is false before and true from there on; else `high`."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _remembered(path: Path, key: dict[str, object]) -> int | None:
    """What the file says of this very task; None for a file that is missing, damaged or of another chain."""
    try:
        content = parse_json(path.read_bytes(), max_bytes=MAX_CACHE_BYTES)
    except (OSError, EncodingError):
        return None
    match content:
        case {"block": int(number), **rest} if rest == key:
            return number
        case _:
            return None
