"""How artifacts go out: whole or in ranges (RFC 9110), with tags and times that caches can go by."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate

from deltaproof.errors import ArtifactMissing
from deltaproof.gateway.ledger import Ledger
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.store.depots import Depot
from deltaproof.store.http import CLOCK_HEADER, TAKEN_HEADER
from deltaproof.store.paths import ArtifactName, Kind

__all__ = ["Answer", "Shelves"]

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_SHA_NAMED = (Kind.BLOB, Kind.ATTESTATION)
_REPLACED = (Kind.PROFILE,)
FOR_EVER = "public, max-age=31536000, immutable"
"""What is named by what it holds never changes."""
ASK_AGAIN = "no-cache"
"""A profile gives way to a newer one."""


@dataclass(frozen=True)
class Answer:
    """Status and headers, and which bytes follow."""

    status: int
    headers: dict[str, str]
    depot: Depot | None
    path: str
    start: int
    count: int

    def pieces(self) -> Iterator[bytes]:
        """The bytes, piece by piece. Raises ArtifactError if the store fails on the way."""
        at, end = self.start, self.start + self.count
        while self.depot is not None and at < end:
            piece = self.depot.read_range(self.path, at, min(self.depot.piece_bytes, end - at))
            if not piece:
                raise ArtifactMissing(self.path, "was taken away while it was read")
            yield piece
            at += len(piece)


class Shelves:
    """A store and, below it, an archive."""

    def __init__(self, depot: Depot, archive: Depot | None, ledger: Ledger) -> None:
        self._depots = [depot] + ([archive] if archive else [])
        self._ledger = ledger

    def answer(self, name: ArtifactName, asked: dict[str, str]) -> Answer:
        """What to say to a request; `asked` are its headers, with lower-case names.

        Raises ArtifactMissing, StoreUnavailable, or RequestRefused for a range that is not there.
        """
        depot, size = self._find(name.path)
        entry = self._ledger.entry(name.path)
        written_at = entry.written_at if entry else depot.published(name.path)
        digest = entry.sha256 if entry else name.digest if name.kind in _SHA_NAMED else None
        tag = f'"{digest.hex()}"' if digest else f'W/"{size}-{written_at}"'
        headers = {
            "Accept-Ranges": "bytes",
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": ASK_AGAIN if name.kind in _REPLACED else FOR_EVER,
            "Content-Disposition": "attachment",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Type": "application/octet-stream",
            "ETag": tag,
            "X-Content-Type-Options": "nosniff",
        }
        if written_at is not None:
            headers["Last-Modified"] = formatdate(written_at, usegmt=True)
        if entry is not None and name.kind not in _REPLACED:
            headers[TAKEN_HEADER], headers[CLOCK_HEADER] = f"{entry.written_at:.3f}", f"{time.time():.3f}"
        if tag in [each.strip() for each in asked.get("if-none-match", "").split(",")]:
            return Answer(304, headers, None, name.path, 0, 0)
        if digest:
            headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
        part = _range(asked.get("range", ""), size) if asked.get("if-range", tag) == tag else None
        if part is None:
            headers["Content-Length"] = str(size)
            return Answer(200, headers, depot, name.path, 0, size)
        start, end = part
        headers |= {"Content-Length": str(end - start), "Content-Range": f"bytes {start}-{end - 1}/{size}"}
        return Answer(206, headers, depot, name.path, start, end - start)

    def _find(self, path: str) -> tuple[Depot, int]:
        missing: ArtifactMissing | None = None
        for depot in self._depots:
            try:
                return depot, depot.size(path)
            except ArtifactMissing as error:
                missing = missing or error
        assert missing is not None
        raise missing


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """First byte, and the one after the last; None where the whole is to be sent. Several ranges at once are not
    served. Raises RequestRefused."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise RequestRefused(416, "no-such-range", f"the artifact has {size} bytes")
    return start, end
