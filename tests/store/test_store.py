"""The artifact store: what goes in comes out, and nothing else does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.errors import (
    ArtifactAltered,
    ArtifactError,
    ArtifactMissing,
    ArtifactTooLarge,
    StoreUnavailable,
)
from deltaproof.protocol.commit import bls
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.commit.validation import ValidationSet
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.outcome.settlement import (
    PostedLeaves,
    SettlementLeaf,
    SettlementProposal,
    Verdict,
    build_settlement,
)
from deltaproof.protocol.rules import MAX_SIGNED
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, TokenAmount, address, digest32
from deltaproof.protocol.wire.encoding import canonical_json, encode_document, sha256
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.backend import LocalBackend, Mirrors, RemoteBackend

DIGEST = digest32("ab" * 32)
VERIFIER = address("0x" + "12" * 20)


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    url = {"folder": str(tmp_path), "file": tmp_path.as_uri(), "memory": f"memory://{tmp_path.name}"}[request.param]
    return open_store(url)


@pytest.fixture
def local(tmp_path: Path) -> tuple[ArtifactStore, Path]:
    return open_store(str(tmp_path)), tmp_path


def test_blob_round_trips_under_its_hash(store: ArtifactStore) -> None:
    digest = store.put_blob(b"hello")
    assert digest == sha256(b"hello")
    assert store.get_blob(digest, 5) == b"hello"


def test_empty_blob_round_trips(store: ArtifactStore) -> None:
    assert store.get_blob(store.put_blob(b""), 0) == b""


def test_missing_and_too_large_are_different_errors(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactMissing, match=r"blob/abab.*: not in the store"):
        store.get_blob(DIGEST, 10)
    digest = store.put_blob(b"x" * 11)
    with pytest.raises(ArtifactTooLarge, match="more than the 10 bytes"):
        store.get_blob(digest, 10)


def test_altered_artifacts_are_named(local: tuple[ArtifactStore, Path]) -> None:
    store, folder = local
    digest = store.put_blob(b"hello")
    (folder / "blob" / digest.hex()).write_bytes(b"hellO")
    with pytest.raises(ArtifactAltered) as caught:
        store.get_blob(digest, 10)
    assert caught.value.artifact == f"blob/{digest.hex()}"


def test_reads_are_bounded_before_they_happen(local: tuple[ArtifactStore, Path]) -> None:
    store, folder = local
    (folder / "blob").mkdir()
    with (folder / "blob" / DIGEST.hex()).open("wb") as file:
        file.truncate(2**40)  # a terabyte that exists in name only
    with pytest.raises(ArtifactTooLarge):
        store.get_blob(DIGEST, 1000)


def test_tensors_round_trip(store: ArtifactStore) -> None:
    values = np.linspace(-1, 1, 1001, dtype=np.float32)
    digest = store.put_tensors(values)
    assert digest == component_root(values)
    assert np.array_equal(store.get_tensors(digest, 1001), values)


def header(**entries: Any) -> bytes:
    text = canonical_json({"__metadata__": {}} | entries)
    return text + b" " * (-len(text) % 8)


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def file_of(head: bytes, body: bytes) -> bytes:
    return len(head).to_bytes(8, "little") + head + body


NAN = np.array([1, np.nan, 2, 3], dtype="<f4").tobytes()
HOSTILE = {
    "empty": b"",
    "shorter than its length": b"\x01\x02",
    "header beyond the file": (2**40).to_bytes(8, "little") + b"{}",
    "header of 2^64-1": b"\xff" * 8 + b"{}",
    "not json": file_of(b"pickle..", bytes(16)),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
    "no tensor": file_of(header(), b""),
    "other name": file_of(header(weights=entry([4], 0, 16)), bytes(16)),
    "extra tensor": file_of(header(values=entry([4], 0, 16), zzz=entry([1], 16, 20)), bytes(20)),
    "extra metadata": file_of(header(values=entry([4], 0, 16), __metadata__={"a": "b"}), bytes(16)),
    "wrong dtype": file_of(header(values=entry([4], 0, 16, "I32")), bytes(16)),
    "double": file_of(header(values=entry([4], 0, 32, "F64")), bytes(32)),
    "wrong shape": file_of(header(values=entry([2, 2], 0, 16)), bytes(16)),
    "negative shape": file_of(header(values=entry([-4], 0, 16)), bytes(16)),
    "huge shape": file_of(header(values=entry([2**62, 2**62], 0, 16)), bytes(16)),
    "offsets overlap the header": file_of(header(values=entry([4], -16, 0)), bytes(16)),
    "offsets beyond the data": file_of(header(values=entry([4], 0, 16)), bytes(12)),
    "gap before": file_of(header(values=entry([4], 4, 20)), bytes(20)),
    "bytes after": file_of(header(values=entry([4], 0, 16)), bytes(17)),
    "duplicate key": file_of(b'{"values":1,"values":1}'.ljust(24), bytes(16)),
    "deep": file_of((b"[" * 500).ljust(504), b""),
    "not a number": file_of(header(values=entry([4], 0, 16)), NAN),
    "other values": file_of(header(values=entry([4], 0, 16)), bytes(16)),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_tensors_are_refused(local: tuple[ArtifactStore, Path], name: str) -> None:
    store, folder = local
    digest = store.put_tensors(np.array([1, 2, 3, 4], dtype=np.float32))
    (folder / "tensors" / digest.hex()).write_bytes(HOSTILE[name])
    with pytest.raises((ArtifactAltered, ArtifactTooLarge)) as caught:
        store.get_tensors(digest, 4)
    assert f"tensors/{digest.hex()}" in str(caught.value)


@given(data=st.binary(max_size=300), cut=st.integers(0, 200), at=st.integers(0, 200))
@settings(max_examples=200)
def test_no_bytes_make_the_tensor_reader_fail_otherwise(data: bytes, cut: int, at: int) -> None:
    store = open_store("memory://fuzz")
    values = np.array([1, 2, 3, 4], dtype=np.float32)
    digest = store.put_tensors(values)
    path = f"/fuzz/tensors/{digest.hex()}"
    files: MemoryFileSystem = fsspec.filesystem("memory")
    valid = files.cat_file(path)
    files.pipe_file(path, valid[:at] + data + valid[at + cut :])
    try:
        found = store.get_tensors(digest, 4)
    except ArtifactError:
        return
    assert np.array_equal(found, values)


def test_document_of_another_kind_or_content_is_refused(local: tuple[ArtifactStore, Path]) -> None:
    store, _ = local
    rows = ValidationSet(rows=("a", "b"))
    assert store.get_document(ValidationSet, store.put_document(rows)) == rows
    other_kind = store.put_blob(encode_document("report", {"rows": ["a"]}))
    extra_key = store.put_blob(encode_document("validation", {"rows": ["a"], "more": 1}))
    for digest in (other_kind, extra_key):
        with pytest.raises(ArtifactAltered, match="validation"):
            store.get_document(ValidationSet, digest)


def test_validation_set_opens_its_commitment_only(local: tuple[ArtifactStore, Path]) -> None:
    store, folder = local
    rows, salt = ValidationSet(rows=('{"label":1,"text":"good"}', '{"label":0,"text":"bad"}')), DIGEST
    commitment = store.put_validation(rows, salt)
    assert store.get_validation(commitment) == (rows, salt)
    path = folder / "validation" / commitment.hex()
    path.write_bytes(b"\x00" + path.read_bytes()[1:])  # another salt
    with pytest.raises(ArtifactAltered, match="opens the commitment"):
        store.get_validation(commitment)
    path.write_bytes(b"short")
    with pytest.raises(ArtifactAltered, match="shorter than its salt"):
        store.get_validation(commitment)


def make_leaf(i: int, payout: int) -> SettlementLeaf:
    trainer = address(i.to_bytes(20, "big"))
    return SettlementLeaf(trainer=trainer, verdict=Verdict.ACCEPTED, payout=TokenAmount(payout))


def test_proposal_that_is_not_what_its_name_says_is_refused(local: tuple[ArtifactStore, Path]) -> None:
    store, folder = local
    leaves = (make_leaf(1, 5), make_leaf(2, 7))
    domain = RoundDomain(1, VERIFIER, TaskId(1), RoundIndex(2))
    proposal = SettlementProposal(settlement=build_settlement(leaves, DIGEST, 1, DIGEST), leaves=leaves)
    digest = proposal.settlement.signing_digest(domain, 1)

    def read() -> PostedLeaves:
        def fits(found: PostedLeaves) -> bool:
            return found.signed_as(digest, domain, range(2)) and found.belongs_to(found.settlement)

        return store.get_proposal(digest, fits)

    store.put_proposal(digest, proposal)
    assert read().proposal_of(proposal.settlement) == proposal
    path = folder / "proposals" / digest.hex()
    for old, new in ((b'"payout":"7"', b'"payout":"8"'), (b'"leaf_count":2', b'"leaf_count":3')):
        changed = proposal.to_document().replace(old, new)
        assert changed != proposal.to_document()
        path.write_bytes(changed)
        with pytest.raises(ArtifactAltered, match="another settlement than its name says"):
            read()


def test_settlements_that_one_verifier_signed_stand_beside_each_other_up_to_a_few(
    local: tuple[ArtifactStore, Path],
) -> None:
    store, folder = local
    place = (TaskId(1), RoundIndex(2), VERIFIER)
    signed = [Digest32(bytes([number]) * 32) for number in range(MAX_SIGNED + 1)]
    for digest in (*signed[:2], signed[0]):
        store.put_signed(*place, digest)
    assert store.signed_by(*place) == signed[:2], "each once"
    (folder / "signed" / "1" / "2" / VERIFIER.lower() / "0").write_bytes(b"garbage")
    store.put_signed(*place, signed[0])
    assert store.signed_by(*place) == [signed[1], signed[0]], "garbage is passed over"
    for digest in signed:
        store.put_signed(*place, digest)
    assert len(store.signed_by(*place)) == MAX_SIGNED - 1
    assert store.signed_by(TaskId(1), RoundIndex(3), VERIFIER) == []


def test_signature_must_be_a_point(local: tuple[ArtifactStore, Path]) -> None:
    store, folder = local
    signature = bls.SecretKey.from_seed(DIGEST).sign(bls.SETTLEMENT_DOMAIN, DIGEST)
    store.put_signature(DIGEST, VERIFIER, signature)
    assert store.get_signature(DIGEST, VERIFIER) == signature
    path = folder / "signatures" / DIGEST.hex() / VERIFIER.lower()
    for data, message in ((bytes(64), "infinity"), (b"\x01" * 64, "not on the curve"), (b"\x01" * 63, "64 bytes")):
        path.write_bytes(data)
        with pytest.raises(ArtifactAltered, match=message):
            store.get_signature(DIGEST, VERIFIER)


WRITER = """
import sys
from deltaproof.store import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
while True:
    store.put_blob(b"x" * 30_000_000)
