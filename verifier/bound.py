"""What a verifier has bound itself to: the verdicts that it signed in each attempt, in its home before they leave it.

What is signed names chain id, contract, task, round and attempt, but no block: after a reorganisation, or where a chain
splits under one id, signatures of the one history count in the other. Two with different verdicts would be an
equivocation there, however honest each was. So a home signs once an attempt, whatever history it sees, and also after
it was started anew.
"""

from __future__ import annotations

from pathlib import Path

from deltaproof.errors import EncodingError
from deltaproof.folders import write_whole
from deltaproof.protocol.types import Digest32, RoundIndex, digest32

__all__ = ["BoundVerdicts"]


class BoundVerdicts:
    """Of one task, in its folder; the pruner removes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def allows(self, round_: RoundIndex, attempt: int, verdicts: Digest32) -> bool:
        """Whether nothing else was signed in the attempt. A damaged record allows nothing."""
        try:
            return digest32(self._path(round_, attempt).read_bytes()) == verdicts
        except FileNotFoundError:
            return True
        except EncodingError:
            return False

    def bind(self, round_: RoundIndex, attempt: int, verdicts: Digest32) -> None:
        """Remember what is signed next."""
        if self.allows(round_, attempt, verdicts):
            write_whole(self._path(round_, attempt), verdicts)

    def _path(self, round_: RoundIndex, attempt: int) -> Path:
        return self._folder / f"signed-{round_}-{attempt:016x}"
