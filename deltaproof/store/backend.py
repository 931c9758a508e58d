"""Bytes in and out of a store: bounded reads, atomic writes, bounded retries.

A local folder is written through a temporary file and a rename, so that a reader sees all of an artifact or none of it,
whatever moment the writer is killed at, and what was written is there after a loss of power. Other file systems come
from fsspec; object stores replace whole objects.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import fsspec

from deltaproof.errors import (
    ArtifactAltered,
    ArtifactError,
    ArtifactMissing,
    ArtifactTooLarge,
    CryptoError,
    EncodingError,
    StoreUnavailable,
)
from deltaproof.extras import how_to_install
from deltaproof.folders import made_folder, settle
from deltaproof.reporting import Reporter, counted
from deltaproof.store.behind import Behind, Delay
from deltaproof.store.homes import HomeLeaves
from deltaproof.store.http import HttpBackend
from deltaproof.store.lean import Ranged
from deltaproof.store.permits import Writer

__all__ = [
    "Backend",
    "LocalBackend",
    "Mirrors",
    "Nowhere",
    "RemoteBackend",
    "absent_folders",
    "checked_copy",
    "copies_of",
    "open_backend",
    "unwritable_folder",
]

T = TypeVar("T")
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.2
DUE_BYTES_A_SECOND = 1024 * 1024
"""A mirror from which bytes come more slowly is read after the others."""


class Backend(Protocol):
    """A place for bytes under relative paths of plain characters."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """At most `max_bytes` bytes. Raises ArtifactMissing, ArtifactTooLarge or StoreUnavailable, and ArtifactAltered
        if a folder stands there."""

    def write(self, path: str, data: bytes) -> None:
        """Put or replace the whole artifact. Raises StoreUnavailable."""

    def exists(self, path: str) -> bool:
        """Raises StoreUnavailable."""

    def published(self, path: str) -> float | None:
        """When the artifact was written, by the store's own clock, seconds since the epoch; None if it does not say.

        Raises ArtifactMissing or StoreUnavailable.
        """


class LocalBackend:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        try:
            # Attack: put a pipe into a folder that several write to, so that whoever opens it waits for ever.
            with open(self.root / path, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise _no_file(path)
                data = file.read(max_bytes + 1)
        except FileNotFoundError as error:
            raise _missing(path) from error
        except (IsADirectoryError, NotADirectoryError) as error:
            raise _no_file(path) from error
        except OSError as error:
            if error.errno == errno.ELOOP:  # links that lead to each other are nothing that will be there later
                raise _no_file(path) from error
            raise StoreUnavailable(path, f"cannot be read: {error.strerror or error}") from error
        return _within(path, data, max_bytes)

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        target = self.root / path
        try:
            made_folder(target.parent)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(name, 0o644)
                settle(Path(name), target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreUnavailable(path, f"cannot be written below {self.root}: {error.strerror or error}") from error

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        try:
            return (self.root / path).is_file()
        except OSError as error:
            raise StoreUnavailable(path, f"cannot be looked up: {error.strerror or error}") from error

    def published(self, path: str) -> float | None:
        """See `Backend`."""
        try:
            return (self.root / path).stat().st_mtime
        except FileNotFoundError as error:
            raise _missing(path) from error
        except OSError as error:
            raise StoreUnavailable(path, f"cannot be looked up: {error.strerror or error}") from error


class RemoteBackend:
    """Any fsspec file system."""

    def __init__(self, url: str, *, attempts: int = ATTEMPTS, pause_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            # fsspec itself names the package of other protocols.
            hint = f": {how_to_install('s3fs')}" if urlsplit(url).scheme in ("s3", "s3a") else ""
            raise StoreUnavailable(url, f"cannot be opened: {error}{hint}") from error
        except (ValueError, OSError) as error:
            raise StoreUnavailable(url, f"cannot be opened: {error}") from error
        self._attempts, self._pause = attempts, pause_seconds

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""

        def bounded() -> bytes:
            # A stream, not `cat_file`: a server that ignores ranges must not decide how much arrives.
            parts: list[bytes] = []
            wanted = max_bytes + 1
            with self._fs.open(self._at(path), "rb", cache_type="none") as file:
                while wanted > 0 and (part := file.read(wanted)):
                    parts.append(part)
                    wanted -= len(part)
            return b"".join(parts)

        return _within(path, self._retried(path, "read", bounded), max_bytes)

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""

        def whole() -> None:
            self._fs.makedirs(self._fs._parent(self._at(path)), exist_ok=True)
            self._fs.pipe_file(self._at(path), data)

        try:
            self._retried(path, "written", whole)
        except (ArtifactMissing, ArtifactAltered) as error:
            # Its bucket is gone, or a file stands where a folder should.
            raise StoreUnavailable(path, f"cannot be written: {error.__cause__ or error}") from error

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        # Not the file system's own `exists`: it takes an outage for absence.
        try:
            return bool(self._retried(path, "looked up", lambda: self._fs.info(self._at(path)))["type"] == "file")
        except ArtifactMissing:
            return False

    def published(self, path: str) -> float | None:
        """See `Backend`."""

        def modified() -> float | None:
            try:
                return float(self._fs.modified(self._at(path)).timestamp())
            except NotImplementedError:
                return None  # a file system without times

        return self._retried(path, "looked up", modified)

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    def _retried(self, path: str, verb: str, action: Callable[[], T]) -> T:
        for attempt in range(1, self._attempts + 1):
            try:
                return action()
            except FileNotFoundError as error:
                raise _missing(path) from error
            except (IsADirectoryError, NotADirectoryError) as error:
                raise _no_file(path) from error
            except PermissionError as error:
                raise StoreUnavailable(path, f"cannot be {verb}: permission denied ({error})") from error
            except Exception as error:  # every file system has errors of its own; none is dropped
                if attempt == self._attempts:
                    message = f"cannot be {verb} after {counted(attempt, 'attempt')}: {type(error).__name__}: {error}"
                    raise StoreUnavailable(path, message) from error
            time.sleep(self._pause * 2 ** (attempt - 1))
        raise AssertionError("unreachable")


class Nowhere:
    """A place that holds nothing: of a task whose store nobody knows."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        raise ArtifactMissing(path, "no store is known: say --store URL")

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        raise StoreUnavailable(path, "no store is known: say --store URL")

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        return False

    def published(self, path: str) -> float | None:
        """See `Backend`."""
        raise ArtifactMissing(path, "no store is known: say --store URL")