"""


def test_writer_killed_at_any_moment_leaves_all_or_nothing(local: tuple[ArtifactStore, Path]) -> None:
    store, folder = local
    digest = sha256(b"x" * 30_000_000)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()
        with contextlib.suppress(ArtifactMissing):
            assert len(store.get_blob(digest, 30_000_000)) == 30_000_000


def test_full_or_read_only_folder_is_reported(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        open_store(str(blocked)).put_blob(b"x")


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
def test_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.fdopen

    def full(descriptor: int, *arguments: Any, **named: Any) -> Any:
        os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
        return opened(descriptor, *arguments, **named)

    monkeypatch.setattr("deltaproof.store.backend.os.fdopen", full)
    with pytest.raises(StoreUnavailable, match="No space left on device"):
        open_store(str(tmp_path)).put_blob(b"x")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("url", ["nosuchprotocol://x", "file://host/x", ""])
def test_store_that_cannot_be_opened_says_why(url: str) -> None:
    with pytest.raises(StoreUnavailable):
        open_store(url)


class FlakyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """fsspec's memory file system behind a connection that fails a given number of times."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    failures = 0

    def _fail(self) -> None:
        if FlakyFileSystem.failures:
            FlakyFileSystem.failures -= 1
            raise ConnectionResetError("connection reset by peer")

    def open(self, path: str, mode: str = "rb", **named: Any) -> Any:
        self._fail()
        return super().open(path, mode, **named)

    def pipe_file(self, path: str, value: bytes, **named: Any) -> Any:
        self._fail()
        return super().pipe_file(path, value, **named)


fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


def flaky(action: Callable[[ArtifactStore], Any], failures: int) -> Any:
    store = ArtifactStore(RemoteBackend("flaky://bucket", attempts=4, pause_seconds=0.001))
    FlakyFileSystem.failures = failures
    try:
        return action(store)
    finally:
        FlakyFileSystem.failures = 0


def test_remote_failures_are_retried_with_a_bound() -> None:
    digest: Digest32 = flaky(lambda store: store.put_blob(b"remote"), failures=3)
    assert flaky(lambda store: store.get_blob(digest, 6), failures=3) == b"remote"
    with pytest.raises(StoreUnavailable, match="after 4 attempts: ConnectionResetError"):
        flaky(lambda store: store.get_blob(digest, 6), failures=4)
    with pytest.raises(ArtifactMissing):  # absence is no failure: asked once
        flaky(lambda store: store.get_blob(DIGEST, 6), failures=0)


def test_local_backend_follows_paths_below_its_root(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    backend.write("a/b", b"1")
    assert backend.exists("a/b")
    assert not backend.exists("a")
    assert backend.read("a/b", 1) == b"1"


def test_folder_where_an_artifact_should_be_is_an_altered_artifact_not_an_outage(
    local: tuple[ArtifactStore, Path],
) -> None:
    """A trainer who puts a folder there must not stop its judges, who wait for a store that is away."""
    _, folder = local
    digest = sha256(b"what was promised")
    (folder / "blobs" / digest.hex()).mkdir(parents=True)
    path = next(folder.rglob(digest.hex()))
    with pytest.raises(ArtifactAltered, match="a folder stands where"):
        LocalBackend(folder).read(str(path.relative_to(folder)), 100)


@pytest.mark.parametrize("kind", ["pipe", "links"])
def test_what_is_no_file_in_a_shared_folder_is_waited_for_by_nobody(kind: str, tmp_path: Path) -> None:
    """Attack: whoever may write to a folder that several use puts a pipe there, which nobody ever writes to."""
    (tmp_path / "one" / "blob").mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(tmp_path / "one" / "blob" / "x")
    else:
        (tmp_path / "one" / "blob" / "x").symlink_to("x")
    one, two = LocalBackend(tmp_path / "one"), LocalBackend(tmp_path / "two")
    two.write("blob/x", b"right")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Mirrors([one, two]).read("blob/x", 9)), daemon=True)
    reader.start()
    reader.join(10)
    assert read == [b"right"]
    with pytest.raises(ArtifactAltered, match="no file"):
        one.read("blob/x", 9)


