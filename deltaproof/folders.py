"""Where this machine keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_root"]


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/deltaproof`, by default `~/.cache/deltaproof`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deltaproof"