class Mirrors:
    """Several places that hold the same artifacts: everything is written to each that answers, and read from the first
    that has it."""

    def __init__(self, places: Sequence[Backend]) -> None:
        self.places = places
        self._behind = [Behind(place.write) for place in places]
        self._delays = [Delay() for _ in places]

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`. Missing only if all places answer and none has it."""
        return next(self.copies(path, max_bytes))

    def copies(self, path: str, max_bytes: int) -> Iterator[bytes]:
        """What each place holds, in order; who has what it needs asks no further. Raises the worst error of all if
        none holds anything, and StoreUnavailable in the end if a place was away."""
        errors: list[ArtifactError] = []
        for number in self._quick_first():
            try:
                data = self._read(number, path, max_bytes)
            except ArtifactError as error:
                errors.append(error)
                continue
            yield data
        # A place that is away may hold what the others lack.
        if away := next((error for error in errors if isinstance(error, StoreUnavailable)), None):
            raise away
        if len(errors) == len(self.places):
            raise errors[0]

    def read_range(self, path: str, start: int, size: int) -> bytes:
        """See `Ranged`: from the first place that gives parts and has it."""
        errors: list[ArtifactError] = []
        for number in self._quick_first():
            place = self.places[number]
            if isinstance(place, Ranged):
                try:
                    with self._timed(number, size):
                        return place.read_range(path, start, size)
                except ArtifactError as error:
                    errors.append(error)
        raise StoreUnavailable(path, "cannot be read in parts") from next(iter(errors), None)

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`. Raises StoreUnavailable only if no place took it; else those that did not get it later."""
        errors: list[StoreUnavailable] = []
        lacking: list[Behind] = []
        took: list[float] = []
        spent: list[tuple[Delay, float]] = []
        for number in self._quick_first():
            behind, delay = self._behind[number], self._delays[number]
            if took and delay.too_long and behind.has_room(len(data)):
                lacking.append(behind)
                continue
            on_its_way, began = behind.withdraw(path), time.monotonic()
            try:
                self.places[number].write(path, data)
            except StoreUnavailable as error:
                errors.append(error)
                lacking.append(behind)
            else:
                took.append(time.monotonic() - began)
                if on_its_way:  # what comes later may be older
                    lacking.append(behind)
            spent.append((delay, time.monotonic() - began))
        if not took:
            raise errors[0]
        for delay, seconds in spent:
            delay.add(seconds - 2 * min(took))
        for behind in lacking:
            behind.put(path, data)

    def _quick_first(self) -> list[int]:
        """The places in order, but those that let others wait come last."""
        return sorted(range(len(self.places)), key=lambda number: self._delays[number].too_long)

    def _read(self, number: int, path: str, max_bytes: int) -> bytes:
        began, size = time.monotonic(), 0
        try:
            data = self.places[number].read(path, max_bytes)
            size = len(data)
        finally:
            self._delays[number].add(time.monotonic() - began - size / DUE_BYTES_A_SECOND)
        return data

    @contextmanager
    def _timed(self, number: int, due_bytes: int = 0) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._delays[number].add(time.monotonic() - began - due_bytes / DUE_BYTES_A_SECOND)

    def exists(self, path: str) -> bool:
        """See `Backend`."""
        errors: list[StoreUnavailable] = []
        for number in self._quick_first():
            try:
                with self._timed(number):
                    there = self.places[number].exists(path)
                if there:
                    return True
            except StoreUnavailable as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return False

    def published(self, path: str) -> float | None:
        """See `Backend`. The earliest time of all: from then on it could be read."""
        errors: list[ArtifactError] = []
        times: list[float | None] = []
        for place in self.places:
            try:
                times.append(place.published(path))
            except ArtifactError as error:
                errors.append(error)
        if not times:
            raise next((error for error in errors if isinstance(error, StoreUnavailable)), errors[0])
        return min((time for time in times if time is not None), default=None)


def copies_of(backend: Backend, path: str, max_bytes: int) -> Iterator[bytes]:
    """Every copy of an artifact that can be had, until one satisfies the caller. Raises like `Backend.read`."""
    return backend.copies(path, max_bytes) if isinstance(backend, Mirrors) else iter([backend.read(path, max_bytes)])


def checked_copy(backend: Backend, path: str, max_bytes: int, check: Callable[[bytes], T]) -> T:
    """The artifact from whichever place holds the right bytes, as `check` returns it.

    Raises ArtifactAltered if `check` refuses all with EncodingError, CryptoError or ValueError; else like
    `Backend.read`.
    """
    wrong: Exception | None = None
    for data in copies_of(backend, path, max_bytes):
        try:
            return check(data)
        except (EncodingError, CryptoError, ValueError) as error:
            wrong = error
    raise ArtifactAltered(path, str(wrong)) from wrong


def open_backend(url: str, writer: Writer | None = None, report: Reporter | None = None) -> Backend:
    """A backend for a path, `file://`, `http(s)://` (a gateway; `writer` signs what is written there), `s3://` or any
    other URL that fsspec knows, `home:PATH` (settlements that a verifier's home keeps, only read), or for several of
    them separated by commas. `report` hears how large artifacts get on. Raises StoreUnavailable."""
    if "," in url:
        return Mirrors([open_backend(part.strip(), writer, report) for part in url.split(",") if part.strip()])
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return HttpBackend(url, writer, report)
    if parts.scheme == "home":
        return HomeLeaves(Path(unquote(parts.path)).expanduser().absolute())
    if parts.scheme in ("", "file"):
        path = unquote(parts.path) if parts.scheme else url
        if parts.netloc not in ("", "localhost") or not path:
            raise StoreUnavailable(url, "not a local folder; write file:///absolute/path or a plain path")
        return LocalBackend(Path(path).expanduser().absolute())
    return RemoteBackend(url)


def absent_folders(url: str) -> list[str]:
    """The local folders of a store's URL, if all of its places are that and none is there."""
    places = _places(url)
    gone = [str(place.root) for place in places if isinstance(place, LocalBackend) and not place.root.is_dir()]
    return gone if len(gone) == len(places) else []


def unwritable_folder(url: str) -> str:
    """The first local folder of a store's URL that nobody here can write to, or make; empty if there is none."""
    for place in _places(url):
        if isinstance(place, LocalBackend):
            there = next(folder for folder in (place.root, *place.root.parents) if folder.exists())
            if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
                return str(place.root)
    return ""


def _places(url: str) -> list[Backend]:
    return [open_backend(part.strip()) for part in url.split(",") if part.strip()]


def _missing(path: str) -> ArtifactMissing:
    return ArtifactMissing(path, "not in the store")


def _no_file(path: str) -> ArtifactAltered:
    return ArtifactAltered(path, "a folder stands where the artifact should be, or something else that is no file")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _within(path: str, data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise ArtifactTooLarge(path, f"more than the {max_bytes} bytes it may have")
    return data
