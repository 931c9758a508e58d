"""What this process takes of memory, and how much more of it something untrusted may take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["at_most_more", "data_bytes"]


def data_bytes() -> int:
    """Memory that this process may write to and shares with nobody: what `RLIMIT_DATA` counts. Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def at_most_more(size: int) -> Iterator[None]:
    """While it lasts the kernel refuses this process, all of its threads, more than so many bytes besides what it has.

    What asks for more gets a MemoryError. For files of strangers whose libraries allocate whatever a file says. Only
    Linux can do it; elsewhere nothing is bounded.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource  # Unix only

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = data_bytes() + size
    for limit in (soft, hard):
        most = most if limit == resource.RLIM_INFINITY else min(most, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
