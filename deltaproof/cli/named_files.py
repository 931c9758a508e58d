"""What the operating system says about a file or folder that the command line names.

Such a refusal is expected: a folder stands where a file should, nobody may write there, the disk is full. About any
other file it is a fault of the program, and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["named_refusal"]

FULL = (errno.ENOSPC, errno.EDQUOT)


def named_refusal(error: OSError) -> str | None:
    """One line about a file that the command line or a `DELTAPROOF_` variable names; None if it names no such file."""
    if error.errno in FULL:
        return f"{error.strerror}: make room, then run the same command again"
    if not isinstance(error.filename, str):
        return None
    refused = Path(error.filename).absolute()
    for named in _named():
        # A folder above it may be what cannot be made; beside it lies what is written before it gets the name.
        beside = refused.parent == named.parent and refused.name.startswith(named.name)
        if refused in (named, *named.parents) or named in refused.parents or beside:
            return f"cannot use {error.filename}: {error.strerror}; name another file or folder"
    return None


def _named() -> Iterator[Path]:
    settings = [value for name, value in os.environ.items() if name.startswith("DELTAPROOF_")]
    for text in (*sys.argv[1:], *settings):
        value = text.partition("=")[2] if text.startswith("--") else text
        if value and "://" not in value and "\0" not in value:
            yield Path(value).absolute()
