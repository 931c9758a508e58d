"""A participant's home: its folder for each task, marked with the contracts that it belongs to, and its size.

Work of one deployment must never be taken for another's: not trained on, not shown, and above all not removed because
the other's deadlines are over.
"""

from __future__ import annotations

from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.errors import EncodingError, UsageError
from deltaproof.folders import write_whole
from deltaproof.protocol.types import TaskId
from deltaproof.protocol.wire.encoding import canonical_json, parse_json

__all__ = ["MIB", "marked_folders", "size_on_disk", "task_folder"]

MIB = 2**20
"""Bytes."""

MARK = "deployment.json"
MAX_MARK_BYTES = 4096


def task_folder(home: Path, gateway: Gateway, task_id: TaskId) -> Path:
    """The task's folder, made and marked if it is new. Raises UsageError if it belongs to other contracts."""
    folder, mark = home / f"task-{task_id}", _mark(gateway)
    found = _found(folder)
    if found is None:
        write_whole(folder / MARK, canonical_json(mark))
    elif found != mark:
        raise UsageError(
            f"{folder} holds work for the contract {found.get('contract')} of another deployment or chain; "
            "give each deployment a --home of its own"
        )
    return folder


def marked_folders(home: Path, gateway: Gateway) -> dict[TaskId, Path]:
    """Folders of tasks of these contracts, by task; folders of others, or without a mark, are left out."""
    mark = _mark(gateway)
    numbered = ((path.name.removeprefix("task-"), path) for path in sorted(home.glob("task-*")))
    return {TaskId(int(number)): path for number, path in numbered if number.isdecimal() and _found(path) == mark}


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        try:
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _mark(gateway: Gateway) -> dict[str, object]:
    return {"genesis": gateway.connection.genesis.hex(), "contract": gateway.tasks.address}


def _found(folder: Path) -> dict[str, object] | None:
    """What the folder's mark says; None without one. A damaged mark fits nothing."""
    try:
        content = parse_json((folder / MARK).read_bytes(), max_bytes=MAX_MARK_BYTES)
    except FileNotFoundError:
        return None
    except EncodingError:
        return {}
    return dict(content) if isinstance(content, dict) else {}