def test_name_that_a_file_system_refuses_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be looked up"):
        LocalBackend(tmp_path).exists("x" * 300)


class _Away:
    """A place that does not answer."""

    def read(self, path: str, max_bytes: int) -> bytes:
        raise StoreUnavailable(path, "away")

    def write(self, path: str, data: bytes) -> None:
        raise StoreUnavailable(path, "away")

    def exists(self, path: str) -> bool:
        raise StoreUnavailable(path, "away")


def test_mirrors_take_over_for_each_other_and_a_lie_of_one_is_passed_over(tmp_path: Path) -> None:
    first, second = LocalBackend(tmp_path / "one"), LocalBackend(tmp_path / "two")
    digest = ArtifactStore(Mirrors([_Away(), first, second])).put_blob(b"a delta")
    assert ArtifactStore(first).get_blob(digest, 100) == ArtifactStore(second).get_blob(digest, 100) == b"a delta"
    path = next((tmp_path / "one").rglob(digest.hex()))
    path.write_bytes(b"garbage")
    assert ArtifactStore(Mirrors([first, second])).get_blob(digest, 100) == b"a delta"
    with pytest.raises(StoreUnavailable):  # what one lacks, the one that is away may have
        Mirrors([_Away(), LocalBackend(tmp_path / "three")]).read("blobs/x", 100)
    with pytest.raises(StoreUnavailable):
        Mirrors([_Away()]).write("blobs/x", b"")
    assert isinstance(open_store(f"{tmp_path / 'one'}, {tmp_path / 'two'}")._backend, Mirrors)
