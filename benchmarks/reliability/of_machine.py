"""What happens to the machines of roles: disks, clocks, a second machine with the same key."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
import time

from benchmarks.reliability.kinds import Kind, Stage, Undo
from benchmarks.reliability.of_chain import nothing
from benchmarks.reliability.of_network import healthy

__all__ = ["MACHINE", "read_only"]

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_read_only: set[str] = set()
_clock = time.time
_hooked: list[bool] = []


def full_disk(stage: Stage) -> Undo:
    """The kernel refuses to let any file of this process grow beyond a few bytes: homes, journals, logs and store."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (stage.draw.choice([0, 64, 4096]), hard))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def read_only(*places: str) -> Undo:
    """Nothing whose path begins with one of the places can be written until the result is called.

    By Python's audit events rather than by permissions, which do not bind an administrator.
    """
    if not _hooked:
        sys.addaudithook(_refuse)
        _hooked.append(True)
    _read_only.update(places)
    return lambda: _read_only.difference_update(places)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if not _read_only or event not in ("open", "os.mkdir", "os.rename", "os.remove"):
        return
    path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
    if not path.startswith(tuple(_read_only)):
        return
    if event == "open" and not int(str(arguments[2])) & WRITING:
        return
    if event == "os.mkdir" and os.path.exists(path):
        return  # the kernel says first that it is there
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def read_only_disk(stage: Stage) -> Undo:
    """A role's home and the journal of its key become read-only."""
    role = stage.draw.choice(stage.living())
    return read_only(f"{role.folder / role.name}/", f"{role.folder / 'state'}/{role.agent.account.lower()}")


def wrong_clock(stage: Stage) -> Undo:
    """The machine's clock jumps by up to twelve days in either direction."""
    offset = stage.draw.choice([-1, 1]) * 10 ** stage.draw.uniform(0.0, 6.0)
    time.time = lambda: _clock() + offset

    def end() -> None:
        time.time = _clock

    return end


def second_machine(stage: Stage) -> Undo:
    """A role runs a second time, elsewhere: the same key, a copy of its home, journals of its own."""
    role = stage.draw.choice([role for role in stage.living() if role.name != "sponsor"] or stage.living())
    place = stage.folder / f"machine-{len(stage.others)}"
    if role.name == "sponsor":
        return nothing
    shutil.copytree(role.folder / role.name, place / role.name, ignore=shutil.ignore_patterns("*.part*"))
    twin = role.again(place)
    stage.others.append(twin)
    twin.start()

    def end() -> None:
        twin.stop()
        twin.proxy.fault = healthy

    return end


MACHINE = [
    Kind("full disk", "machine", "no file can grow", full_disk),
    Kind("read-only disk", "machine", "a role's home cannot be written", read_only_disk),
    Kind("wrong clock", "machine", "the machine's clock jumps by up to 12 days", wrong_clock),
    Kind("two machines", "machine", "one key runs on two machines at once", second_machine, lasts=(6.0, 15.0)),
]
