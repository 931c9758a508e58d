"""The client of a gateway (docs/gateway.md): one more kind of store, reached over HTTP.

Reading needs no key, and any server that serves the same files will do. Writing needs the key of somebody who has a
role in the task. What is larger than one request may be is sent in parts, and a transfer that breaks goes on where it
was, in either direction.
"""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from deltaproof.errors import (
    ArtifactMissing,
    ArtifactTooLarge,
    ChainUnavailable,
    DeltaproofError,
    StoreUnavailable,
    cause_of,
)
from deltaproof.protocol.types import hex_of
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.reporting import Reporter, counted
from deltaproof.store.permits import PART_BYTES, Writer, seconds_ahead
from deltaproof.store.sessions import session_to
from deltaproof.store.waiting import LeftBehind, Line, TooSlow, Transfer

__all__ = ["CLOCK_HEADER", "TAKEN_HEADER", "HttpBackend", "Taken"]

T = TypeVar("T")
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
"""Longest that a server's own word on when to come back is followed."""
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
STALLED_SECONDS, AWAY_SECONDS = 10.0, 30.0
"""Whoever has cost more time than that and gave no answer is not asked again for a while."""
PIECE_BYTES = 256 * 1024
MAX_ANSWER_BYTES = 64 * 1024
TOLD_FROM_BYTES = 16 * 1024 * 1024
"""Transfers of this size and more are reported as they go on."""
TOLD_EVERY_SECONDS = 5.0
TAKEN_HEADER = "Deltaproof-Taken"
"""When a gateway took an artifact that it does not replace, seconds since the epoch."""
CLOCK_HEADER = "Deltaproof-Clock"
"""What its clock says now."""
COME_BACK = frozenset({403, 408, 425, 429, 500, 502, 503, 504})
"""Statuses that another attempt may mend. 403, too: the gateway's node may not have seen yet who somebody is."""


WRONG_TIME = 401
"""Of a permit that has expired or holds too long, among others."""
CLOCK_SECONDS = 60
"""Clocks that differ by less are no reason to sign anew."""


