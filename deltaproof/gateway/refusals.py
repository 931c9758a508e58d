"""How a gateway says no."""

from __future__ import annotations

from deltaproof.errors import DeltaproofError

__all__ = ["RequestRefused"]


class RequestRefused(DeltaproofError):
    """A request that a gateway does not serve: HTTP status, a stable code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after
