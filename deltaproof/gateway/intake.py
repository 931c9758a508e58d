"""How bytes come in: into a file beside the store, checked as a whole, and only then under their name.

An upload in parts is such a file that grows over several requests, also over a restart of the gateway. Its number is
random: who knows it may add to it, and what comes out is still checked against what was signed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltaproof.errors import ArtifactMissing, EncodingError, UsageError
from deltaproof.gateway.admission import Doorkeeper, Grant
from deltaproof.gateway.ledger import Entry, Ledger
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.protocol.types import Address, RoundIndex, TaskId, address, digest32, hex_of
from deltaproof.store.depots import Depot
from deltaproof.store.paths import parse_path
from deltaproof.store.permits import WritePermit

__all__ = ["Intake", "Upload"]

UPLOADS_PER_ACCOUNT = 8
"""Unfinished uploads of one account in one task."""
UPLOAD_SECONDS = 3_600.0
"""How long an upload may lie without another part."""
SPARE_BYTES = 256 * 1024 * 1024
"""What stays free on the disk of unfinished uploads."""
RANGE_BYTES = 1024 * 1024


@dataclass
class Upload:
    """A file that grows towards what a permit promises."""

    id: str
    permit: WritePermit
    account: Address
    round: RoundIndex
    file: Path
    touched_at: float
    busy: bool = False
    """Whether a request is adding to it at this moment."""

    @property
    def offset(self) -> int:
        """Bytes that have arrived. Raises RequestRefused if the upload is gone."""
        try:
            return self.file.stat().st_size
        except FileNotFoundError as error:
            raise _no_upload() from error

    @property
    def complete(self) -> bool:
        """Whether all bytes have arrived."""
        return self.offset == self.permit.size


class Intake:
    """The way into one store. Safe to share between threads of one process."""

    def __init__(self, doorkeeper: Doorkeeper, depot: Depot, ledger: Ledger, folder: Path) -> None:
        """`folder` holds what is not finished. Raises UsageError if it cannot be used."""
        self.doorkeeper, self.depot, self.ledger = doorkeeper, depot, ledger
        self._folder = folder
        self._mutex = threading.Lock()
        self._names: dict[str, tuple[threading.Lock, int]] = {}
        self._reserved: dict[tuple[TaskId, RoundIndex, Address], int] = {}
        self._uploads: dict[str, Upload] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._find_uploads()
        except OSError as error:
            raise UsageError(f"{folder} cannot hold uploads: {error.strerror}") from error

    # What every write does.

    def stands(self, grant: Grant) -> bool:
        """Whether these very bytes stand under their name; now they do for this writer, too. Raises RequestRefused if
        others do."""
        with self.only_one(grant.name.path):
            return self._stands(grant)

    def _stands(self, grant: Grant) -> bool:
        entry = self.ledger.entry(grant.name.path)
        if entry is None or not self._is_there(entry):
            return False
        if entry.sha256 != grant.permit.digest:
            if grant.version > entry.version:
                return False
            raise _taken(grant)
        self._refuse_over_quota(grant)
        self._record(grant, entry.written_at)
        return True

    @contextmanager
    def reserved(self, grant: Grant) -> Iterator[None]:
        """Hold room within the writer's quota and on the disk. Raises RequestRefused."""
        key, size = (grant.permit.task, grant.round, grant.account), grant.permit.size
        with self._mutex:
            self._refuse_over_quota(grant, self._reserved.get(key, 0) + self._promised(grant))
            if shutil.disk_usage(self._folder).free < size + SPARE_BYTES:
                raise RequestRefused(507, "full", "this gateway's disk is full; its operator has to make room", 60)
            self._reserved[key] = self._reserved.get(key, 0) + size
        try:
            yield
        finally:
            with self._mutex:
                self._reserved[key] -= size
                if not self._reserved[key]:
                    del self._reserved[key]

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """An empty file that is gone afterwards."""
        file = self._folder / f"{secrets.token_hex(16)}.body"
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    def accept(self, grant: Grant, file: Path) -> bool:
        """Check a whole file and put it under its name; whether it is new there. Raises RequestRefused."""
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").digest()
        if found != grant.permit.digest:
            raise RequestRefused(422, "wrong-digest", f"the bytes that arrived have the SHA-256 {hex_of(found)}")
        grant.refuse_wrong_content(file)
        with self.only_one(grant.name.path):
            if self._stands(grant) or self._adopted(grant):
                return False
            self._refuse_over_quota(grant)
            known = self.ledger.entry(grant.name.path)
            self.depot.take(grant.name.path, file)
            # What was lost or damaged here came when it came first.
            same = known is not None and known.sha256 == grant.permit.digest
            self._record(grant, known.written_at if known is not None and same else time.time())
        return True

    # Uploads in parts.

    def begin(self, grant: Grant) -> Upload:
        """An upload of what the permit promises: the one that was begun before, or a new one. Raises RequestRefused."""
        with self._mutex:
            own = [
                u for u in self._uploads.values() if (u.account, u.permit.task) == (grant.account, grant.permit.task)
            ]
            for upload in own:
                if (upload.permit.path, upload.permit.digest) == (grant.permit.path, grant.permit.digest):
                    upload.touched_at = time.time()
                    return upload
            if len(own) >= UPLOADS_PER_ACCOUNT:
                raise RequestRefused(429, "too-many-uploads", f"{len(own)} uploads are unfinished; finish one", 30)
        with self.reserved(grant), self._mutex:
            number = secrets.token_hex(16)
            file = self._folder / f"{number}.part"
            upload = Upload(number, grant.permit, grant.account, grant.round, file, time.time())
            file.touch()
            self._meta_of(number).write_text(json.dumps(_told(upload)))
            self._uploads[number] = upload
            return upload

    def upload(self, number: str) -> Upload:
        """The upload of a number. Raises RequestRefused if there is none."""
        with self._mutex:
            upload = self._uploads.get(number)
        if upload is None:
            raise _no_upload()
        return upload

    @contextmanager
    def adding(self, number: str, offset: int) -> Iterator[Upload]:
        """Sole leave to add to an upload from an offset. Raises RequestRefused."""
        upload = self.upload(number)
        with self._mutex:
            if upload.busy:
                raise RequestRefused(409, "busy", "another request is adding to this upload", 1)
            if upload.offset != offset:
                raise RequestRefused(409, "wrong-offset", f"the upload stands at {upload.offset}, not at {offset}")
            upload.busy = True
        try:
            yield upload
        finally:
            with self._mutex:
                upload.busy, upload.touched_at = False, time.time()

    def finish(self, upload: Upload) -> bool:
        """Check a complete upload as if it came at once; whether it is new.

        The upload is gone afterwards, also if it is refused; an outage of chain or store leaves it for later.
        """
        name = parse_path(upload.permit.path)
        try:
            new = self.accept(self.doorkeeper.readmit(name, upload.permit, upload.account), upload.file)
        except RequestRefused:
            self._drop(upload)
            raise
        self._drop(upload)
        return new

    def drop_stale(self) -> int:
        """Drop uploads that nobody goes on with; how many."""
        before = time.time() - UPLOAD_SECONDS
        with self._mutex:
            stale = [u for u in self._uploads.values() if not u.busy and u.touched_at < before]
        for upload in stale:
            self._drop(upload)
        return len(stale)

    @contextmanager
    def only_one(self, path: str) -> Iterator[None]:
        """Whoever writes under a name, or takes away what stands there, does so alone."""
        with self._mutex:
            lock, users = self._names.get(path, (threading.Lock(), 0))
            self._names[path] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._mutex:
                _, users = self._names[path]
                if users == 1:
                    del self._names[path]
                else:
                    self._names[path] = (lock, users - 1)

    @property
    def unfinished(self) -> int:
        """How many uploads there are."""
        return len(self._uploads)

    # Below: how it is done.

    def _refuse_over_quota(self, grant: Grant, promised: int = 0) -> None:
        if grant.quota_bytes is None:
            return
        place = (grant.permit.task, grant.round, grant.account)
        kind = grant.name.kind
        if grant.most is not None and self.ledger.count(kind, *place, but=grant.name.path) >= grant.most:
            raise RequestRefused(
                413, "over-quota", f"{grant.account} has written {grant.most} {kind.value} in round {grant.round}"
            )
        used = self.ledger.written(*place, but=grant.name.path) + promised
        if used + grant.permit.size > grant.quota_bytes:
            raise RequestRefused(
                413,
                "over-quota",
                f"{grant.account} may write {grant.quota_bytes} bytes as {grant.role} in round {grant.round} of task "
                f"{grant.permit.task}; {used} are used",
            )

    def _promised(self, grant: Grant) -> int:
        """Bytes of the account's unfinished uploads in the round, other than of this very artifact."""
        place = (grant.permit.task, grant.round, grant.account)
        return sum(
            upload.permit.size
            for upload in self._uploads.values()
            if (upload.permit.task, upload.round, upload.account) == place and upload.permit.path != grant.name.path
        )

    def _adopted(self, grant: Grant) -> bool:
        """Whether the same bytes stand in the store although the ledger does not know them."""
        path = grant.name.path
        if self.ledger.entry(path) is not None:
            return False
        try:
            size = self.depot.size(path)
        except ArtifactMissing:
            return False
        found = hashlib.sha256()
        for start in range(0, size, RANGE_BYTES):
            found.update(self.depot.read_range(path, start, RANGE_BYTES))
        if size != grant.permit.size or found.digest() != grant.permit.digest:
            if grant.only_bytes:
                return False  # what stands there is damaged
            raise _taken(grant)
        self._record(grant, self.depot.published(path) or time.time())
        return True

    def _is_there(self, entry: Entry) -> bool:
        """Whether the store still has what the ledger knows; what was archived comes back by being written."""
        if entry.archived:
            return False
        try:
            return self.depot.size(entry.path) == entry.size
        except ArtifactMissing:
            return False

    def _record(self, grant: Grant, written_at: float) -> None:
        permit = grant.permit
        entry = Entry(permit.path, permit.digest, permit.size, grant.version, written_at, archived=False)
        self.ledger.record(entry, permit.task, grant.round, grant.account)

    def _drop(self, upload: Upload) -> None:
        with self._mutex:
            self._uploads.pop(upload.id, None)
        upload.file.unlink(missing_ok=True)
        self._meta_of(upload.id).unlink(missing_ok=True)

    def _meta_of(self, number: str) -> Path:
        return self._folder / f"{number}.json"

    def _find_uploads(self) -> None:
        """Uploads of an earlier run; what belongs to none is removed."""
        for meta in self._folder.glob("*.json"):
            upload = _from_told(meta, self._folder)
            if upload is not None and upload.file.is_file():
                self._uploads[upload.id] = upload
            else:
                meta.unlink()
        known = {upload.file for upload in self._uploads.values()}
        for file in (*self._folder.glob("*.body"), *self._folder.glob("*.part")):
            if file not in known:
                os.unlink(file)


def _no_upload() -> RequestRefused:
    return RequestRefused(404, "no-upload", "there is no such upload; it may have expired: begin anew")


def _taken(grant: Grant) -> RequestRefused:
    return RequestRefused(409, "taken", f"other bytes stand under {grant.name.path}; nothing is replaced")


def _told(upload: Upload) -> dict[str, object]:
    permit = upload.permit
    return {
        "id": upload.id,
        "task": permit.task,
        "path": permit.path,
        "size": permit.size,
        "digest": hex_of(permit.digest),
        "expires": permit.expires,
        "account": upload.account,
        "round": upload.round,
    }


def _from_told(meta: Path, folder: Path) -> Upload | None:
    """The upload that a file of an earlier run tells of; None for one that was half written."""
    try:
        told = json.loads(meta.read_text())
        permit = WritePermit(
            TaskId(told["task"]), told["path"], told["size"], digest32(told["digest"]), told["expires"]
        )
        number = str(told["id"])
        file = folder / f"{number}.part"
        return Upload(number, permit, address(told["account"]), RoundIndex(told["round"]), file, file.stat().st_mtime)
    except (OSError, ValueError, KeyError, TypeError, EncodingError):
        return None
