"""How a working role tells what it does, whoever listens."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Reporter"]


class Reporter(Protocol):
    """Receives what a role does. `event` is a stable name for scripts, `message` a sentence for people."""

    def __call__(self, event: str, message: str, **fields: object) -> None: ...