class _Broken(DeltaproofError):
    """An attempt failed in a way that another may mend; `pause` is what the server asked for, seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Taken:
    """When a place that replaces nothing took an artifact, and the time now, by its clock; seconds since the epoch."""

    at: float
    now: float


class HttpBackend:
    """A gateway at a URL. Safe to share between threads."""

    def __init__(
        self,
        url: str,
        writer: Writer | None = None,
        report: Reporter | None = None,
        *,
        attempts: int = ATTEMPTS,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """Raises StoreUnavailable if the URL is none."""
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment:
            raise StoreUnavailable(
                _without_login(url), "not a gateway's URL; write http://host:port or https://host/prefix"
            )
        self.url, self._writer, self._report = url.rstrip("/"), writer, report
        self._shown = _without_login(self.url)
        self._attempts, self._pause = attempts, pause_seconds
        self._local = threading.local()
        self._ahead = 0
        """How far the gateway's clock is before this machine's, as far as its refusals told; seconds."""
        self._left_behind = LeftBehind()
        self._away: tuple[float, str] = (0.0, "")
        """Until when it is not asked again, by a monotonic clock, and why."""

    # Reading.

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`. A read that breaks goes on where it was; bytes that were damaged on the way are read again."""
        received, tag = bytearray(), ""
        progress = self._progress("downloading", path)

        def attempt(transfer: Transfer) -> bytes:
            nonlocal tag
            headers = {"Range": f"bytes={len(received)}-", "If-Range": tag} if received and tag else {}
            with self._asked("GET", path, headers=headers, stream=True) as answer:
                if answer.status_code != 206:
                    received.clear()
                    self._expect(answer, path, 200)
                tag = answer.headers.get("ETag", "")
                total = len(received) + _length(answer)
                if total > max_bytes:
                    raise ArtifactTooLarge(path, f"more than the {max_bytes} bytes it may have")
                while part := _received(answer, PIECE_BYTES):
                    received.extend(part)
                    transfer.moved(len(part))
                    if len(received) > max_bytes:
                        raise ArtifactTooLarge(path, f"more than the {max_bytes} bytes it may have")
                    progress(len(received), total)
                if len(received) < total:
                    raise _Broken(f"ended after {len(received)} of {total} bytes")
                data = bytes(received)
                if not _as_promised(answer, data):
                    received.clear()
                    raise _Broken("the bytes that arrived are not those that the gateway sent")
                return data

        return self._retried(path, "read", attempt)

    def read_range(self, path: str, start: int, size: int) -> bytes:
        """See `Ranged`: of what a gateway says that it took, which it checked as a whole. What the bytes are is for the
        caller to check. Raises StoreUnavailable of what it only serves."""

        def attempt(transfer: Transfer) -> bytes:
            headers = {"Range": f"bytes={start}-{start + size - 1}"}
            with self._asked("GET", path, headers=headers, stream=True) as answer:
                self._expect(answer, path, 206)
                if TAKEN_HEADER not in answer.headers:
                    raise StoreUnavailable(path, f"{self._shown} serves it, and does not say that it took it")
                received = bytearray()
                while len(received) < size and (part := _received(answer, min(PIECE_BYTES, size - len(received)))):
                    received.extend(part)
                    transfer.moved(len(part))
                if len(received) < min(_length(answer), size):
                    raise _Broken(f"ended after {len(received)} bytes of a part")
                return bytes(received)

        return self._retried(path, "read", attempt)

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        try:
            self._head(path)
        except ArtifactMissing:
            return False
        return True

    def published(self, path: str) -> float | None:
        """See `Backend`."""
        said = self._head(path).headers.get("Last-Modified", "")
        try:
            return parsedate_to_datetime(said).timestamp()
        except (TypeError, ValueError, OverflowError):
            return None  # it does not say

    def taken(self, path: str) -> Taken | None:
        """When the gateway took the artifact, if it says so: it replaces none, so that is when it could first be read
        there. Raises ArtifactMissing or StoreUnavailable."""
        said = self._head(path, fresh=True).headers
        try:
            found = Taken(float(said[TAKEN_HEADER]), float(said[CLOCK_HEADER]))
        except (KeyError, ValueError):
            return None
        return found if math.isfinite(found.at) and math.isfinite(found.now) else None

    def _head(self, path: str, *, fresh: bool = False) -> requests.Response:
        headers = {"Cache-Control": "no-cache"} if fresh else {}

        def attempt(_transfer: Transfer) -> requests.Response:
            with self._asked("HEAD", path, headers=headers) as answer:
                self._expect(answer, path, 200)
                return answer

        return self._retried(path, "looked up", attempt)

    # Writing.

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`. The same bytes again are welcome; other bytes under a name that is taken are refused."""
        if self._writer is None:
            raise StoreUnavailable(
                path, f"{self._shown} takes what a participant of a task signs, and no key was given"
            )
        if len(data) <= PART_BYTES:
            self._retried(path, "written", lambda _: self._put(path, data), len(data))
        else:
            self._retried(path, "written", lambda transfer: self._upload(path, data, transfer))

    def _put(self, path: str, data: bytes) -> None:
        with self._asked("PUT", path, data=data, headers=self._signed(path, data)) as answer:
            self._expect(answer, path, 200, 201)

    def _upload(self, path: str, data: bytes, transfer: Transfer) -> None:
        """In parts, from where the gateway says that an earlier attempt ended."""
        progress = self._progress("uploading", path)
        with self._asked("POST", f"uploads/{path}", headers=self._signed(path, data)) as answer:
            self._expect(answer, path, 200, 201)
            begun = self._told(answer)
        done, place, offset = begun.get("stored"), begun.get("upload"), begun.get("offset")
        if done is True:
            return
        if not isinstance(place, str) or not place.isalnum() or not isinstance(offset, int):
            raise _Broken("the gateway's answer to an upload is none")
        while done is not True:
            if not 0 <= offset < len(data):
                raise _Broken(f"the gateway asks for byte {offset} of {len(data)}")
            part = data[offset : offset + PART_BYTES]
            transfer.moved(len(part))
            with self._asked("PATCH", f"uploads/{place}", data=part, headers={"Upload-Offset": str(offset)}) as answer:
                self._expect(answer, path, 200, 201)
                told = self._told(answer)
            done, reached = told.get("stored"), told.get("offset")
            if not isinstance(reached, int) or reached <= offset:
                raise _Broken("the gateway's answer to a part is none")
            offset = reached
            progress(offset, len(data))

    def _signed(self, path: str, data: bytes) -> dict[str, str]:
        assert self._writer is not None
        try:
            permit, signature = self._writer.permit(path, data, self._ahead)
        except ChainUnavailable as error:  # of a remote signer: whoever writes waits as for a store
            raise StoreUnavailable(path, f"cannot be written: {error}") from error
        return {
            "Content-Type": "application/octet-stream",
            "Deltaproof-Task": str(permit.task),
            "Deltaproof-Size": str(permit.size),
            "Deltaproof-Digest": hex_of(permit.digest),
            "Deltaproof-Expires": str(permit.expires),
            "Deltaproof-Signature": hex_of(signature),
        }

    # Below: requests and their answers.

    def _asked(self, method: str, path: str, **options: Any) -> requests.Response:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = session_to(self.url, login=False)
            # Compressed, a small answer could become a huge one.
            session.headers["Accept-Encoding"] = "identity"
        options.setdefault("stream", True)
        try:
            return session.request(
                method, f"{self.url}/{path}", timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, **options
            )
        # Attack: announce http://a..b, which urllib3 refuses in its own words, and end whoever looks at all tasks.
        except (requests.RequestException, ValueError) as error:
            raise _Broken(f"no answer from {self._shown}: {cause_of(error, words=self._shown == self.url)}") from error

    def _expect(self, answer: requests.Response, path: str, *statuses: int) -> None:
        if answer.status_code in statuses:
            return
        if answer.status_code == 404 and answer.request.method in ("GET", "HEAD"):
            raise ArtifactMissing(path, "not in the store")
        said = self._error_of(answer)
        if answer.status_code in COME_BACK or self._learns_the_time(answer):
            raise _Broken(said, _wait_of(answer))
        raise StoreUnavailable(path, f"{self._shown} refuses: {said}")

    def _learns_the_time(self, answer: requests.Response) -> bool:
        """Whether a permit may have been refused because clocks differ, and the next one will be of another time."""
        told = answer.headers.get("Date", "") if answer.status_code == WRONG_TIME else ""
        try:
            ahead = seconds_ahead(parsedate_to_datetime(told).timestamp())
        except (TypeError, ValueError):
            return False
        before, self._ahead = self._ahead, ahead
        return abs(ahead - before) > CLOCK_SECONDS

    def _error_of(self, answer: requests.Response) -> str:
        told = self._told(answer) if answer.request.method != "HEAD" else {}
        said = told.get("error")
        return f"{said[:500]} ({answer.status_code})" if isinstance(said, str) else f"status {answer.status_code}"

    def _told(self, answer: requests.Response) -> dict[str, object]:
        body = bytearray()
        while len(body) < MAX_ANSWER_BYTES and (part := _received(answer, MAX_ANSWER_BYTES - len(body))):
            body += part
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    def _retried(self, path: str, verb: str, action: Callable[[Transfer], T], size: int = 0) -> T:
        began, (until, why) = time.monotonic(), self._away
        if began < until:
            raise StoreUnavailable(path, f"is not asked for: {why}")
        line: Line | None = getattr(self._local, "line", None)
        if line is None:
            line = self._local.line = Line(self._left_behind)

        def unanswered(problem: str) -> StoreUnavailable:
            # Attack: be one of two places, and let everybody wait for each of a hundred openings.
            if time.monotonic() - began > STALLED_SECONDS:
                self._away = time.monotonic() + AWAY_SECONDS, f"{self._shown} did not answer before"
            return StoreUnavailable(path, f"cannot be {verb}{problem}")

        for attempt in range(1, self._attempts + 1):
            try:
                return line.run(action, size)
            except TooSlow as error:
                raise unanswered(f": {self._shown} is too slow") from error
            except _Broken as error:
                if attempt == self._attempts:
                    raise unanswered(f" after {counted(attempt, 'attempt')}: {error}") from error
                pause = max(self._pause * 2.0 ** (attempt - 1), min(error.pause, LONGEST_PAUSE_SECONDS))
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _progress(self, verb: str, path: str) -> Callable[[int, int], None]:
        told_at = time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal told_at
            late = time.monotonic() - told_at >= TOLD_EVERY_SECONDS
            if self._report is None or total < TOLD_FROM_BYTES or not (late or done >= total):
                return
            told_at = time.monotonic()
            message = f"{verb} {path[:24]}...: {done / 1e6:.0f} of {total / 1e6:.0f} MB"
            self._report(verb, message, path=path, bytes=done, total=total)

        return progress


def _without_login(url: str) -> str:
    """The URL as errors name it: they come into logs, and into audits that are published."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def _received(answer: requests.Response, most: int) -> bytes:
    """The next bytes of an answer's body; none at its end. Raises _Broken."""
    try:
        return bytes(answer.raw.read(most, decode_content=False))
    except Exception as error:  # urllib3 and the socket have errors of their own; each means that it broke
        raise _Broken(f"the answer broke off: {cause_of(error, words=True)}") from error


def _length(answer: requests.Response) -> int:
    said = answer.headers.get("Content-Length", "")
    if not said.isdecimal() or len(said) > 15:
        raise _Broken("the answer does not say how long it is")
    return int(said)


def _as_promised(answer: requests.Response, data: bytes) -> bool:
    """Whether the bytes have the SHA-256 that the answer names (RFC 9530); whatever it names, the caller still checks
    what it knows."""
    for entry in answer.headers.get("Repr-Digest", "").split(","):
        name, _, value = entry.strip().partition("=")
        if name == "sha-256":
            return value.strip(":") == base64.b64encode(sha256(data)).decode()
    return True


def _wait_of(answer: requests.Response) -> float:
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() and len(said) < 6 else 0.0
