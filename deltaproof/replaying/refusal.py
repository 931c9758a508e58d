"""Why a step is refused."""

from __future__ import annotations

from typing import Literal

from deltaproof.errors import DeltaproofError

__all__ = ["Check", "Refused"]

Check = Literal[
    "format", "record", "transcript", "state", "start", "delta", "gradient digest", "rows", "clipping", "optimizer",
    "gradient", "loss", "judging",
]  # fmt: skip
"""Names of the checks of a replay (docs/protocol/verdicts.md)."""


class Refused(DeltaproofError):
    """The check that a step failed, on its way to a verdict; `magnitude` is measured against `bound`."""

    def __init__(self, check: Check, message: str, magnitude: float = 0.0, bound: float = 0.0) -> None:
        super().__init__(message)
        self.check, self.magnitude, self.bound = check, magnitude, bound
